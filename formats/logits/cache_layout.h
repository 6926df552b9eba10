/*
 * cache_layout.h - what a shard of a cache says of itself, and where everything lies in it
 * (docs/format-cache.md, sections 2 to 4).
 *
 *     header | data of the sequences | tokens | index of the sequences | tables of codes
 *
 * Data comes first, so that hidden states are written as they come; the header is patched last.
 */
#ifndef BL_FORMATS_CACHE_LAYOUT_H
#define BL_FORMATS_CACHE_LAYOUT_H

#include "formats/logits/cache.h"
#include "formats/logits/cache_line.h"

enum {
    BL_CACHE_MAJOR = 1,
    BL_CACHE_MINOR = 0,
    BL_CACHE_HEADER_BYTES = 384,
    BL_CACHE_INDEX_BYTES = 24, /* of one sequence */
    BL_CACHE_MAX_SHARDS = 99999,
    BL_CACHE_MAX_POSITIONS = 1 << 21, /* so that entries of a sequence are 31 bits */
    BL_CACHE_MAX_VOCAB = (1 << 24) - 1,
    BL_CACHE_MAX_HIDDEN = 1 << 20,
    BL_CACHE_MAX_TABLES = 1 << 20
};

typedef struct bl_cache_header {
    bl_cache_info info;
    uint32_t i_shard;
    uint64_t data_bytes;
    uint32_t table_bytes; /* 0: hidden */
    bl_cache_widths widths;
    uint64_t n_scored, n_entries;
    bl_hash128 tokens; /* of the section */
    uint64_t index, tables;
} bl_cache_header;

typedef struct bl_cache_layout {
    uint32_t first_seq, n_seqs;            /* of the whole cache, that this shard has */
    uint64_t tokens, index, tables, bytes; /* offsets; the data is behind the header */
    uint32_t row_bytes;                    /* tokens of one sequence */
    uint32_t stat_bytes;                   /* statistics of one position */
} bl_cache_layout;

/* One sequence: where its data begins, counted from that of the first; it ends where the next begins. */
typedef struct bl_cache_index {
    uint64_t offset, hash; /* XXH3-64 of its tokens and its data */
    uint32_t n_scored, n_entries;
} bl_cache_index;

/* What is wrong with the numbers, for a sentence; NULL: they can be. */
const char *bl_cache_info_fault(const bl_cache_info *info);
/* The first field in which two caches differ, for a sentence; NULL: they are one. */
const char *bl_cache_info_difference(const bl_cache_info *a, const bl_cache_info *b);

/* False when the numbers make no file. */
bool bl_cache_layout_of(bl_cache_layout *out, const bl_cache_header *header);

void bl_cache_pack_header(unsigned char bytes[BL_CACHE_HEADER_BYTES],
                          const bl_cache_header *header);
/* BL_E_FORMAT or BL_E_UNSUPPORTED (a later version). path: for the sentence. */
BL_MUST_USE bl_status bl_cache_unpack_header(bl_cache_header *header, bl_cache_layout *layout,
                                             const unsigned char bytes[BL_CACHE_HEADER_BYTES],
                                             uint64_t file_bytes, const char *path,
                                             struct bl_err *err);

void bl_cache_pack_index(unsigned char bytes[BL_CACHE_INDEX_BYTES], const bl_cache_index *index);
void bl_cache_unpack_index(bl_cache_index *index, const unsigned char bytes[BL_CACHE_INDEX_BYTES]);

/* Tokens of a sequence, and where documents begin, in the layout's row_bytes. */
void bl_cache_pack_tokens(unsigned char *row, const bl_cache_seq *seq, uint32_t vocab_size);
/* token, start and target of a sequence with room for n_positions; what is wrong with them, or NULL. */
const char *bl_cache_unpack_tokens(bl_cache_seq *seq, const unsigned char *row,
                                   uint32_t n_positions, uint32_t vocab_size);

#endif
