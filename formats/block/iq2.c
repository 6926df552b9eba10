/* iq2.c - decode. */
#include "formats/block/iq2.h"

#include "base/clones.h"
#include "formats/block/iq_values.h"

/* 0, 1, 2 stand for 8, 25, 43. */
#define VALUE(code, j) (8 + 17 * ((code) >> 2 * (j)&3) + ((code) >> 2 * (j)&3) / 2)
#define G(code)                                                                                    \
    {                                                                                              \
        VALUE(code, 0), VALUE(code, 1), VALUE(code, 2), VALUE(code, 3), VALUE(code, 4),            \
            VALUE(code, 5), VALUE(code, 6), VALUE(code, 7)                                         \
    }

static const uint8_t grid_xxs[256][8] = {
#include "formats/block/iq2_xxs_table.inc"
};

static const uint8_t grid_xs[512][8] = {
#include "formats/block/iq2_xs_table.inc"
};

static const uint8_t grid_s[1024][8] = {
#include "formats/block/iq2_s_table.inc"
};

static inline float step_of(float d, unsigned scale)
{
    return d * ((float)scale + 0.5f) * 0.25f;
}

BL_CLONES
void bl_iq2_xxs_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ2_LEN; b++, p += sizeof(bl_iq2_xxs)) {
        const unsigned char *q = p + offsetof(bl_iq2_xxs, q);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ2_LEN / 32; g++, q += 8, out += 32) {
            uint32_t word = bl_load_u32(q + 4);

            for (size_t k = 0; k < 4; k++)
                bl_iq_sign_8(value + 8 * k, bl_load_u64(grid_xxs[q[k]]),
                             bl_iq_even_signs(word >> 7 * k & 127));
            bl_iq_put(out, step_of(d, word >> 28), value, 32);
        }
    }
}

BL_CLONES
void bl_iq2_xs_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ2_LEN; b++, p += sizeof(bl_iq2_xs)) {
        const unsigned char *scale = p + offsetof(bl_iq2_xs, scale);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ2_LEN / 32; g++, out += 32) {
            const unsigned char *q = p + offsetof(bl_iq2_xs, q) + 8 * g;

            for (size_t k = 0; k < 4; k++) {
                unsigned word = bl_load_u16(q + 2 * k);

                bl_iq_sign_8(value + 8 * k, bl_load_u64(grid_xs[word & 511]),
                             bl_iq_even_signs(word >> 9));
            }
            bl_iq_put(out, step_of(d, scale[g] & 15), value, 16);
            bl_iq_put(out + 16, step_of(d, scale[g] >> 4), value + 16, 16);
        }
    }
}

BL_CLONES
void bl_iq2_s_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */
    int8_t value[32];

    for (size_t b = 0; b < n / BL_IQ2_LEN; b++, p += sizeof(bl_iq2_s)) {
        const unsigned char *qh = p + offsetof(bl_iq2_s, qh);
        const unsigned char *scale = p + offsetof(bl_iq2_s, scale);
        float d = bl_f32_from_f16(bl_load_u16(p));

        for (size_t g = 0; g < BL_IQ2_LEN / 32; g++, out += 32) {
            const unsigned char *q = p + offsetof(bl_iq2_s, q) + 4 * g;
            const unsigned char *sign = p + offsetof(bl_iq2_s, sign) + 4 * g;

            for (size_t k = 0; k < 4; k++)
                bl_iq_sign_8(value + 8 * k, bl_load_u64(grid_s[q[k] | (qh[g] >> 2 * k & 3u) << 8]),
                             sign[k]);
            bl_iq_put(out, step_of(d, scale[g] & 15), value, 16);
            bl_iq_put(out + 16, step_of(d, scale[g] >> 4), value + 16, 16);
        }
    }
}
