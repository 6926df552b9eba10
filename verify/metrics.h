/*
 * metrics.h - how far a tensor is from its reference. Definitions: docs/numerics.md.
 *
 * Sums are accumulated in double, over pieces that the caller cuts at fixed places and merges in a
 * fixed order, so the answer does not depend on the number of threads.
 */
#ifndef BL_VERIFY_METRICS_H
#define BL_VERIFY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sums over the values seen so far. Zero-initialise. */
typedef struct bl_metrics_sums {
    uint64_t n;
    double ref2, test2, dot, diff2; /* sums of a^2, b^2, a b, (a - b)^2 */
    double max_abs;                 /* largest |a - b| */
    uint64_t n_different;           /* values with a != b */
} bl_metrics_sums;

typedef struct bl_metrics {
    double rel_rms; /* ||a - b|| / ||a||; 0 when identical, infinite when only a is zero */
    double max_abs;
    double cosine;        /* a . b / (||a|| ||b||); 1 when identical */
    double sqnr_db;       /* -20 log10(rel_rms); infinite when identical */
    double factor;        /* a . b / ||a||^2: b is about a times this; 1 when identical */
    uint64_t n_different; /* values with a != b */
    bool identical;       /* every a == b */
    bool test_is_zero;    /* every b is 0, and not every a */
} bl_metrics;

/* a: reference, b: tested; both [n]. */
void bl_metrics_add(bl_metrics_sums *sums, const float *a, const float *b, size_t n);
void bl_metrics_merge(bl_metrics_sums *sums, const bl_metrics_sums *more);
bl_metrics bl_metrics_finish(const bl_metrics_sums *sums);

#endif
