/*
 * search_symmetric.h - the weighted search for grids that are a step times fixed levels
 * (symmetric_grid.h): the step, or the steps of the groups of a super-block, whose rounding error
 * sum_j w_j (x_j - step level_j)^2 is least among the steps that the format can store.
 *
 * Given the step, the nearest level is the best one for each value, so steps alone are searched, of
 * both signs: coarse trials around largest magnitude / lowest level, closer ones, then the closed-form
 * refit step = sum w x level / sum w level^2 and its stored neighbours. A super-block takes the best
 * step of each group as where to look, tries a few steps of steps d and for each of them, in every
 * group, sixteen integers; then refits d. So every error that is compared is that of stored steps.
 *
 * Considered: llama.cpp's order (best steps, then rounding them), which loses what the search found
 * where the stored step is another; moving single codes and refitting (ik_llama.cpp), which cannot
 * end below the nearest levels of the step that it ends on: denser trials reach as low.
 *
 * No exp, log or FMA, sums in a fixed order: same bytes on every machine. Pure functions, no
 * allocation, any thread.
 */
#ifndef BL_QUANTIZE_SEARCH_SYMMETRIC_H
#define BL_QUANTIZE_SEARCH_SYMMETRIC_H

#include "quantize/symmetric_block.h"
#include "quantize/symmetric_grid.h"

/* For each group the bits of the best step, never infinite; and the codes that belong to it. */
void bl_symmetric_search(uint16_t *step, uint8_t *code, const bl_symmetric_block *block,
                         const bl_grid *grid, bl_step_format format);

/*
 * Without a search: the largest magnitude of a group, with its sign, goes to the lowest level; values
 * are rounded with the step as it is stored.
 */
void bl_symmetric_plain(uint16_t *step, uint8_t *code, const bl_symmetric_block *block,
                        const bl_grid *grid, bl_step_format format);

/* A super-block of 256 values: the step of group g is d * scale[g], d in F16. */
typedef struct bl_super_format {
    bl_grid grid;
    size_t group;                    /* values in a group: 16 or 32 */
    int lowest_scale, highest_scale; /* lowest < 0 < highest, at least 16 in all */
} bl_super_format;

typedef struct bl_super_block {
    uint16_t d; /* F16, finite */
    int8_t scale[BL_SYMMETRIC_GROUPS];
    uint8_t code[BL_SYMMETRIC_LEN];
} bl_super_block;

/* One super-block, x[256] and importance[256] (NULL: unknown); m is twice its mean square. */
void bl_super_search(bl_super_block *out, const float *x, const float *importance,
                     const bl_super_format *format);

/*
 * Without a search: the step of a group takes its largest magnitude to the lowest level, the largest
 * step is the lowest scale, and the values are rounded with the steps as they are stored.
 */
void bl_super_plain(bl_super_block *out, const float *x, const bl_super_format *format);

/* Between search_symmetric.c and search_super.c: the best step of coarse trials for each group. */
void bl_coarse_search(float *step, float *error, const bl_symmetric_block *block,
                      const bl_grid *grid);

/* GGUF encodings of 32 values under one F16 scale: how one block is written. */
typedef void (*bl_put_block_fn)(unsigned char *block, uint16_t step, const uint8_t code[32]);

/* One row of such blocks of block_bytes each; n_cols a multiple of 32, m the row's mean square. */
void bl_symmetric_search_row(void *out, size_t block_bytes, bl_put_block_fn put, const float *row,
                             const float *importance, size_t n_cols, const bl_grid *grid);

#endif
