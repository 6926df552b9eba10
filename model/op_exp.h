/*
 * op_exp.h - e^x for F32 in a form that compilers turn into vector code.
 *
 * Range reduction x = n ln 2 + r and a polynomial of degree 7 on |r| <= ln(2)/2 (coefficients:
 * Cephes expf). Relative error below 2^-22.5 on [-87, 88] (tested against double). Below -87 the
 * result is 0, above 88 it stays e^88, so it is finite whenever x is a number. NaN stays NaN.
 * The same bits on every machine, unlike the C library's expf.
 */
#ifndef BL_MODEL_OP_EXP_H
#define BL_MODEL_OP_EXP_H

#include "base/real.h"
#include "formats/dtype/float_bits.h"

#ifdef BL_REAL_IS_DOUBLE
#include <math.h>

static inline double bl_exp(double x)
{
    return exp(x);
}
#else
static inline float bl_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float top = x > 88.0f ? 88.0f : x;
    float t = top * 1.44269504088896341f + shift;
    float n = t - shift;
    float r = top - n * 0.693359375f + n * 2.12194440e-4f;
    uint32_t exponent = bl_bits_from_f32(t) - bl_bits_from_f32(shift) + 127u;
    float p = 1.9875691500e-4f;
    float y;

    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    y = p * (r * r) + r + 1.0f;
    y = y * bl_f32_from_bits(exponent << 23);
    return x < -87.0f ? 0.0f : y;
}
#endif

/* 1 / (1 + e^-x) */
static inline bl_real bl_sigmoid(bl_real x)
{
    return (bl_real)1 / ((bl_real)1 + bl_exp(-x));
}

#endif
