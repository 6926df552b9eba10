/*
 * calibrate_moments.h - the sums that calibration is made of, in F64 and in an order that depends on
 * nothing but the rows: the same bits at any number of threads, in blocks of any size.
 */
#ifndef BL_QUANTIZE_CALIBRATE_MOMENTS_H
#define BL_QUANTIZE_CALIBRATE_MOMENTS_H

#include "base/err.h"

#include <stddef.h>

/* sum[c] += x[r][c]^2 for every row in turn; rows lie ld apart. */
BL_MUST_USE bl_status bl_moments_add(double *sum, const float *x, size_t n_rows, size_t n_cols,
                                     size_t ld, int n_threads, struct bl_err *err);

/* What two vectors have to do with each other: a . a, a . b, b . b; 16 lanes and a fixed tree. */
typedef struct bl_products {
    double aa, ab, bb;
} bl_products;

bl_products bl_products_of(const float *a, const float *b, size_t n);
bl_products bl_products_of_ref(const float *a, const float *b, size_t n); /* the definition */

/* The cosine of the angle between them, in [-1, 1]; 1 when one of them is zero. */
double bl_cosine(const bl_products *products);

#endif
