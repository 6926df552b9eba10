/* encode_q5_0.c - see the header. */
#include "quantize/encode_q5_0.h"

#include "formats/block/q5_0.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/nibbles.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { LEN = BL_Q5_0_LEN };

void bl_q5_0_put_codes(void *block, const uint8_t code[32])
{
    unsigned char *to = block;
    uint32_t high = 0;

    for (int j = 0; j < LEN; j++)
        high |= (uint32_t)(code[j] >> 4 & 1) << j;
    memcpy(to + offsetof(bl_q5_0, high), &high, sizeof(high));
    bl_nibbles_put(to + offsetof(bl_q5_0, q), code);
}

/*
 * The code of one value: truncation of x / d + 16.5, where 1 / d is rounded first. An infinite
 * inverse (|d| below 2^-128) gives code 0, as it does for the peer; such a block decodes to zeros.
 */
static uint8_t encode_value(float x, float inverse)
{
    float v = x * inverse + 16.5f;

    if (isinf(inverse) || !(v > 0.0f))
        return 0;
    return (uint8_t)(v < 31.0f ? v : 31.0f);
}

void bl_q5_0_encode(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % LEN == 0);
    for (size_t b = 0; b < n / LEN; b++, x += LEN, to += sizeof(bl_q5_0)) {
        uint32_t amax = bl_amax_bits(x, LEN);
        uint8_t code[LEN];
        float d, inverse;
        uint16_t d_bits;
        int extreme = 0; /* the first value of largest magnitude */

        while ((bl_bits_from_f32(x[extreme]) & 0x7fffffffu) != amax)
            extreme++;
        d = x[extreme] / -16.0f;
        inverse = d != 0.0f ? 1.0f / d : 0.0f;
        d_bits = bl_f16_from_f32(d);
        memcpy(to, &d_bits, sizeof(d_bits));
        for (int j = 0; j < LEN; j++)
            code[j] = encode_value(x[j], inverse);
        bl_q5_0_put_codes(to, code);
    }
}

static void put_block(unsigned char *to, uint16_t d, const uint8_t code[32])
{
    memcpy(to, &d, sizeof(d));
    bl_q5_0_put_codes(to, code);
}

void bl_q5_0_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    static const bl_grid grid = { BL_GRID_INTEGERS, -16, 15 };

    bl_symmetric_search_row(out, sizeof(bl_q5_0), put_block, row, importance, n_cols, &grid);
}
