/* search_symmetric.c - one step for a group; search_super.c has super-blocks. */
#include "quantize/search_symmetric.h"

#include "base/clones.h"
#include "formats/dtype/amax.h"

#include <assert.h>
#include <float.h>
#include <math.h>

enum { LANES = BL_GRID_LANES, GROUPS = BL_SYMMETRIC_GROUPS, HALF = BL_GRID_LANES / 2 };

/* Of each group the best step so far; lane: of the last trials, -1 where none was better. */
typedef struct best_steps {
    float step[GROUPS], error[GROUPS];
    int lane[GROUPS];
} best_steps;

static void begin(best_steps *best, size_t n_groups)
{
    for (size_t g = 0; g < n_groups; g++) {
        best->step[g] = 0.0f;
        best->error[g] = FLT_MAX;
        best->lane[g] = -1;
    }
}

/* Try steps on n_groups groups from first on. */
static void try_steps(best_steps *best, const bl_symmetric_block *b, size_t first, size_t n_groups,
                      const bl_grid *grid, const bl_grid_steps *steps)
{
    const float *x = b->x + first * b->group, *w = b->w + first * b->group;
    float error[GROUPS];
    uint8_t lane[GROUPS];

    bl_grid_try(error, lane, grid, x, w, n_groups, b->group, steps);
    for (size_t g = 0; g < n_groups; g++) {
        best->lane[first + g] = -1;
        if (error[g] < best->error[first + g]) {
            best->error[first + g] = error[g];
            best->step[first + g] = steps->unit[g] * (steps->base[g] + steps->lane[lane[g]]);
            best->lane[first + g] = lane[g];
        }
    }
}

/* What it costs to cut off the values at two thirds of the largest magnitude. */
BL_CLONES
static float cost_of_cutting(const float *x, const float *w, size_t n, float amax)
{
    const float edge = amax * (2.0f / 3.0f);
    float lane[LANES] = { 0 };

    for (size_t j = 0; j < n; j += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            float beyond = fabsf(x[j + l]) - edge;

            beyond = beyond > 0.0f ? beyond : 0.0f;
            lane[l] += w[j + l] * beyond * beyond;
        }
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    }
    return lane[0];
}

/*
 * Steps from 1.4 to 15 times smaller than `unit`, of both signs, then closer ones: the largest
 * values hardly matter, and are cut off.
 */
static void shrink(best_steps *best, const bl_symmetric_block *b, size_t g, const bl_grid *grid,
                   float unit)
{
    const float ratio = 1.0f / 1.4f;
    bl_grid_steps steps = { .unit = { unit }, .lane = { ratio, -ratio } };

    for (int l = 2; l < LANES; l++)
        steps.lane[l] = steps.lane[l - 2] * ratio;
    try_steps(best, b, g, 1, grid, &steps);
    if (best->lane[g] < 0)
        return;
    for (int round = 0; round < 2; round++) {
        steps.unit[0] = best->step[g];
        steps.base[0] = 1.0f;
        for (int l = 0; l < LANES; l++)
            steps.lane[l] = (round ? 0.02f : 0.2f) / 8.0f * ((float)l - 7.5f);
        try_steps(best, b, g, 1, grid, &steps);
    }
}

/*
 * 32 steps of each sign: largest magnitude / (f lowest level). With many levels rounding errors are
 * independent between closer steps, so more of them pay. A step of two thirds leaves less than half
 * of the error: where cutting off costs less than that, far smaller steps are tried.
 */
void bl_coarse_search(float *step, float *error, const bl_symmetric_block *b, const bl_grid *grid)
{
    const bool fine = grid->lowest <= -31.0f && grid->kind == BL_GRID_INTEGERS;
    const float first = fine ? 0.75f : 0.7f, distance = fine ? 0.015f : 0.02f;
    float amax[GROUPS];
    bl_grid_steps steps;
    best_steps best;

    begin(&best, b->n_groups);
    for (size_t g = 0; g < b->n_groups; g++) {
        amax[g] = bl_f32_from_bits(bl_amax_bits(b->x + g * b->group, b->group));
        steps.unit[g] = amax[g] / -grid->lowest;
        steps.base[g] = 0.0f;
    }
    for (int k = 0; k < 4; k++) {
        for (int l = 0; l < LANES; l++) {
            float f = first + distance * (float)(k % 2 * LANES + l);

            steps.lane[l] = (k < 2 ? 1.0f : -1.0f) / f;
        }
        try_steps(&best, b, 0, b->n_groups, grid, &steps);
    }
    for (size_t g = 0; g < b->n_groups; g++) {
        const float *x = b->x + g * b->group, *w = b->w + g * b->group;

        if (cost_of_cutting(x, w, b->group, amax[g]) < 0.5f * best.error[g])
            shrink(&best, b, g, grid, steps.unit[g]);
        step[g] = best.step[g];
        error[g] = best.error[g];
    }
}

/* Sixteen steps within a coarse distance on both sides. */
static void try_closer(float *step, const float *error, const bl_symmetric_block *b,
                       const bl_grid *grid)
{
    bl_grid_steps steps;
    best_steps best;

    for (size_t g = 0; g < b->n_groups; g++) {
        best.step[g] = steps.unit[g] = step[g];
        best.error[g] = error[g];
        steps.base[g] = 1.0f;
    }
    for (int l = 0; l < LANES; l++)
        steps.lane[l] = 0.02f / 8.0f * ((float)l - 7.5f);
    try_steps(&best, b, 0, b->n_groups, grid, &steps);
    for (size_t g = 0; g < b->n_groups; g++)
        step[g] = best.step[g];
}

/* The sixteen stored steps around each of `around`, as whole multiples of the distance there. */
static void try_stored(best_steps *best, const float *around, const bl_symmetric_block *b,
                       const bl_grid *grid, bl_step_format format)
{
    const float end = format == BL_STEP_F16 ? 2048.0f : 256.0f; /* of a mantissa */
    bl_grid_steps steps;

    for (size_t g = 0; g < b->n_groups; g++) {
        uint16_t bits = bl_step_to_bits(around[g], b->exponent[g], format);
        float ulp = bl_step_ulp(bits, b->exponent[g], format);
        float middle = fabsf(bl_step_from_bits(bits, b->exponent[g], format)) / ulp;
        float first = middle - HALF;

        first = first > 0.0f ? first : 0.0f;
        steps.base[g] = first < end - LANES ? first : end - LANES;
        steps.unit[g] = bits & 0x8000 ? -ulp : ulp;
    }
    for (int l = 0; l < LANES; l++)
        steps.lane[l] = (float)l;
    try_steps(best, b, 0, b->n_groups, grid, &steps);
}

/* Round each group with its best step; refitted: the steps that fit the levels best. */
static void round_groups(float *level, float *refitted, const best_steps *best,
                         const bl_symmetric_block *b, const bl_grid *grid)
{
    float xl[GROUPS], ll[GROUPS];

    bl_grid_round(level, xl, ll, grid, b->x, b->w, b->n_groups, b->group, best->step);
    for (size_t g = 0; g < b->n_groups; g++)
        refitted[g] = ll[g] > 0.0f ? xl[g] / ll[g] : best->step[g];
}

void bl_symmetric_search(uint16_t *step, uint8_t *code, const bl_symmetric_block *b,
                         const bl_grid *grid, bl_step_format format)
{
    float level[BL_SYMMETRIC_LEN], around[GROUPS], error[GROUPS];
    best_steps best;

    begin(&best, b->n_groups);
    bl_coarse_search(around, error, b, grid);
    try_closer(around, error, b, grid);
    try_stored(&best, around, b, grid, format);
    round_groups(level, around, &best, b, grid);
    try_stored(&best, around, b, grid, format);
    round_groups(level, around, &best, b, grid);
    bl_grid_codes(code, grid, level, b->n_groups * b->group);
    for (size_t g = 0; g < b->n_groups; g++)
        step[g] = bl_step_to_bits(best.step[g], b->exponent[g], format);
}

void bl_symmetric_plain(uint16_t *step, uint8_t *code, const bl_symmetric_block *b,
                        const bl_grid *grid, bl_step_format format)
{
    float level[BL_SYMMETRIC_LEN], refitted[GROUPS];
    best_steps best;

    for (size_t g = 0; g < b->n_groups; g++) {
        float extreme = bl_extreme_of(b->x + g * b->group, b->group);

        step[g] = bl_step_to_bits(extreme / grid->lowest, b->exponent[g], format);
        best.step[g] = bl_step_from_bits(step[g], b->exponent[g], format);
    }
    round_groups(level, refitted, &best, b, grid);
    bl_grid_codes(code, grid, level, b->n_groups * b->group);
}

void bl_symmetric_search_row(void *out, size_t block_bytes, bl_put_block_fn put, const float *row,
                             const float *importance, size_t n_cols, const bl_grid *grid)
{
    double mean_square = bl_mean_square(row, n_cols);
    unsigned char *to = out;

    assert(n_cols % 32 == 0);
    for (size_t at = 0; at < n_cols; at += BL_SYMMETRIC_LEN) {
        size_t n = n_cols - at < BL_SYMMETRIC_LEN ? n_cols - at : BL_SYMMETRIC_LEN;
        bl_symmetric_block values;
        uint8_t code[BL_SYMMETRIC_LEN];
        uint16_t step[BL_SYMMETRIC_LEN / 32] = { 0 };

        bl_symmetric_load(&values, row + at, importance ? importance + at : NULL, n, 32, false,
                          mean_square);
        bl_symmetric_search(step, code, &values, grid, BL_STEP_F16);
        for (size_t g = 0; g < n / 32; g++, to += block_bytes)
            put(to, step[g], code + 32 * g);
    }
}
