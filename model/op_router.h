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

/* What a caller may change about the routing of one layer. Zeroed: nothing. */
typedef struct bl_router_policy {
    uint32_t experts_per_token; /* 0: as configured */
    const bool *disabled;       /* [n_experts], or NULL; pruning before it is done */
} bl_router_policy;

/*
 * One token: expert[n_used] in ascending order (NONE last) and weight[n_used] (0 for NONE).
 * scratch: 2 * n_experts + n_group floats.
 */
void bl_router_choose(uint32_t *expert, float *weight, const bl_router *router, const float *logits,
                      float *scratch);

#endif
