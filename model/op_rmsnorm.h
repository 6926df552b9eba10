/*
 * op_rmsnorm.h - y = w * x / sqrt(mean(x^2) + eps), row by row (arXiv 1910.07467).
 */
#ifndef BL_MODEL_OP_RMSNORM_H
#define BL_MODEL_OP_RMSNORM_H

#include <stddef.h>

/* y[n_rows][n] from x[n_rows][n] (rows ldy and ldx apart) and w[n]. y may be x. */
void bl_rmsnorm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t n_rows,
                size_t n, float eps);

#endif
