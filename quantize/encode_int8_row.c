/* encode_int8_row.c - see the header. The fast forms have the shape that compilers vectorise. */
#include "quantize/encode_int8_row.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"

#include <math.h>

enum { LANES = 16, N_CANDIDATES = 26 };

static uint16_t scale_of(float amax, float half_range)
{
    const float least = 0x1p-23f;
    float scale = amax / half_range;

    return bl_bf16_from_f32(scale > least ? scale : least);
}

void bl_int8_row_encode_ref(int8_t *codes, uint16_t *scale_bf16, const float *row, size_t n_cols,
                            float half_range)
{
    float scale;

    *scale_bf16 = scale_of(bl_f32_from_bits(bl_amax_bits(row, n_cols)), half_range);
    scale = bl_f32_from_bf16(*scale_bf16);
    for (size_t j = 0; j < n_cols; j++)
        codes[j] = (int8_t)rintf(fminf(fmaxf(row[j] / scale, -128.0f), 127.0f));
}

/* Adding 1.5 x 2^23 rounds to an integer, halves to even; the clamp is first, as for the library. */
static inline float round_code(float x, float scale)
{
    const float even = 0x1.8p23f;
    float v = x / scale;

    v = v > -128.0f ? v : -128.0f;
    v = v < 127.0f ? v : 127.0f;
    return (v + even) - even;
}

BL_CLONES
static void encode_row(int8_t *restrict codes, const float *restrict row, float scale, size_t n)
{
    for (size_t j = 0; j < n; j++)
        codes[j] = (int8_t)round_code(row[j], scale);
}

void bl_int8_row_encode(int8_t *codes, uint16_t *scale_bf16, const float *row, size_t n_cols,
                        float half_range)
{
    *scale_bf16 = scale_of(bl_f32_from_bits(bl_amax_bits_of_run(row, n_cols)), half_range);
    encode_row(codes, row, bl_f32_from_bf16(*scale_bf16), n_cols);
}

static float add_lanes(const float lane[LANES])
{
    float sum[LANES];

    for (int i = 0; i < LANES; i++)
        sum[i] = lane[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    return sum[0];
}

/* sum h (x - y)^2 of a row under a scale, in 16 lanes and a fixed tree. */
BL_CLONES
static float error_of(const float *restrict row, const float *restrict importance, float scale,
                      size_t n)
{
    float lane[LANES] = { 0 };
    size_t j = 0;

    for (; j + LANES <= n; j += LANES)
        for (int i = 0; i < LANES; i++) {
            float d = row[j + (size_t)i] - round_code(row[j + (size_t)i], scale) * scale;
            float h = importance ? importance[j + (size_t)i] : 1.0f;

            lane[i] += h * (d * d);
        }
    for (; j < n; j++) {
        float d = row[j] - round_code(row[j], scale) * scale;

        lane[j % LANES] += (importance ? importance[j] : 1.0f) * (d * d);
    }
    return add_lanes(lane);
}

void bl_int8_row_search(int8_t *codes, uint16_t *scale_bf16, const float *row,
                        const float *importance, size_t n_cols)
{
    const float amax = bl_f32_from_bits(bl_amax_bits_of_run(row, n_cols));
    uint16_t best = scale_of(amax, 127.5f);
    float least = error_of(row, importance, bl_f32_from_bf16(best), n_cols);

    for (int k = 0; k < N_CANDIDATES; k++) {
        uint16_t scale = scale_of(amax, 127.0f + 1.25f * (float)k); /* to 158: a fifth is cut */
        float error = error_of(row, importance, bl_f32_from_bf16(scale), n_cols);

        if (error < least) {
            least = error;
            best = scale;
        }
    }
    *scale_bf16 = best;
    encode_row(codes, row, bl_f32_from_bf16(best), n_cols);
}
