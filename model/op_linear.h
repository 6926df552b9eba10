/*
 * op_linear.h - Y = X W^T + b on a tile, and back: dX = dY W, dW = dY^T X, db = sum of dY.
 *
 * X[n_tokens][n_in], W[n_out][n_in], Y[n_tokens][n_out]; ld* = elements from row to row. Each is one
 * BLAS call on the calling thread (base/linalg.h): callers cut the work into fixed tiles.
 */
#ifndef BL_MODEL_OP_LINEAR_H
#define BL_MODEL_OP_LINEAR_H

#include "base/real.h"

#include <stdbool.h>

void bl_linear_tile(bl_real *y, size_t ldy, const bl_real *x, size_t ldx, size_t n_tokens,
                    const bl_real *w, size_t n_out, size_t n_in, bool add);

/* Columns of dX: dx and w point to the first of n_cols, rows of W ldw apart. add: dX +=. */
void bl_linear_tile_dx(bl_real *dx, size_t lddx, const bl_real *dy, size_t lddy, size_t n_tokens,
                       const bl_real *w, size_t n_out, size_t n_cols, size_t ldw, bool add);

/* dW[n_out][n_cols] += a part of it: dy points to its first row's column, x to its first column. */
void bl_linear_tile_dw(bl_real *dw, const bl_real *dy, size_t lddy, const bl_real *x, size_t ldx,
                       size_t n_tokens, size_t n_out, size_t n_cols, size_t lddw);

/* db[n_out] += */
void bl_linear_tile_db(bl_real *db, const bl_real *dy, size_t lddy, size_t n_tokens, size_t n_out);

#endif
