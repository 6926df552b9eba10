/* op_rmsnorm.c - the mean square is summed in double, in eight lanes and a fixed tree. */
#include "model/op_rmsnorm.h"

#include "base/clones.h"

#include <math.h>

enum { N_LANES = 8 };

BL_CLONES
static double mean_square(const float *x, size_t n)
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

void bl_rmsnorm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t n_rows,
                size_t n, float eps)
{
    for (size_t r = 0; r < n_rows; r++, y += ldy, x += ldx) {
        const float scale = (float)(1.0 / sqrt(mean_square(x, n) + (double)eps));

        for (size_t i = 0; i < n; i++)
            y[i] = w[i] * (x[i] * scale);
    }
}
