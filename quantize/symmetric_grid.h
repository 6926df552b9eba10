/*
 * symmetric_grid.h - values that are a step times a level: value = step * level[code]. What rounding
 * to such a grid costs, for sixteen steps at once; the search (search_symmetric.h) is made of it.
 *
 * The step may be negative: where the levels reach further down than up (-8 to 7), its sign decides
 * which end of the values gets the longer side.
 */
#ifndef BL_QUANTIZE_SYMMETRIC_GRID_H
#define BL_QUANTIZE_SYMMETRIC_GRID_H

#include <stddef.h>
#include <stdint.h>

enum { BL_GRID_LANES = 16, BL_GRID_MAX_GROUPS = 16 };

typedef enum bl_grid_kind {
    BL_GRID_INTEGERS, /* level = lowest + code, up to highest */
    BL_GRID_IQ4,      /* the 16 levels of IQ4_NL and IQ4_XS */
    BL_GRID_E2M1      /* twice the 16 values of E2M1; code 8, minus zero, is not used */
} bl_grid_kind;

typedef struct bl_grid {
    bl_grid_kind kind;
    float lowest, highest;
} bl_grid;

/* The steps to try for group g: unit[g] * (base[g] + lane[l]), l from 0 to 15. */
typedef struct bl_grid_steps {
    float unit[BL_GRID_MAX_GROUPS], base[BL_GRID_MAX_GROUPS], lane[BL_GRID_LANES];
} bl_grid_steps;

/*
 * Round n_groups groups of values with 16 steps each. For group g and lane l
 *     error_l = sum_j w_j (x_j - step_l level_j)^2, level_j nearest to x_j (1 / step_l)
 * best[g] is the lane of the least error, error[g] that error. Errors lose their last five bits; of
 * equal ones the first lane wins. Sums go from the first value to the last, in F32. w >= 0. A step of
 * 0 is allowed. Same bits on every machine.
 */
void bl_grid_try(float *error, uint8_t *best, const bl_grid *grid, const float *x, const float *w,
                 size_t n_groups, size_t group, const bl_grid_steps *steps);

/* The definition, one step after the other; bl_grid_try equals it bit for bit. */
void bl_grid_try_ref(float *error, uint8_t *best, const bl_grid *grid, const float *x,
                     const float *w, size_t n_groups, size_t group, const bl_grid_steps *steps);

/*
 * The levels of n_groups groups of values, group a multiple of 16, rounded with step[g]; xl[g] and
 * ll[g] are the sums of w x level and of w level^2: 16 lanes that are added in halves. A step whose
 * inverse is not finite counts as 0: the levels are those of 0.
 */
void bl_grid_round(float *level, float *xl, float *ll, const bl_grid *grid, const float *x,
                   const float *w, size_t n_groups, size_t group, const float *step);
void bl_grid_round_ref(float *level, float *xl, float *ll, const bl_grid *grid, const float *x,
                       const float *w, size_t n_groups, size_t group, const float *step);

/* The codes of levels. */
void bl_grid_codes(uint8_t *code, const bl_grid *grid, const float *level, size_t n);

#endif
