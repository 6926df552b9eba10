/*
 * nibbles.h - 32 codes of four bits in 16 bytes, as every GGUF encoding of 32 values has them: byte
 * j holds code j in its low half and code j + 16 in its high half.
 */
#ifndef BL_QUANTIZE_NIBBLES_H
#define BL_QUANTIZE_NIBBLES_H

#include <stdint.h>

/* Bits above the fourth are left out. */
static inline void bl_nibbles_put(uint8_t out[16], const uint8_t code[32])
{
    for (int j = 0; j < 16; j++)
        out[j] = (uint8_t)((code[j] & 15) | (code[j + 16] & 15) << 4);
}

#endif
