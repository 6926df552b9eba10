/*
 * small_cache.h - records of a teacher that is no model: sequences whose tokens, targets and entries
 * follow from their number, for tests of what reads a cache.
 */
#ifndef BL_TESTS_SMALL_CACHE_H
#define BL_TESTS_SMALL_CACHE_H

#include "distill/train/batches.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_VOCAB = 16, SMALL_POSITIONS = 8, SMALL_SEQS = 10 };

/* Two documents in a sequence, the second from position 1 + seq % 6 on. */
static inline bl_status small_read(const void *context, bl_cache_seq *s, uint32_t seq,
                                   struct bl_err *err)
{
    const bl_cache_info *info = context;
    const uint32_t cut = 1 + seq % 6, n = info->n_positions;
    const bool hidden = info->kind == BL_CACHE_HIDDEN;
    bl_status rc = bl_cache_seq_reserve(s, n, 3 * (size_t)n, info->hidden_size, err);
    uint32_t e = 0;

    if (rc != BL_OK)
        return rc;
    s->n_positions = n;
    for (uint32_t p = 0; p < n; p++) {
        const bool ends = p + 1 == cut || p + 1 == n;

        s->token[p] = (int32_t)((seq * 3 + p * 5) % SMALL_VOCAB);
        s->start[p] = p < cut ? 0 : cut;
        s->target[p] = ends ? -1 : (int32_t)((seq * 3 + (p + 1) * 5) % SMALL_VOCAB);
        s->tail[p] = ends || hidden ? 0 : 0.2f;
        s->entropy[p] = ends ? 0 : 1 + (float)p / 8;
        s->first[p] = e;
        for (uint32_t k = 0; k < 2 + p % 2 && !ends && !hidden; k++, e++) {
            s->id[e] = k * 3 + p % 3;
            s->weight[e] = 0.8f / (float)(2 + p % 2);
            s->count[e] = 1;
        }
        for (uint32_t k = 0; k < info->hidden_size; k++)
            s->hidden[p * info->hidden_size + k] = (float)(seq * 100 + p * 10 + k);
    }
    s->first[n] = e;
    return BL_OK;
}

static inline bl_cache_info small_info(bl_cache_kind kind)
{
    return (bl_cache_info){ .kind = kind,
                            .vocab_size = SMALL_VOCAB,
                            .n_positions = SMALL_POSITIONS,
                            .n_seqs = SMALL_SEQS,
                            .hidden_size = kind == BL_CACHE_HIDDEN ? 3 : 0,
                            .packing = { 1, 2 },
                            .model = { 3, 4 },
                            .name = "small" };
}

static inline bl_batch_source small_source(bl_cache_info *info)
{
    return (bl_batch_source){ .info = info, .read = small_read, .context = info };
}

#endif
