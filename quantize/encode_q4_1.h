/*
 * encode_q4_1.h - F32 to GGUF Q4_1 (formats/block/q4_1.h), by the methods of search_affine_32.h.
 */
#ifndef BL_QUANTIZE_ENCODE_Q4_1_H
#define BL_QUANTIZE_ENCODE_Q4_1_H

#include <stddef.h>
#include <stdint.h>

/* The least value is an F16 number. */
#define BL_Q4_1_MAX_ABS 65504.0f

/*
 * Encode x[n], n a multiple of 32, into n / 32 blocks; out need not be aligned. The bytes of the
 * Python gguf package. Defined for every input: past BL_Q4_1_MAX_ABS the least value becomes
 * infinite, and a value that is not finite gives a block without meaning. The caller, who can name
 * the tensor, refuses both. Same bytes on every machine.
 */
void bl_q4_1_encode(void *out, const float *x, size_t n);

/*
 * Encode one row by search. importance[n_cols]: E[input^2] of each column, finite and >= 0, or NULL.
 * Only its ratios matter, and one that is zero throughout counts as equal.
 */
void bl_q4_1_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Their definitions, bit for bit (finite values). */
void bl_q4_1_encode_ref(void *out, const float *x, size_t n);
void bl_q4_1_search_ref(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block by code[32], each 0..15; scale and least value stay. */
void bl_q4_1_put_codes(void *block, const uint8_t *code);

#endif
