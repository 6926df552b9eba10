/* q2_k.c - decode. */
#include "formats/block/q2_k.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q2_k_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q2_K_LEN; b++, p += sizeof(bl_q2_k), out += BL_Q2_K_LEN) {
        const unsigned char *q = p + offsetof(bl_q2_k, q);
        float d = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_q2_k, d)));
        float dmin = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_q2_k, dmin)));

        for (size_t g = 0; g < BL_Q2_K_LEN / 16; g++) {
            const unsigned char *from = q + g / 8 * 32 + g % 2 * 16;
            const size_t shift = g % 8 / 2 * 2;
            float scale = d * (float)(p[g] & 15), minimum = dmin * (float)(p[g] >> 4);

            for (size_t j = 0; j < 16; j++)
                out[16 * g + j] = scale * (float)(from[j] >> shift & 3) - minimum;
        }
    }
}
