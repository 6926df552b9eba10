/*
 * stream.h - inputs that C and tests/oracle/model_ops.py compute alike, and a comparison.
 */
#ifndef BL_TESTS_STREAM_H
#define BL_TESTS_STREAM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Value i of stream s, in [-1, 1]. */
static inline void fill_stream(float *x, size_t n, uint64_t s)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 7919 + s * 104729) % 2003) / 1000.0f - 1.0f;
}

/* Largest |a - b| over a row; NaN counts as infinite. */
static inline double largest_error(const float *a, const float *b, size_t n)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);

        if (!(d <= worst))
            worst = isnan(d) ? (double)INFINITY : d;
    }
    return worst;
}

#endif
