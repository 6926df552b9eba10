/*
 * encode_q2_k.h - F32 to GGUF Q2_K (formats/block/q2_k.h), by the methods of search_affine_k.h.
 * Scales and minima of 4 bits; the largest magnitude that fits is BL_Q2_K_MAX_ABS.
 */
#ifndef BL_QUANTIZE_ENCODE_Q2_K_H
#define BL_QUANTIZE_ENCODE_Q2_K_H

#include <stddef.h>
#include <stdint.h>

/* dmin * 15 must reach it, and F16 ends at 65504. */
#define BL_Q2_K_MAX_ABS (15.0f * 65504.0f)

/*
 * Encode x[n], n a multiple of 256, into n / 256 blocks; out need not be aligned. Defined for every
 * input: past BL_Q2_K_MAX_ABS values are clipped, and a value that is not finite gives a block
 * without meaning. The caller, who can name the tensor, refuses both. Same bytes on every machine.
 */
void bl_q2_k_encode(void *out, const float *x, size_t n);

/*
 * Encode one row by search. importance[n_cols]: E[input^2] of each column, finite and >= 0, or NULL.
 * Only its ratios within a superblock matter, and one that is zero throughout counts as equal.
 */
void bl_q2_k_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Their definitions, bit for bit. */
void bl_q2_k_encode_ref(void *out, const float *x, size_t n);
void bl_q2_k_search_ref(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block by code[256], each 0..3; scales and minima stay. */
void bl_q2_k_put_codes(void *block, const uint8_t *code);

#endif
