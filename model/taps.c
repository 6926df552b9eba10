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
