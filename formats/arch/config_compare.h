/*
 * config_compare.h - two configurations, field by field: what differs in what the network computes.
 *
 * Fields are called as in config.json. Only what changes the computation is compared, so that a
 * configuration out of GGUF metadata equals the config.json it was made from: not how weights are
 * stored, not token ids, not the longest context, not MTP layers, no field that the attention, the
 * router or the rotary scaling of the model does not use. Numbers are equal within the rounding
 * of F32, in which GGUF keeps them.
 */
#ifndef BL_FORMATS_CONFIG_COMPARE_H
#define BL_FORMATS_CONFIG_COMPARE_H

#include "formats/arch/config.h"

#include <stddef.h>

enum { BL_CONFIG_MAX_DIFFERENCES = 48 };

typedef struct bl_config_difference {
    const char *field;            /* "rope_theta"; static */
    char test[40], reference[40]; /* the two values, for people */
} bl_config_difference;

/* Put the differences into out and return their number, in the order of a fixed table. */
size_t bl_config_compare(bl_config_difference out[BL_CONFIG_MAX_DIFFERENCES], const bl_config *test,
                         const bl_config *reference);

#endif
