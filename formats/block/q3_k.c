/* q3_k.c - decode. */
#include "formats/block/q3_k.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

static int scale_of(const unsigned char *p, size_t g)
{
    return (p[g % 8] >> g / 8 * 4 & 15) | (p[8 + g % 4] >> g / 4 * 2 & 3) << 4;
}

BL_CLONES
void bl_q3_k_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q3_K_LEN; b++, p += sizeof(bl_q3_k), out += BL_Q3_K_LEN) {
        const unsigned char *scales = p + offsetof(bl_q3_k, scale);
        float d = bl_f32_from_f16(bl_load_u16(p + offsetof(bl_q3_k, d)));

        for (size_t g = 0; g < BL_Q3_K_LEN / 16; g++) {
            const unsigned char *high = p + g % 2 * 16;
            const unsigned char *q = p + offsetof(bl_q3_k, q) + g / 8 * 32 + g % 2 * 16;
            const size_t shift = g % 8 / 2 * 2, bit = g / 2;
            float scale = d * (float)(scale_of(scales, g) - 32);

            for (size_t j = 0; j < 16; j++)
                out[16 * g + j] =
                    scale * (float)((q[j] >> shift & 3) + (high[j] >> bit & 1) * 4 - 4);
        }
    }
}
