/*
 * iq3.h - GGUF block encodings IQ3_XXS and IQ3_S: 256 values, each 4 of them an entry of a codebook
 * of magnitudes, with signs.
 *
 * IQ3_XXS: value = d / 2 * (scale + 1/2) * magnitude. A byte of entry number for 4 values; behind
 * them a word for 32: four times seven signs (the eighth makes them even), the scale on top.
 * IQ3_S: value = d * (2 * scale + 1) * magnitude. Bit i of qh is the ninth of entry number i, a
 * byte of signs stands for 8 values and a nibble of scale for 32.
 */
#ifndef BL_FORMATS_IQ3_H
#define BL_FORMATS_IQ3_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ3_LEN = 256 };

typedef struct bl_iq3_xxs {
    uint16_t d; /* F16 */
    uint8_t q[BL_IQ3_LEN / 4];
    uint8_t word[BL_IQ3_LEN / 32][4];
} bl_iq3_xxs;
_Static_assert(sizeof(bl_iq3_xxs) == 98, "iq3_xxs is a file format: 98 bytes a block");

typedef struct bl_iq3_s {
    uint16_t d; /* F16 */
    uint8_t q[BL_IQ3_LEN / 4];
    uint8_t qh[BL_IQ3_LEN / 32];
    uint8_t sign[BL_IQ3_LEN / 8];
    uint8_t scale[BL_IQ3_LEN / 64];
} bl_iq3_s;
_Static_assert(sizeof(bl_iq3_s) == 110, "iq3_s is a file format: 110 bytes a block");

void bl_iq3_xxs_to_f32(float *out, const void *in, size_t n);
void bl_iq3_s_to_f32(float *out, const void *in, size_t n);

#endif
