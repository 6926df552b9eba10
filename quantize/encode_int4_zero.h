/*
 * encode_int4_zero.h - F32 rows to int4 groups with a zero point (formats/block/int4_affine.h):
 *     value = (code - zero) * scale, code 0..15, zero 0..15 (or 1..15), scale BF16
 *
 * Plain is the rule of compressed-tensors 0.12 for an F32 weight: the range of a group includes 0,
 * scale = (max - min) / 15 rounded to BF16 and at least 2^-23, zero = round(-min / scale),
 * code = round(x / scale + zero), halves to even, clamped.
 *
 * Search (search_affine.h, w the importance of the column, 1 where it is unknown) tries scales around
 * those of the plain grid with the zero points beside its own, each followed by the scale that fits
 * its codes best, s = sum w x q / sum w q^2 with q = code - zero; then the BF16 numbers beside the best
 * scale. The least sum w (x - s q)^2 is kept, that of plain among them, so no group is worse.
 */
#ifndef BL_QUANTIZE_ENCODE_INT4_ZERO_H
#define BL_QUANTIZE_ENCODE_INT4_ZERO_H

#include <stddef.h>
#include <stdint.h>

/* Where one row goes: packed[n_cols / 2], scales and zeros [n_cols / group_size]. */
typedef struct bl_int4_zero_row {
    uint8_t *packed; /* two codes to a byte, the first in the low half */
    uint16_t *scale; /* BF16 */
    uint8_t *zero;
} bl_int4_zero_row;

/*
 * Encode one row. group_size is a multiple of 8 and divides n_cols; least_zero is 0, or 1 where a
 * format cannot say 0 (GPTQ). Finite values only. Same bytes on every machine.
 */
void bl_int4_zero_encode(const bl_int4_zero_row *out, const float *row, size_t n_cols,
                         size_t group_size, uint8_t least_zero);

/*
 * The same by search; group_size at most 128. importance[n_cols]: finite and >= 0, or NULL; only its
 * ratios matter, and one that is zero throughout counts as equal.
 */
void bl_int4_zero_search(const bl_int4_zero_row *out, const float *row, const float *importance,
                         size_t n_cols, size_t group_size, uint8_t least_zero);

/* Its definition, bit for bit. */
void bl_int4_zero_search_ref(const bl_int4_zero_row *out, const float *row, const float *importance,
                             size_t n_cols, size_t group_size, uint8_t least_zero);

/* Replace n codes (a multiple of 2) of a row, each 0..15. */
void bl_int4_zero_put_codes(void *packed, const uint8_t *code, size_t n);

#endif
