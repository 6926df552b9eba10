/* encode_iq4_nl.c - see the header; the choice of scale and codes is in search_symmetric.c. */
#include "quantize/encode_iq4_nl.h"

#include "formats/block/iq4_nl.h"
#include "quantize/nibbles.h"
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <string.h>

enum { LEN = BL_IQ4_NL_LEN };

static const bl_grid grid = { BL_GRID_IQ4, -127, 113 };

void bl_iq4_nl_put_codes(void *block, const uint8_t code[32])
{
    bl_nibbles_put((uint8_t *)block + offsetof(bl_iq4_nl, q), code);
}

static void put_block(unsigned char *to, uint16_t d, const uint8_t code[32])
{
    memcpy(to, &d, sizeof(d));
    bl_iq4_nl_put_codes(to, code);
}

void bl_iq4_nl_encode(void *out, const float *x, size_t n)
{
    unsigned char *to = out;

    assert(n % LEN == 0);
    for (size_t at = 0; at < n; at += LEN, to += sizeof(bl_iq4_nl)) {
        bl_symmetric_block values;
        uint8_t code[LEN];
        uint16_t d;

        bl_symmetric_load(&values, x + at, NULL, LEN, LEN, false, 0.0);
        bl_symmetric_plain(&d, code, &values, &grid, BL_STEP_F16);
        put_block(to, d, code);
    }
}

void bl_iq4_nl_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_symmetric_search_row(out, sizeof(bl_iq4_nl), put_block, row, importance, n_cols, &grid);
}
