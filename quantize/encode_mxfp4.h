/*
 * encode_mxfp4.h - F32 to GGUF MXFP4 (formats/block/mxfp4.h): 32 values of E2M1 share a power of
 * two. OCP Microscaling Formats 1.0, section 6.3, and arXiv 2310.10537.
 *
 * Plain: the exponent of the largest magnitude less 2, the exponent of E2M1's largest value; values
 * past 6 times the scale saturate; halves go to the smaller magnitude. The bytes are those of the
 * Python gguf package, with two exceptions: the package takes the exponent from a logarithm that is
 * rounded to F32, which is one too large within a few units of the last place below some powers of
 * two; and where the largest magnitude is below 2^-125 its exponent wraps around, and ours is 0.
 *
 * Search: the exponent of sixteen around it whose weighted error is least, weights as in
 * symmetric_block.h with the mean square of the row.
 */
#ifndef BL_QUANTIZE_ENCODE_MXFP4_H
#define BL_QUANTIZE_ENCODE_MXFP4_H

#include <stddef.h>
#include <stdint.h>

enum { BL_MXFP4_LEVELS = 16 };

/*
 * Encode x[n], n a multiple of 32, into n / 32 blocks; out need not be aligned. Finite values
 * give finite ones; a value that is not finite gives a block without meaning. Same bytes on every
 * machine.
 */
void bl_mxfp4_encode(void *out, const float *x, size_t n);

/* Encode one row of n_cols values, a multiple of 32; importance[n_cols] >= 0, NULL: unknown. */
void bl_mxfp4_search(void *out, const float *row, const float *importance, size_t n_cols);

/*
 * Replace the codes of one block in the order of its values, its exponent stays. Codes are those of
 * E2M1: 0 to 7 are 0 0.5 1 1.5 2 3 4 6, 8 to 15 their negatives.
 */
void bl_mxfp4_put_codes(void *block, const uint8_t code[32]);

#endif
