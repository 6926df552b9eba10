/* q5_k.c - decode. */
#include "formats/block/q5_k.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q5_k_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q5_K_LEN; b++, p += sizeof(bl_q5_k), out += BL_Q5_K_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p)), dmin = bl_f32_from_f16(bl_load_u16(p + 2));

        for (size_t g = 0; g < BL_Q5_K_LEN / 32; g++) {
            const unsigned char *q = p + offsetof(bl_q5_k, q) + g / 2 * 32;
            const unsigned char *high = p + offsetof(bl_q5_k, high);
            const size_t shift = g % 2 * 4;
            uint8_t scale, minimum;
            float step, least;

            bl_k_scale(&scale, &minimum, p + offsetof(bl_q5_k, scale), g);
            step = d * (float)scale;
            least = dmin * (float)minimum;
            for (size_t j = 0; j < 32; j++)
                out[32 * g + j] =
                    step * (float)((q[j] >> shift & 15) + (high[j] >> g & 1) * 16) - least;
        }
    }
}
