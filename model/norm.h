/*
 * norm.h - RMSNorm of whole activations with weights from the checkpoint.
 */
#ifndef BL_MODEL_NORM_H
#define BL_MODEL_NORM_H

#include "model/block.h"
#include "model/weights.h"

/* y[n_rows][n] = RMSNorm(x) with w[n], rows in parallel. y may be x. Fails with BL_E_CANCELLED. */
typedef struct bl_norm {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx, n_rows, n;
    const float *w; /* [n] */
    float eps;
} bl_norm;

BL_MUST_USE bl_status bl_norm_run(const bl_norm *norm, int n_threads, struct bl_err *err);

/* out[n_tokens][hidden] = RMSNorm(the block's hidden states) with the layer's norm `suffix`. */
BL_MUST_USE bl_status bl_norm_block(float *out, const bl_block *block, uint32_t layer,
                                    const char *suffix, const bl_weights *weights,
                                    struct bl_err *err);

/*
 * dx[n_rows][n] += and the gradient of the layer's learned norm `suffix` +=, from dy[n_rows][n] and
 * the norm's input x. Memory: n floats for every BL_ROWS_BLOCK rows. layer -1: suffix is the whole name.
 */
typedef struct bl_norm_backward {
    int64_t layer;
    const char *suffix;
    float *dx;
    const float *dy, *x;
    size_t lddx, lddy, ldx, n_rows, n;
    float eps;
} bl_norm_backward;

BL_MUST_USE bl_status bl_norm_backward_run(const bl_norm_backward *norm, const bl_weights *weights,
                                           struct bl_err *err);

#endif
