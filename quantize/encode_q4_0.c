/* encode_q4_0.c - see the header. The fast form has the shape that compilers vectorise. */
#include "quantize/encode_q4_0.h"

#include "base/clones.h"
#include "formats/block/q4_0.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/nibbles.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { LEN = BL_Q4_0_LEN, HALF = BL_Q4_0_LEN / 2 };

/*
 * The code of one value: truncation of x / d + 8.5, where 1 / d is rounded first. An infinite
 * inverse (|d| below 2^-128) gives code 0, as it does for the peers; such a block decodes to zeros.
 */
static int encode_value(float x, float inverse)
{
    float v = x * inverse + 8.5f;

    if (isinf(inverse) || !(v > 0.0f))
        return 0;
    return v < 15.0f ? (int)v : 15;
}

void bl_q4_0_encode_ref(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % LEN == 0);
    for (size_t b = 0; b < n / LEN; b++, x += LEN, to += sizeof(bl_q4_0)) {
        bl_q4_0 block;
        uint32_t amax = bl_amax_bits(x, LEN);
        float d, inverse;
        int extreme = 0; /* the first value of largest magnitude */

        while ((bl_bits_from_f32(x[extreme]) & 0x7fffffffu) != amax)
            extreme++;
        d = x[extreme] / -8.0f;
        inverse = d != 0.0f ? 1.0f / d : 0.0f;
        block.d = bl_f16_from_f32(d);
        for (int j = 0; j < HALF; j++)
            block.q[j] =
                (uint8_t)(encode_value(x[j], inverse) | encode_value(x[j + HALF], inverse) << 4);
        memcpy(to, &block, sizeof(block));
    }
}

/*
 * Bits of the first value of largest magnitude. As signed integers the positive patterns are the
 * larger ones, as unsigned ones the negative: two maxima find the candidates, and only where both
 * have the same magnitude does their order matter.
 */
static inline uint32_t find_extreme(const float *x)
{
    int32_t positive = INT32_MIN;
    uint32_t negative = 0, magnitude;

    for (int i = 0; i < LEN; i++) {
        uint32_t bits = bl_bits_from_f32(x[i]);

        positive = (int32_t)bits > positive ? (int32_t)bits : positive;
        negative = bits > negative ? bits : negative;
    }
    magnitude = negative & 0x7fffffffu;
    if (positive < 0 || (uint32_t)positive < magnitude)
        return negative;
    if (negative <= 0x7fffffffu || (uint32_t)positive > magnitude)
        return (uint32_t)positive;
    while ((bl_bits_from_f32(*x) & 0x7fffffffu) != magnitude)
        x++;
    return bl_bits_from_f32(*x);
}

BL_CLONES
static void encode_blocks(unsigned char *restrict out, const float *restrict x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, x += LEN, out += sizeof(bl_q4_0)) {
        float d = bl_f32_from_bits(find_extreme(x)) / -8.0f;
        float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        uint16_t d_bits = bl_f16_from_f32(d);
        uint8_t code[LEN] = { 0 };

        for (int i = 0; i < LEN && isfinite(inverse) && isfinite(d); i++) {
            float v = x[i] * inverse + 8.5f; /* from just above 0 to just below 17 */

            code[i] = (uint8_t)(int32_t)(v < 15.0f ? v : 15.0f);
        }
        memcpy(out, &d_bits, sizeof(d_bits));
        for (int j = 0; j < HALF; j++)
            out[2 + j] = (uint8_t)(code[j] | code[j + HALF] << 4);
    }
}

void bl_q4_0_encode(void *out, const float *x, size_t n)
{
    assert(n % LEN == 0);
    encode_blocks(out, x, n / LEN);
}

void bl_q4_0_put_codes(void *block, const uint8_t code[32])
{
    bl_nibbles_put((uint8_t *)block + offsetof(bl_q4_0, q), code);
}

static void put_block(unsigned char *to, uint16_t d, const uint8_t code[32])
{
    memcpy(to, &d, sizeof(d));
    bl_q4_0_put_codes(to, code);
}

void bl_q4_0_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    static const bl_grid grid = { BL_GRID_INTEGERS, -8, 7 };

    bl_symmetric_search_row(out, sizeof(bl_q4_0), put_block, row, importance, n_cols, &grid);
}
