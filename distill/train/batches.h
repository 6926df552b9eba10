/*
 * batches.h - which sequences of the teacher's cache make up a step, and their records as one batch.
 *
 * All sequences in an order that (seed, epoch) gives, then all again in the next one's; step s takes the
 * next batch * accumulate of them, across the end of an epoch where it falls. So what a step sees is a
 * function of (seed, s), and going on needs no state.
 */
#ifndef BL_DISTILL_BATCHES_H
#define BL_DISTILL_BATCHES_H

#include "base/err.h"
#include "distill/train/student.h"
#include "formats/logits/cache.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the records come from: a cache (bl_batch_source_of), or a test's. */
typedef struct bl_batch_source {
    const bl_cache_info *info;
    bl_status (*read)(const void *context, bl_cache_seq *out, uint32_t seq, struct bl_err *err);
    bl_teacher_head_fn head; /* NULL: none */
    void *context;
} bl_batch_source;

typedef struct bl_batches_options {
    uint32_t batch;      /* sequences that are computed together */
    uint32_t accumulate; /* batches of a step */
    uint64_t seed;
    bool bucket;     /* top-k: give the tail; else weights are made to add up to 1 */
    bool no_teacher; /* tokens and targets only */
} bl_batches_options;

typedef struct bl_batches bl_batches;

/* source and what it names are borrowed. */
BL_MUST_USE bl_status bl_batches_new(bl_batches **out, const bl_batch_source *source,
                                     const bl_batches_options *options, struct bl_err *err);
void bl_batches_free(bl_batches *batches); /* NULL is allowed */

/* Sequence number k of all that are ever taken: k / n_seqs is its epoch. */
uint32_t bl_batches_sequence(bl_batches *batches, uint64_t k);

/*
 * Batch i_batch (of `accumulate`) of step `step`, from 0. The arrays are those of `batches` and stay
 * until the next call. Fails as reading does; BL_E_MISMATCH when a position has weights that are none.
 */
BL_MUST_USE bl_status bl_batches_gather(bl_batch *out, bl_batches *batches, uint64_t step,
                                        uint32_t i_batch, struct bl_err *err);

#endif
