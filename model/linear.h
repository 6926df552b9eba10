/*
 * linear.h - Y = X W^T with W in the checkpoint: each row of W is read and decoded once, used for
 * every token, and dropped.
 *
 * The product is made of one-thread BLAS calls on tiles whose place and size depend on the tensor
 * and on multiples of BL_LINEAR_TOKENS, inside parallel loops: on one CPU the result has the same
 * bits at any thread count, and in whatever blocks the tokens come, as long as these are multiples.
 * Memory: one slab (slab.h), or a tile of BL_LINEAR_ROWS rows for each thread.
 */
#ifndef BL_MODEL_LINEAR_H
#define BL_MODEL_LINEAR_H

#include "model/weights.h"

enum { BL_LINEAR_TOKENS = 256, BL_LINEAR_ROWS = 128 }; /* of a tile */

typedef struct bl_linear {
    float *y; /* [n_tokens][n_rows], rows ldy apart */
    size_t ldy;
    const float *x; /* [n_tokens][weight->n_cols], rows ldx apart; not y */
    size_t ldx, n_tokens;
    const bl_tensor *weight; /* rows [row, row + n_rows) of it */
    uint64_t row, n_rows;
    bool add; /* Y += X W^T */
} bl_linear;

BL_MUST_USE bl_status bl_linear_run(const bl_linear *linear, const bl_weights *weights,
                                    struct bl_err *err);

/* y[n_tokens][n] += bias[n]. */
void bl_linear_add_bias(float *y, size_t ldy, size_t n_tokens, const float *bias, size_t n);

#endif
