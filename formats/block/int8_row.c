/* int8_row.c - decode. */
#include "formats/block/int8_row.h"

#include "base/clones.h"

BL_CLONES
void bl_int8_row_to_f32(float *restrict out, const int8_t *restrict codes, float scale,
                        size_t n_cols)
{
    for (size_t j = 0; j < n_cols; j++)
        out[j] = (float)codes[j] * scale;
}
