/*
 * encode_int4_group.h - F32 rows to compressed-tensors "pack-quantized" int4, symmetric
 * (formats/block/int4_group.h).
 *
 * Plain: scale = amax / 7.5 of each group, rounded to BF16 (nearest even), codes = w / scale rounded
 * half to even and clamped to -8..7. This is what the compressed-tensors package computes for an F32
 * weight. A group whose scale would be zero gets 2^-23 as there, and decodes to exact zeros.
 *
 * Search: search_symmetric.h over scales of both signs that BF16 has, so that either end may be the
 * one of -8 (a negative scale multiplies like any other); weights with the mean square of the row.
 */
#ifndef BL_QUANTIZE_ENCODE_INT4_GROUP_H
#define BL_QUANTIZE_ENCODE_INT4_GROUP_H

#include <stddef.h>
#include <stdint.h>

enum { BL_INT4_GROUP_LEVELS = 16 };

/*
 * Encode one row[n_cols] into n_cols / 8 little-endian words and n_cols / group_size BF16 scales;
 * outputs need not be aligned. group_size > 0 is a multiple of 8 and divides n_cols. A value that
 * is not finite gives codes without meaning: the caller, who can name the tensor, refuses it. Same
 * bytes on every machine.
 */
void bl_int4_group_encode(void *packed, void *scales_bf16, const float *row, size_t n_cols,
                          size_t group_size);

/* The definition, in plain steps; for finite values bl_int4_group_encode equals it bit for bit. */
void bl_int4_group_encode_ref(void *packed, void *scales_bf16, const float *row, size_t n_cols,
                              size_t group_size);

/*
 * The same outputs, searched. importance[n_cols] >= 0, NULL: unknown. group_size is a multiple of 16
 * and at most 256 (32, 64 and 128 are what engines load).
 */
void bl_int4_group_search(void *packed, void *scales_bf16, const float *row,
                          const float *importance, size_t n_cols, size_t group_size);

/* n codes, 0 to 15 (value = (code - 8) * scale), n a multiple of 8, to n / 8 words. */
void bl_int4_group_put_codes(void *packed, const uint8_t *code, size_t n);

#endif
