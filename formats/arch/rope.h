/*
 * rope.h - what a scaling makes of a rotary frequency, where that is one number for a pair: the
 * divisors that GGUF carries as a tensor, and that the network's frequencies are divided by.
 */
#ifndef BL_FORMATS_ROPE_H
#define BL_FORMATS_ROPE_H

#include "formats/arch/config.h"

/* The tensor of divisors in a GGUF file, [head_dim / 2]. */
#define BL_ROPE_TENSOR "rope_freqs.weight"

/* theta^(-2 pair / dim): what pair `pair` of dim / 2 turns by from one position to the next. */
double bl_rope_frequency(const bl_config *config, uint32_t pair, uint32_t dim);

/* What the scaling divides that frequency by; 1 for plain, and for YaRN, which is no division. */
double bl_rope_divisor(const bl_config *config, uint32_t pair, uint32_t dim);

#endif
