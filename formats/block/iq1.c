/* iq1.c - decode. */
#include "formats/block/iq1.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

#include <stdbool.h>

#define VALUE(code, j) ((int)((code) >> 2 * (j)&3) - 1)
#define G(code)                                                                                    \
    {                                                                                              \
        VALUE(code, 0), VALUE(code, 1), VALUE(code, 2), VALUE(code, 3), VALUE(code, 4),            \
            VALUE(code, 5), VALUE(code, 6), VALUE(code, 7)                                         \
    }

static const int8_t grid[2048][8] = {
#include "formats/block/iq1_s_table.inc"
};

static inline void put_8(float *restrict out, float step, unsigned entry, bool down)
{
    float shift = down ? -0.125f : 0.125f;

    for (size_t j = 0; j < 8; j++)
        out[j] = step * ((float)grid[entry][j] + shift);
}

BL_CLONES
void bl_iq1_s_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_IQ1_LEN; b++, p += sizeof(bl_iq1_s)) {
        const unsigned char *q = p + offsetof(bl_iq1_s, q);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t k = 0; k < BL_IQ1_LEN / 8; k++, out += 8) {
            unsigned word = bl_load_u16(p + offsetof(bl_iq1_s, qh) + k / 4 * 2);
            float step = d * (float)(2 * (word >> 12 & 7) + 1);

            put_8(out, step, q[k] | (word >> k % 4 * 3 & 7) << 8, word >> 15);
        }
    }
}

BL_CLONES
void bl_iq1_m_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_IQ1_LEN; b++, p += sizeof(bl_iq1_m)) {
        const unsigned char *q = p + offsetof(bl_iq1_m, q), *qh = p + offsetof(bl_iq1_m, qh);
        const unsigned char *scale = p + offsetof(bl_iq1_m, scale);
        unsigned bits = 0;
        float d;

        for (size_t i = 0; i < 4; i++)
            bits |= (bl_load_u16(scale + 2 * i) >> 12u) << 4 * i;
        d = bl_f32_from_f16((uint16_t)bits);
        for (size_t k = 0; k < BL_IQ1_LEN / 8; k++, out += 8) {
            unsigned nibble = qh[k / 2] >> k % 2 * 4;
            unsigned three = bl_load_u16(scale + k / 8 * 2) >> k % 8 / 2 * 3 & 7u;

            put_8(out, d * (float)(2 * three + 1), q[k] | (nibble & 7) << 8, nibble >> 3 & 1);
        }
    }
}
