/* q8_1.c - decode. */
#include "formats/block/q8_1.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q8_1_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q8_1_LEN; b++, p += sizeof(bl_q8_1), out += BL_Q8_1_LEN) {
        const int8_t *q = (const int8_t *)(p + offsetof(bl_q8_1, q));
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t j = 0; j < BL_Q8_1_LEN; j++)
            out[j] = d * (float)q[j];
    }
}

BL_CLONES
void bl_q8_k_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q8_K_LEN; b++, p += sizeof(bl_q8_k), out += BL_Q8_K_LEN) {
        const int8_t *q = (const int8_t *)(p + offsetof(bl_q8_k, q));
        float d = bl_load_f32(p);

        for (size_t j = 0; j < BL_Q8_K_LEN; j++)
            out[j] = d * (float)q[j];
    }
}
