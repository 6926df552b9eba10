/* encode_q3_k.c - see the header; the choice of scales and codes is in search_super.c. */
#include "quantize/encode_q3_k.h"

#include "formats/block/q3_k.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <string.h>

static const bl_super_format format = { { BL_GRID_INTEGERS, -4, 3 }, 16, -32, 31 };

void bl_q3_k_put_codes(void *block, const uint8_t code[256])
{
    uint8_t *high = (uint8_t *)block + offsetof(bl_q3_k, high);
    uint8_t *low = (uint8_t *)block + offsetof(bl_q3_k, q);

    for (int j = 0; j < 32; j++) {
        int bits = 0;

        for (int k = 0; k < 8; k++)
            bits |= (code[j + 32 * k] >> 2 & 1) << k;
        high[j] = (uint8_t)bits;
    }
    for (int half = 0; half < 2; half++, code += 128, low += 32) {
        for (int j = 0; j < 32; j++)
            low[j] = (uint8_t)((code[j] & 3) | (code[j + 32] & 3) << 2 | (code[j + 64] & 3) << 4 |
                               (code[j + 96] & 3) << 6);
    }
}

static void put_block(unsigned char *to, const bl_super_block *block)
{
    uint8_t *scale = to + offsetof(bl_q3_k, scale);

    memcpy(to + offsetof(bl_q3_k, d), &block->d, sizeof(block->d));
    memset(scale, 0, 12);
    for (int g = 0; g < BL_Q3_K_LEN / 16; g++) {
        int s = block->scale[g] + 32;

        scale[g % 8] = (uint8_t)(scale[g % 8] | (s & 15) << g / 8 * 4);
        scale[8 + g % 4] = (uint8_t)(scale[8 + g % 4] | s >> 4 << g / 4 * 2);
    }
    bl_q3_k_put_codes(to, block->code);
}

void bl_q3_k_encode(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % BL_Q3_K_LEN == 0);
    for (size_t at = 0; at < n; at += BL_Q3_K_LEN, to += sizeof(bl_q3_k)) {
        bl_super_block block;

        bl_super_plain(&block, x + at, &format);
        put_block(to, &block);
    }
}

void bl_q3_k_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    unsigned char *to = out;

    assert(n_cols % BL_Q3_K_LEN == 0);
    for (size_t at = 0; at < n_cols; at += BL_Q3_K_LEN, to += sizeof(bl_q3_k)) {
        bl_super_block block;

        bl_super_search(&block, row + at, importance ? importance + at : NULL, &format);
        put_block(to, &block);
    }
}
