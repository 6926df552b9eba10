/*
 * q8_1.h - GGUF block encodings Q8_1 (32 values) and Q8_K (256): value = d * q. llama.cpp rounds
 * activations to them and writes no such tensors; sums of q beside the values are not read.
 */
#ifndef BL_FORMATS_Q8_1_H
#define BL_FORMATS_Q8_1_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q8_1_LEN = 32, BL_Q8_K_LEN = 256 };

typedef struct bl_q8_1 {
    uint16_t d;   /* F16 */
    uint16_t sum; /* F16: d times the sum of q */
    int8_t q[BL_Q8_1_LEN];
} bl_q8_1;
_Static_assert(sizeof(bl_q8_1) == 36, "q8_1 is a file format: 36 bytes a block");

typedef struct bl_q8_k {
    float d;
    int8_t q[BL_Q8_K_LEN];
    int16_t sum[BL_Q8_K_LEN / 16];
} bl_q8_k;
_Static_assert(sizeof(bl_q8_k) == 292, "q8_k is a file format: 292 bytes a block");

void bl_q8_1_to_f32(float *out, const void *in, size_t n);
void bl_q8_k_to_f32(float *out, const void *in, size_t n);

#endif
