/* encode_mxfp4.c - see the header. */
#include "quantize/encode_mxfp4.h"

#include "formats/block/mxfp4.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/nibbles.h"
#include "quantize/search_symmetric.h"

#include <assert.h>

enum { LEN = BL_MXFP4_LEN };

void bl_mxfp4_put_codes(void *block, const uint8_t code[32])
{
    bl_nibbles_put((uint8_t *)block + offsetof(bl_mxfp4, q), code);
}

/* Half of the scale 2^(e - 127), whose products with twice E2M1's values are the block's values. */
static float half_scale(uint8_t e)
{
    return bl_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

/*
 * Number of midpoints between neighbours of E2M1 that the magnitude is past. Midpoints times the
 * scale are exact.
 */
static uint8_t encode_value(float x, float half)
{
    static const float twice_midpoint[7] = { 0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f };
    uint32_t bits = bl_bits_from_f32(x);
    float magnitude = bl_f32_from_bits(bits & 0x7fffffffu);
    int code = 0;

    for (int k = 0; k < 7; k++)
        code += magnitude > twice_midpoint[k] * half;
    return (uint8_t)(code ? code | (int)(bits >> 31 << 3) : 0);
}

void bl_mxfp4_encode(void *out, const float *x, size_t n)
{
    uint8_t *to = out;

    assert(n % LEN == 0);
    for (size_t b = 0; b < n / LEN; b++, x += LEN, to += sizeof(bl_mxfp4)) {
        uint32_t exponent = bl_amax_bits(x, LEN) >> 23;
        uint8_t code[LEN];

        to[0] = (uint8_t)(exponent > 2 ? exponent - 2 : 0);
        for (int j = 0; j < LEN; j++)
            code[j] = encode_value(x[j], half_scale(to[0]));
        bl_mxfp4_put_codes(to, code);
    }
}

/*
 * A block's values are x * 2^exponent, the largest |x| from 1 up to 2: e = exponent + 125 is plain,
 * where half of the scale, 2^(e - 128), is 2^-3 in units of 2^exponent. Tried are 7 below to 8 above.
 */
static void search_blocks(uint8_t *e, float *half, const bl_symmetric_block *b, const bl_grid *grid)
{
    bl_grid_steps steps;
    float error[BL_SYMMETRIC_GROUPS];
    uint8_t lane[BL_SYMMETRIC_GROUPS];

    for (int l = 0; l < BL_GRID_LANES; l++)
        steps.lane[l] = bl_f32_from_bits((uint32_t)(127 + l - 7) << 23);
    for (size_t g = 0; g < b->n_groups; g++) {
        steps.unit[g] = 0x1p-3f;
        steps.base[g] = 0.0f;
    }
    bl_grid_try(error, lane, grid, b->x, b->w, b->n_groups, LEN, &steps);
    for (size_t g = 0; g < b->n_groups; g++) {
        int best = b->exponent[g] + 125 + lane[g] - 7;

        if (bl_amax_bits(b->x + g * LEN, LEN) == 0)
            best = 0; /* as plain has it for zeros */
        best = best > 0 ? best : 0;
        best = best < 252 ? best : 252; /* past it 6 times the scale overflows */
        e[g] = (uint8_t)best;
        half[g] = bl_f32_from_bits((uint32_t)(best - 128 - b->exponent[g] + 127) << 23);
    }
}

void bl_mxfp4_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    static const bl_grid grid = { BL_GRID_E2M1, -12, 12 };
    double mean_square = bl_mean_square(row, n_cols);
    uint8_t *to = out;

    assert(n_cols % LEN == 0);
    for (size_t at = 0; at < n_cols; at += BL_SYMMETRIC_LEN) {
        size_t n = n_cols - at < BL_SYMMETRIC_LEN ? n_cols - at : BL_SYMMETRIC_LEN;
        uint8_t e[BL_SYMMETRIC_GROUPS], code[BL_SYMMETRIC_LEN];
        float half[BL_SYMMETRIC_GROUPS], xl[BL_SYMMETRIC_GROUPS], ll[BL_SYMMETRIC_GROUPS];
        float level[BL_SYMMETRIC_LEN];
        bl_symmetric_block b;

        bl_symmetric_load(&b, row + at, importance ? importance + at : NULL, n, LEN, false,
                          mean_square);
        search_blocks(e, half, &b, &grid);
        bl_grid_round(level, xl, ll, &grid, b.x, b.w, b.n_groups, LEN, half);
        bl_grid_codes(code, &grid, level, n);
        for (size_t g = 0; g < b.n_groups; g++, to += sizeof(bl_mxfp4)) {
            to[0] = e[g];
            bl_mxfp4_put_codes(to, code + g * LEN);
        }
    }
}
