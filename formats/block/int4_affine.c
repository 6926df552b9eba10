/* int4_affine.c - decode. */
#include "formats/block/int4_affine.h"

#include "base/clones.h"

BL_CLONES
void bl_int4_unpack(uint8_t *restrict codes, const uint8_t *restrict packed, size_t n)
{
    for (size_t j = 0; j < n / 2; j++) {
        codes[2 * j] = packed[j] & 15;
        codes[2 * j + 1] = packed[j] >> 4;
    }
}

BL_CLONES
static void decode_group(float *restrict out, const uint8_t *restrict codes, float scale, int zero,
                         size_t n)
{
    for (size_t j = 0; j < n; j++)
        out[j] = (float)(codes[j] - zero) * scale;
}

void bl_int4_affine_to_f32(float *out, const uint8_t *codes, const float *scale,
                           const uint8_t *zero, const uint32_t *group_of, size_t n_cols,
                           size_t group_size)
{
    if (!group_of) {
        for (size_t g = 0; g < n_cols / group_size; g++)
            decode_group(out + g * group_size, codes + g * group_size, scale[g], zero[g],
                         group_size);
        return;
    }
    for (size_t j = 0; j < n_cols; j++)
        out[j] = (float)(codes[j] - zero[group_of[j]]) * scale[group_of[j]];
}
