/* op_softmax.c - see op_softmax.h. */
#include "model/op_softmax.h"

#include "base/clones.h"
#include "model/op_exp.h"

#include <math.h>

enum { N_LANES = 8 };

BL_CLONES
bl_real bl_largest(const bl_real *x, size_t n)
{
    bl_real lane[N_LANES], top = -(bl_real)INFINITY;
    size_t i = 0;

    for (size_t j = 0; j < N_LANES; j++)
        lane[j] = -(bl_real)INFINITY;
    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++)
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (size_t j = 0; j < N_LANES; j++)
        top = lane[j] > top ? lane[j] : top;
    return top;
}

BL_CLONES
void bl_softmax(bl_real *x, size_t n)
{
    const bl_real top = bl_largest(x, n);
    double lane[N_LANES] = { 0 }, sum = 0;
    bl_real scale;
    size_t i = 0;

    for (size_t j = 0; j < n; j++)
        x[j] = bl_exp(x[j] - top);
    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)x[i + j];
    for (; i < n; i++)
        lane[i % N_LANES] += (double)x[i];
    for (size_t j = 0; j < N_LANES; j++)
        sum += lane[j];
    scale = (bl_real)(1.0 / sum);
    for (size_t j = 0; j < n; j++)
        x[j] *= scale;
}
