/* encode_int4_zero.c - see the header. Sums are made in 16 lanes and a fixed tree. */
#include "quantize/encode_int4_zero.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <math.h>

enum { LANES = 16, N_SHRINKS = 9, MAX_GROUP = 128 };

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

static float add_lanes(float lane[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* sum w (x - s q)^2 of a group; n is a multiple of 16. */
BL_CLONES
static float error_of(const float *restrict x, const float *restrict w, float scale, float zero,
                      size_t n)
{
    float lane[LANES] = { 0 };

    for (size_t j = 0; j < n; j += LANES)
        for (size_t i = 0; i < LANES; i++) {
            float d = x[j + i] - (code_of(x[j + i], scale, zero) - zero) * scale;

            lane[i] += w[j + i] * (d * d);
        }
    return add_lanes(lane);
}

/* The scale that fits the codes of a grid best; 0 where all of them are the zero point. */
BL_CLONES
static float fit_scale(const float *restrict x, const float *restrict w, float scale, float zero,
                       size_t n)
{
    float xq[LANES] = { 0 }, qq[LANES] = { 0 }, sum_xq, sum_qq;

    for (size_t j = 0; j < n; j += LANES)
        for (size_t i = 0; i < LANES; i++) {
            float q = code_of(x[j + i], scale, zero) - zero, wq = w[j + i] * q;

            xq[i] += wq * x[j + i];
            qq[i] += wq * q;
        }
    sum_xq = add_lanes(xq);
    sum_qq = add_lanes(qq);
    return sum_qq > 0.0f ? sum_xq / sum_qq : 0.0f;
}

/* A group whose best grid is sought. */
struct search {
    const float *x, *w;
    size_t n;
    struct grid best;
    float error;
};

static void try_grid(struct search *s, struct grid g)
{
    float fitted = fit_scale(s->x, s->w, g.scale, g.zero, s->n), error;

    if (fitted > 0x1p-23f && isfinite(fitted)) {
        g.scale_bf16 = bl_bf16_from_f32(fitted);
        g.scale = bl_f32_from_bf16(g.scale_bf16);
    }
    error = error_of(s->x, s->w, g.scale, g.zero, s->n);
    if (error < s->error) {
        s->error = error;
        s->best = g;
    }
}

static void search_group(struct search *s, uint8_t least_zero)
{
    float low, high;

    range_of(&low, &high, s->x, s->n);
    s->best = grid_of(low, high, least_zero);
    s->error = error_of(s->x, s->w, s->best.scale, s->best.zero, s->n);
    for (int k = 0; k < N_SHRINKS && s->error > 0; k++) {
        float shrink = 1.0f - 0.05f * (float)k;
        struct grid g = grid_of(low * shrink, high * shrink, least_zero);
        float zero = g.zero;

        for (int step = -1; step <= 1; step++) {
            g.zero = zero + (float)step;
            if (g.zero >= (float)least_zero && g.zero <= 15.0f)
                try_grid(s, g);
        }
    }
}

void bl_int4_zero_search(const bl_int4_zero_row *out, const float *row, const float *importance,
                         size_t n_cols, size_t group_size, uint8_t least_zero)
{
    float ones[MAX_GROUP];

    assert(group_size > 0 && group_size % LANES == 0 && n_cols % group_size == 0 &&
           group_size <= MAX_GROUP);
    for (size_t j = 0; j < group_size; j++)
        ones[j] = 1.0f;
    for (size_t k = 0; k < n_cols / group_size; k++) {
        struct search s = { row + k * group_size,
                            importance ? importance + k * group_size : ones,
                            group_size,
                            { 0 },
                            0 };

        search_group(&s, least_zero);
        out->scale[k] = s.best.scale_bf16;
        out->zero[k] = (uint8_t)s.best.zero;
        put_codes(out->packed + k * group_size / 2, s.x, s.best.scale, s.best.zero, group_size);
    }
}
