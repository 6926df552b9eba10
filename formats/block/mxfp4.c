/* mxfp4.c - decode. */
#include "formats/block/mxfp4.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

/* Twice the values of E2M1, so that the scale is halved: 2^(e - 128) is always an F32. */
static const float twice_e2m1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static float half_of_e8m0(uint8_t e)
{
    return bl_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

BL_CLONES
void bl_mxfp4_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_MXFP4_LEN; b++, p += sizeof(bl_mxfp4), out += BL_MXFP4_LEN) {
        float d = half_of_e8m0(p[0]);
        const unsigned char *q = p + offsetof(bl_mxfp4, q);

        for (int j = 0; j < BL_MXFP4_LEN / 2; j++) {
            out[j] = d * twice_e2m1[q[j] & 15];
            out[j + 16] = d * twice_e2m1[q[j] >> 4];
        }
    }
}
