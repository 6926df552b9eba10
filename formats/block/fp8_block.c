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

/*
 * A code seeeemmm is +-(8 * (eeee > 0) + mmm) * 2^(max(eeee, 1) - 10). Both factors are exact in
 * F32 and never subnormal, which some CPUs multiply slowly.
 */
static inline float decode_e4m3(uint8_t code)
{
    int32_t exponent = (code >> 3) & 15;
    int32_t significand = (code & 7) + (exponent > 0 ? 8 : 0);
    int32_t power = (exponent > 0 ? exponent : 1) + 127 - 10;
    float value = (float)significand * bl_f32_from_bits((uint32_t)power << 23);
    uint32_t bits = bl_bits_from_f32(value) | (uint32_t)(code & 0x80) << 24;

    /* 0x7f would be 480: lift it to NaN. */
    bits += (code & 0x7f) == 0x7f ? 0x7fc00000u - 0x43f00000u : 0;
    return bl_f32_from_bits(bits);
}

/* One block of a row: n codes under one scale. */
BL_CLONES
static void decode_block(float *restrict out, const uint8_t *restrict codes, float scale, size_t n)
{
    for (size_t j = 0; j < n; j++)
        out[j] = decode_e4m3(codes[j]) * scale;
}

void bl_fp8_block_to_f32(float *out, const uint8_t *codes, const float *scale_row, size_t n_cols,
                         size_t block_cols)
{
    for (size_t j = 0; j < n_cols; j += block_cols) {
        size_t rest = n_cols - j, n = rest < block_cols ? rest : block_cols;

        decode_block(out + j, codes + j, *scale_row++, n);
    }
}
