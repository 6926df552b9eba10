/*
 * draw.h - what a teacher says of a token, from logits that pass in vocabulary slices, so that
 * tokens x vocabulary never exists.
 *
 * For each token, online with the running maximum m: sum e^(z - m), sum e^(z - m) (z - m), the
 * target's logit. Beside them, of the kind:
 *
 *     sampled   N ids, each drawn from what has passed: in a chunk of mass a behind mass b, draw i
 *               takes u_i uniform on [0, 1) and moves to the chunk when u_i < a / (a + b), to the id
 *               at u_i (a + b) of its running sum. After all chunks the draws are independent and
 *               each is v with probability p_v, whatever the order and the sizes (weighted reservoir
 *               sampling with replacement; Chao 1982, Efraimidis and Spirakis 2006).
 *     top-k     a heap of the k largest logits; the lower id on ties.
 *     mixed     verify/logit_sketch.h: the likeliest, and a priority sample of the others.
 *     hidden    nothing more: states are kept elsewhere.
 *
 * u_i is a hash of seed, record, chunk and i. A chunk is what a slice has of 1,024 ids from a multiple of
 * 1,024 on; slices follow from the shape of the head. So a record depends on logits, seed and its number,
 * and on nothing else: not on threads, memory, or what else is in the run.
 *
 * Memory: bl_draw_token_bytes(). Source: Anshumann et al., arXiv 2503.16870 (RS-KD, temperature 1).
 */
#ifndef BL_DISTILL_DRAW_H
#define BL_DISTILL_DRAW_H

#include "formats/logits/cache.h"
#include "verify/logit_sketch.h"

enum { BL_DRAW_MAX_MIXED = BL_LOGITS_MAX_KEPT }; /* n_top + n_draws of a mixed record */

typedef struct bl_draw_sum {
    double sum;    /* of e^(z - max) */
    double moment; /* of e^(z - max) (z - max) */
    float max, target;
} bl_draw_sum;

typedef struct bl_draw {
    bl_cache_kind kind;
    uint32_t n_draws, n_top;
    uint64_t seed, first_record;
    size_t n_tokens;
    const int32_t *target; /* [n_tokens]; borrowed */
    bl_draw_sum *sum;      /* [n_tokens] */
    uint32_t *id;          /* sampled: [n_tokens][n_draws] */
    struct bl_draw_heap *heap;
    struct bl_draw_place *place; /* top-k: [n_tokens][n_top] */
    bl_logit_sketch sketch;      /* mixed */
} bl_draw;

/*
 * Of info: kind, n_draws, n_top and seed. Token i is record first_record + i and is followed by
 * target[i] >= 0.
 */
BL_MUST_USE bl_status bl_draw_init(bl_draw *out, const bl_cache_info *info, uint64_t first_record,
                                   const int32_t *target, size_t n_tokens, struct bl_err *err);
void bl_draw_release(bl_draw *draw);

/* Bytes that a token takes meanwhile. */
uint64_t bl_draw_token_bytes(const bl_cache_info *info);

/* A bl_logits_fn (model/head.h) with the draw as context. */
BL_MUST_USE bl_status bl_draw_add(void *draw, size_t token, size_t n_tokens, uint64_t row,
                                  uint64_t n_rows, const float *const *logits, struct bl_err *err);

/* A token's record, as in bl_cache_seq. */
typedef struct bl_draw_record {
    float log_p, entropy, log_sum, tail;
    uint32_t n;
    uint32_t id[BL_CACHE_MAX_KEPT]; /* ascending */
    float weight[BL_CACHE_MAX_KEPT];
    uint32_t count[BL_CACHE_MAX_KEPT];
} bl_draw_record;

/* After the last slice. Thread-safe for different records. */
void bl_draw_record_of(bl_draw_record *out, const bl_draw *draw, size_t token);

#endif
