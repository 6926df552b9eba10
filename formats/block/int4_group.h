/*
 * int4_group.h - compressed-tensors "pack-quantized", 4 bits, symmetric, a scale per group.
 *
 * A weight [n_rows, n_cols] is stored as packed words [n_rows, n_cols / 8], 32-bit little-endian,
 * and scales [n_rows, n_cols / group_size]. Word j of a row holds elements 8j to 8j + 7, element
 * 8j + i in bits 4i to 4i + 3, as q + 8 with q in -8..7:
 *     value = q * scale
 */
#ifndef BL_FORMATS_INT4_GROUP_H
#define BL_FORMATS_INT4_GROUP_H

#include "formats/dtype/dtype.h"

#include <stddef.h>

/*
 * Decode one row: n_cols / 8 packed words and n_cols / group_size scales, neither need be aligned,
 * to out[n_cols]. scale_dtype is BL_BF16, BL_F16 or BL_F32. The product is one F32 multiplication,
 * exact for 16-bit scales. group_size > 0 is a multiple of 8 and divides n_cols.
 */
void bl_int4_group_to_f32(float *out, const void *packed, const void *scales, bl_dtype scale_dtype,
                          size_t n_cols, size_t group_size);

#endif
