/*
 * linear_backward.h - the gradients of Y = X W^T + b for a learned W (resident.h):
 *     dX (+)= dY W       dW += dY^T X       db += sum over tokens of dY
 *
 * BLAS calls of one thread on fixed tiles: the same bits at any number of threads. Memory: where W is
 * BF16 it is decoded whole for the time of the call.
 */
#ifndef BL_MODEL_LINEAR_BACKWARD_H
#define BL_MODEL_LINEAR_BACKWARD_H

#include "model/weights.h"

typedef struct bl_linear_backward {
    uint32_t layer;
    const char *weight; /* "mlp.down_proj.weight": [n_out][n_in] */
    const char *bias;   /* [n_out], or NULL: none */
    const float *dy;    /* [n_tokens][n_out] */
    const float *x;     /* [n_tokens][n_in], rows ldx apart */
    float *dx;          /* the same, rows lddx apart */
    size_t ldx, lddx, n_tokens, n_out, n_in;
    bool add; /* dX += */
} bl_linear_backward;

BL_MUST_USE bl_status bl_linear_backward_run(const bl_linear_backward *linear,
                                             const bl_weights *weights, struct bl_err *err);

/* The same for parts that are found already: dX of a matrix w[n_out][n_in], and dW. */
BL_MUST_USE bl_status bl_linear_dx(float *dx, size_t lddx, const float *dy, size_t lddy,
                                   size_t n_tokens, const float *w, size_t n_out, size_t n_in,
                                   bool add, int n_threads, struct bl_err *err);
BL_MUST_USE bl_status bl_linear_dw(float *dw, const float *dy, size_t lddy, const float *x,
                                   size_t ldx, size_t n_tokens, size_t n_out, size_t n_in,
                                   int n_threads, struct bl_err *err);

#endif
