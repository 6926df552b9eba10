/*
 * mxfp4.h - GGUF block encoding MXFP4: 32 E2M1 values share the power of two 2^(e - 127).
 * Nibbles as in Q4_0. As llama.cpp reads it: e = 255 is 2^128, not NaN, and there is no -0.
 */
#ifndef BL_FORMATS_MXFP4_H
#define BL_FORMATS_MXFP4_H

#include <stddef.h>
#include <stdint.h>

enum { BL_MXFP4_LEN = 32 };

typedef struct bl_mxfp4 {
    uint8_t e; /* E8M0 */
    uint8_t q[BL_MXFP4_LEN / 2];
} bl_mxfp4;
_Static_assert(sizeof(bl_mxfp4) == 17, "mxfp4 is a file format: 17 bytes a block");

void bl_mxfp4_to_f32(float *out, const void *in, size_t n);

#endif
