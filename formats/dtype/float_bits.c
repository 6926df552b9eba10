/*
 * float_bits.c - conversions between small floats and F32 by integer arithmetic.
 *
 * One scheme for all: split into exponent and mantissa, shift, round to nearest even.
 */
#include "formats/dtype/float_bits.h"

#include <math.h>

/*
 * Value of a small float with n_mantissa bits and this bias, special codes excluded.
 * exponent 0 is subnormal.
 */
static float compose(uint32_t sign, uint32_t exponent, uint32_t mantissa, int n_mantissa, int bias)
{
    float m = (float)(exponent ? mantissa | (1u << n_mantissa) : mantissa);
    float value = ldexpf(m, (int)(exponent ? exponent : 1) - bias - n_mantissa);

    return sign ? -value : value;
}

/*
 * Round |x| to the grid of a small float: the result is its code without the sign. Codes past the
 * largest finite one are for the caller to judge. x is finite.
 */
static uint32_t round_to_grid(uint32_t magnitude_bits, int n_mantissa, int bias)
{
    int exponent = (int)(magnitude_bits >> 23) - 127;
    uint32_t mantissa = (magnitude_bits & 0x7fffffu) | 0x800000u; /* 24 bits, value m * 2^(e-23) */
    int least = 1 - bias;                                         /* exponent of the subnormals */
    int shift = 23 - n_mantissa;
    uint32_t code, rest, half;

    if (magnitude_bits < 0x800000u)
        return 0; /* an F32 subnormal is far below half of the smallest code */
    if (exponent < least)
        shift += least - exponent;
    if (shift > 24)
        return 0;
    rest = mantissa & ((1u << shift) - 1);
    half = 1u << (shift - 1);
    code = mantissa >> shift;
    if (rest > half || (rest == half && (code & 1)))
        code++;
    /* For normal numbers the hidden bit and a carry both add one to the exponent field. */
    if (exponent >= least)
        code += (uint32_t)(exponent - least) << n_mantissa;
    return code;
}

uint16_t bl_f16_from_f32_ref(float x)
{
    uint32_t bits = bl_bits_from_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t sign = (bits >> 16) & 0x8000u, code;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude == 0x7f800000u)
        return (uint16_t)(sign | 0x7c00u);
    code = round_to_grid(magnitude, 10, 15);
    return (uint16_t)(sign | (code < 0x7c00u ? code : 0x7c00u));
}

uint8_t bl_f8e4m3_from_f32(float x)
{
    uint32_t bits = bl_bits_from_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t sign = (bits >> 24) & 0x80u, code;

    if (magnitude > 0x7f800000u)
        return (uint8_t)(sign | 0x7fu);
    if (magnitude == 0x7f800000u)
        return (uint8_t)(sign | 0x7eu);
    code = round_to_grid(magnitude, 3, 7);
    return (uint8_t)(sign | (code < 0x7eu ? code : 0x7eu));
}

float bl_f32_from_f8e5m2(uint8_t code)
{
    return bl_f32_from_f16((uint16_t)((unsigned)code << 8));
}

float bl_f32_from_f8e8m0(uint8_t code)
{
    return code == 0xff ? bl_f32_from_bits(0x7fc00000u) : ldexpf(1.0f, (int)code - 127);
}

float bl_f32_from_f8e4m3fnuz(uint8_t code)
{
    return code == 0x80 ? bl_f32_from_bits(0xffc00000u)
                        : compose(code >> 7, (code >> 3) & 15u, code & 7u, 3, 8);
}

float bl_f32_from_f8e5m2fnuz(uint8_t code)
{
    return code == 0x80 ? bl_f32_from_bits(0xffc00000u)
                        : compose(code >> 7, (code >> 2) & 31u, code & 3u, 2, 16);
}

float bl_f32_from_f6e2m3(uint8_t code)
{
    return compose((code >> 5) & 1u, (code >> 3) & 3u, code & 7u, 3, 1);
}

float bl_f32_from_f6e3m2(uint8_t code)
{
    return compose((code >> 5) & 1u, (code >> 2) & 7u, code & 3u, 2, 3);
}

float bl_f32_from_f4e2m1(uint8_t code)
{
    return compose((code >> 3) & 1u, (code >> 1) & 3u, code & 1u, 1, 1);
}
