/*
 * gptq.h - rounding with feedback: the codes of a matrix W[n_rows][n_cols] on static grids, so that
 * the output error tr(D H D^T), D = W - What, H = E[x x^T], is small.
 *
 * Columns go in activation order: `order` lists them by ascending E[x_j^2], and they are rounded
 * from the last one to the first. With H = L L^T in that order (Cholesky, L lower triangular),
 *
 *     D H D^T = |D L|^2,     (D L)_k / L_kk = D_k + sum_{j > k} D_j L_jk / L_kk,
 *
 * so the best value of column k, those after it being rounded, is the grid's nearest to
 *
 *     v_k = W_k + sum_{j > k} D_j U_jk,     U_jk = L_jk / L_kk.
 *
 * That is GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1, with static groups and
 * activation order) in the form of LDLQ (Chee et al. 2023, arXiv 2307.13304, theorem 6: the two are
 * the same): GPTQ's upper Cholesky factor of H^-1 is the inverse of L, reversed, and never needed.
 * One factorisation, n^3 / 3 operations, in place of two and an inverse, 4 n^3 / 3.
 *
 * Rows are independent; a tile of BL_GPTQ_ROWS of them is worked on by one thread, and columns in
 * blocks of BL_GPTQ_COLS with one product for all that comes after the block. Same bits on one CPU
 * whatever the threads, since tiles are fixed.
 */
#ifndef BL_QUANTIZE_GPTQ_H
#define BL_QUANTIZE_GPTQ_H

#include "base/err.h"
#include "quantize/code_grid.h"

#include <stddef.h>
#include <stdint.h>

enum { BL_GPTQ_ROWS = 128, BL_GPTQ_COLS = 128, BL_GPTQ_SET_ROWS = 16 };

/* What the inputs of a matrix say; one for all matrices that share them. */
typedef struct bl_gptq_factor {
    size_t n;
    uint32_t *order; /* [n] columns by ascending second moment */
    float *unit;     /* [n][n] in that order: U below the diagonal, H' above it */
    float *diagonal; /* [n] of H', then of L */
} bl_gptq_factor;

/* One thread's place for a tile; column k below is column order[k] of the matrix. */
typedef struct bl_gptq_tile {
    size_t max_cols; /* room */
    float *w;        /* [n_cols][ROWS] before: W; after: D */
    float *offset;   /* [n_cols][ROWS] the grid */
    float *step;     /* [n_cols][ROWS] */
    float *push;     /* [COLS][ROWS] sum_{j > k} D_j U_jk */
    float *u;        /* [COLS][COLS] the block's own part of U, transposed */
    uint8_t *code;   /* [n_cols][ROWS] */
} bl_gptq_tile;

/* Bytes of a tile for matrices of at most max_cols columns. */
uint64_t bl_gptq_tile_bytes(size_t max_cols);
BL_MUST_USE bl_status bl_gptq_tile_init(bl_gptq_tile *out, size_t max_cols, struct bl_err *err);
void bl_gptq_tile_release(bl_gptq_tile *tile);

/*
 * Rows [row, row + n) of the tile, n <= BL_GPTQ_SET_ROWS: weights and grids, each [n][factor->n]
 * with columns as the matrix has them.
 */
void bl_gptq_tile_set(bl_gptq_tile *tile, const bl_gptq_factor *factor, size_t row, size_t n,
                      const float *w, const float *offset, const float *step);

/* Choose all codes of the first n_rows rows. */
void bl_gptq_tile_run(bl_gptq_tile *tile, const bl_gptq_factor *factor, const bl_code_grid *grid,
                      size_t n_rows);

/* code[factor->n] of one row, columns as the matrix has them. */
void bl_gptq_tile_codes(uint8_t *code, const bl_gptq_tile *tile, const bl_gptq_factor *factor,
                        size_t row);

#endif
