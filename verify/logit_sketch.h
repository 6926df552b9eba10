/*
 * logit_sketch.h - sparse records (formats/logits/logits_sparse.h) from logits that pass in
 * vocabulary slices, so that tokens x vocabulary never exists.
 *
 * For each token: the running log-sum-exp, the likeliest tokens so far, and the highest priorities
 * z_v - ln u_v so far: as many as top and sample together have, and one for the threshold. When
 * all slices have passed, those of the top leave the second list, and the sample is what is first.
 * u_v comes from a hash of the record's number and v: the same logits give the same record.
 *
 * Memory: 16 * (2 n_top + n_samples + 1) + 24 bytes a token, 680 for 12 and 16.
 */
#ifndef BL_VERIFY_LOGIT_SKETCH_H
#define BL_VERIFY_LOGIT_SKETCH_H

#include "formats/logits/logits_sparse.h"
#include "verify/logit_stats.h"

typedef struct bl_logit_sketch {
    bl_logit_stats stats;
    uint64_t first_record;
    uint32_t n_top, n_samples, n_places; /* n_places: in both lists of a token */
    struct bl_logit_place *place;        /* [n_tokens][n_places] */
} bl_logit_sketch;

/*
 * Token i is record first_record + i. target[n_tokens] as in logit_stats.h, borrowed; n_top + n_samples at most
 * BL_LOGITS_MAX_KEPT.
 */
BL_MUST_USE bl_status bl_logit_sketch_init(bl_logit_sketch *out, uint32_t n_top, uint32_t n_samples,
                                           uint64_t first_record, const int32_t *target,
                                           size_t n_tokens, struct bl_err *err);
void bl_logit_sketch_release(bl_logit_sketch *sketch);

/* A bl_logits_fn (model/head.h) with the sketch as context: logits[0] is the reference. */
BL_MUST_USE bl_status bl_logit_sketch_add(void *sketch, size_t token, size_t n_tokens, uint64_t row,
                                          uint64_t n_rows, const float *const *logits,
                                          struct bl_err *err);

/* After the last slice. */
void bl_logit_sketch_record(bl_logits_sparse *out, const bl_logit_sketch *sketch, size_t token);

#endif
