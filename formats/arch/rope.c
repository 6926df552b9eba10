/*
 * rope.c - see the header. Source of the scaling by wavelength: Llama 3.1 (transformers,
 * modeling_rope_utils.py); llama.cpp's converter computes the same divisors in F32.
 */
#include "formats/arch/rope.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

double bl_rope_frequency(const bl_config *config, uint32_t pair, uint32_t dim)
{
    return pow(config->rope_theta, -2.0 * pair / dim);
}

/* By wavelength against the original context: short ones stay, long ones are divided. */
static double llama3_divisor(const bl_config *c, double frequency)
{
    const double low = c->llama3_low_freq_factor, high = c->llama3_high_freq_factor;
    double turns = c->rope_original_context * frequency / (2 * pi); /* context / wavelength */
    double s = (turns - low) / (high - low);

    if (turns < low)
        return c->rope_factor;
    return turns > high ? 1 : 1 / ((1 - s) / c->rope_factor + s);
}

double bl_rope_divisor(const bl_config *config, uint32_t pair, uint32_t dim)
{
    switch (config->rope_scaling) {
    case BL_ROPE_LINEAR:
        return config->rope_factor;
    case BL_ROPE_LLAMA3:
        return llama3_divisor(config, bl_rope_frequency(config, pair, dim));
    case BL_ROPE_DIVISORS:
        return (double)config->rope_divisors[pair];
    case BL_ROPE_PLAIN:
    case BL_ROPE_YARN:
        break;
    }
    return 1;
}
