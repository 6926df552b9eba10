/* symmetric_block.c - see the header. */
#include "quantize/symmetric_block.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <math.h>

enum { LANES = 16 };

BL_CLONES
double bl_mean_square(const float *x, size_t n)
{
    double lane[LANES] = { 0 };
    size_t whole = n / LANES * LANES;

    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    }
    for (size_t i = whole; i < n; i++)
        lane[i - whole] += (double)x[i] * (double)x[i];
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    }
    return n ? lane[0] / (double)n : 0.0;
}

/* x * 2^e for e from -252 to 254: exact but for overflow and what falls below the subnormals. */
static inline float times_power(float x, int e)
{
    float first = bl_f32_from_bits((uint32_t)(e / 2 + 127) << 23);
    float second = bl_f32_from_bits((uint32_t)(e - e / 2 + 127) << 23);

    return x * first * second;
}

/* The exponent e of x = +-m 2^e, 1 <= m < 2, from -149; 0 for zero. */
static int exponent_of(float x)
{
    uint32_t magnitude = bl_bits_from_f32(x) & 0x7fffffffu;

    if (magnitude == 0)
        return 0;
    if (magnitude < 0x00800000u) /* subnormal: exact as an integer */
        return (int)(bl_bits_from_f32((float)(int32_t)magnitude) >> 23) - 127 - 149;
    return (int)(magnitude >> 23) - 127;
}

BL_CLONES
static void divide_by_power(float *restrict out, const float *restrict x, size_t n, int e)
{
    float first = times_power(1.0f, -e / 2), second = times_power(1.0f, -e - -e / 2);

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * first * second;
}

/* w holds the importance, and becomes the weights. */
BL_CLONES
static void weigh_known(float *restrict w, const float *restrict x, size_t n, float m)
{
    const float floor = 0x1p-30f;

    for (size_t i = 0; i < n; i++) {
        float h = w[i] > floor ? w[i] : floor;

        w[i] = h * sqrtf(m + x[i] * x[i]);
    }
}

static void weigh_unknown(float *restrict w, const float *restrict x, size_t n, float m)
{
    float rms = sqrtf(m);

    for (size_t i = 0; i < n; i++)
        w[i] = rms + fabsf(x[i]);
}

/* m * 2^(-2 exponent) as F32; where a group lies that far below its row, any large number does. */
static float scaled_mean_square(double mean_square, int exponent)
{
    const double largest = 0x1p90;
    double m = ldexp(mean_square, -2 * exponent);

    return (float)(m < largest ? m : largest);
}

void bl_symmetric_load(bl_symmetric_block *block, const float *x, const float *importance, size_t n,
                       size_t group, bool together, double mean_square)
{
    size_t part = together ? n : group;

    assert(n <= BL_SYMMETRIC_LEN && group > 0 && group % LANES == 0 && n % group == 0);
    block->n_groups = n / group;
    block->group = group;
    for (size_t at = 0; at < n; at += part) {
        int exponent = exponent_of(bl_f32_from_bits(bl_amax_bits_of_run(x + at, part)));
        float m = scaled_mean_square(mean_square, exponent), largest = 0.0f;

        for (size_t g = at / group; g < (at + part) / group; g++)
            block->exponent[g] = exponent;
        divide_by_power(block->x + at, x + at, part, exponent);
        if (importance)
            largest = bl_f32_from_bits(bl_amax_bits_of_run(importance + at, part));
        if (importance && largest > 0.0f) {
            divide_by_power(block->w + at, importance + at, part, exponent_of(largest));
            weigh_known(block->w + at, block->x + at, part, m);
        } else {
            weigh_unknown(block->w + at, block->x + at, part, m);
        }
    }
}

float bl_extreme_of(const float *x, size_t n)
{
    uint32_t amax = bl_amax_bits_of_run(x, n);
    size_t j = 0;

    while (j < n && (bl_bits_from_f32(x[j]) & 0x7fffffffu) != amax)
        j++;
    return j < n ? x[j] : 0.0f;
}

uint16_t bl_step_to_bits(float step, int exponent, bl_step_format format)
{
    float actual = times_power(step, exponent);
    uint16_t bits = format == BL_STEP_F16 ? bl_f16_from_f32(actual) : bl_bf16_from_f32(actual);
    uint16_t largest = format == BL_STEP_F16 ? 0x7bff : 0x7f7f;

    return (bits & 0x7fff) > largest ? (uint16_t)((bits & 0x8000) | largest) : bits;
}

float bl_step_from_bits(uint16_t bits, int exponent, bl_step_format format)
{
    float actual = format == BL_STEP_F16 ? bl_f32_from_f16(bits) : bl_f32_from_bf16(bits);

    return times_power(actual, -exponent);
}

float bl_step_ulp(uint16_t bits, int exponent, bl_step_format format)
{
    int mantissa = format == BL_STEP_F16 ? 10 : 7, bias = format == BL_STEP_F16 ? 15 : 127;
    int stored = (bits & 0x7fff) >> mantissa;

    return times_power(times_power(1.0f, (stored > 1 ? stored : 1) - bias - mantissa), -exponent);
}
