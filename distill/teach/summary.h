/*
 * summary.h - what a cache is worth, from the cache alone: every sequence of it is read, so every byte
 * is compared with its hash.
 */
#ifndef BL_DISTILL_SUMMARY_H
#define BL_DISTILL_SUMMARY_H

#include "base/progress.h"
#include "formats/logits/cache_reader.h"

/* Sums and means are over the positions that have an answer. */
typedef struct bl_cache_summary {
    uint64_t n_scored, n_entries;
    double mean_nll, perplexity; /* of the text in the teacher; nats */
    double mean_entropy;         /* nats */
    double mean_tail;
    double covered; /* share of positions whose target is among the ids */
    double mean_ids;
    uint32_t median_ids, p99_ids; /* so many at most have half, 99 % of the positions */
} bl_cache_summary;

/* progress (NULL: none) gets the bytes of the shards. Fails as reading does. */
BL_MUST_USE bl_status bl_cache_summarize(bl_cache_summary *out, const bl_cache *cache,
                                         int n_threads, bl_progress *progress, struct bl_err *err);

#endif
