/* encode_fp8_block.c - see the header. The fast form has the shape that compilers vectorise. */
#include "quantize/encode_fp8_block.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = BL_FP8_BLOCK, LARGEST_CODE = 448 };

static float scale_of(uint32_t amax_bits, bool power_of_two)
{
    const float least = 0x1p-126f;
    float scale = bl_f32_from_bits(amax_bits) / (float)LARGEST_CODE;

    if (!(scale > least))
        return least;
    if (power_of_two) { /* up to the next one: the mantissa becomes zero */
        uint32_t bits = bl_bits_from_f32(scale) + 0x7fffffu;

        scale = bl_f32_from_bits(bits & 0x7f800000u);
    }
    return scale;
}

void bl_fp8_block_encode_ref(uint8_t *codes, float *scales, const float *rows, size_t n_rows,
                             size_t n_cols, bool power_of_two)
{
    for (size_t k = 0; k * BLOCK < n_cols; k++) {
        size_t end = (k + 1) * BLOCK < n_cols ? (k + 1) * BLOCK : n_cols;
        float amax = 0;

        for (size_t i = 0; i < n_rows; i++)
            for (size_t j = k * BLOCK; j < end; j++)
                amax = fmaxf(amax, fabsf(rows[i * n_cols + j]));
        scales[k] = scale_of(bl_bits_from_f32(amax), power_of_two);
        for (size_t i = 0; i < n_rows; i++)
            for (size_t j = k * BLOCK; j < end; j++)
                codes[i * n_cols + j] = bl_f8e4m3_from_f32(rows[i * n_cols + j] / scales[k]);
    }
}

/*
 * E4M3 of a finite value, saturating. A normal code is the value's exponent and three bits of its
 * mantissa, rounded to even, the exponent 120 less; for a subnormal one the addition of 2^14, whose
 * last bit is 2^-9, does the rounding.
 */
static inline uint8_t code_of(float x)
{
    uint32_t bits = bl_bits_from_f32(x), sign = bits >> 24 & 0x80u;
    float v = bl_f32_from_bits(bits & 0x7fffffffu);
    uint32_t normal, subnormal;

    v = v < (float)LARGEST_CODE ? v : (float)LARGEST_CODE;
    bits = bl_bits_from_f32(v);
    normal = ((bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20) - (120u << 3);
    subnormal = bl_bits_from_f32(v + 0x1p14f) - 0x46800000u;
    return (uint8_t)((v < 0x1p-6f ? subnormal : normal) | sign);
}

BL_CLONES
static void encode_run(uint8_t *restrict codes, const float *restrict x, float scale, size_t n)
{
    for (size_t j = 0; j < n; j++)
        codes[j] = code_of(x[j] / scale);
}

void bl_fp8_block_encode(uint8_t *codes, float *scales, const float *rows, size_t n_rows,
                         size_t n_cols, bool power_of_two)
{
    assert(n_rows <= BLOCK);
    for (size_t k = 0; k * BLOCK < n_cols; k++) {
        size_t first = k * BLOCK, n = n_cols - first < BLOCK ? n_cols - first : BLOCK;
        uint32_t amax = 0;

        for (size_t i = 0; i < n_rows; i++) {
            uint32_t of_row = bl_amax_bits_of_run(rows + i * n_cols + first, n);

            amax = of_row > amax ? of_row : amax;
        }
        scales[k] = scale_of(amax, power_of_two);
        for (size_t i = 0; i < n_rows; i++)
            encode_run(codes + i * n_cols + first, rows + i * n_cols + first, scales[k], n);
    }
}
