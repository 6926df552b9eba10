/* op_rmsnorm.c - the mean square is summed in double, in eight lanes and a fixed tree. */
#include "model/op_rmsnorm.h"

#include "base/clones.h"

#include <math.h>

enum { N_LANES = 8 };

BL_CLONES
static double mean_square(const bl_real *x, size_t n)
{
    double lane[N_LANES] = { 0 }, sum = 0;
    size_t i = 0;

    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        lane[i % N_LANES] += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < N_LANES; j++)
        sum += lane[j];
    return sum / (double)n;
}

void bl_rmsnorm(bl_real *y, size_t ldy, const bl_real *x, size_t ldx, const bl_real *w,
                size_t n_rows, size_t n, bl_real eps)
{
    for (size_t r = 0; r < n_rows; r++, y += ldy, x += ldx) {
        const bl_real scale = (bl_real)(1.0 / sqrt(mean_square(x, n) + (double)eps));

        for (size_t i = 0; i < n; i++)
            y[i] = w[i] * (x[i] * scale);
    }
}

/* sum of w dy x, in the lanes of mean_square(). */
BL_CLONES
static double weighted_sum(const bl_real *w, const bl_real *dy, const bl_real *x, size_t n)
{
    double lane[N_LANES] = { 0 }, sum = 0;
    size_t i = 0;

    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)(w[i + j] * dy[i + j]) * (double)x[i + j];
    for (; i < n; i++)
        lane[i % N_LANES] += (double)(w[i] * dy[i]) * (double)x[i];
    for (size_t j = 0; j < N_LANES; j++)
        sum += lane[j];
    return sum;
}

BL_CLONES
static void add_row(bl_real *dx, bl_real *dw, const bl_real *dy, const bl_real *x, const bl_real *w,
                    size_t n, bl_real scale, bl_real pull)
{
    for (size_t i = 0; i < n; i++) {
        dw[i] += dy[i] * (x[i] * scale);
        dx[i] += scale * (w[i] * dy[i]) - x[i] * pull;
    }
}

void bl_rmsnorm_backward(bl_real *dx, size_t lddx, bl_real *dw, const bl_real *dy, size_t lddy,
                         const bl_real *x, size_t ldx, const bl_real *w, size_t n_rows, size_t n,
                         bl_real eps)
{
    for (size_t r = 0; r < n_rows; r++, dx += lddx, dy += lddy, x += ldx) {
        const double s = 1.0 / sqrt(mean_square(x, n) + (double)eps);
        const double pull = s * s * s / (double)n * weighted_sum(w, dy, x, n);

        add_row(dx, dw, dy, x, w, n, (bl_real)s, (bl_real)pull);
    }
}
