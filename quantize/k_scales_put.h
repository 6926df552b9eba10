/*
 * k_scales_put.h - the inverse of formats/block/k_scales.h: 8 pairs of a 6-bit scale and a 6-bit
 * minimum into the 12 bytes of a Q4_K or Q5_K block.
 */
#ifndef BL_QUANTIZE_K_SCALES_PUT_H
#define BL_QUANTIZE_K_SCALES_PUT_H

#include "formats/block/k_scales.h"

static inline void bl_k_scales_put(uint8_t out[BL_K_SCALES_BYTES], const uint8_t scale[8],
                                   const uint8_t minimum[8])
{
    for (size_t g = 0; g < 4; g++) {
        out[g] = (uint8_t)(scale[g] | (scale[g + 4] >> 4) << 6);
        out[g + 4] = (uint8_t)(minimum[g] | (minimum[g + 4] >> 4) << 6);
        out[g + 8] = (uint8_t)((scale[g + 4] & 15) | (minimum[g + 4] & 15) << 4);
    }
}

#endif
