/*
 * moe.h - the mixture of experts of a layer: hidden += sum_e w_e Expert_e(x) + Shared(x).
 *
 * Every expert's weights are decoded once, for all the tokens that chose it. Experts add to the
 * residual stream in ascending id, the shared expert last: the order of sums is fixed.
 *
 * Memory: per token the router's logits and choice; for the busiest expert's tokens
 * 2 * hidden + 2 * width floats each, for the shared expert 2 * width for every token.
 */
#ifndef BL_MODEL_MOE_H
#define BL_MODEL_MOE_H

#include "model/op_router.h"
#include "model/state.h"
#include "model/taps.h"
#include "model/weights.h"

/* x[T][hidden]: the normalised input. policy and taps may be NULL. */
BL_MUST_USE bl_status bl_moe_run(bl_state *state, uint32_t layer, const float *x,
                                 const bl_weights *weights, const bl_router_policy *policy,
                                 const bl_taps *taps, struct bl_err *err);

#endif
