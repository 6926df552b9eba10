/*
 * int4_affine.h - four-bit codes with a zero point for each group, in the orders in which
 * compressed-tensors (asymmetric), GPTQ and AWQ pack them.
 *
 *     value = (code - zero) * scale, code 0..15, zero 0..16
 *
 * Sources: compressed-tensors 0.12.2 (pack_to_int32), AutoGPTQ 0.7 ("gptq" and "gptq_v2"), AutoAWQ
 * 0.2 (pack of WQLinear_GEMM).
 */
#ifndef BL_FORMATS_INT4_AFFINE_H
#define BL_FORMATS_INT4_AFFINE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Where the code of element i (0..7) lies in a word of eight, as a number of four-bit places: in
 * order for compressed-tensors and GPTQ; AWQ gives place k to element 0 2 4 6 1 3 5 7.
 */
static inline unsigned bl_int4_place(unsigned i)
{
    return i;
}

static inline unsigned bl_int4_place_awq(unsigned i)
{
    return i / 2 + (i % 2) * 4;
}

/* Code in place k of a word. */
static inline uint8_t bl_int4_code(uint32_t word, unsigned place)
{
    return (uint8_t)((word >> (4 * place)) & 15u);
}

/* n codes, two to a byte, the first in the low half; n is even. */
void bl_int4_unpack(uint8_t *codes, const uint8_t *packed, size_t n);

/*
 * One row of n_cols codes to values. Column j is of group group_of[j], or j / group_size where
 * group_of is NULL; scale and zero have one number for each group. The difference is exact, the
 * product one F32 multiplication.
 */
void bl_int4_affine_to_f32(float *out, const uint8_t *codes, const float *scale,
                           const uint8_t *zero, const uint32_t *group_of, size_t n_cols,
                           size_t group_size);

#endif
