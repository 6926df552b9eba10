/*
 * amax.h - the largest magnitude of a run of values, in a form that compilers vectorise: without
 * their sign, F32 bit patterns are ordered as the integers they are. (A float maximum in a loop is
 * not vectorised without relaxing what NaN does.) A NaN comes out as a NaN.
 */
#ifndef BL_QUANTIZE_AMAX_H
#define BL_QUANTIZE_AMAX_H

#include "formats/dtype/float_bits.h"

#include <stddef.h>
#include <stdint.h>

static inline uint32_t bl_amax_bits(const float *x, size_t n)
{
    uint32_t largest = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = bl_bits_from_f32(x[i]) & 0x7fffffffu;

        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

#endif
