/* encode_int4_group.c - see the header. The fast form has the shape that compilers vectorise. */
#include "quantize/encode_int4_group.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"
#include "formats/dtype/amax.h"

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
