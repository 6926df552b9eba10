/* encode_int4_zero.c - see the header. */
#include "quantize/encode_int4_zero.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"
#include "quantize/search_affine.h"

#include <assert.h>
#include <math.h>

enum { LANES = BL_AFFINE_LANES };

/*
 * Zero points next to the first line's, each with scales of 0.64 to 1.24 of the line's; at the end
 * numbers of BF16 next to the best scale. A whole zero point leaves the scale alone to choose, so
 * the trials of search_affine.h are replaced by these (with both: 0.1 % less error, 10 % more time).
 */
enum { REACH_ZERO = 1, N_SCALES = 21, REACH_SCALE = 3, TRIAL_REACH = 0 };

static const uint32_t smallest_scale = 0x3400; /* 2^-23 */

/* A grid of a group. */
struct grid {
    uint16_t scale_bf16;
    float scale, zero;
};

/* The range of a group, 0 included. */
static void range_of(float *low, float *high, const float *x, size_t n)
{
    *low = *high = 0;
    for (size_t j = 0; j < n; j++) {
        *low = x[j] < *low ? x[j] : *low;
        *high = x[j] > *high ? x[j] : *high;
    }
}

static float clamp(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

static struct grid grid_of(float low, float high, uint8_t least_zero)
{
    const float least = 0x1p-23f;
    float scale = (high - low) / 15.0f;
    struct grid g;

    g.scale_bf16 = bl_bf16_from_f32(scale > least ? scale : least);
    g.scale = bl_f32_from_bf16(g.scale_bf16);
    g.zero = clamp(rintf(-low / g.scale), least_zero, 15.0f);
    return g;
}

/* The nearest code; adding 1.5 x 2^23 rounds, halves to even. */
static inline float code_of(float x, float scale, float zero)
{
    const float even = 0x1.8p23f;
    float v = x / scale + zero;

    v = v > 0.0f ? v : 0.0f;
    v = v < 15.0f ? v : 15.0f;
    return (v + even) - even;
}

BL_CLONES
static void put_codes(uint8_t *restrict packed, const float *restrict x, float scale, float zero,
                      size_t n)
{
    for (size_t j = 0; j < n / 2; j++) {
        unsigned low = (unsigned)(int)code_of(x[2 * j], scale, zero);
        unsigned high = (unsigned)(int)code_of(x[2 * j + 1], scale, zero);

        packed[j] = (uint8_t)(low | high << 4);
    }
}

void bl_int4_zero_encode(const bl_int4_zero_row *out, const float *row, size_t n_cols,
                         size_t group_size, uint8_t least_zero)
{
    assert(group_size > 0 && group_size % 8 == 0 && n_cols % group_size == 0);
    for (size_t k = 0; k < n_cols / group_size; k++) {
        const float *x = row + k * group_size;
        float low, high;
        struct grid g;

        range_of(&low, &high, x, group_size);
        g = grid_of(low, high, least_zero);
        out->scale[k] = g.scale_bf16;
        out->zero[k] = (uint8_t)g.zero;
        put_codes(out->packed + k * group_size / 2, x, g.scale, g.zero, group_size);
    }
}

/* Grids of the groups side by side; scale: BF16 numbers, as multiples of the row's unit. */
typedef struct choice {
    bl_affine_lanes scale, zero, error;
} choice;

BL_CLONES
static void to_line(bl_affine_line *restrict line, const choice *restrict c)
{
    for (size_t k = 0; k < LANES; k++) {
        line->scale.v[k] = c->scale.v[k];
        line->least.v[k] = 0.0f - c->scale.v[k] * c->zero.v[k];
    }
}

/* The integer nearest to v, least..15; NaN gives 15. */
static inline float nearest(float v, float least)
{
    v = v < least ? least : v;
    v = v < 15.0f ? v : 15.0f;
    return v + 0x1.8p23f - 0x1.8p23f;
}

/*
 * The scale by least squares, given codes and the zero point of a trial: S(xq) / S(qq) with codes
 * counted from the zero point; S(xq)^2 / S(qq) of sum w x^2 is explained. Where that is more than so
 * far, zero point and scale take the place of the best.
 */
BL_CLONES
static void take_better(choice *restrict best, bl_affine_lanes *restrict gain,
                        const choice *restrict trial, const bl_affine_sums *restrict s,
                        const bl_affine_groups *restrict g)
{
    for (size_t k = 0; k < LANES; k++) {
        float zero = trial->zero.v[k], q = s->q.v[k], w = g->sum_w.v[k];
        float xq = s->xq.v[k] + g->mean.v[k] * (q - zero * w);
        float qq = s->qq.v[k] - 2.0f * zero * q + zero * zero * w;
        float scale = qq > 0.0f ? xq / qq : 0.0f, explained = scale * xq;
        bool better = scale > 0.0f && explained > gain->v[k];

        best->scale.v[k] = better ? scale : best->scale.v[k];
        best->zero.v[k] = better ? zero : best->zero.v[k];
        gain->v[k] = better ? explained : gain->v[k];
    }
}

/* Scales as BF16 stores them, 2^-23 at least. */
BL_CLONES
static void store_scales(choice *c, bl_affine_unit unit)
{
    for (size_t k = 0; k < LANES; k++) {
        uint32_t bits = bl_bf16_from_f32(c->scale.v[k] * unit.from);

        bits = bits < smallest_scale ? smallest_scale : bits;
        c->scale.v[k] = bl_f32_from_bf16((uint16_t)bits) * unit.to;
    }
}

/* The trial's scale `by` BF16 numbers from that of `from`, which is positive. */
BL_CLONES
static void step_scale(choice *restrict trial, const choice *restrict from, int by,
                       bl_affine_unit unit)
{
    for (size_t k = 0; k < LANES; k++) {
        int32_t bits = (int32_t)bl_bits_from_f32(from->scale.v[k] * unit.from) + by * 0x10000;

        bits = bits < (int32_t)smallest_scale << 16 ? (int32_t)smallest_scale << 16 : bits;
        bits = bits > 0x7f7f0000 ? 0x7f7f0000 : bits;
        trial->scale.v[k] = bl_f32_from_bits((uint32_t)bits) * unit.to;
        trial->zero.v[k] = from->zero.v[k];
    }
}

BL_CLONES
static void keep_better(choice *restrict best, const choice *restrict trial)
{
    for (size_t k = 0; k < LANES; k++) {
        bool better = trial->error.v[k] < best->error.v[k];

        best->scale.v[k] = better ? trial->scale.v[k] : best->scale.v[k];
        best->zero.v[k] = better ? trial->zero.v[k] : best->zero.v[k];
        best->error.v[k] = better ? trial->error.v[k] : best->error.v[k];
    }
}

/* The best zero point within reach of the line's, and its best scale before it is rounded. */
static void search_scales(choice *best, const bl_affine_groups *g, const bl_affine_line *fit,
                          float least_zero, const bl_affine_kernels *kernels)
{
    bl_affine_line line;
    bl_affine_sums sums;
    bl_affine_lanes gain, first;
    choice trial;

    best->scale = fit->scale;
    for (size_t k = 0; k < LANES; k++) {
        float zero = fit->scale.v[k] > 0.0f ? -fit->least.v[k] / fit->scale.v[k] : 0.0f;

        best->zero.v[k] = nearest(zero, least_zero);
        gain.v[k] = 0.0f;
    }
    first = best->zero;
    for (int by = -REACH_ZERO; by <= REACH_ZERO; by++) {
        for (size_t k = 0; k < LANES; k++)
            trial.zero.v[k] = nearest(first.v[k] + (float)by, least_zero);
        for (int t = 0; t < N_SCALES; t++) {
            for (size_t k = 0; k < LANES; k++)
                trial.scale.v[k] = fit->scale.v[k] * (0.64f + 0.03f * (float)t);
            to_line(&line, &trial);
            kernels->sums(&sums, g, &line);
            take_better(best, &gain, &trial, &sums, g);
        }
    }
}

/* The grids of the plain method. */
static void take_plain(choice *c, const bl_affine_groups *g, bl_affine_unit unit,
                       uint8_t least_zero)
{
    for (size_t k = 0; k < LANES; k++) {
        struct grid plain = grid_of(g->low.v[k] * unit.from, g->high.v[k] * unit.from, least_zero);

        c->scale.v[k] = plain.scale * unit.to;
        c->zero.v[k] = plain.zero;
    }
}

static void search(choice *best, const bl_affine_groups *g, bl_affine_unit unit, uint8_t least_zero,
                   const bl_affine_kernels *kernels)
{
    bl_affine_line line;
    choice from, trial;

    bl_affine_fit(&line, g, kernels);
    search_scales(&from, g, &line, least_zero, kernels);
    store_scales(&from, unit);
    take_plain(best, g, unit, least_zero);
    to_line(&line, best);
    kernels->error(&best->error, g, &line);
    for (int by = -REACH_SCALE; by <= REACH_SCALE; by++) {
        step_scale(&trial, &from, by, unit);
        to_line(&line, &trial);
        kernels->error(&trial.error, g, &line);
        keep_better(best, &trial);
    }
}

static void search_row(const bl_int4_zero_row *out, const float *row, const float *importance,
                       size_t n_cols, size_t group_size, uint8_t least_zero,
                       const bl_affine_kernels *kernels)
{
    const bl_affine_unit unit = bl_affine_unit_of(row, n_cols);
    const float h_unit = importance ? bl_affine_unit_of(importance, n_cols).to : 1.0f;
    uint8_t code[BL_AFFINE_MAX_LEN][LANES];
    bl_affine_groups g;
    bl_affine_line line;
    choice best;

    assert(group_size > 0 && group_size % 8 == 0 && n_cols % group_size == 0);
    assert(group_size <= BL_AFFINE_MAX_LEN);
    g.len = group_size;
    g.top = 15.0f;
    g.trial_reach = TRIAL_REACH;
    g.trial_step = 0.4f;
    g.least_to_zero = g.high_to_zero = true;
    g.known = importance != NULL;
    g.by_magnitude = false;
    g.sigma2 = (bl_affine_lanes){ { 0.0f } };
    for (size_t first = 0, n; first < n_cols / group_size; first += n) {
        n = n_cols / group_size - first < LANES ? n_cols / group_size - first : LANES;
        if (n < LANES)
            bl_affine_clear(&g);
        bl_affine_load(&g, 0, n, row + first * group_size, unit.to,
                       importance ? importance + first * group_size : NULL, h_unit);
        kernels->prepare(&g);
        search(&best, &g, unit, least_zero, kernels);
        to_line(&line, &best);
        kernels->codes(code, &g, &line);
        for (size_t k = 0; k < n; k++) {
            uint8_t *to = out->packed + (first + k) * group_size / 2;

            out->scale[first + k] = bl_bf16_from_f32(best.scale.v[k] * unit.from);
            out->zero[first + k] = (uint8_t)best.zero.v[k];
            for (size_t j = 0; j < group_size / 2; j++)
                to[j] = (uint8_t)(code[2 * j][k] | code[2 * j + 1][k] << 4);
        }
    }
}

void bl_int4_zero_search(const bl_int4_zero_row *out, const float *row, const float *importance,
                         size_t n_cols, size_t group_size, uint8_t least_zero)
{
    search_row(out, row, importance, n_cols, group_size, least_zero, &bl_affine_fast);
}

void bl_int4_zero_search_ref(const bl_int4_zero_row *out, const float *row, const float *importance,
                             size_t n_cols, size_t group_size, uint8_t least_zero)
{
    search_row(out, row, importance, n_cols, group_size, least_zero, &bl_affine_ref);
}

void bl_int4_zero_put_codes(void *packed, const uint8_t *code, size_t n)
{
    uint8_t *to = packed;

    for (size_t i = 0; i < n / 2; i++)
        to[i] = (uint8_t)(code[2 * i] | code[2 * i + 1] << 4);
}
