/* q6_k.c - decode. */
#include "formats/block/q6_k.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q6_k_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q6_K_LEN; b++, p += sizeof(bl_q6_k), out += BL_Q6_K_LEN) {
        const signed char *scale = (const signed char *)p + offsetof(bl_q6_k, scale);
        float d = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_q6_k, d)));

        for (size_t g = 0; g < BL_Q6_K_LEN / 16; g++) {
            const size_t half = g / 8, at = g % 8 * 16; /* of 128 values; the first within it */
            const unsigned char *low = p + half * 64 + at % 64;
            const unsigned char *high = p + offsetof(bl_q6_k, high) + half * 32 + at % 32;
            const size_t low_shift = at / 64 * 4, high_shift = at / 32 * 2;
            float step = d * (float)scale[g];

            for (size_t j = 0; j < 16; j++)
                out[16 * g + j] = step * (float)((low[j] >> low_shift & 15) +
                                                 (high[j] >> high_shift & 3) * 16 - 32);
        }
    }
}
