/* encode_q6_k.c - see the header; the choice of scales and codes is in search_super.c. */
#include "quantize/encode_q6_k.h"

#include "formats/block/q6_k.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <string.h>

static const bl_super_format format = { { BL_GRID_INTEGERS, -32, 31 }, 16, -128, 127 };

void bl_q6_k_put_codes(void *block, const uint8_t code[256])
{
    uint8_t *low = (uint8_t *)block + offsetof(bl_q6_k, low);
    uint8_t *high = (uint8_t *)block + offsetof(bl_q6_k, high);

    for (int half = 0; half < 2; half++, code += 128, low += 64, high += 32) {
        for (int j = 0; j < 64; j++)
            low[j] = (uint8_t)((code[j] & 15) | (code[j + 64] & 15) << 4);
        for (int j = 0; j < 32; j++)
            high[j] = (uint8_t)((code[j] >> 4 & 3) | (code[j + 32] >> 4 & 3) << 2 |
                                (code[j + 64] >> 4 & 3) << 4 | (code[j + 96] >> 4 & 3) << 6);
    }
}

static void put_block(unsigned char *to, const bl_super_block *block)
{
    memcpy(to + offsetof(bl_q6_k, d), &block->d, sizeof(block->d));
    memcpy(to + offsetof(bl_q6_k, scale), block->scale, BL_Q6_K_LEN / 16);
    bl_q6_k_put_codes(to, block->code);
}

void bl_q6_k_encode(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % BL_Q6_K_LEN == 0);
    for (size_t at = 0; at < n; at += BL_Q6_K_LEN, to += sizeof(bl_q6_k)) {
        bl_super_block block;

        bl_super_plain(&block, x + at, &format);
        put_block(to, &block);
    }
}

void bl_q6_k_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    unsigned char *to = out;

    assert(n_cols % BL_Q6_K_LEN == 0);
    for (size_t at = 0; at < n_cols; at += BL_Q6_K_LEN, to += sizeof(bl_q6_k)) {
        bl_super_block block;

        bl_super_search(&block, row + at, importance ? importance + at : NULL, &format);
        put_block(to, &block);
    }
}
