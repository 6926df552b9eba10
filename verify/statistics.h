/*
 * statistics.h - means, shares, and how far they can be trusted. Definitions: docs/numerics.md.
 */
#ifndef BL_VERIFY_STATISTICS_H
#define BL_VERIFY_STATISTICS_H

#include <stddef.h>

/* A share or a difference of shares, with its 95 % confidence interval. */
typedef struct bl_share {
    double value, low, high;
} bl_share;

typedef struct bl_interval {
    double low, high;
} bl_interval;

/* The 95 % confidence interval of a value with this standard error: value +- 1.96 errors. */
bl_interval bl_interval_of(double value, double error);

/* Mean of x[n] and the standard error of that mean (0 when n is 1). */
double bl_mean(double *error, const double *x, size_t n);

/* k of n > 0; Wilson's score interval, which never leaves [0, 1]. */
bl_share bl_share_of(size_t k, size_t n);

/*
 * Change of a share between two paired judgements of the same n > 0 items, of which `gained` became
 * right and `lost` became wrong: (gained - lost) / n. Interval of Agresti and Min (2005): half an
 * item more in each of the four cells, so that no change at all still has a width.
 */
bl_share bl_share_change(size_t gained, size_t lost, size_t n);

/* Exact two-sided McNemar test: how likely so uneven a split of the changes is by chance. */
double bl_mcnemar(size_t gained, size_t lost);

/*
 * Spearman's rank correlation of x[n] and y[n], equal values sharing the mean of their ranks; 0 when either is
 * constant. NaN without memory.
 */
double bl_rank_correlation(const double *x, const double *y, size_t n);

#endif
