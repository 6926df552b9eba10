/*
 * float_bits.h - one value at a time: F16, BF16, FP8, E8M0, FP4 <-> F32, by bits.
 *
 * Sources: IEEE 754-2019 (binary16), OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2),
 * OCP Microscaling Formats 1.0 (E8M0, E2M1). Conversions from F32 round to nearest, ties to even;
 * they use integer arithmetic only, so they give the same bits on every machine.
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

    if ((b & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((b >> 16) | 0x40u);
    return (uint16_t)((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}

float bl_f32_from_f16(uint16_t h);
uint16_t bl_f16_from_f32(float x);

/* E4M3: NaN codes give NaN. */
float bl_f32_from_f8e4m3(uint8_t code);
/* Saturates at +-448, as weights are quantized; NaN gives 0x7f with the sign. */
uint8_t bl_f8e4m3_from_f32(float x);

float bl_f32_from_f8e5m2(uint8_t code);
float bl_f32_from_f8e8m0(uint8_t code); /* 0xff gives NaN */
float bl_f32_from_f4e2m1(uint8_t code); /* low four bits */

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
