/*
 * cholesky.h - A = L L^T for large matrices, by all threads.
 *
 * Right-looking, on tiles of BL_CHOLESKY_TILE whose place depends on n alone, each a one-thread
 * call: the same bits at any number of threads on one CPU. n^3 / 3 operations.
 * Source: Golub and Van Loan, Matrix Computations, section 4.2 (block Cholesky).
 */
#ifndef BL_BASE_CHOLESKY_H
#define BL_BASE_CHOLESKY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { BL_CHOLESKY_TILE = 256 };

/*
 * L in place of the lower triangle of a[n][n]; what lies above the diagonal is neither read nor
 * written. *positive: whether A was positive definite; where not, the triangle has no meaning.
 */
BL_MUST_USE bl_status bl_cholesky(bool *positive, float *a, size_t n, int n_threads,
                                  struct bl_err *err);

/*
 * The same in F64, on one thread, for a matrix that F32 cannot factor. Takes 8 n^2 bytes for the
 * time; fails with BL_E_NOMEM without them, a as it was. Where A is not positive definite a is as
 * it was.
 */
BL_MUST_USE bl_status bl_cholesky_f64(bool *positive, float *a, size_t n, struct bl_err *err);

#endif
