/*
 * trials.h - prunings that are tried on texts before any is written: for methods and ratios, all in one pass
 * (verify/variants.h), each compared with the whole model.
 */
#ifndef BL_PRUNE_TRIALS_H
#define BL_PRUNE_TRIALS_H

#include "prune/choice.h"
#include "verify/variants.h"

/* What is to be tried. */
typedef struct bl_prune_sweep {
    const bl_ckpt *ckpt;
    const bl_prune_domain *domain;
    size_t n_domains;
    bool ungroup;
    uint32_t experts_per_token, n_drop;
    bool drops_mtp;     /* the size is that without MTP layers */
    int64_t only_layer; /* prune this layer's experts and no others; -1: all */
} bl_prune_sweep;

/* One pruning, and after the run what it did to each text. */
typedef struct bl_prune_trial {
    const char *method; /* borrowed */
    int64_t seed;       /* of a random one; -1: none */
    double ratio;       /* that was asked for; 0: what is not about experts only */
    uint32_t n_experts; /* that stay in each layer */
    int64_t without;    /* the one expert that is missing; -1: not such a trial */
    uint64_t n_bytes;   /* of all tensors of such a checkpoint in the source's encoding */
    bl_prune_mask mask;
    const bl_ppl_result *result; /* [n_texts] against the whole model */
} bl_prune_trial;

typedef struct bl_prune_trials {
    bl_prune_trial *trial;
    size_t n, room;
    bl_ppl_result *base; /* [n_texts] the whole model */
    bl_ppl_result *all;  /* [n_texts][1 + n] as they came; base and results copy from here */
    bl_ppl_result *by_trial;
    size_t n_texts;
} bl_prune_trials; /* zero-initialise */

/* Add one by these scores (NULL: all experts stay). */
BL_MUST_USE bl_status bl_prune_trials_add(bl_prune_trials *trials, const bl_prune_sweep *sweep,
                                          const bl_prune_scores *scores, const char *method,
                                          int64_t seed, double ratio, struct bl_err *err);

/* Add the whole model without one expert of a layer, for each of them. */
BL_MUST_USE bl_status bl_prune_trials_add_singles(bl_prune_trials *trials,
                                                  const bl_prune_sweep *sweep, uint32_t layer,
                                                  struct bl_err *err);

/* Run them all on the texts; once. */
BL_MUST_USE bl_status bl_prune_trials_run(bl_prune_trials *trials, const bl_prune_sweep *sweep,
                                          const bl_variants_text *text, size_t n_texts,
                                          const bl_ppl_options *options, struct bl_err *err);
void bl_prune_trials_release(bl_prune_trials *trials);

/* Mean over all scored tokens of all texts of the KL divergence of a trial that was run. */
double bl_prune_trial_kl(const bl_prune_trial *trial, size_t n_texts);

#endif
