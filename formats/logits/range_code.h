/*
 * range_code.h - an arithmetic coder: symbols of known probability to bytes and back, within 0.01 bit
 * of -log2 p each.
 *
 * Source: G. N. N. Martin, Range encoding (1979), with 64 bits of range, so that probabilities may
 * have 32 bits, and carries that walk back through the bytes. docs/format-cache.md has it exactly.
 * Which probability a symbol has is the caller's business: a symbol is the part
 * [start, start + size) of 2^bits.
 */
#ifndef BL_FORMATS_RANGE_CODE_H
#define BL_FORMATS_RANGE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_RANGE_MAX_BITS = 32 };

typedef struct bl_range_encoder {
    unsigned char *bytes; /* grows; the owner frees it with bl_free() */
    size_t n, room;
    uint64_t low, range;
    bool failed; /* out of memory: nothing is written any more */
} bl_range_encoder;

/* Begin a new stream in the memory that is there (zero-initialise before the first). */
void bl_range_begin(bl_range_encoder *encoder);
/* size > 0, start + size <= 2^bits. */
void bl_range_put(bl_range_encoder *encoder, uint64_t start, uint64_t size, unsigned bits);
/* Now bytes[n] is the stream. False when memory ran out. */
bool bl_range_end(bl_range_encoder *encoder);

typedef struct bl_range_decoder {
    const unsigned char *bytes; /* borrowed */
    size_t n, at;               /* at: bytes taken, those behind the end included (zeros) */
    uint64_t code, range;
    bool bad; /* the bytes are no stream; what comes out has no meaning, but no read fails */
} bl_range_decoder;

void bl_range_open(bl_range_decoder *decoder, const unsigned char *bytes, size_t n);
/* Where in 2^bits the next symbol lies; bl_range_take() of that symbol must follow. */
uint64_t bl_range_peek(bl_range_decoder *decoder, unsigned bits);
void bl_range_take(bl_range_decoder *decoder, uint64_t start, uint64_t size);
/* Whether the stream was sound and ends here. */
bool bl_range_done(const bl_range_decoder *decoder);

#endif
