/* tq.c - decode. */
#include "formats/block/tq.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

/* The digits of n_bytes bytes, all the first ones first; returns where the next value goes. */
static inline float *put_digits(float *restrict out, float d, const unsigned char *restrict q,
                                size_t n_bytes, int n_digits)
{
    unsigned power = 1;

    for (int digit = 0; digit < n_digits; digit++, power *= 3, out += n_bytes) {
        for (size_t i = 0; i < n_bytes; i++) {
            unsigned rest = q[i] * power & 255;

            out[i] = d * (float)((int)(rest * 3 >> 8) - 1);
        }
    }
    return out;
}

BL_CLONES
void bl_tq1_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_TQ_LEN; b++, p += sizeof(bl_tq1_0)) {
        float d = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_tq1_0, d)));

        out = put_digits(out, d, p, 32, 5);
        out = put_digits(out, d, p + 32, 16, 5);
        out = put_digits(out, d, p + offsetof(bl_tq1_0, qh), 4, 4);
    }
}

BL_CLONES
void bl_tq2_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_TQ_LEN; b++, p += sizeof(bl_tq2_0), out += BL_TQ_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_tq2_0, d)));

        for (size_t g = 0; g < BL_TQ_LEN / 32; g++) {
            const unsigned char *q = p + g / 4 * 32;

            for (size_t j = 0; j < 32; j++)
                out[32 * g + j] = d * (float)((int)(q[j] >> g % 4 * 2 & 3) - 1);
        }
    }
}
