/*
 * encode_iq4_xs.h - F32 to GGUF IQ4_XS (formats/block/iq4_xs.h): 256 values in
 * groups of 32, value = d * (scale - 32) * table[code].
 *
 * Plain is ours, as the Python gguf package has no encoder for it: the largest
 * magnitude of a group, with its sign, becomes -127, the largest of these steps scale 0 (-32).
 * Search: search_symmetric.h, weights with twice the mean square of the 256 values.
 */
#ifndef BL_QUANTIZE_ENCODE_IQ4_XS_H
#define BL_QUANTIZE_ENCODE_IQ4_XS_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ4_XS_LEVELS = 16 };

/*
 * The largest magnitude that is not cut off: the largest F16 scale times the largest level on either
 * side. Beyond it values saturate, finite; what is not finite gives a block without meaning.
 */
#define BL_IQ4_XS_MAX_ABS (31.0f * 113.0f * 65504.0f)

/* Encode x[n], n a multiple of 256; out need not be aligned. Same bytes on every machine. */
void bl_iq4_xs_encode(void *out, const float *x, size_t n);

/* Encode one row of n_cols values, a multiple of 256; importance[n_cols] >= 0, NULL: unknown. */
void bl_iq4_xs_search(void *out, const float *row, const float *importance, size_t n_cols);

/* Replace the codes of one block, 0 to 15 in the order of its values; its scales stay. */
void bl_iq4_xs_put_codes(void *block, const uint8_t code[256]);

#endif
