/* metrics.c - see metrics.h. Eight lanes and a fixed order of adding them up. */
#include "verify/metrics.h"

#include "base/clones.h"

#include <math.h>

enum { N_LANES = 8 };

struct lanes {
    double ref2[N_LANES], test2[N_LANES], dot[N_LANES], diff2[N_LANES], max_abs[N_LANES];
    uint64_t n_different[N_LANES];
};

static void add_value(struct lanes *l, size_t j, float ref, float test)
{
    double a = (double)ref, b = (double)test, d = a - b;

    l->ref2[j] += a * a;
    l->test2[j] += b * b;
    l->dot[j] += a * b;
    l->diff2[j] += d * d;
    l->max_abs[j] = fabs(d) > l->max_abs[j] ? fabs(d) : l->max_abs[j];
    l->n_different[j] += ref != test;
}

BL_CLONES
void bl_metrics_add(bl_metrics_sums *sums, const float *a, const float *b, size_t n)
{
    struct lanes l = { 0 };
    bl_metrics_sums piece = { .n = n };
    size_t i = 0;

    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            add_value(&l, j, a[i + j], b[i + j]);
    for (; i < n; i++)
        add_value(&l, i % N_LANES, a[i], b[i]);
    for (size_t j = 0; j < N_LANES; j++) {
        piece.ref2 += l.ref2[j];
        piece.test2 += l.test2[j];
        piece.dot += l.dot[j];
        piece.diff2 += l.diff2[j];
        piece.max_abs = fmax(piece.max_abs, l.max_abs[j]);
        piece.n_different += l.n_different[j];
    }
    bl_metrics_merge(sums, &piece);
}

void bl_metrics_merge(bl_metrics_sums *sums, const bl_metrics_sums *more)
{
    sums->n += more->n;
    sums->ref2 += more->ref2;
    sums->test2 += more->test2;
    sums->dot += more->dot;
    sums->diff2 += more->diff2;
    sums->max_abs = fmax(sums->max_abs, more->max_abs);
    sums->n_different += more->n_different;
}

bl_metrics bl_metrics_finish(const bl_metrics_sums *s)
{
    bl_metrics m = { .max_abs = s->max_abs,
                     .cosine = 1.0,
                     .sqnr_db = (double)INFINITY,
                     .factor = 1.0,
                     .n_different = s->n_different,
                     .identical = s->n_different == 0 };

    if (m.identical)
        return m;
    m.rel_rms = s->ref2 > 0 ? sqrt(s->diff2 / s->ref2) : (double)INFINITY;
    m.cosine = s->ref2 > 0 && s->test2 > 0 ? s->dot / (sqrt(s->ref2) * sqrt(s->test2)) : 0.0;
    m.factor = s->ref2 > 0 ? s->dot / s->ref2 : 0.0;
    m.test_is_zero = s->test2 == 0;
    m.sqnr_db = s->ref2 > 0 ? -20.0 * log10(m.rel_rms) : -(double)INFINITY;
    return m;
}
