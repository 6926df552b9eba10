/*
 * op_router.h - which experts a token goes to, and with which weight.
 *
 *     s_e = sigmoid(logit_e), or softmax(logit)_e
 *     b_e = s_e + bias_e                     the bias takes part in the selection only
 *     G_g = sum of the two largest b of group g (with a bias), or its largest (without)
 *     I   = the k largest b_e among the topk_group groups of largest G
 *     w_e = s_e for e in I; w /= sum(w) + 1e-20 when normalised; w *= scale
 *
 * Equal scores: the lowest index wins, of groups and of experts. One group is a plain top k.
 * Source: DeepSeek-V3 (arXiv 2412.19437) section 2.1.2, F32 as in the published code.
 */
#ifndef BL_MODEL_OP_ROUTER_H
#define BL_MODEL_OP_ROUTER_H

#include "base/err.h"
#include "formats/arch/config.h"

#include <stdbool.h>
#include <stdint.h>

#define BL_ROUTER_NONE UINT32_MAX /* a slot without expert: too few were left to choose from */

typedef struct bl_router {
    uint32_t n_experts, n_used; /* n_used: k */
    uint32_t n_group, topk_group;
    bl_router_scoring scoring;
    bool normalise;
    float scale;
    const float *bias;    /* [n_experts], or NULL */
    const bool *disabled; /* [n_experts], or NULL: experts that must not be chosen */
} bl_router;

/*
 * What a caller may change about one layer: pruning before it is done. Zeroed: nothing. All
 * borrowed.
 *
 * Variants are policies side by side in one state, so that weights are read once for all of them:
 * with s = n_seqs / n_variants, variant[i] is the policy of the sequences [i * s, (i + 1) * s), and
 * the fields beside `variant` do not count. Those that skip the layer come last.
 */
typedef struct bl_router_policy {
    uint32_t experts_per_token; /* 0: as configured, or all that are left enabled if fewer */
    bool ungrouped;             /* choose from all groups: n_group = topk_group = 1 */
    bool skipped;               /* the layer is not there: the residual stream passes unchanged */
    const bool *disabled;       /* [n_experts], or NULL */
    const struct bl_router_policy *variant; /* [n_variants], none with variants; or NULL */
    uint32_t n_variants;
} bl_router_policy;

/* How many policies lie side by side: 1 without variants. policy may be NULL. */
uint32_t bl_router_n_variants(const bl_router_policy *policy);
/* The i-th of them: the policy itself without variants, NULL where that is. */
const bl_router_policy *bl_router_variant(const bl_router_policy *policy, uint32_t i);

/*
 * The router of a layer under a policy without variants, or NULL: as configured. disabled and bias
 * stay borrowed. BL_E_USAGE when the policy asks for more experts per token than there are, or than
 * it leaves enabled.
 */
BL_MUST_USE bl_status bl_router_init(bl_router *out, const bl_config *config,
                                     const bl_router_policy *policy, const float *bias,
                                     struct bl_err *err);

/*
 * One token: expert[n_used] in ascending order (NONE last) and weight[n_used] (0 for NONE).
 * scratch: 2 * n_experts + n_group floats.
 */
void bl_router_choose(uint32_t *expert, float *weight, const bl_router *router, const float *logits,
                      float *scratch);

#endif
