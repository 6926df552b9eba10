/*
 * encode_q3_k.h - F32 to GGUF Q3_K (formats/block/q3_k.h): 256 values in groups
 * of 16, value = d * (scale - 32) * (code - 4).
 *
 * Plain is ours, as the Python gguf package has no encoder for it: the largest
 * magnitude of a group, with its sign, becomes code 0 (-4), the largest of these steps scale 0 (-32).
 * Search: search_symmetric.h, weights with twice the mean square of the 256 values.
 */
#ifndef BL_QUANTIZE_ENCODE_Q3_K_H
#define BL_QUANTIZE_ENCODE_Q3_K_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q3_K_LEVELS = 8 };

/*
 * The largest magnitude that is not cut off: the largest F16 scale times the largest level on either
 * side. Beyond it values saturate, finite; what is not finite gives a block without meaning.
 */
#define BL_Q3_K_MAX_ABS (31.0f * 3.0f * 65504.0f)

/* Encode x[n], n a multiple of 256; out need not be aligned. Same bytes on every machine. */
void bl_q3_k_encode(void *out, const float *x, size_t n);

/* Encode one row of n_cols values, a multiple of 256; importance[n_cols] >= 0, NULL: unknown. */
void bl_q3_k_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block, 0 to 7 in the order of its values; its scales stay. */
void bl_q3_k_put_codes(void *block, const uint8_t code[256]);

#endif
