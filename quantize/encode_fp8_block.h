/*
 * encode_fp8_block.h - F32 rows to FP8 blocks (formats/block/fp8_block.h): for each block
 *     scale = amax / 448                          as DeepSeek-V3 and R1 were made, or
 *     scale = 2^ceil(log2(amax / 448))            as V3.1 (scale_fmt "ue8m0")
 *     code  = e4m3(x / scale), nearest, ties to even
 * A scale is at least 2^-126, so that a block of zeros has one too.
 *
 * The quotient amax / 448 is the F32 nearest to it; by it the power of two is chosen, without log2.
 */
#ifndef BL_QUANTIZE_ENCODE_FP8_BLOCK_H
#define BL_QUANTIZE_ENCODE_FP8_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_FP8_BLOCK = 128 }; /* rows and columns */

/*
 * Encode one block row: n_rows (at most 128) rows of n_cols to codes[n_rows][n_cols] and
 * scales[ceil(n_cols / 128)]. Finite values only. Same bytes on every machine.
 */
void bl_fp8_block_encode(uint8_t *codes, float *scales, const float *rows, size_t n_rows,
                         size_t n_cols, bool power_of_two);

/* The definition, value by value; bl_fp8_block_encode equals it bit for bit. */
void bl_fp8_block_encode_ref(uint8_t *codes, float *scales, const float *rows, size_t n_rows,
                             size_t n_cols, bool power_of_two);

#endif
