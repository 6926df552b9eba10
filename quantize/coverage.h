/*
 * coverage.h - how well a text has covered a model's experts: what statistics can be trusted.
 */
#ifndef BL_QUANTIZE_COVERAGE_H
#define BL_QUANTIZE_COVERAGE_H

#include "formats/stats/stats.h"

/* A layer with experts. */
typedef struct bl_layer_coverage {
    uint32_t layer, n_experts;
    uint32_t n_unseen;  /* experts that no token chose */
    uint32_t n_starved; /* with less than 1 % of the mean, those among them */
    uint64_t least, most;
    double mean;       /* tokens of an expert */
    uint32_t *starved; /* [n_starved] their ids, ascending */
} bl_layer_coverage;

typedef struct bl_coverage {
    size_t n_layers; /* with experts */
    bl_layer_coverage *layer;
    uint64_t n_unseen, n_starved; /* in all layers */
} bl_coverage;

/* Reads the counts. The caller releases *out. */
BL_MUST_USE bl_status bl_coverage_of(bl_coverage *out, const bl_stats *stats, struct bl_err *err);
void bl_coverage_release(bl_coverage *coverage);

#endif
