/* q4_0.c - decode. */
#include "formats/block/q4_0.h"

#include "formats/dtype/float_bits.h"

void bl_q4_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q4_0_LEN; b++, p += sizeof(bl_q4_0), out += BL_Q4_0_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (int j = 0; j < BL_Q4_0_LEN / 2; j++) {
            out[j] = d * (float)((p[2 + j] & 0xf) - 8);
            out[j + 16] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}
