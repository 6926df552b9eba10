/*
 * measures.h - what was measured on a text as one list, so that every report prints the same
 * numbers with their errors. Definitions: docs/numerics.md.
 */
#ifndef BL_VERIFY_MEASURES_H
#define BL_VERIFY_MEASURES_H

#include "verify/perplexity.h"
#include "verify/statistics.h"

enum { BL_MAX_MEASURES = 8, BL_N_KL_QUANTILES = 6 };

typedef struct bl_measure {
    const char *key;  /* in JSON: "mean_kld", with "mean_kld_error" and "mean_kld_interval" */
    const char *name; /* for people: "mean KL divergence" */
    bool is_fraction; /* of 1: people see percent */
    double value, error;
    bl_interval interval; /* 95 % */
} bl_measure;

/* Of one model its perplexity, of two what differs as well. Returns how many. */
size_t bl_measures_list(bl_measure out[BL_MAX_MEASURES], const bl_ppl_result *ppl);

typedef struct bl_kl_quantile {
    const char *key, *name; /* "kld_99_9", "99.9 %" */
    double fraction, value; /* fraction 1: the maximum; nats */
} bl_kl_quantile;

/* Of the KL divergence per scored token, of two models; ascending. */
void bl_measures_kl(bl_kl_quantile out[BL_N_KL_QUANTILES], const bl_ppl_result *ppl);

#endif
