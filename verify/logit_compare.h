/*
 * logit_compare.h - a model against sparse records of the reference (formats/logits), while its
 * logits pass in vocabulary slices.
 *
 * The target's probability and the likeliest token are compared exactly. The KL divergence is exact
 * over the top; over the tail it is estimated from the sample, without bias. With P and Q the two
 * probabilities of the whole tail, both known, and q' = q P / Q,
 *
 *     KL = sum over top of (p ln(p/q) - p + q)  +  (P ln(P/Q) - P + Q)
 *        + sum over tail of (p ln(p/q') - p + q')
 *
 * Every term is at least 0 and nearly a square of ln(p/q), so the sample's error is small where the
 * models are close, and what rounding p costs is smaller still. A token of the tail that only the
 * tested model finds likely would spoil that, as the sample hardly ever has it. So where the largest
 * q' of the tail is far above every p that the tail can have, this q is left out of the Q that q' and
 * ln(P/Q) are made with, and its own term is p ln(p/q') - p.
 *
 * Memory: about 4 * (n_top + n_samples) + 32 bytes a token, and the records.
 */
#ifndef BL_VERIFY_LOGIT_COMPARE_H
#define BL_VERIFY_LOGIT_COMPARE_H

#include "formats/logits/logits_sparse.h"
#include "verify/logit_stats.h"

typedef struct bl_logit_compare {
    const bl_logits_sparse *record; /* [n_tokens], borrowed */
    uint32_t n_places;              /* of every record */
    bl_logit_stats tail;            /* the tested model without the reference's top */
    float *z;                       /* [n_tokens][n_places], then the target's */
} bl_logit_compare;

typedef struct bl_logit_verdict {
    double kl, kl_variance; /* nats; the variance of the estimate, itself an estimate */
    double nll_base, nll;   /* of the target: reference, tested model */
    bool same_top;
} bl_logit_verdict;

/* All records have the same counts. target[n_tokens], as the records have it; borrowed. */
BL_MUST_USE bl_status bl_logit_compare_init(bl_logit_compare *out, const bl_logits_sparse *record,
                                            const int32_t *target, size_t n_tokens,
                                            struct bl_err *err);
void bl_logit_compare_release(bl_logit_compare *compare);

/* A bl_logits_fn (model/head.h) with the comparison as context: logits[0] is the tested model. */
BL_MUST_USE bl_status bl_logit_compare_add(void *compare, size_t token, size_t n_tokens,
                                           uint64_t row, uint64_t n_rows,
                                           const float *const *logits, struct bl_err *err);

/* After the last slice. */
bl_logit_verdict bl_logit_compare_verdict(const bl_logit_compare *compare, size_t token);

#endif
