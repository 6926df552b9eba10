/*
 * encode_int8_row.h - F32 rows to int8 with a BF16 scale for each row (formats/block/int8_row.h), the
 * weights of W8A8. scale: the BF16 nearest to amax / 127.5 (what compressed-tensors computes for an
 * F32 weight) or to amax / 127 (Ascend); code: x / scale, nearest, ties to even, clamped to
 * -128..127. A row of zeros gets the scale 2^-23.
 *
 * The scale is BF16 because the runtimes hold it in the type of the model: it is rounded before the
 * codes are chosen, not after.
 */
#ifndef BL_QUANTIZE_ENCODE_INT8_ROW_H
#define BL_QUANTIZE_ENCODE_INT8_ROW_H

#include <stddef.h>
#include <stdint.h>

/*
 * Encode one row; half_range is 127.5 or 127. Finite values only. Same bytes on every machine.
 */
void bl_int8_row_encode(int8_t *codes, uint16_t *scale_bf16, const float *row, size_t n_cols,
                        float half_range);

/* The definition, value by value; bl_int8_row_encode equals it bit for bit. */
void bl_int8_row_encode_ref(int8_t *codes, uint16_t *scale_bf16, const float *row, size_t n_cols,
                            float half_range);

/*
 * The same with the scale of the smallest error, sum importance[j] (x[j] - y[j])^2 (importance NULL:
 * 1), out of the range that clips at most a fifth of the largest magnitude.
 */
void bl_int8_row_search(int8_t *codes, uint16_t *scale_bf16, const float *row,
                        const float *importance, size_t n_cols);

#endif
