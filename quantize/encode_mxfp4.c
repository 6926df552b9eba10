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

static const bl_grid grid = { BL_GRID_E2M1, -12, 12 };

/* The block's values are x * 2^exponent, the largest |x| from 1 up to 2: half its scale is 2^-3. */
static void search_block(uint8_t *to, const float *x, const float *w, int exponent)
{
    bl_grid_steps steps = { .unit = { 0x1p-3f } };
    float error, xl, ll, step, level[LEN];
    uint8_t lane, code[LEN];

    for (int l = 0; l < BL_GRID_LANES; l++) {
        int e =
            exponent + 125 + l - 7; /* kept from 0 to 252, past which 6 times the scale overflows */

        e = e < 0 ? 0 : e > 252 ? 252 : e;
        steps.lane[l] = bl_f32_from_bits((uint32_t)(e - exponent - 125 + 127) << 23);
    }
    bl_grid_try(&error, &lane, &grid, x, w, 1, LEN, &steps);
    step = steps.unit[0] * steps.lane[lane];
    bl_grid_round(level, &xl, &ll, &grid, x, w, 1, LEN, &step);
    bl_grid_codes(code, &grid, level, LEN);
    to[0] = (uint8_t)((int)(bl_bits_from_f32(step) >> 23) - 127 + 3 + exponent + 125);
    bl_mxfp4_put_codes(to, code);
}

void bl_mxfp4_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    double mean_square = bl_mean_square(row, n_cols);
    uint8_t *to = out;

    assert(n_cols % LEN == 0);
    for (size_t at = 0; at < n_cols; at += LEN, to += sizeof(bl_mxfp4)) {
        bl_symmetric_block b;

        if (bl_amax_bits(row + at, LEN) == 0) {
            bl_mxfp4_encode(to, row + at, LEN);
            continue;
        }
        bl_symmetric_load(&b, row + at, importance ? importance + at : NULL, LEN, LEN, false,
                          mean_square);
        search_block(to, b.x, b.w, b.exponent[0]);
    }
}
