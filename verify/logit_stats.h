/*
 * logit_stats.h - what scoring needs of the logits of one or two models, gathered while they pass
 * in vocabulary slices, so that tokens x vocabulary never exists.
 *
 * For each token and model, online over slices with the running maximum m: sum e^(z - m), the
 * largest logit and its id (the lowest on ties), the logit of the target. With two models also
 * sum e^(zp - m)(zp - zq), from which KL(p || q) follows. p is model 0 (the base), q model 1.
 */
#ifndef BL_VERIFY_LOGIT_STATS_H
#define BL_VERIFY_LOGIT_STATS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One token in one model. */
typedef struct bl_logit_sum {
    double sum; /* of e^(z - max) */
    float max;
    float target; /* z of the target */
    uint32_t argmax;
} bl_logit_sum;

typedef struct bl_logit_stats {
    size_t n_tokens, n_models;
    const int32_t *target; /* [n_tokens]; borrowed */
    bl_logit_sum *token;   /* [n_tokens][n_models] */
    double *cross;         /* [n_tokens] sum e^(zp - max_p)(zp - zq); NULL with one model */
} bl_logit_stats;

/* n_models: 1 or 2. target[n_tokens]: the ids to score, borrowed. */
BL_MUST_USE bl_status bl_logit_stats_init(bl_logit_stats *out, size_t n_models,
                                          const int32_t *target, size_t n_tokens,
                                          struct bl_err *err);
void bl_logit_stats_release(bl_logit_stats *stats);

/* A bl_logits_fn (model/head.h) with the stats as context. */
BL_MUST_USE bl_status bl_logit_stats_add(void *stats, size_t token, size_t n_tokens, uint64_t row,
                                         uint64_t n_rows, const float *const *logits,
                                         struct bl_err *err);

/* Several models beside one base, each in a pair of its own: stats[n], n_models 2. */
typedef struct bl_logit_beside {
    bl_logit_stats *stats;
    size_t n;
} bl_logit_beside;

/* A bl_logits_fn with such a set as context: logits[0] is the base's, logits[1 + i] those for stats[i]. */
BL_MUST_USE bl_status bl_logit_beside_add(void *beside, size_t token, size_t n_tokens, uint64_t row,
                                          uint64_t n_rows, const float *const *logits,
                                          struct bl_err *err);

/* After the last slice. -ln p(target), in nats. */
double bl_logit_stats_nll(const bl_logit_stats *stats, size_t token, size_t model);
/* KL(p || q) in nats; not rounded up to 0: equal models give exactly 0, others can err by 1e-7. */
double bl_logit_stats_kl(const bl_logit_stats *stats, size_t token);
/* Whether both models put the same id on top. */
bool bl_logit_stats_same_top(const bl_logit_stats *stats, size_t token);

#endif
