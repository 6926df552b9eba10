/*
 * cache_reader.h - open a teacher's cache (formats/logits/cache.h) and read any sequence of it.
 *
 * Opening checks every shard's header and tables, and that the shards are all there and of one
 * cache; a sequence's bytes are compared with their hash each time. Thread-safe after opening.
 */
#ifndef BL_FORMATS_LOGITS_CACHE_READER_H
#define BL_FORMATS_LOGITS_CACHE_READER_H

#include "formats/logits/cache.h"

typedef struct bl_cache bl_cache;

/*
 * BL_E_IO, BL_E_FORMAT (damaged, truncated), BL_E_UNSUPPORTED (a later version), BL_E_MISMATCH
 * (shards of different caches: which field; a shard is missing: which, and of how many).
 */
BL_MUST_USE bl_status bl_cache_open(bl_cache **out, const char *path, struct bl_err *err);
void bl_cache_close(bl_cache *cache); /* NULL is allowed */

const bl_cache_info *bl_cache_info_of(const bl_cache *cache);
const char *bl_cache_path(const bl_cache *cache);
/* Bytes on the disk: all, and what the entries (or states), statistics, tokens of all take. */
typedef struct bl_cache_sizes {
    uint64_t n_scored, n_entries;
    uint64_t file, entries, statistics, tokens, tables, head;
} bl_cache_sizes;
bl_cache_sizes bl_cache_sizes_of(const bl_cache *cache);

/* Sequence i of the whole cache. BL_E_MISMATCH when its bytes are damaged. */
BL_MUST_USE bl_status bl_cache_read(bl_cache_seq *out, const bl_cache *cache, uint32_t seq,
                                    struct bl_err *err);

/* Hidden: rows [row, row + n) of the output head to out[n][hidden_size]. */
BL_MUST_USE bl_status bl_cache_read_head(float *out, const bl_cache *cache, uint64_t row,
                                         uint64_t n, struct bl_err *err);

#endif
