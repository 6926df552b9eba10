/* search_super.c - the search of search_symmetric.h for super-blocks. */
#include "quantize/search_symmetric.h"

#include <assert.h>
#include <float.h>
#include <math.h>

enum {
    LANES = BL_GRID_LANES,
    GROUPS = BL_SYMMETRIC_GROUPS,
    LEN = BL_SYMMETRIC_LEN,
    HALF = BL_GRID_LANES / 2
};

typedef struct trial {
    uint16_t bits; /* of d */
    float d;       /* in the block's units */
    float error;
    int scale[GROUPS];
} trial;

/* The best integer scales for a d; in each group the sixteen around its ideal step. */
static void try_d(trial *t, float d, const float *ideal, const bl_symmetric_block *b,
                  const bl_super_format *f)
{
    const float lowest = (float)f->lowest_scale, last = (float)f->highest_scale - (LANES - 1);
    const float even = 0x1.8p23f; /* adding it rounds to an integer */
    bl_grid_steps steps;
    float error[GROUPS], inverse;
    uint8_t lane[GROUPS];

    t->bits = bl_step_to_bits(d, b->exponent[0], BL_STEP_F16);
    t->d = bl_step_from_bits(t->bits, b->exponent[0], BL_STEP_F16);
    t->error = 0.0f;
    inverse = t->d != 0.0f ? 1.0f / t->d : 0.0f;
    for (int l = 0; l < LANES; l++)
        steps.lane[l] = (float)l;
    for (size_t g = 0; g < b->n_groups; g++) {
        float first = ideal[g] * inverse - HALF;

        first = first > lowest ? first : lowest;
        first = first < last ? first : last;
        steps.unit[g] = t->d;
        steps.base[g] = (first + even) - even;
    }
    bl_grid_try(error, lane, &f->grid, b->x, b->w, b->n_groups, b->group, &steps);
    for (size_t g = 0; g < b->n_groups; g++) {
        t->scale[g] = (int)steps.base[g] + lane[g];
        t->error += error[g];
    }
}

/* Round with the scales of a trial; returns the d that fits the levels best. */
static float round_groups(float *level, const trial *t, const bl_symmetric_block *b,
                          const bl_super_format *f)
{
    float xl[GROUPS], ll[GROUPS], step[GROUPS], all_xl = 0.0f, all_ll = 0.0f;

    for (size_t g = 0; g < b->n_groups; g++)
        step[g] = t->d * (float)t->scale[g];
    bl_grid_round(level, xl, ll, &f->grid, b->x, b->w, b->n_groups, b->group, step);
    for (size_t g = 0; g < b->n_groups; g++) {
        float scale = (float)t->scale[g];

        all_xl += scale * xl[g];
        all_ll += scale * scale * ll[g];
    }
    return all_ll > 0.0f ? all_xl / all_ll : t->d;
}

static void put(bl_super_block *out, const float *level, const trial *t, const bl_super_format *f)
{
    bl_grid_codes(out->code, &f->grid, level, LEN);
    out->d = t->bits;
    for (size_t g = 0; g < LEN / f->group; g++)
        out->scale[g] = (int8_t)t->scale[g];
}

static float largest_of(const float *step, size_t n)
{
    float largest = 0.0f;

    for (size_t g = 0; g < n; g++)
        largest = fabsf(step[g]) > fabsf(largest) ? step[g] : largest;
    return largest;
}

void bl_super_search(bl_super_block *out, const float *x, const float *importance,
                     const bl_super_format *f)
{
    float ideal[GROUPS], error[GROUPS], level[LEN], largest, refitted;
    trial best = { .error = FLT_MAX }, t; /* all zero: what a block of zeros stays with */
    bl_symmetric_block b;

    bl_symmetric_load(&b, x, importance, LEN, f->group, true, 2.0 * bl_mean_square(x, LEN));
    bl_coarse_search(ideal, error, &b, &f->grid);
    largest = largest_of(ideal, b.n_groups);
    for (int k = 0; k < 3 && largest != 0.0f; k++) {
        try_d(&t, largest / (float)(f->lowest_scale + k), ideal, &b, f);
        if (t.error < best.error)
            best = t;
    }
    refitted = round_groups(level, &best, &b, f);
    if (largest != 0.0f) {
        try_d(&t, refitted, ideal, &b, f);
        if (t.error < best.error) {
            best = t;
            round_groups(level, &best, &b, f);
        }
    }
    put(out, level, &best, f);
}

void bl_super_plain(bl_super_block *out, const float *x, const bl_super_format *f)
{
    float ideal[GROUPS], level[LEN], largest;
    bl_symmetric_block b;
    trial t = { 0 };

    bl_symmetric_load(&b, x, NULL, LEN, f->group, true, 0.0);
    for (size_t g = 0; g < b.n_groups; g++)
        ideal[g] = bl_extreme_of(b.x + g * f->group, f->group) / f->grid.lowest;
    largest = largest_of(ideal, b.n_groups);
    if (largest != 0.0f)
        t.bits = bl_step_to_bits(largest / (float)f->lowest_scale, b.exponent[0], BL_STEP_F16);
    t.d = bl_step_from_bits(t.bits, b.exponent[0], BL_STEP_F16);
    for (size_t g = 0; g < b.n_groups && t.d != 0.0f; g++) {
        float scale = rintf(ideal[g] / t.d);

        scale = scale > (float)f->lowest_scale ? scale : (float)f->lowest_scale;
        t.scale[g] = (int)(scale < (float)f->highest_scale ? scale : (float)f->highest_scale);
    }
    round_groups(level, &t, &b, f);
    put(out, level, &t, f);
}
