/* encode_iq4_xs.c - see the header; the choice of scales and codes is in search_super.c. */
#include "quantize/encode_iq4_xs.h"

#include "formats/block/iq4_xs.h"
#include "quantize/nibbles.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <string.h>

static const bl_super_format format = { { BL_GRID_IQ4, -127, 113 }, 32, -32, 31 };

void bl_iq4_xs_put_codes(void *block, const uint8_t code[256])
{
    uint8_t *to = (uint8_t *)block + offsetof(bl_iq4_xs, q);

    for (size_t g = 0; g < BL_IQ4_XS_LEN / 32; g++)
        bl_nibbles_put(to + 16 * g, code + 32 * g);
}

static void put_block(unsigned char *to, const bl_super_block *block)
{
    uint8_t *low = to + offsetof(bl_iq4_xs, scale_low);
    uint16_t high = 0;

    memcpy(to, &block->d, sizeof(block->d));
    memset(low, 0, BL_IQ4_XS_LEN / 64);
    for (int g = 0; g < BL_IQ4_XS_LEN / 32; g++) {
        int s = block->scale[g] + 32;

        low[g / 2] = (uint8_t)(low[g / 2] | (s & 15) << g % 2 * 4);
        high = (uint16_t)(high | s >> 4 << 2 * g);
    }
    memcpy(to + offsetof(bl_iq4_xs, scale_high), &high, sizeof(high));
    bl_iq4_xs_put_codes(to, block->code);
}

void bl_iq4_xs_encode(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % BL_IQ4_XS_LEN == 0);
    for (size_t at = 0; at < n; at += BL_IQ4_XS_LEN, to += sizeof(bl_iq4_xs)) {
        bl_super_block block;

        bl_super_plain(&block, x + at, &format);
        put_block(to, &block);
    }
}

void bl_iq4_xs_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    unsigned char *to = out;

    assert(n_cols % BL_IQ4_XS_LEN == 0);
    for (size_t at = 0; at < n_cols; at += BL_IQ4_XS_LEN, to += sizeof(bl_iq4_xs)) {
        bl_super_block block;

        bl_super_search(&block, row + at, importance ? importance + at : NULL, &format);
        put_block(to, &block);
    }
}
