/*
 * cache_repair.h - a shard of a cache that was spoilt, with all its checksums made right: what a
 * decoder must bear is bytes that pass them.
 */
#ifndef BL_TESTS_CACHE_REPAIR_H
#define BL_TESTS_CACHE_REPAIR_H

#include "base/le.h"
#include "formats/logits/cache_layout.h"

#include <stdlib.h>
#include <string.h>

/* The hash of sequence i, whose index entry is at x; from `at` to `end` in the data. */
static inline void cache_repair_seq(unsigned char *f, const bl_cache_layout *l, uint32_t i,
                                    uint64_t end)
{
    unsigned char *x = f + l->index + (size_t)i * BL_CACHE_INDEX_BYTES;
    const uint64_t at = bl_get_u64(x);
    unsigned char *both;

    if (at > end || end > l->tokens - BL_CACHE_HEADER_BYTES)
        return;
    both = malloc(l->row_bytes + (size_t)(end - at));
    if (!both)
        return;
    memcpy(both, f + l->tokens + (size_t)i * l->row_bytes, l->row_bytes);
    memcpy(both + l->row_bytes, f + BL_CACHE_HEADER_BYTES + at, (size_t)(end - at));
    bl_put_u64(x + 8, bl_hash64(both, l->row_bytes + (size_t)(end - at)));
    free(both);
}

/* f[n], at least a header. */
static inline void cache_repair(unsigned char *f, size_t n)
{
    bl_cache_header header;
    bl_cache_layout l;
    bl_hash128 hash;

    bl_put_u64(f + 16, n);
    bl_put_u64(f + 376, bl_hash64(f, 376));
    if (bl_cache_unpack_header(&header, &l, f, n, "input", NULL) != BL_OK)
        return;
    for (uint32_t i = 0; i < l.n_seqs; i++)
        cache_repair_seq(f, &l, i,
                         i + 1 < l.n_seqs
                             ? bl_get_u64(f + l.index + (size_t)(i + 1) * BL_CACHE_INDEX_BYTES)
                             : header.data_bytes);
    hash = bl_hash128_of(f + l.tokens, (size_t)(l.index - l.tokens));
    bl_put_u64(f + 296, hash.low);
    bl_put_u64(f + 304, hash.high);
    bl_put_u64(f + 312, bl_hash64(f + l.index, (size_t)(l.tables - l.index)));
    bl_put_u64(f + 320, bl_hash64(f + l.tables, (size_t)(l.bytes - l.tables)));
    bl_put_u64(f + 376, bl_hash64(f, 376));
}

#endif
