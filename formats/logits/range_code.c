/* range_code.c - see range_code.h; the words of docs/format-cache.md, section 6. */
#include "formats/logits/range_code.h"

#include "base/alloc.h"

#include <assert.h>

enum { TOP_BYTE = 56 };

static const uint64_t least_range = (uint64_t)1 << TOP_BYTE;

void bl_range_begin(bl_range_encoder *encoder)
{
    encoder->n = 0;
    encoder->low = 0;
    encoder->range = UINT64_MAX;
}

static void put_byte(bl_range_encoder *e, unsigned char byte)
{
    if (e->n == e->room && !e->failed) {
        size_t room = e->room ? 2 * e->room : 4096;
        unsigned char *grown = bl_realloc(e->bytes, room, 1);

        e->failed = !grown;
        if (grown) {
            e->bytes = grown;
            e->room = room;
        }
    }
    if (!e->failed)
        e->bytes[e->n++] = byte;
}

/* All that was written is below 1, so a carry never leaves the first byte. */
static void add_carry(bl_range_encoder *e)
{
    size_t i = e->n;

    while (i > 0 && ++e->bytes[--i] == 0)
        ;
}

static void add_to_low(bl_range_encoder *e, uint64_t x)
{
    e->low += x;
    if (e->low < x)
        add_carry(e);
}

void bl_range_put(bl_range_encoder *encoder, uint64_t start, uint64_t size, unsigned bits)
{
    bl_range_encoder *e = encoder;
    const uint64_t step = e->range >> bits;

    assert(bits <= BL_RANGE_MAX_BITS && size > 0 && start + size <= (uint64_t)1 << bits);
    add_to_low(e, step * start);
    e->range = step * size;
    while (e->range < least_range) {
        put_byte(e, (unsigned char)(e->low >> TOP_BYTE));
        e->low <<= 8;
        e->range <<= 8;
    }
}

/* One byte is enough: [low, low + 2^56) has a number that ends in 56 zero bits, which need not be there. */
bool bl_range_end(bl_range_encoder *encoder)
{
    add_to_low(encoder, least_range - 1);
    put_byte(encoder, (unsigned char)(encoder->low >> TOP_BYTE));
    return !encoder->failed;
}

static unsigned char next_byte(bl_range_decoder *d)
{
    size_t i = d->at++;

    return i < d->n ? d->bytes[i] : 0;
}

void bl_range_open(bl_range_decoder *decoder, const unsigned char *bytes, size_t n)
{
    *decoder = (bl_range_decoder){ .bytes = bytes, .n = n, .range = UINT64_MAX };
    for (int i = 0; i < 8; i++)
        decoder->code = decoder->code << 8 | next_byte(decoder);
}

uint64_t bl_range_peek(bl_range_decoder *decoder, unsigned bits)
{
    const uint64_t end = (uint64_t)1 << bits;
    uint64_t at;

    decoder->range >>= bits; /* the step, until the symbol is taken */
    at = decoder->code / decoder->range;
    if (at >= end) {
        decoder->bad = true;
        at = end - 1;
    }
    return at;
}

void bl_range_take(bl_range_decoder *decoder, uint64_t start, uint64_t size)
{
    decoder->code -= decoder->range * start;
    decoder->range *= size;
    while (decoder->range < least_range) {
        decoder->code = decoder->code << 8 | next_byte(decoder);
        decoder->range <<= 8;
    }
}

/* The encoder wrote one byte for each time the range grew, and one at the end. */
bool bl_range_done(const bl_range_decoder *decoder)
{
    return !decoder->bad && decoder->at == decoder->n + 7;
}
