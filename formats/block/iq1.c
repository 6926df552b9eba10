/* iq1.c - decode. */
#include "formats/block/iq1.h"

#include "base/clones.h"
#include "formats/block/iq_values.h"

/* Eighths above -1: 0, 8, 16 stand for -1, 0, 1. */
#define VALUE(code, j) (((code) >> 2 * (j)&3) * 8)
#define G(code)                                                                                    \
    {                                                                                              \
        VALUE(code, 0), VALUE(code, 1), VALUE(code, 2), VALUE(code, 3), VALUE(code, 4),            \
            VALUE(code, 5), VALUE(code, 6), VALUE(code, 7)                                         \
    }

static const uint8_t grid[2048][8] = {
#include "formats/block/iq1_s_table.inc"
};

/* Eight values in eighths, shifted down or up by one: -9 to 9. No byte carries into another. */
static inline void shift_8(int8_t *out, unsigned entry, unsigned down)
{
    uint64_t above = bl_load_u64(grid[entry]) + (down ? 0 : 2 * BL_IQ_ONES);

    for (size_t j = 0; j < 8; j++)
        out[j] = (int8_t)((int)(above >> 8 * j & 0xff) - 9);
}

BL_CLONES
void bl_iq1_s_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ1_LEN; b++, p += sizeof(bl_iq1_s)) {
        const unsigned char *q = p + offsetof(bl_iq1_s, q);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ1_LEN / 32; g++, q += 4, out += 32) {
            unsigned word = bl_load_u16(p + offsetof(bl_iq1_s, qh) + 2 * g);

            for (size_t k = 0; k < 4; k++)
                shift_8(value + 8 * k, q[k] | (word >> 3 * k & 7) << 8, word >> 15);
            bl_iq_put(out, d * (float)(2 * (word >> 12 & 7) + 1) * 0.125f, value, 32);
        }
    }
}

BL_CLONES
void bl_iq1_m_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[16];

    for (size_t b = 0; b < n / BL_IQ1_LEN; b++, p += sizeof(bl_iq1_m)) {
        const unsigned char *q = p + offsetof(bl_iq1_m, q), *qh = p + offsetof(bl_iq1_m, qh);
        const unsigned char *scale = p + offsetof(bl_iq1_m, scale);
        unsigned bits = 0;
        float d;

        for (size_t i = 0; i < 4; i++)
            bits |= ((unsigned)bl_load_u16(scale + 2 * i) >> 12) << 4 * i;
        d = bl_f32_from_f16((uint16_t)bits) * 0.125f;
        for (size_t g = 0; g < BL_IQ1_LEN / 16; g++, q += 2, out += 16) {
            unsigned three = (unsigned)bl_load_u16(scale + g / 4 * 2) >> g % 4 * 3 & 7;

            shift_8(value, q[0] | (qh[g] & 7u) << 8, qh[g] & 8);
            shift_8(value + 8, q[1] | (qh[g] & 0x70u) << 4, qh[g] & 0x80);
            bl_iq_put(out, d * (float)(2 * three + 1), value, 16);
        }
    }
}
