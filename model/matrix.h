/*
 * matrix.h - an activation of every token, [n_rows][n_cols] of F32, in memory or in a scratch file.
 *
 * In memory `values` may be used directly; a spilled one is read and written by rows. Reading
 * functions, and writes of disjoint rows, are thread-safe.
 */
#ifndef BL_MODEL_MATRIX_H
#define BL_MODEL_MATRIX_H

#include "base/err.h"
#include "base/spill.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bl_matrix {
    size_t n_rows, n_cols;
    float *values;  /* NULL when it is spilled */
    bl_spill *file; /* NULL when it is in memory */
} bl_matrix;        /* zero-initialise */

/* scratch: the folder to spill to; NULL: memory. All zero. */
BL_MUST_USE bl_status bl_matrix_init(bl_matrix *out, size_t n_rows, size_t n_cols,
                                     const char *scratch, struct bl_err *err);
void bl_matrix_release(bl_matrix *matrix);

/* Rows [row, row + n) to out[n][n_cols], and back. */
BL_MUST_USE bl_status bl_matrix_read(float *out, const bl_matrix *matrix, size_t row, size_t n,
                                     struct bl_err *err);
BL_MUST_USE bl_status bl_matrix_write(bl_matrix *matrix, size_t row, size_t n, const float *values,
                                      struct bl_err *err);

/* out[n][n_cols] = the rows row[n]. */
BL_MUST_USE bl_status bl_matrix_gather(float *out, const bl_matrix *matrix, const uint32_t *row,
                                       size_t n, int n_threads, struct bl_err *err);

/* Row row[i] += weight[i] * values[i][n_cols]; no row twice in one call. */
BL_MUST_USE bl_status bl_matrix_add(bl_matrix *matrix, const uint32_t *row, const float *weight,
                                    const float *values, size_t n, int n_threads,
                                    struct bl_err *err);

#endif
