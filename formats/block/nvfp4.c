/* nvfp4.c - decode. */
#include "formats/block/nvfp4.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

/* Twice the values of E2M1: the scale is halved. */
static const float twice_e2m1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static float half_scale(uint8_t code)
{
    return code == 0x7f ? 0 : 0.5f * bl_f32_from_f8e4m3_finite(code & 0x7f);
}

BL_CLONES
void bl_nvfp4_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_NVFP4_LEN; b++, p += sizeof(bl_nvfp4)) {
        const unsigned char *q = p + offsetof(bl_nvfp4, q);

        for (size_t g = 0; g < BL_NVFP4_LEN / 16; g++, q += 8, out += 16) {
            float step = half_scale(p[g]);

            for (size_t j = 0; j < 8; j++) {
                out[j] = step * twice_e2m1[q[j] & 15];
                out[j + 8] = step * twice_e2m1[q[j] >> 4];
            }
        }
    }
}
