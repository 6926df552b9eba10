/* q8_0.c - decode. */
#include "formats/block/q8_0.h"

#include "formats/dtype/float_bits.h"

void bl_q8_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q8_0_LEN; b++, p += sizeof(bl_q8_0), out += BL_Q8_0_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p));
        const signed char *q = (const signed char *)(p + 2);

        for (int i = 0; i < BL_Q8_0_LEN; i++)
            out[i] = d * (float)q[i];
    }
}
