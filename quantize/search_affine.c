/* search_affine.c - see the header. What is not a loop over values: loading, solving, trials. */
#include "quantize/search_affine.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <string.h>

enum { LANES = BL_AFFINE_LANES };

enum { N_ALTERNATIONS = 2 };

bl_affine_unit bl_affine_unit_of(const float *x, size_t n)
{
    uint32_t exponent = bl_amax_bits_of_run(x, n) >> 23;

    exponent = exponent < 1 ? 1 : exponent;
    exponent = exponent > 253 ? 253 : exponent;
    return (bl_affine_unit){ .to = bl_f32_from_bits((254 - exponent) << 23),
                             .from = bl_f32_from_bits(exponent << 23) };
}

BL_CLONES
float bl_affine_mean_square(const float *x, size_t n, float unit)
{
    float sum[LANES] = { 0 };
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            float v = x[i + k] * unit;

            sum[k] += v * v;
        }
    }
    for (; i < n; i++) {
        float v = x[i] * unit;

        sum[i % LANES] += v * v;
    }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            sum[k] += sum[k + half];
    return sum[0] > 0.0f ? sum[0] / (float)n : 1.0f;
}

void bl_affine_load(bl_affine_groups *g, size_t first, size_t n_groups, const float *x, float unit,
                    const float *importance, float importance_unit)
{
    const float least_importance = 0x1p-20f;

    for (size_t k = first; k < first + n_groups; k++, x += g->len)
        for (size_t j = 0; j < g->len; j++)
            g->x[j].v[k] = x[j] * unit;
    for (size_t k = first; importance && k < first + n_groups; k++, importance += g->len)
        for (size_t j = 0; j < g->len; j++)
            g->w[j].v[k] = importance[j] * importance_unit + least_importance;
}

void bl_affine_clear(bl_affine_groups *g)
{
    memset(g->x, 0, g->len * sizeof(*g->x));
    memset(g->w, 0, g->len * sizeof(*g->w));
}

/* The best line so far of each group and what it explains of the weighted variance. */
typedef struct fit {
    bl_affine_line line;
    bl_affine_lanes gain;
} fit;

/*
 * The line through the codes behind `s` by least squares; where it is better than the best so far,
 * it takes its place. With x measured from its mean, scale = S(xq) / (S(qq) - S(q)^2 / S(1)), and
 * scale * S(xq) of the variance is explained. Where the least value would be above zero it is zero.
 */
BL_CLONES
static void take_better(fit *restrict best, const bl_affine_sums *restrict s,
                        const bl_affine_groups *restrict g)
{
    const float limit = g->least_to_zero ? 0.0f : INFINITY;

    for (size_t k = 0; k < LANES; k++) {
        float w = g->sum_w.v[k], mean = g->mean.v[k], q = s->q.v[k], qq = s->qq.v[k];
        float variance = qq - q * q / w;
        float scale = variance > 0.0f ? s->xq.v[k] / variance : 0.0f;
        float least = mean - scale * (q / w), gain = scale * s->xq.v[k];
        float from_zero = s->xq.v[k] + mean * q; /* w x code */
        float scale_zero = qq > 0.0f ? from_zero / qq : 0.0f;
        float gain_zero = scale_zero * from_zero - w * mean * mean;

        scale = least > limit ? scale_zero : scale;
        gain = least > limit ? gain_zero : gain;
        least = least > limit ? limit : least;
        gain = scale > 0.0f ? gain : -INFINITY;
        best->line.scale.v[k] = gain > best->gain.v[k] ? scale : best->line.scale.v[k];
        best->line.least.v[k] = gain > best->gain.v[k] ? least : best->line.least.v[k];
        best->gain.v[k] = gain > best->gain.v[k] ? gain : best->gain.v[k];
    }
}

/* The line whose codes 0 and top lie `low` and `high` steps inside the range. */
BL_CLONES
static void take_trial(bl_affine_line *restrict line, const bl_affine_groups *restrict g, float low,
                       float high)
{
    const float part = 1.0f - (low + high) / g->top;

    for (size_t k = 0; k < LANES; k++) {
        float step = (g->high.v[k] - g->low.v[k]) / g->top;

        line->least.v[k] = g->low.v[k] + low * step;
        line->scale.v[k] = step * part;
    }
}

/*
 * Trial ranges begin and end at whole trial steps from the ends of the values. Narrow ones come
 * first and win ties: small scales leave more of d's integers to the other groups of a superblock.
 */
void bl_affine_fit(bl_affine_line *out, const bl_affine_groups *g, const bl_affine_kernels *kernels)
{
    bl_affine_sums sums;
    bl_affine_line trial;
    fit best;

    take_trial(&best.line, g, 0.0f, 0.0f);
    for (size_t k = 0; k < LANES; k++)
        best.gain.v[k] = -INFINITY;
    for (int low = g->trial_reach; low >= -g->trial_reach; low--) {
        for (int high = g->trial_reach; high >= -g->trial_reach; high--) {
            take_trial(&trial, g, (float)low * g->trial_step, (float)high * g->trial_step);
            kernels->sums(&sums, g, &trial);
            take_better(&best, &sums, g);
        }
    }
    for (int round = 0; round < N_ALTERNATIONS; round++) {
        kernels->sums(&sums, g, &best.line);
        take_better(&best, &sums, g);
    }
    *out = best.line;
}
