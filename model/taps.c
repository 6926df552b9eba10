/* taps.c - see taps.h. */
#include "model/taps.h"

bl_status bl_taps_show(const bl_taps *taps, const bl_activation *activation, struct bl_err *err)
{
    if (!taps || !(taps->wanted & (1u << activation->tap)))
        return BL_OK;
    return taps->fn(taps->context, activation, err);
}
