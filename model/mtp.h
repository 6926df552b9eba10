/*
 * mtp.h - the multi-token prediction head (arXiv 2412.19437, 2.2): position i predicts token i + 2.
 *
 *     u_i = eh_proj [ enorm(Emb(t_{i+1})) ; hnorm(h_i) ]      h_i: main state after the final norm
 *     then the MTP layer as any other layer, shared_head.norm, shared_head.head
 *
 * A driver, when the main state has all its layers done:
 *
 *     rc = bl_mtp_begin(&mtp, &state, &weights, err);         sequences one token shorter
 *     rc = bl_layer_step(&mtp, config->n_layers, &weights, NULL, NULL, err);
 *     rc = bl_mtp_norm(x, &mtp, &weights, err);
 *     rc = bl_mtp_table(&table, &weights, err);               ... bl_head_run()
 *
 * The first MTP layer only. A checkpoint without its copies of embedding and head (they repeat the
 * main ones) is run with the main ones.
 */
#ifndef BL_MODEL_MTP_H
#define BL_MODEL_MTP_H

#include "model/state.h"
#include "model/weights.h"

/*
 * The new state is in memory, all tokens at once. BL_E_USAGE when the model has no MTP layer or sequences are shorter than 2
 * tokens.
 */
BL_MUST_USE bl_status bl_mtp_begin(bl_state *out, const bl_state *main_state,
                                   const bl_weights *weights, struct bl_err *err);

/* out[n_tokens][hidden] = RMSNorm(hidden; shared_head.norm). */
BL_MUST_USE bl_status bl_mtp_norm(float *out, const bl_state *state, const bl_weights *weights,
                                  struct bl_err *err);

BL_MUST_USE bl_status bl_mtp_table(const bl_tensor **out, const bl_weights *weights,
                                   struct bl_err *err);

#endif
