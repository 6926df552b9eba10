/*
 * fp8_block.h - FP8 weights with a scale per block, as DeepSeek-V3 and R1 store them.
 *
 * A weight [n_rows, n_cols] of E4M3 codes comes with F32 scales [ceil(n_rows / block_rows),
 * ceil(n_cols / block_cols)], named "..._scale_inv" although they multiply:
 *     value[i][j] = e4m3(code[i][j]) * scale[i / block_rows][j / block_cols]
 * The last block of a row or column may be partial (R1: 576 rows in blocks of 128).
 */
#ifndef BL_FORMATS_FP8_BLOCK_H
#define BL_FORMATS_FP8_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decode one row: codes[n_cols] and scale_row[ceil(n_cols / block_cols)], the scales of the row's
 * block row, to out[n_cols]. The product is one F32 multiplication. A NaN code gives NaN, and
 * false is returned. block_cols > 0. Same bits on every machine.
 */
bool bl_fp8_block_to_f32(float *out, const uint8_t *codes, const float *scale_row, size_t n_cols,
                         size_t block_cols);

/* The definition, value by value from the table of codes; bl_fp8_block_to_f32 equals it. */
void bl_fp8_block_to_f32_ref(float *out, const uint8_t *codes, const float *scale_row,
                             size_t n_cols, size_t block_cols);

#endif
