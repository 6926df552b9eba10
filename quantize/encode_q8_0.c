/* encode_q8_0.c - see the header. The fast form has the shape that compilers vectorise. */
#include "quantize/encode_q8_0.h"

#include "base/clones.h"
#include "formats/block/q8_0.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/*
 * What a block is multiplied by: 1 / d, from d before it is rounded to F16. Zero stands for "all
 * codes are zero": where d is zero, where 1 / d would be infinite (d up to 2^-128, which decodes to
 * zeros whatever the codes are), and where a value was not finite.
 */
static inline float inverse_of(float d)
{
    float inverse = 1.0f / d;

    return isfinite(inverse) && isfinite(d) ? inverse : 0.0f;
}

void bl_q8_0_encode_ref(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % BL_Q8_0_LEN == 0);
    for (size_t b = 0; b < n / BL_Q8_0_LEN; b++, x += BL_Q8_0_LEN, to += sizeof(bl_q8_0)) {
        bl_q8_0 block;
        float d = bl_f32_from_bits(bl_amax_bits(x, BL_Q8_0_LEN)) / 127.0f;
        float inverse = inverse_of(d);

        block.d = bl_f16_from_f32(d);
        for (int i = 0; i < BL_Q8_0_LEN; i++)
            block.q[i] = inverse > 0.0f ? (int8_t)roundf(x[i] * inverse) : 0;
        memcpy(to, &block, sizeof(block));
    }
}

/*
 * v to the nearest integer, halves away from zero, as roundf does; |v| < 2^22. Casts truncate; the
 * remainder and its double are exact, so the double reaches one where the remainder is a half.
 */
static inline int32_t round_half_away(float v)
{
    int32_t whole = (int32_t)v;
    float rest = v - (float)whole;

    return whole + (int32_t)(rest + rest);
}

BL_CLONES
static void encode_blocks(unsigned char *restrict out, const float *restrict x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, x += BL_Q8_0_LEN, out += sizeof(bl_q8_0)) {
        float d = bl_f32_from_bits(bl_amax_bits(x, BL_Q8_0_LEN)) / 127.0f;
        float inverse = inverse_of(d);
        uint16_t d_bits = bl_f16_from_f32(d);

        memcpy(out, &d_bits, sizeof(d_bits));
        if (inverse > 0.0f) {
            for (int i = 0; i < BL_Q8_0_LEN; i++)
                out[2 + i] = (uint8_t)round_half_away(x[i] * inverse);
        } else {
            memset(out + 2, 0, BL_Q8_0_LEN);
        }
    }
}

void bl_q8_0_encode(void *out, const float *x, size_t n)
{
    assert(n % BL_Q8_0_LEN == 0);
    encode_blocks(out, x, n / BL_Q8_0_LEN);
}

void bl_q8_0_put_codes(void *block, const uint8_t code[32])
{
    uint8_t *q = (uint8_t *)block + offsetof(bl_q8_0, q);

    for (int j = 0; j < BL_Q8_0_LEN; j++)
        q[j] = code[j] ^ 0x80;
}

/* The search counts its codes from -127. */
static void put_block(unsigned char *to, uint16_t d, const uint8_t code[32])
{
    memcpy(to, &d, sizeof(d));
    for (int j = 0; j < BL_Q8_0_LEN; j++)
        to[2 + j] = (uint8_t)(code[j] - 127);
}

void bl_q8_0_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    static const bl_grid grid = { BL_GRID_INTEGERS, -127, 127 };

    bl_symmetric_search_row(out, sizeof(bl_q8_0), put_block, row, importance, n_cols, &grid);
}
