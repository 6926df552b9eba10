/*
 * amax.h - the largest magnitude of a run of values, in a form that compilers vectorise: without
 * their sign, F32 bit patterns are ordered as the integers they are. (A float maximum in a loop is
 * not vectorised without relaxing what NaN does.) A NaN comes out as a NaN.
 */
#ifndef BL_FORMATS_AMAX_H
#define BL_FORMATS_AMAX_H

#include "formats/dtype/float_bits.h"

#include <stddef.h>
#include <stdint.h>

/* Bits of the largest magnitude of x[n], to be inlined where n is small and known. */
static inline uint32_t bl_amax_bits(const float *x, size_t n)
{
    uint32_t largest = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = bl_bits_from_f32(x[i]) & 0x7fffffffu;

        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* The same for long runs, compiled for every vector width. */
uint32_t bl_amax_bits_of_run(const float *x, size_t n);

#endif
