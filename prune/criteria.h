/*
 * criteria.h - how much an expert is worth: a number for each, of which the larger stay.
 *
 * With sums over the N tokens that chose expert i in the calibration text, g the router's weight as it is
 * used, E(x) the expert's output before it, h the residual stream before the experts, r what they add:
 *
 *     reap        sum g |E(x)| / N                          router-weighted activation (arXiv 2510.13999)
 *     msan        sum |E(x)|^2 / N                          mean squared norm (arXiv 2606.15716)
 *     easy-ep     sum g |E(x)| max(0, 1 - cos(h, h + r))    for a domain (arXiv 2504.06792)
 *     frequency   N
 *     aimer       - mean |w| / rms(w) of its weights        without a text (arXiv 2603.18492); of the
 *                                                           experts the highest ratios go first
 *     random      a hash of seed, layer and expert          the floor
 *
 * Means (reap, msan) over fewer than BL_PRUNE_FEW tokens are completed to as many by the layer's mean.
 * Several domains: each layer's scores are divided by their sum, weighted and added (EASY-EP, section 3).
 * MTP layers are not calibrated: they have the scores of the last layer before them, but for aimer and random.
 */
#ifndef BL_PRUNE_CRITERIA_H
#define BL_PRUNE_CRITERIA_H

#include "formats/ckpt/ckpt.h"
#include "formats/stats/stats.h"

#include <stdbool.h>

enum { BL_PRUNE_FEW = 16 };

typedef enum bl_prune_method {
    BL_PRUNE_REAP,
    BL_PRUNE_MSAN,
    BL_PRUNE_EASY_EP,
    BL_PRUNE_FREQUENCY,
    BL_PRUNE_AIMER,
    BL_PRUNE_RANDOM,
    BL_PRUNE_METHOD_COUNT
} bl_prune_method;

const char *bl_prune_method_name(bl_prune_method method);
bool bl_prune_method_by_name(bl_prune_method *out, const char *name);
bool bl_prune_wants_stats(bl_prune_method method);

/* Statistics of the model on one kind of text, and how much that counts. */
typedef struct bl_prune_domain {
    const bl_stats *stats;
    double weight; /* > 0 */
} bl_prune_domain;

typedef struct bl_prune_scores {
    uint32_t n_layers, n_experts; /* MTP layers are counted */
    double *score;                /* [n_layers][n_experts]; dense layers: 0 */
    bool *super;                  /* the same: never taken out (bl_prune_find_super()) */
    uint32_t n_super, n_few;      /* experts; and those with fewer than BL_PRUNE_FEW tokens */
} bl_prune_scores;

/*
 * Score every expert; domains are not looked at where the method wants none. Fails with BL_E_USAGE when it wants
 * some and there are none, BL_E_UNSUPPORTED for a model without experts, BL_E_FORMAT for statistics without
 * saliencies (an imatrix), and as reading does. Release with bl_prune_scores_release().
 */
BL_MUST_USE bl_status bl_prune_score(bl_prune_scores *out, const bl_ckpt *ckpt,
                                     bl_prune_method method, const bl_prune_domain *domain,
                                     size_t n_domains, uint64_t seed, int n_threads,
                                     struct bl_err *err);

/*
 * Mark super experts: in the first three quarters of the layers, those whose largest output is above the 99.5th
 * percentile of all experts' and above a tenth of the largest (REAP's rule). Nothing without domains.
 */
BL_MUST_USE bl_status bl_prune_find_super(bl_prune_scores *scores, const bl_ckpt *ckpt,
                                          const bl_prune_domain *domain, size_t n_domains,
                                          struct bl_err *err);
/* Both: scores, and super experts where the method looks at statistics and they are to be protected. */
BL_MUST_USE bl_status bl_prune_judge(bl_prune_scores *out, const bl_ckpt *ckpt,
                                     bl_prune_method method, const bl_prune_domain *domain,
                                     size_t n_domains, uint64_t seed, bool protect, int n_threads,
                                     struct bl_err *err);
void bl_prune_scores_release(bl_prune_scores *scores); /* zeroed is allowed */

#endif
