/* q4_1.c - decode. */
#include "formats/block/q4_1.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q4_1_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q4_1_LEN; b++, p += sizeof(bl_q4_1), out += BL_Q4_1_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p)), m = bl_f32_from_f16(bl_load_u16(p + 2));
        const unsigned char *q = p + offsetof(bl_q4_1, q);

        for (int j = 0; j < BL_Q4_1_LEN / 2; j++) {
            out[j] = d * (float)(q[j] & 15) + m;
            out[j + 16] = d * (float)(q[j] >> 4) + m;
        }
    }
}
