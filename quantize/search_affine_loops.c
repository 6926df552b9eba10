/*
 * search_affine_loops.c - the loops of search_affine.h over the values of groups, twice: sixteen
 * groups at once in loops that compilers vectorise, and (_ref) one group after the other.
 */
#include "quantize/search_affine.h"

#include "base/clones.h"

#include <math.h>

enum { LANES = BL_AFFINE_LANES };

/* Adding it rounds to an integer, halves to even; for magnitudes below 2^22. */
static const float even = 0x1.8p23f;

/*
 * 1 / scale. Scale 0, where every code must be 0, counts as a step that no value (at most 2, as
 * multiples of the unit) reaches half of.
 */
static inline float step_of(float scale)
{
    return scale > 0.0f ? scale : 0x1p40f;
}

/*
 * v = (x - least) / scale to the nearest code, halves to even. Written so that each bound is one
 * instruction, min or max; a NaN gives code top, and no undefined conversion.
 */
static inline float code_of(float v, float top)
{
    v = v < 0.0f ? 0.0f : v;
    v = v < top ? v : top;
    return v + even - even;
}

static inline float weight_of(float x, float importance, float sigma2, bool known,
                              bool by_magnitude)
{
    if (!by_magnitude)
        return known ? importance : 1.0f;
    return known ? importance * sqrtf(sigma2 + x * x) : sqrtf(sigma2) + fabsf(x);
}

BL_CLONES
static void prepare_lanes(bl_affine_groups *g)
{
    float low[LANES], high[LANES], sum_w[LANES] = { 0 }, sum_wx[LANES] = { 0 }, mean[LANES];
    const bool known = g->known, by_magnitude = g->by_magnitude;

    for (size_t k = 0; k < LANES; k++) {
        low[k] = g->least_to_zero ? 0.0f : g->x[0].v[k];
        high[k] = g->high_to_zero ? 0.0f : g->x[0].v[k];
    }
    for (size_t j = 0; j < g->len; j++) {
        for (size_t k = 0; k < LANES; k++) {
            float x = g->x[j].v[k];
            float w = weight_of(x, g->w[j].v[k], g->sigma2.v[k], known, by_magnitude);

            g->w[j].v[k] = w;
            low[k] = x < low[k] ? x : low[k];
            high[k] = x > high[k] ? x : high[k];
            sum_w[k] += w;
            sum_wx[k] += w * x;
        }
    }
    for (size_t k = 0; k < LANES; k++) {
        mean[k] = sum_wx[k] / sum_w[k];
        g->low.v[k] = low[k];
        g->high.v[k] = high[k];
        g->sum_w.v[k] = sum_w[k];
        g->mean.v[k] = mean[k];
    }
    for (size_t j = 0; j < g->len; j++)
        for (size_t k = 0; k < LANES; k++)
            g->wx[j].v[k] = g->w[j].v[k] * (g->x[j].v[k] - mean[k]);
}

BL_CLONES
static void sum_lanes(bl_affine_sums *restrict out, const bl_affine_groups *restrict g,
                      const bl_affine_line *restrict line)
{
    float q[LANES] = { 0 }, qq[LANES] = { 0 }, xq[LANES] = { 0 }, inverse[LANES];

    for (size_t k = 0; k < LANES; k++)
        inverse[k] = 1.0f / step_of(line->scale.v[k]);
    for (size_t j = 0; j < g->len; j++) {
        for (size_t k = 0; k < LANES; k++) {
            float code = code_of((g->x[j].v[k] - line->least.v[k]) * inverse[k], g->top);
            float wq = g->w[j].v[k] * code;

            q[k] += wq;
            qq[k] += wq * code;
            xq[k] += g->wx[j].v[k] * code;
        }
    }
    for (size_t k = 0; k < LANES; k++) {
        out->q.v[k] = q[k];
        out->qq.v[k] = qq[k];
        out->xq.v[k] = xq[k];
    }
}

BL_CLONES
static void error_lanes(bl_affine_lanes *restrict out, const bl_affine_groups *restrict g,
                        const bl_affine_line *restrict line)
{
    float sum[LANES] = { 0 }, step[LANES], inverse[LANES];

    for (size_t k = 0; k < LANES; k++) {
        step[k] = step_of(line->scale.v[k]);
        inverse[k] = 1.0f / step[k];
    }
    for (size_t j = 0; j < g->len; j++) {
        for (size_t k = 0; k < LANES; k++) {
            float v = (g->x[j].v[k] - line->least.v[k]) * inverse[k];
            float off = v - code_of(v, g->top); /* in steps */

            sum[k] += g->w[j].v[k] * off * off;
        }
    }
    for (size_t k = 0; k < LANES; k++)
        out->v[k] = sum[k] * step[k] * step[k];
}

BL_CLONES
static void code_lanes(uint8_t (*restrict code)[LANES], const bl_affine_groups *restrict g,
                       const bl_affine_line *restrict line)
{
    float inverse[LANES];

    for (size_t k = 0; k < LANES; k++)
        inverse[k] = 1.0f / step_of(line->scale.v[k]);
    for (size_t j = 0; j < g->len; j++) {
        for (size_t k = 0; k < LANES; k++) {
            float v = (g->x[j].v[k] - line->least.v[k]) * inverse[k];

            code[j][k] = (uint8_t)(int32_t)code_of(v, g->top);
        }
    }
}

const bl_affine_kernels bl_affine_fast = { prepare_lanes, sum_lanes, error_lanes, code_lanes };

static void prepare_ref(bl_affine_groups *g)
{
    for (size_t k = 0; k < LANES; k++) {
        float low = g->least_to_zero ? 0.0f : g->x[0].v[k];
        float high = g->high_to_zero ? 0.0f : g->x[0].v[k];
        float sum_w = 0.0f, sum_wx = 0.0f;

        for (size_t j = 0; j < g->len; j++) {
            float x = g->x[j].v[k];

            g->w[j].v[k] = weight_of(x, g->w[j].v[k], g->sigma2.v[k], g->known, g->by_magnitude);
            low = x < low ? x : low;
            high = x > high ? x : high;
            sum_w += g->w[j].v[k];
            sum_wx += g->w[j].v[k] * x;
        }
        g->low.v[k] = low;
        g->high.v[k] = high;
        g->sum_w.v[k] = sum_w;
        g->mean.v[k] = sum_wx / sum_w;
        for (size_t j = 0; j < g->len; j++)
            g->wx[j].v[k] = g->w[j].v[k] * (g->x[j].v[k] - g->mean.v[k]);
    }
}

/* Value j of group k in steps above the least value. */
static float steps_ref(const bl_affine_groups *g, const bl_affine_line *line, size_t j, size_t k)
{
    return (g->x[j].v[k] - line->least.v[k]) * (1.0f / step_of(line->scale.v[k]));
}

static void sum_ref(bl_affine_sums *out, const bl_affine_groups *g, const bl_affine_line *line)
{
    for (size_t k = 0; k < LANES; k++) {
        out->q.v[k] = out->qq.v[k] = out->xq.v[k] = 0.0f;
        for (size_t j = 0; j < g->len; j++) {
            float code = code_of(steps_ref(g, line, j, k), g->top);

            out->q.v[k] += g->w[j].v[k] * code;
            out->qq.v[k] += g->w[j].v[k] * code * code;
            out->xq.v[k] += g->wx[j].v[k] * code;
        }
    }
}

static void error_ref(bl_affine_lanes *out, const bl_affine_groups *g, const bl_affine_line *line)
{
    for (size_t k = 0; k < LANES; k++) {
        float sum = 0.0f, step = step_of(line->scale.v[k]);

        for (size_t j = 0; j < g->len; j++) {
            float off = steps_ref(g, line, j, k);

            off -= code_of(off, g->top);
            sum += g->w[j].v[k] * off * off;
        }
        out->v[k] = sum * step * step;
    }
}

static void code_ref(uint8_t (*code)[LANES], const bl_affine_groups *g, const bl_affine_line *line)
{
    for (size_t k = 0; k < LANES; k++)
        for (size_t j = 0; j < g->len; j++)
            code[j][k] = (uint8_t)code_of(steps_ref(g, line, j, k), g->top);
}

const bl_affine_kernels bl_affine_ref = { prepare_ref, sum_ref, error_ref, code_ref };
