/* cache_values.c - see cache_values.h. */
#include "formats/logits/cache_values.h"

#include <math.h>

enum { MAX_U16 = 0xffff, MAX_U24 = 0xffffff };

/* To the nearest whole number from 0 to max; what is no number becomes max. */
static uint32_t whole(double x, uint32_t max)
{
    const double code = rint(x);

    return !(code < (double)max) ? max : code > 0 ? (uint32_t)code : 0;
}

uint32_t bl_cache_log_p_code(float log_p)
{
    return whole(-(double)log_p * 0x1p17, MAX_U24);
}

float bl_cache_log_p_of(uint32_t code)
{
    return -(float)code * 0x1p-17f;
}

uint32_t bl_cache_entropy_code(float entropy)
{
    return whole((double)entropy * 0x1p11, MAX_U16);
}

float bl_cache_entropy_of(uint32_t code)
{
    return (float)code * 0x1p-11f;
}

uint32_t bl_cache_log_sum_code(float log_sum)
{
    return whole(((double)log_sum + 1024) * 0x1p13, MAX_U24);
}

float bl_cache_log_sum_of(uint32_t code)
{
    return (float)((double)code * 0x1p-13 - 1024);
}

uint32_t bl_cache_tail_code(float tail)
{
    return whole((double)tail * MAX_U24, MAX_U24);
}

float bl_cache_tail_of(uint32_t code)
{
    return (float)((double)code / MAX_U24);
}

uint32_t bl_cache_weight_code(float weight)
{
    return whole((8 - log((double)weight)) * 256, BL_CACHE_MAX_WEIGHT_CODE);
}

float bl_cache_weight_of(uint32_t code)
{
    return (float)exp(8 - (double)code / 256);
}
