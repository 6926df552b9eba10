/*
 * op_rmsnorm.h - y = w * x * s with s = 1 / sqrt(mean(x^2) + eps), row by row (arXiv 1910.07467).
 */
#ifndef BL_MODEL_OP_RMSNORM_H
#define BL_MODEL_OP_RMSNORM_H

#include "base/real.h"

/* y[n_rows][n] from x[n_rows][n] (rows ldy and ldx apart) and w[n]. y may be x. */
void bl_rmsnorm(bl_real *y, size_t ldy, const bl_real *x, size_t ldx, const bl_real *w,
                size_t n_rows, size_t n, bl_real eps);

/*
 * dx[n_rows][n] += s (w dy) - x s^3 / n sum(w dy x), and dw[n] += sum over rows of dy x s, from
 * dy[n_rows][n]. dx must not be dy.
 */
void bl_rmsnorm_backward(bl_real *dx, size_t lddx, bl_real *dw, const bl_real *dy, size_t lddy,
                         const bl_real *x, size_t ldx, const bl_real *w, size_t n_rows, size_t n,
                         bl_real eps);

#endif
