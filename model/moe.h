/*
 * moe.h - the mixture of experts of a layer: hidden += sum_e w_e Expert_e(x) + Shared(x),
 * x = RMSNorm(hidden).
 *
 *     rc = bl_moe_begin(&moe, state, ...);
 *     for every block:  rc = bl_moe_route(moe, block, err);
 *     rc = bl_moe_experts(moe, err);               all tokens of the state
 *     for every block:  rc = bl_moe_shared(moe, block, err);
 *     bl_moe_end(moe);
 *
 * Every expert's weights are decoded once, for all the tokens that chose it, while the next one's
 * bytes come from the disk. Experts add to the residual stream in ascending id, the shared expert
 * last: the order of sums is fixed.
 *
 * Memory: for every token x (spilled where the state is) and 16 bytes for each expert it may choose
 * (under the variant of the policy that lets choose most); for each token of a block the router's
 * logits; for bl_moe_rows() tokens 2 * hidden + 2 * width floats, for each of a block 2 * width of
 * the shared expert. An expert with more tokens than that is held (model/hold.h).
 */
#ifndef BL_MODEL_MOE_H
#define BL_MODEL_MOE_H

#include "model/block.h"
#include "model/op_router.h"
#include "model/taps.h"
#include "model/weights.h"

typedef struct bl_moe bl_moe;

/*
 * Tokens of an expert that are computed together, at most: twice what each would have if all were
 * chosen alike, in whole tiles (BL_LINEAR_TOKENS), and not more than a block.
 */
size_t bl_moe_rows(const bl_config *config, size_t n_tokens, size_t block_tokens);

/*
 * Everything is borrowed until bl_moe_end(). policy and taps may be NULL; the policy's variants
 * share the state's sequences evenly, and none skips the layer.
 */
BL_MUST_USE bl_status bl_moe_begin(bl_moe **out, bl_state *state, uint32_t layer,
                                   const bl_weights *weights, const bl_router_policy *policy,
                                   const bl_taps *taps, struct bl_err *err);
BL_MUST_USE bl_status bl_moe_route(bl_moe *moe, const bl_block *block, struct bl_err *err);
BL_MUST_USE bl_status bl_moe_experts(bl_moe *moe, struct bl_err *err);
BL_MUST_USE bl_status bl_moe_shared(bl_moe *moe, bl_block *block, struct bl_err *err);
void bl_moe_end(bl_moe *moe); /* NULL is allowed */

#endif
