/* q5_0.c - decode. */
#include "formats/block/q5_0.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q5_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q5_0_LEN; b++, p += sizeof(bl_q5_0), out += BL_Q5_0_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p));
        const unsigned char *high = p + offsetof(bl_q5_0, high), *q = p + offsetof(bl_q5_0, q);

        for (int j = 0; j < BL_Q5_0_LEN / 2; j++) {
            int low = (q[j] & 15) | (high[j / 8] >> j % 8 & 1) << 4;
            int upper = q[j] >> 4 | (high[2 + j / 8] >> j % 8 & 1) << 4;

            out[j] = d * (float)(low - 16);
            out[j + 16] = d * (float)(upper - 16);
        }
    }
}
