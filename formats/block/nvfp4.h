/*
 * nvfp4.h - GGUF block encoding NVFP4: 64 E2M1 values in 4 groups of 16, each with a scale of E4M3
 * without a sign. In a group the low nibbles are the first 8 values, the high ones the other 8.
 * As llama.cpp reads it: the scale 0x7f is 0, not NaN, its top bit means nothing (0xff is 480), and
 * there is no -0. The factor of the whole tensor is a tensor of its own, NAME.scale.
 */
#ifndef BL_FORMATS_NVFP4_H
#define BL_FORMATS_NVFP4_H

#include <stddef.h>
#include <stdint.h>

enum { BL_NVFP4_LEN = 64 };

typedef struct bl_nvfp4 {
    uint8_t scale[BL_NVFP4_LEN / 16];
    uint8_t q[BL_NVFP4_LEN / 2];
} bl_nvfp4;
_Static_assert(sizeof(bl_nvfp4) == 36, "nvfp4 is a file format: 36 bytes a block");

void bl_nvfp4_to_f32(float *out, const void *in, size_t n);

#endif
