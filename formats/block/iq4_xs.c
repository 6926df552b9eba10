/* iq4_xs.c - decode. */
#include "formats/block/iq4_xs.h"

#include "base/clones.h"
#include "formats/block/iq4_nl.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_iq4_xs_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_IQ4_XS_LEN; b++, p += sizeof(bl_iq4_xs), out += BL_IQ4_XS_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p));
        unsigned scale_high = bl_load_u16(p + offsetof(bl_iq4_xs, scale_high));
        const unsigned char *scale_low = p + offsetof(bl_iq4_xs, scale_low);

        for (size_t g = 0; g < BL_IQ4_XS_LEN / 32; g++) {
            const unsigned char *q = p + offsetof(bl_iq4_xs, q) + 16 * g;
            int low = scale_low[g / 2] >> g % 2 * 4 & 15;
            float step = d * (float)((low | (int)(scale_high >> 2 * g & 3) << 4) - 32);

            for (size_t j = 0; j < 16; j++) {
                out[32 * g + j] = step * bl_iq4_value[q[j] & 15];
                out[32 * g + j + 16] = step * bl_iq4_value[q[j] >> 4];
            }
        }
    }
}
