/* symmetric_grid.c - see the header. One lane a step, so that no sum crosses lanes. */
#include "quantize/symmetric_grid.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

enum { LANES = BL_GRID_LANES };

/* Halfway between neighbours of the table of IQ4_NL; a value on it goes down. */
static const float iq4_midpoint[15] = { -115.5f, -93.5f, -74.0f, -57.0f, -42.0f,
                                        -28.5f,  -16.0f, -4.5f,  7.0f,   19.0f,
                                        31.5f,   45.5f,  61.0f,  79.0f,  101.0f };
static const float iq4_level[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113 };
/* The same for the magnitudes of E2M1, doubled; a value on it goes to the smaller one. */
static const float e2m1_midpoint[7] = { 0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f };
static const float e2m1_level[8] = { 0, 1, 2, 3, 4, 6, 8, 12 };

/* By a mask, so that sixteen are one vector division. */
static inline float inverse_of(float step)
{
    uint32_t bits = bl_bits_from_f32(1.0f / step);
    uint32_t finite = (bits & 0x7fffffffu) < 0x7f800000u ? UINT32_MAX : 0;

    return bl_f32_from_bits(bits & finite);
}

/* Halves to even. */
static inline float nearest_integer(float v, float lowest, float highest)
{
    const float even = 0x1.8p23f; /* adding it rounds to an integer */

    v = v > lowest ? v : lowest;
    v = v < highest ? v : highest;
    return (v + even) - even;
}

static inline float nearest_iq4(float v)
{
    float level = iq4_level[0];

    for (int k = 0; k < 15; k++)
        level = v > iq4_midpoint[k] ? iq4_level[k + 1] : level;
    return level;
}

static inline float nearest_e2m1(float v)
{
    uint32_t bits = bl_bits_from_f32(v);
    float magnitude = bl_f32_from_bits(bits & 0x7fffffffu), level = e2m1_level[0];

    for (int k = 0; k < 7; k++)
        level = magnitude > e2m1_midpoint[k] ? e2m1_level[k + 1] : level;
    return bl_f32_from_bits(bl_bits_from_f32(level) | (bits & 0x80000000u));
}

static inline __attribute__((always_inline)) float nearest(const bl_grid *grid, float v)
{
    switch (grid->kind) {
    case BL_GRID_INTEGERS:
        return nearest_integer(v, grid->lowest, grid->highest);
    case BL_GRID_IQ4:
        return nearest_iq4(v);
    default:
        return nearest_e2m1(v);
    }
}

/* Errors are not negative, so their bits are ordered as they are. */
static inline uint32_t key_of(float error, int lane)
{
    return (bl_bits_from_f32(error) & ~31u) | (uint32_t)(LANES + lane);
}

static inline float step_of(const bl_grid_steps *steps, size_t g, int l)
{
    return steps->unit[g] * (steps->base[g] + steps->lane[l]);
}

void bl_grid_try_ref(float *error, uint8_t *best, const bl_grid *grid, const float *x,
                     const float *w, size_t n_groups, size_t group, const bl_grid_steps *steps)
{
    for (size_t g = 0; g < n_groups; g++, x += group, w += group) {
        uint32_t least = UINT32_MAX;

        for (int l = 0; l < LANES; l++) {
            float step = step_of(steps, g, l), inverse = 1.0f / step, sum = 0.0f;

            for (size_t j = 0; j < group; j++) {
                float rest = x[j] - step * nearest(grid, x[j] * inverse);

                sum += w[j] * rest * rest;
            }
            least = key_of(sum, l) < least ? key_of(sum, l) : least;
        }
        best[g] = least & 15u;
        error[g] = bl_f32_from_bits(least & ~31u);
    }
}

/* Of each lane and the one half of them away, the smaller. */
static inline void keep_smaller(uint32_t *key, int half)
{
    for (int l = 0; l < half; l++)
        key[l] = key[l + half] < key[l] ? key[l + half] : key[l];
}

/* Inlined where the kind is known, so that each kind is a loop of its own. */
static inline __attribute__((always_inline)) void try_groups(
    float *restrict error, uint8_t *restrict best, const bl_grid *grid, const float *restrict x,
    const float *restrict w, size_t n_groups, size_t group, const bl_grid_steps *restrict steps)
{
    for (size_t g = 0; g < n_groups; g++, x += group, w += group) {
        float sum[LANES] = { 0 }, step[LANES], inverse[LANES];
        uint32_t key[LANES];

        for (int l = 0; l < LANES; l++) {
            step[l] = step_of(steps, g, l);
            inverse[l] = 1.0f / step[l];
        }
        for (size_t j = 0; j < group; j++) {
            for (int l = 0; l < LANES; l++) {
                float rest = x[j] - step[l] * nearest(grid, x[j] * inverse[l]);

                sum[l] += w[j] * rest * rest;
            }
        }
        for (int l = 0; l < LANES; l++)
            key[l] = key_of(sum[l], l);
        keep_smaller(key, 8);
        keep_smaller(key, 4);
        keep_smaller(key, 2);
        keep_smaller(key, 1);
        best[g] = key[0] & 15u;
        error[g] = bl_f32_from_bits(key[0] & ~31u);
    }
}

BL_CLONES
void bl_grid_try(float *error, uint8_t *best, const bl_grid *grid, const float *x, const float *w,
                 size_t n_groups, size_t group, const bl_grid_steps *steps)
{
    const bl_grid integers = { BL_GRID_INTEGERS, grid->lowest, grid->highest };
    const bl_grid iq4 = { BL_GRID_IQ4, 0, 0 }, e2m1 = { BL_GRID_E2M1, 0, 0 };

    if (grid->kind == BL_GRID_INTEGERS)
        try_groups(error, best, &integers, x, w, n_groups, group, steps);
    else if (grid->kind == BL_GRID_IQ4)
        try_groups(error, best, &iq4, x, w, n_groups, group, steps);
    else
        try_groups(error, best, &e2m1, x, w, n_groups, group, steps);
}

/* The lanes of a sum, added in halves. */
static inline float add_halves(float *lane)
{
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    }
    return lane[0];
}

static inline __attribute__((always_inline)) void round_groups(
    float *restrict level, float *restrict xl, float *restrict ll, const bl_grid *grid,
    const float *restrict x, const float *restrict w, size_t n_groups, size_t group,
    const float *restrict step)
{
    for (size_t g = 0; g < n_groups; g++, level += group, x += group, w += group) {
        float xl_lane[LANES] = { 0 }, ll_lane[LANES] = { 0 }, inverse = inverse_of(step[g]);

        for (size_t j = 0; j < group; j += LANES) {
            for (size_t l = 0; l < LANES; l++) {
                float q = nearest(grid, x[j + l] * inverse);

                level[j + l] = q;
                xl_lane[l] += w[j + l] * x[j + l] * q;
                ll_lane[l] += w[j + l] * q * q;
            }
        }
        xl[g] = add_halves(xl_lane);
        ll[g] = add_halves(ll_lane);
    }
}

void bl_grid_round_ref(float *level, float *xl, float *ll, const bl_grid *grid, const float *x,
                       const float *w, size_t n_groups, size_t group, const float *step)
{
    for (size_t g = 0; g < n_groups; g++, level += group, x += group, w += group) {
        float xl_lane[LANES] = { 0 }, ll_lane[LANES] = { 0 };

        for (size_t j = 0; j < group; j++) {
            level[j] = nearest(grid, x[j] * inverse_of(step[g]));
            xl_lane[j % LANES] += w[j] * x[j] * level[j];
            ll_lane[j % LANES] += w[j] * level[j] * level[j];
        }
        xl[g] = add_halves(xl_lane);
        ll[g] = add_halves(ll_lane);
    }
}

BL_CLONES
void bl_grid_round(float *level, float *xl, float *ll, const bl_grid *grid, const float *x,
                   const float *w, size_t n_groups, size_t group, const float *step)
{
    const bl_grid integers = { BL_GRID_INTEGERS, grid->lowest, grid->highest };
    const bl_grid iq4 = { BL_GRID_IQ4, 0, 0 }, e2m1 = { BL_GRID_E2M1, 0, 0 };

    if (grid->kind == BL_GRID_INTEGERS)
        round_groups(level, xl, ll, &integers, x, w, n_groups, group, step);
    else if (grid->kind == BL_GRID_IQ4)
        round_groups(level, xl, ll, &iq4, x, w, n_groups, group, step);
    else
        round_groups(level, xl, ll, &e2m1, x, w, n_groups, group, step);
}

BL_CLONES
void bl_grid_codes(uint8_t *restrict code, const bl_grid *grid, const float *restrict level,
                   size_t n)
{
    if (grid->kind == BL_GRID_INTEGERS) {
        for (size_t j = 0; j < n; j++)
            code[j] = (uint8_t)(int)(level[j] - grid->lowest);
    } else if (grid->kind == BL_GRID_IQ4) {
        for (size_t j = 0; j < n; j++) {
            uint32_t below = 0;

            for (int k = 0; k < 15; k++)
                below += level[j] > iq4_level[k];
            code[j] = (uint8_t)below;
        }
    } else {
        for (size_t j = 0; j < n; j++) {
            uint32_t bits = bl_bits_from_f32(level[j]), below = 0;
            float magnitude = bl_f32_from_bits(bits & 0x7fffffffu);

            for (int k = 0; k < 7; k++)
                below += magnitude > e2m1_level[k];
            code[j] = (uint8_t)(below | (below ? bits >> 31 << 3 : 0));
        }
    }
}
