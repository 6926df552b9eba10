/* iq3.c - decode. */
#include "formats/block/iq3.h"

#include "base/clones.h"
#include "formats/block/iq_values.h"

#define CODE(code, j) ((code) >> 4 * (j)&7)
#define G(code)                                                                                    \
    {                                                                                              \
        VALUE(CODE(code, 0)), VALUE(CODE(code, 1)), VALUE(CODE(code, 2)), VALUE(CODE(code, 3))     \
    }

/* 4, 12, 20 to 52 in steps of 8, and 62. */
#define VALUE(code) (4 + 8 * (code) + (code) / 7 * 2)
static const uint8_t grid_xxs[256][4] = {
#include "formats/block/iq3_xxs_table.inc"
};
#undef VALUE

/* 1, 3, 5 to 15. */
#define VALUE(code) (1 + 2 * (code))
static const uint8_t grid_s[512][4] = {
#include "formats/block/iq3_s_table.inc"
};

static inline uint64_t two_entries(const uint8_t *first, const uint8_t *second)
{
    return bl_load_u32(first) | (uint64_t)bl_load_u32(second) << 32;
}

BL_CLONES
void bl_iq3_xxs_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ3_LEN; b++, p += sizeof(bl_iq3_xxs)) {
        const unsigned char *q = p + offsetof(bl_iq3_xxs, q);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ3_LEN / 32; g++, q += 8, out += 32) {
            uint32_t word = bl_load_u32(p + offsetof(bl_iq3_xxs, word) + 4 * g);

            for (size_t k = 0; k < 4; k++)
                bl_iq_sign_8(value + 8 * k, two_entries(grid_xxs[q[2 * k]], grid_xxs[q[2 * k + 1]]),
                             bl_iq_even_signs(word >> 7 * k & 127));
            bl_iq_put(out, d * ((float)(word >> 28) + 0.5f) * 0.5f, value, 32);
        }
    }
}

BL_CLONES
void bl_iq3_s_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ3_LEN; b++, p += sizeof(bl_iq3_s)) {
        const unsigned char *q = p + offsetof(bl_iq3_s, q), *qh = p + offsetof(bl_iq3_s, qh);
        const unsigned char *scale = p + offsetof(bl_iq3_s, scale);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ3_LEN / 32; g++, q += 8, out += 32) {
            const unsigned char *sign = p + offsetof(bl_iq3_s, sign) + 4 * g;

            for (size_t k = 0; k < 4; k++) {
                unsigned high = qh[g] >> 2 * k;

                bl_iq_sign_8(value + 8 * k,
                             two_entries(grid_s[q[2 * k] | (high & 1) << 8],
                                         grid_s[q[2 * k + 1] | (high & 2) << 7]),
                             sign[k]);
            }
            bl_iq_put(out, d * (float)(1 + 2 * (scale[g / 2] >> g % 2 * 4 & 15)), value, 32);
        }
    }
}
