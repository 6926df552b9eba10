/*
 * encode_iq4_nl.h - F32 to GGUF IQ4_NL (formats/block/iq4_nl.h): 32 values, value =
 * d * table[code].
 *
 * Plain is ours, as the Python gguf package has no encoder for it: the largest
 * magnitude, with its sign, becomes -127, values go to the nearest entry times the stored d.
 * Search: search_symmetric.h, weights with the mean square of the row.
 */
#ifndef BL_QUANTIZE_ENCODE_IQ4_NL_H
#define BL_QUANTIZE_ENCODE_IQ4_NL_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ4_NL_LEVELS = 16 };

/*
 * The largest magnitude that is not cut off: the largest F16 scale times the largest level on either
 * side. Beyond it values saturate, finite; what is not finite gives a block without meaning.
 */
#define BL_IQ4_NL_MAX_ABS (113.0f * 65504.0f)

/* Encode x[n], n a multiple of 32; out need not be aligned. Same bytes on every machine. */
void bl_iq4_nl_encode(void *out, const float *x, size_t n);

/* Encode one row of n_cols values, a multiple of 32; importance[n_cols] >= 0, NULL: unknown. */
void bl_iq4_nl_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block, 0 to 15 in the order of its values; its scale stays. */
void bl_iq4_nl_put_codes(void *block, const uint8_t code[32]);

#endif
