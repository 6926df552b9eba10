/*
 * encode_q4_0.h - F32 to GGUF Q4_0 (formats/block/q4_0.h): the value of largest magnitude, with its
 * sign, becomes code 0 (-8), so the scale is that value / -8. The bytes are those of the Python
 * gguf package; llama.cpp's differ in one case, a block of zeros that starts with -0 (its scale is
 * then -0 there and +0 here).
 *
 * Search: search_symmetric.h, weights with the mean square of the row.
 */
#ifndef BL_QUANTIZE_ENCODE_Q4_0_H
#define BL_QUANTIZE_ENCODE_Q4_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q4_0_LEVELS = 16 };

/*
 * Encode x[n], n a multiple of 32, into n / 32 blocks; out need not be aligned.
 *
 * Defined for every input: a block whose values would need an F16 scale past 65504 (amax >= 8 *
 * 65520) gets an infinite one, and a value that is not finite gives a code without meaning. The
 * caller, who can name the tensor, refuses both. Same bytes on every machine.
 */
void bl_q4_0_encode(void *out, const float *x, size_t n);

/* The definition, in plain steps; for finite values bl_q4_0_encode equals it bit for bit. */
void bl_q4_0_encode_ref(void *out, const float *x, size_t n);

/*
 * Encode one row of n_cols values, a multiple of 32; importance[n_cols] >= 0, NULL: unknown. Beyond
 * 7 * 65504 values may saturate, finite.
 */
void bl_q4_0_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block, 0 to 15 in the order of its values; its scale stays. */
void bl_q4_0_put_codes(void *block, const uint8_t code[32]);

#endif
