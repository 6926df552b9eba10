/*
 * layer.h - one layer of the network over all tokens: the public unit of the model.
 *
 *     hidden += Attention(RMSNorm(hidden));  hidden += FFN(RMSNorm(hidden))
 *
 * A driver owns the loop:
 *
 *     rc = bl_embed(&state, &weights, err);
 *     for (uint32_t layer = 0; layer < config->n_layers && rc == BL_OK; layer++)
 *         rc = bl_layer_step(&state, layer, &weights, NULL, NULL, err);
 *     ... bl_final_norm(), bl_head_run()
 *
 * Tokens pass in blocks of whole sequences (the state's room): attention, router, dense MLP and
 * shared expert see one block at a time with their weights held, experts all their tokens.
 * In blocks that are multiples of BL_LINEAR_TOKENS (linear.h) the result has the same bits.
 *
 * A policy may have variants (op_router.h), each for its share of the sequences. Where some skip the
 * layer it passes over the sequences of the others alone, and taps see only those.
 *
 * Which attention and which FFN follows from the configuration. After a failure the state is
 * neither before nor after the layer: load a saved one, or begin again.
 */
#ifndef BL_MODEL_LAYER_H
#define BL_MODEL_LAYER_H

#include "model/op_router.h"
#include "model/state.h"
#include "model/taps.h"
#include "model/weights.h"

/*
 * `layer` must be the state's next one (n_layers_done). policy (of this layer) and taps may be
 * NULL. Fails with BL_E_MISMATCH when a hidden state is no longer finite: the weights are wrong;
 * with BL_E_USAGE, and the state as it was, when the variants cannot share the sequences evenly, or
 * one that skips the layer comes before one that does not.
 */
BL_MUST_USE bl_status bl_layer_step(bl_state *state, uint32_t layer, const bl_weights *weights,
                                    const bl_router_policy *policy, const bl_taps *taps,
                                    struct bl_err *err);

#endif
