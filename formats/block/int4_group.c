/* int4_group.c - decode. On a little-endian machine word j is bytes 4j to 4j + 3, low nibble first. */
#include "formats/block/int4_group.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <stdint.h>

static float load_scale(const unsigned char *scales, bl_dtype dtype, size_t i)
{
    if (dtype == BL_BF16)
        return bl_f32_from_bf16(bl_load_u16(scales + 2 * i));
    if (dtype == BL_F16)
        return bl_f32_from_f16(bl_load_u16(scales + 2 * i));
    assert(dtype == BL_F32);
    return bl_load_f32(scales + 4 * i);
}

BL_CLONES
static void decode_group(float *restrict out, const uint8_t *restrict packed, float scale,
                         size_t n_bytes)
{
    for (size_t j = 0; j < n_bytes; j++) {
        out[2 * j] = (float)((packed[j] & 0xf) - 8) * scale;
        out[2 * j + 1] = (float)((packed[j] >> 4) - 8) * scale;
    }
}

void bl_int4_group_to_f32(float *out, const void *packed, const void *scales, bl_dtype scale_dtype,
                          size_t n_cols, size_t group_size)
{
    const uint8_t *p = packed;

    assert(group_size > 0 && group_size % 8 == 0 && n_cols % group_size == 0);
    for (size_t g = 0; g < n_cols / group_size; g++) {
        decode_group(out, p, load_scale(scales, scale_dtype, g), group_size / 2);
        out += group_size;
        p += group_size / 2;
    }
}
