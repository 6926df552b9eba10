/* encode_q4_k.c - see the header. */
#include "quantize/encode_q4_k.h"

#include "formats/block/q4_k.h"
#include "quantize/k_scales_put.h"
#include "quantize/search_affine_k.h"

#include <string.h>

_Static_assert((int)BL_Q4_K_LEN == (int)BL_AFFINE_K_LEN, "a superblock");

void bl_q4_k_put_codes(void *block, const uint8_t *code)
{
    uint8_t *q = (uint8_t *)block + offsetof(bl_q4_k, q);

    for (size_t pair = 0; pair < BL_Q4_K_LEN / 64; pair++, code += 64, q += 32)
        for (size_t j = 0; j < 32; j++)
            q[j] = (uint8_t)(code[j] | code[j + 32] << 4);
}

static void pack(void *block, const bl_affine_k_block *from)
{
    bl_q4_k to = { .d = from->d, .dmin = from->dmin };

    bl_k_scales_put(to.scale, from->scale, from->minimum);
    bl_q4_k_put_codes(&to, from->code);
    memcpy(block, &to, sizeof(to));
}

static const bl_affine_k_type type = { .n_groups = 8,
                                       .top = 15.0f,
                                       .trial_step = 0.4f,
                                       .top_integer = 63.0f,
                                       .block_bytes = sizeof(bl_q4_k),
                                       .pack = pack };

void bl_q4_k_encode(void *out, const float *x, size_t n)
{
    bl_affine_k_plain(out, x, n, &type, &bl_affine_fast);
}

void bl_q4_k_encode_ref(void *out, const float *x, size_t n)
{
    bl_affine_k_plain(out, x, n, &type, &bl_affine_ref);
}

void bl_q4_k_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_k_search(out, row, importance, n_cols, &type, &bl_affine_fast);
}

void bl_q4_k_search_ref(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_k_search(out, row, importance, n_cols, &type, &bl_affine_ref);
}
