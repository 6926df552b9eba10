/*
 * op_softmax.h - p[i] = e^(x[i] - max) / sum_j e^(x[j] - max).
 */
#ifndef BL_MODEL_OP_SOFTMAX_H
#define BL_MODEL_OP_SOFTMAX_H

#include "base/real.h"

/* The largest of x[n]; NaN does not count, and where nothing else is there it is -INFINITY. */
bl_real bl_largest(const bl_real *x, size_t n);

/* In place over x[n], n >= 1. The sum is in double, in eight lanes and a fixed order. */
void bl_softmax(bl_real *x, size_t n);

#endif
