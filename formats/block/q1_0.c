/* q1_0.c - decode. */
#include "formats/block/q1_0.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

BL_CLONES
void bl_q1_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q1_0_LEN; b++, p += sizeof(bl_q1_0)) {
        const unsigned char *q = p + offsetof(bl_q1_0, q);
        uint32_t d = bl_bits_from_f32(bl_f32_from_f16(bl_load_u16(p)));

        for (size_t i = 0; i < sizeof(((bl_q1_0 *)0)->q); i++, out += 8)
            for (unsigned j = 0; j < 8; j++)
                out[j] = bl_f32_from_bits(q[i] & 1u << j ? d : d ^ 0x80000000u);
    }
}

BL_CLONES
void bl_q2_0_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_Q2_0_LEN; b++, p += sizeof(bl_q2_0)) {
        const unsigned char *q = p + offsetof(bl_q2_0, q);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t i = 0; i < sizeof(((bl_q2_0 *)0)->q); i++, out += 4)
            for (unsigned j = 0; j < 4; j++)
                out[j] = d * (float)((int)(q[i] >> 2 * j & 3) - 1);
    }
}
