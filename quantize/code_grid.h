/*
 * code_grid.h - the values that a row can take once its scales are fixed.
 *
 * A static grid: the search has written a row's blocks, scales and all, and what is left to choose
 * is a code for every element. Its values are those of the block's own decoder, asked for the code
 * at either end, so one description serves every block type:
 *
 *     value(element, rank) = offset[element] + step[element] * level[rank]
 *
 * with level[rank] = rank where codes are evenly spaced, and the type's table (IQ4, MXFP4),
 * scaled to 0 .. n_levels - 1, where they are not.
 *
 * Read-only after init: threads may share it.
 */
#ifndef BL_QUANTIZE_CODE_GRID_H
#define BL_QUANTIZE_CODE_GRID_H

#include "convert/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_CODE_GRID_MAX_LEVELS = 256 };

/* What is asked of a type whose codes can be chosen one by one. */
typedef struct bl_code_grid_type {
    const bl_encoder *encoder; /* writes the blocks: scales, and the codes to be improved on */
    uint32_t n_levels;         /* codes are 0 .. n_levels - 1 */
    uint32_t block;            /* elements whose codes put_codes replaces */
    uint32_t block_bytes;      /* that they take in part 0 */
    /* Replace the codes of one block, in the order of the elements; scales stay. */
    void (*put_codes)(void *block, const uint8_t *code);
} bl_code_grid_type;

/* The type that this encoder writes; false where its codes cannot be chosen (casts, Q8_0). */
bool bl_code_grid_type_of(bl_code_grid_type *out, const bl_encoder *encoder);

typedef struct bl_code_grid {
    const bl_code_grid_type *type; /* borrowed */
    bool linear;                   /* level[rank] = rank, and the code is the rank */
    float level[BL_CODE_GRID_MAX_LEVELS];
    uint8_t code[BL_CODE_GRID_MAX_LEVELS]; /* of each rank */
} bl_code_grid;

/* Finds the levels by decoding every code once. Fails with BL_E_NOMEM. */
BL_MUST_USE bl_status bl_code_grid_init(bl_code_grid *out, const bl_code_grid_type *type,
                                        struct bl_err *err);

/*
 * offset[n_cols] and step[n_cols] of an encoded row. The row's codes are lost: put others.
 * A step is negative where a scale is, and 0 where all codes have the same value.
 */
void bl_code_grid_of_row(float *offset, float *step, const bl_code_grid *grid,
                         void *const part[BL_JOB_MAX_PARTS], size_t n_cols);
void bl_code_grid_put_row(void *part0, const bl_code_grid *grid, const uint8_t *code,
                          size_t n_cols);

/* Encode rows by the type's encoder; what encoded rows say. */
void bl_code_grid_encode(void *const part[BL_JOB_MAX_PARTS], const bl_code_grid *grid,
                         const bl_encode_rows *rows);
void bl_code_grid_decode(float *out, const bl_code_grid *grid, void *const part[BL_JOB_MAX_PARTS],
                         uint64_t n_rows, size_t n_cols);

/* The nearest value of the grid to each of x[n], one element each, and its code. */
void bl_code_grid_round(uint8_t *code, float *value, const bl_code_grid *grid, const float *x,
                        const float *offset, const float *step, size_t n);

#endif
