/*
 * q1_0.h - GGUF block encodings Q1_0 (128 values of one bit, value = +d or -d) and Q2_0 (64 values
 * of two bits, value = d * (q - 1)); the first value in the lowest bits.
 */
#ifndef BL_FORMATS_Q1_0_H
#define BL_FORMATS_Q1_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q1_0_LEN = 128, BL_Q2_0_LEN = 64 };

typedef struct bl_q1_0 {
    uint16_t d; /* F16 */
    uint8_t q[BL_Q1_0_LEN / 8];
} bl_q1_0;
_Static_assert(sizeof(bl_q1_0) == 18, "q1_0 is a file format: 18 bytes a block");

typedef struct bl_q2_0 {
    uint16_t d; /* F16 */
    uint8_t q[BL_Q2_0_LEN / 4];
} bl_q2_0;
_Static_assert(sizeof(bl_q2_0) == 18, "q2_0 is a file format: 18 bytes a block");

void bl_q1_0_to_f32(float *out, const void *in, size_t n);
void bl_q2_0_to_f32(float *out, const void *in, size_t n);

#endif
