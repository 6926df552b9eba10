/* encode_int4_group.c - see the header. The fast form has the shape that compilers vectorise. */
#include "quantize/encode_int4_group.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* The BF16 scale of a group, by its largest magnitude. */
static uint16_t scale_of(float amax)
{
    uint16_t scale = bl_bf16_from_f32(amax / 7.5f);

    return scale ? scale : bl_bf16_from_f32(0x1p-23f);
}

void bl_int4_group_encode_ref(void *packed, void *scales_bf16, const float *row, size_t n_cols,
                              size_t group_size)
{
    uint8_t *to = packed, *scales = scales_bf16;

    assert(group_size > 0 && group_size % 8 == 0 && n_cols % group_size == 0);
    for (size_t g = 0; g < n_cols / group_size; g++, row += group_size, scales += 2) {
        uint16_t scale_bits = scale_of(bl_f32_from_bits(bl_amax_bits(row, group_size)));
        float scale = bl_f32_from_bf16(scale_bits);

        memcpy(scales, &scale_bits, sizeof(scale_bits));
        for (size_t i = 0; i < group_size; i += 8, to += 4) {
            uint32_t word = 0;

            for (size_t k = 0; k < 8; k++) {
                float q = rintf(fminf(fmaxf(row[i + k] / scale, -8.0f), 7.0f));

                word |= (uint32_t)((int)q + 8) << (4 * k);
            }
            memcpy(to, &word, sizeof(word));
        }
    }
}

/* Code of one value, 0 to 15. */
static inline uint8_t encode_value(float x, float scale)
{
    const float even = 0x1.8p23f; /* adding it rounds to an integer, halves to even */
    float v = x / scale;

    v = v > -8.0f ? v : -8.0f; /* also what makes a NaN harmless */
    v = v < 7.0f ? v : 7.0f;
    return (uint8_t)((bl_bits_from_f32(v + even) & 15u) ^ 8u);
}

/* One group of n values, to n / 2 bytes: on a little-endian machine the same as words. */
BL_CLONES
static void encode_group(uint8_t *restrict out, const float *restrict x, float scale, size_t n)
{
    for (size_t j = 0; j < n / 2; j++)
        out[j] = (uint8_t)(encode_value(x[2 * j], scale) | encode_value(x[2 * j + 1], scale) << 4);
}

void bl_int4_group_encode(void *packed, void *scales_bf16, const float *row, size_t n_cols,
                          size_t group_size)
{
    uint8_t *to = packed, *scales = scales_bf16;

    assert(group_size > 0 && group_size % 8 == 0 && n_cols % group_size == 0);
    for (size_t g = 0; g < n_cols / group_size; g++, row += group_size, scales += 2) {
        uint16_t scale = scale_of(bl_f32_from_bits(bl_amax_bits_of_run(row, group_size)));

        memcpy(scales, &scale, sizeof(scale));
        encode_group(to, row, bl_f32_from_bf16(scale), group_size);
        to += group_size / 2;
    }
}

void bl_int4_group_put_codes(void *packed, const uint8_t *code, size_t n)
{
    uint8_t *to = packed;

    assert(n % 8 == 0);
    for (size_t j = 0; j < n / 2; j++)
        to[j] = (uint8_t)((code[2 * j] & 15) | (code[2 * j + 1] & 15) << 4);
}

/* A scale of zero is lifted as in the plain method; its codes are those of zero. */
static void lift(uint16_t *scale, uint8_t *code, size_t n)
{
    if ((*scale & 0x7fff) == 0) {
        *scale = scale_of(0.0f);
        memset(code, 8, n);
    }
}

void bl_int4_group_search(void *packed, void *scales_bf16, const float *row,
                          const float *importance, size_t n_cols, size_t group_size)
{
    static const bl_grid grid = { BL_GRID_INTEGERS, -8, 7 };
    const size_t most = BL_SYMMETRIC_LEN / group_size * group_size;
    double mean_square = bl_mean_square(row, n_cols);
    uint8_t *to = packed, *scales = scales_bf16;

    assert(group_size > 0 && group_size <= BL_SYMMETRIC_LEN && n_cols % group_size == 0);
    for (size_t at = 0; at < n_cols; at += most) {
        size_t n = n_cols - at < most ? n_cols - at : most;
        bl_symmetric_block values;
        uint16_t scale[BL_SYMMETRIC_GROUPS];
        uint8_t code[BL_SYMMETRIC_LEN];

        bl_symmetric_load(&values, row + at, importance ? importance + at : NULL, n, group_size,
                          false, mean_square);
        bl_symmetric_search(scale, code, &values, &grid, BL_STEP_BF16);
        for (size_t g = 0; g < n / group_size; g++, scales += 2) {
            lift(&scale[g], code + g * group_size, group_size);
            memcpy(scales, &scale[g], sizeof(scale[g]));
        }
        bl_int4_group_put_codes(to, code, n);
        to += n / 2;
    }
}
