/*
 * fp8_block.c - decode. The table is the definition; the fast form builds the same values with
 * integer steps that the compiler turns into vector code, because a table costs a gather.
 */
#include "formats/block/fp8_block.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

/* Bits of the F32 value of each E4M3 code (made by tests/oracle/make_e4m3_table.py). */
static const uint32_t e4m3_bits[256] = {
#include "formats/block/e4m3_table.inc"
};

void bl_fp8_block_to_f32_ref(float *out, const uint8_t *codes, const float *scale_row,
                             size_t n_cols, size_t block_cols)
{
    for (size_t j = 0; j < n_cols; j++)
        out[j] = bl_f32_from_bits(e4m3_bits[codes[j]]) * scale_row[j / block_cols];
}

BL_CLONES
static bool has_nan(const uint8_t *codes, size_t n)
{
    uint8_t nan = 0;

    for (size_t j = 0; j < n; j++)
        nan |= (codes[j] & 0x7f) == 0x7f;
    return nan;
}

/* One block of a row: n codes, none of them NaN, under one scale. */
BL_CLONES
static void decode_block(float *restrict out, const uint8_t *restrict codes, float scale, size_t n)
{
    for (size_t j = 0; j < n; j++)
        out[j] = bl_f32_from_f8e4m3_finite(codes[j]) * scale;
}

bool bl_fp8_block_to_f32(float *out, const uint8_t *codes, const float *scale_row, size_t n_cols,
                         size_t block_cols)
{
    if (has_nan(codes, n_cols)) {
        bl_fp8_block_to_f32_ref(out, codes, scale_row, n_cols, block_cols);
        return false;
    }
    for (size_t j = 0; j < n_cols; j += block_cols) {
        size_t rest = n_cols - j, n = rest < block_cols ? rest : block_cols;

        decode_block(out + j, codes + j, *scale_row++, n);
    }
    return true;
}
