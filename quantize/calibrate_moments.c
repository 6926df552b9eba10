/* calibrate_moments.c - see calibrate_moments.h. Threads share columns or rows, never a sum. */
#include "quantize/calibrate_moments.h"

#include "base/clones.h"
#include "base/par.h"
#include "base/size.h"

#include <math.h>

enum { COLS = 256, LANES = 16 };

struct job {
    double *sum;
    const float *x;
    size_t n_rows, n_cols, ld;
};

/* Columns do not meet each other: every instruction set gives the same bits. */
BL_CLONES
static void add_columns(double *restrict sum, const float *restrict x, size_t n_rows, size_t n,
                        size_t ld)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n; c++)
            sum[c] += (double)x[r * ld + c] * (double)x[r * ld + c];
}

static bl_status add_part(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct job *job = context;
    const size_t first = i * COLS, n = (size_t)bl_min_u64(COLS, job->n_cols - first);

    (void)i_thread;
    (void)err;
    add_columns(job->sum + first, job->x + first, job->n_rows, n, job->ld);
    return BL_OK;
}

bl_status bl_moments_add(double *sum, const float *x, size_t n_rows, size_t n_cols, size_t ld,
                         int n_threads, struct bl_err *err)
{
    struct job job = { sum, x, n_rows, n_cols, ld };

    return bl_par_for((size_t)bl_ceil_div_u64(n_cols, COLS), n_threads, add_part, &job, err);
}

static double tree(const double lane[LANES])
{
    double sum[LANES];

    for (int i = 0; i < LANES; i++)
        sum[i] = lane[i];
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            sum[i] += sum[i + n];
    return sum[0];
}

bl_products bl_products_of_ref(const float *a, const float *b, size_t n)
{
    double aa[LANES] = { 0 }, ab[LANES] = { 0 }, bb[LANES] = { 0 };

    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)b[i];

        aa[i % LANES] += x * x;
        ab[i % LANES] += x * y;
        bb[i % LANES] += y * y;
    }
    return (bl_products){ tree(aa), tree(ab), tree(bb) };
}

BL_CLONES
bl_products bl_products_of(const float *a, const float *b, size_t n)
{
    double aa[LANES] = { 0 }, ab[LANES] = { 0 }, bb[LANES] = { 0 };
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            const double x = (double)a[i + k], y = (double)b[i + k];

            aa[k] += x * x;
            ab[k] += x * y;
            bb[k] += y * y;
        }
    for (size_t k = 0; i + k < n; k++) {
        const double x = (double)a[i + k], y = (double)b[i + k];

        aa[k] += x * x;
        ab[k] += x * y;
        bb[k] += y * y;
    }
    return (bl_products){ tree(aa), tree(ab), tree(bb) };
}

double bl_cosine(const bl_products *p)
{
    const double length = sqrt(p->aa) * sqrt(p->bb);

    return length > 0 ? fmin(fmax(p->ab / length, -1), 1) : 1;
}
