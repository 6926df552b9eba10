/*
 * tq.h - GGUF block encodings TQ1_0 and TQ2_0: 256 ternary values, value = d * (q - 1).
 *
 * TQ1_0: a byte is a fraction in base 3: the first digit is the integer part of byte * 3 / 256, the
 * next that of (byte * 3 mod 256) * 3 / 256, and so on. 32 bytes of five digits, 16 of five, 4 of
 * four; in each run the first digits of all bytes come first.
 * TQ2_0: two bits each, which can also say 2. Each 32 bytes hold 128 values, as in Q2_K.
 */
#ifndef BL_FORMATS_TQ_H
#define BL_FORMATS_TQ_H

#include <stddef.h>
#include <stdint.h>

enum { BL_TQ_LEN = 256 };

typedef struct bl_tq1_0 {
    uint8_t q[48]; /* five digits each */
    uint8_t qh[4]; /* four */
    uint16_t d;    /* F16 */
} bl_tq1_0;
_Static_assert(sizeof(bl_tq1_0) == 54, "tq1_0 is a file format: 54 bytes a block");

typedef struct bl_tq2_0 {
    uint8_t q[BL_TQ_LEN / 4];
    uint16_t d; /* F16 */
} bl_tq2_0;
_Static_assert(sizeof(bl_tq2_0) == 66, "tq2_0 is a file format: 66 bytes a block");

void bl_tq1_0_to_f32(float *out, const void *in, size_t n);
void bl_tq2_0_to_f32(float *out, const void *in, size_t n);

#endif
