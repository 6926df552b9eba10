/*
 * int8_row.h - int8 weights with a scale for each row (output channel), as compressed-tensors
 * "int-quantized" and Ascend W8A8_DYNAMIC store them: value[i][j] = code[i][j] * scale[i].
 */
#ifndef BL_FORMATS_INT8_ROW_H
#define BL_FORMATS_INT8_ROW_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decode one row of n_cols codes; the product is one F32 multiplication, exact for 16-bit scales.
 */
void bl_int8_row_to_f32(float *out, const int8_t *codes, float scale, size_t n_cols);

#endif
