/*
 * cache_codes.h - numbers with a table of frequencies for every situation (docs/format-cache.md,
 * section 5).
 *
 * A number below 2^16 is a symbol, and bits behind it when it is large. Its context says in which
 * situation it comes: which number it is, and what is known around it. The tables belong to one
 * shard and are made from its own counts; a context that is rare uses the one that its group shares.
 *
 *     bl_cache_codes_begin(&codes, err);                  writing: gather
 *     bl_cache_codes_put(codes, NULL, context, number);   ... every number of the shard
 *     bl_cache_codes_pack(&bytes, codes, err);            make the tables
 *     bl_cache_codes_put(codes, &encoder, context, number); ... all again, in the same order
 *
 *     bl_cache_codes_unpack(&codes, bytes, n, path, err); reading
 *     bl_cache_codes_get(codes, &decoder, context);
 */
#ifndef BL_FORMATS_CACHE_CODES_H
#define BL_FORMATS_CACHE_CODES_H

#include "base/err.h"
#include "base/text.h"
#include "formats/logits/range_code.h"

#include <stddef.h>
#include <stdint.h>

/* Contexts are numbered through all groups; sizes follow from bl_cache_half() of what they are of. */
enum {
    BL_CODES_TARGET = 0,                    /* [32] by its probability */
    BL_CODES_NUMBER = 32,                   /* [21][14] by draws left and entropy */
    BL_CODES_COUNT = BL_CODES_NUMBER + 294, /* [21][21] by ids and draws left */
    BL_CODES_LEAST = BL_CODES_COUNT + 441,  /* [2][14] by set and entropy */
    BL_CODES_ABOVE = BL_CODES_LEAST + 28,   /* [2][14] the same */
    BL_CODES_CONTEXTS = BL_CODES_ABOVE + 28
};

/* 0 1 2 3 4 4 5 5 6 6 6 6 7 7 7 7 8 ...: two to a doubling. */
uint32_t bl_cache_half(uint32_t x);

typedef struct bl_cache_codes bl_cache_codes;

BL_MUST_USE bl_status bl_cache_codes_begin(bl_cache_codes **out, struct bl_err *err);
/* encoder NULL: only count. number < 2^16. */
void bl_cache_codes_put(bl_cache_codes *codes, bl_range_encoder *encoder, uint32_t context,
                        uint32_t number);
BL_MUST_USE bl_status bl_cache_codes_pack(bl_text *out, bl_cache_codes *codes, struct bl_err *err);

/* BL_E_FORMAT when the bytes are no tables. path: for the sentence. */
BL_MUST_USE bl_status bl_cache_codes_unpack(bl_cache_codes **out, const unsigned char *bytes,
                                            size_t n, const char *path, struct bl_err *err);
/* decoder->bad where the context has no table. */
uint32_t bl_cache_codes_get(const bl_cache_codes *codes, bl_range_decoder *decoder,
                            uint32_t context);
void bl_cache_codes_free(bl_cache_codes *codes); /* NULL is allowed */

#endif
