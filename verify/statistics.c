/* statistics.c - see statistics.h. */
#include "verify/statistics.h"

#include "base/alloc.h"

#include <assert.h>
#include <math.h>

static const double z95 = 1.959963984540054; /* 0.975 quantile of the normal distribution */

bl_interval bl_interval_of(double value, double error)
{
    return (bl_interval){ value - z95 * error, value + z95 * error };
}

double bl_mean(double *error, const double *x, size_t n)
{
    double sum = 0, squares = 0, mean;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    *error = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0.0;
    return mean;
}

/* Source: E. B. Wilson, JASA 22 (1927), 209-212. */
bl_share bl_share_of(size_t k, size_t n)
{
    double p = (double)k / (double)n, z2 = z95 * z95 / (double)n;
    double middle = (p + z2 / 2) / (1 + z2);
    double half = z95 / (1 + z2) * sqrt((p * (1 - p) + z2 / 4) / (double)n);

    assert(n > 0 && k <= n);
    return (bl_share){ p, k == 0 ? 0 : middle - half, k == n ? 1 : middle + half };
}

/* Source: A. Agresti and Y. Min, Statistics in Medicine 24 (2005), 729-740. */
bl_share bl_share_change(size_t gained, size_t lost, size_t n)
{
    double difference = (double)gained - (double)lost, more = (double)n + 2;
    double changed = (double)gained + (double)lost + 1;
    double half = z95 * sqrt(changed - difference * difference / more) / more;

    assert(n > 0 && gained + lost <= n);
    return (bl_share){ difference / (double)n, fmax(-1, difference / more - half),
                       fmin(1, difference / more + half) };
}

double bl_mcnemar(size_t gained, size_t lost)
{
    size_t n = gained + lost, least = gained < lost ? gained : lost;
    double ln_term = -(double)n * log(2), sum = 0; /* ln of C(n, k) / 2^n */

    for (size_t k = 0; k <= least; k++) {
        sum += exp(ln_term);
        ln_term += log((double)(n - k) / (double)(k + 1));
    }
    return fmin(1, 2 * sum);
}

/* rank[i]: values below x[i], and half of those equal to it. */
static void rank_values(double *rank, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rank[i] = 0;
        for (size_t j = 0; j < n; j++)
            rank[i] += x[j] < x[i] ? 1 : x[j] == x[i] ? 0.5 : 0;
    }
}

double bl_rank_correlation(const double *x, const double *y, size_t n)
{
    double *a = bl_alloc(n, sizeof(*a)), *b = bl_alloc(n, sizeof(*b));
    double mean = (double)n / 2, aa = 0, bb = 0, ab = 0;

    if (a && b) {
        rank_values(a, x, n);
        rank_values(b, y, n);
    }
    for (size_t i = 0; a && b && i < n; i++) {
        aa += (a[i] - mean) * (a[i] - mean);
        bb += (b[i] - mean) * (b[i] - mean);
        ab += (a[i] - mean) * (b[i] - mean);
    }
    if (!a || !b)
        ab = (double)NAN;
    bl_free(a);
    bl_free(b);
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : ab;
}
