/* taps.c - see taps.h. */
#include "model/taps.h"

bool bl_taps_want(const bl_taps *taps, bl_tap tap)
{
    return taps && (taps->wanted >> tap & 1);
}

bl_status bl_taps_show(const bl_taps *taps, const bl_activation *activation, struct bl_err *err)
{
    if (!bl_taps_want(taps, activation->tap))
        return BL_OK;
    return taps->fn(taps->context, activation, err);
}

bl_status bl_taps_show_block(const bl_taps *taps, bl_tap tap, uint32_t layer, const bl_block *block,
                             const float *value, size_t n_cols, struct bl_err *err)
{
    const bl_activation activation = { .tap = tap,
                                       .layer = layer,
                                       .expert = -1,
                                       .first = block->first,
                                       .n_rows = block->n_tokens,
                                       .n_cols = n_cols,
                                       .ld = n_cols,
                                       .value = value };

    return bl_taps_show(taps, &activation, err);
}
