/*
 * encode_int4_group.h - F32 rows to compressed-tensors "pack-quantized" int4
 * (formats/block/int4_group.h), plain method: scale = amax / 7.5 of each group, rounded to BF16
 * (nearest even), codes = w / scale rounded half to even and clamped to -8..7.
 *
 * This is what the compressed-tensors package computes for an F32 weight. A group whose scale would
 * be zero gets 2^-23 as there, and decodes to exact zeros.
 */
#ifndef BL_QUANTIZE_ENCODE_INT4_GROUP_H
#define BL_QUANTIZE_ENCODE_INT4_GROUP_H

#include <stddef.h>

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

#endif
