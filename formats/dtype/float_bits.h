/*
 * float_bits.h - one value at a time: F16, BF16, FP8, E8M0, FP6, FP4 <-> F32, by bits.
 *
 * Sources: IEEE 754-2019 (binary16), OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2),
 * OCP Microscaling Formats 1.0 (E8M0, E2M1, E2M3, E3M2), "8-bit Numerical Formats for Deep Neural
 * Networks" (Noune et al. 2022: FNUZ). Conversions from F32 round to nearest, ties to even;
 * they use integers and exact or correctly rounded F32 steps, so they give the same bits on every
 * machine.
 */
#ifndef BL_FORMATS_FLOAT_BITS_H
#define BL_FORMATS_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

static inline float bl_f32_from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline uint32_t bl_bits_from_f32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float bl_f32_from_bf16(uint16_t h)
{
    return bl_f32_from_bits((uint32_t)h << 16);
}

/* NaN stays NaN (quiet); overflow rounds to infinity as IEEE does. */
static inline uint16_t bl_bf16_from_f32(float x)
{
    uint32_t b = bl_bits_from_f32(x);
    uint32_t rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;

    return (uint16_t)((b & 0x7fffffffu) > 0x7f800000u ? (b >> 16) | 0x40u : rounded);
}

/*
 * Both scales are chosen without a branch, so that loops over F16 become vector code. A subnormal
 * is its mantissa times 2^-24, which is exact and normal in F32.
 */
static inline float bl_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t subnormal = bl_bits_from_f32((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t bits = magnitude < 0x0400u ? subnormal : normal;

    bits += magnitude >= 0x7c00u ? 112u << 23 : 0; /* infinity and NaN: the largest exponent */
    return bl_f32_from_bits(bits | sign);
}

/*
 * NaN stays NaN (quiet); overflow rounds to infinity as IEEE does. Below 2^-14 the addition of 1/2
 * does the rounding: the last bit of its sum is 2^-24, the step of the F16 subnormals.
 */
static inline uint16_t bl_f16_from_f32(float x)
{
    uint32_t bits = bl_bits_from_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t subnormal = bl_bits_from_f32(bl_f32_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t code = magnitude < 0x38800000u ? subnormal : normal;
    uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);

    code = magnitude < 0x47800000u ? code : 0x7c00u;
    code = magnitude > 0x7f800000u ? nan : code;
    return (uint16_t)(code | ((bits >> 16) & 0x8000u));
}

/* The definition, by integers alone; bl_f16_from_f32 equals it. */
uint16_t bl_f16_from_f32_ref(float x);

/*
 * E4M3: NaN codes give NaN. A code seeeemmm is +-(8 * (eeee > 0) + mmm) * 2^(max(eeee, 1) - 10):
 * both factors are exact in F32 and never subnormal, which some CPUs multiply slowly.
 */
static inline float bl_f32_from_f8e4m3(uint8_t code)
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

/*
 * The same for codes that are no NaN, in fewer steps: a normal code seeeemmm is eeeemmm moved to
 * where F32 has these bits, its exponent 120 more; a subnormal one (eeee = 0) gets the 1 that it
 * lacks, and loses it again by an exact subtraction.
 */
static inline float bl_f32_from_f8e4m3_finite(uint8_t code)
{
    uint32_t magnitude = code & 0x7fu, subnormal = magnitude < 8 ? UINT32_MAX : 0;
    float value = bl_f32_from_bits((magnitude << 20) + (120u << 23) + (subnormal & 1u << 23)) -
                  bl_f32_from_bits(subnormal & 0x3c800000u); /* 2^-6 */

    return bl_f32_from_bits(bl_bits_from_f32(value) | (uint32_t)(code & 0x80) << 24);
}

/* Saturates at +-448, as weights are quantized; NaN gives 0x7f with the sign. */
uint8_t bl_f8e4m3_from_f32(float x);

float bl_f32_from_f8e5m2(uint8_t code);
float bl_f32_from_f8e8m0(uint8_t code);     /* 0xff gives NaN */
float bl_f32_from_f8e4m3fnuz(uint8_t code); /* bias 8; 0x80 is NaN, there is no -0 */
float bl_f32_from_f8e5m2fnuz(uint8_t code); /* bias 16 */
float bl_f32_from_f4e2m1(uint8_t code);     /* low four bits */
float bl_f32_from_f6e2m3(uint8_t code);     /* low six bits */
float bl_f32_from_f6e3m2(uint8_t code);

static inline uint16_t bl_load_u16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t bl_load_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t bl_load_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline float bl_load_f32(const void *p)
{
    return bl_f32_from_bits(bl_load_u32(p));
}

#endif
