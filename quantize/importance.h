/*
 * importance.h - how much each column of a linear tensor matters: E[x_j^2] of the input that meets
 * it, out of calibration statistics.
 *
 * A routed expert that few tokens chose is shrunk toward its layer (reference: D.1):
 *     h' = (N_e h_e + k h_layer) / (N_e + k),  k = 256 tokens
 * h_layer is the mean over all pairs of a token and an expert that it chose. So no expert is without
 * weights, and a starved one gets the layer's.
 *
 * A tensor whose input was not measured (MTP layers, embeddings, norms, what an imatrix left out)
 * has none: *known is false, *out untouched, and the status BL_OK. Where it is known every value is
 * finite and not negative; a channel that is always zero has zero.
 *
 * Pure and thread-safe; sums in a fixed order, no BLAS: the same file gives the same bits anywhere.
 * Memory: n_cols values.
 */
#ifndef BL_QUANTIZE_IMPORTANCE_H
#define BL_QUANTIZE_IMPORTANCE_H

#include "formats/ckpt/ckpt.h"
#include "formats/stats/stats.h"

enum { BL_IMPORTANCE_SHRINK_TOKENS = 256 };

/*
 * out[tensor->n_cols]: of every row of a canonical linear tensor. A tied embedding has the output
 * head's. Fails as bl_stats_read() does, or with BL_E_MISMATCH when the file has another shape
 * (bl_stats_check() finds that before).
 */
BL_MUST_USE bl_status bl_importance_of_tensor(float *out, bool *known, const bl_stats *stats,
                                              const bl_config *config, const bl_tensor *tensor,
                                              struct bl_err *err);

/*
 * The two halves of kv_b as GGUF has them (formats/view/view.h). k_b [n_heads][lora][nope]: head h
 * meets its query, out[n_heads][nope]. v_b [n_heads][v][lora]: out[n_heads][lora], the latents
 * by that head's probabilities; where only these are known, the key latent for every head.
 */
BL_MUST_USE bl_status bl_importance_of_k_b(float *out, bool *known, const bl_stats *stats,
                                           const bl_config *config, uint32_t layer,
                                           struct bl_err *err);
BL_MUST_USE bl_status bl_importance_of_v_b(float *out, bool *known, const bl_stats *stats,
                                           const bl_config *config, uint32_t layer,
                                           struct bl_err *err);

#endif
