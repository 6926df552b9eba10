/*
 * activations.h - where a model goes wrong: how far the hidden states after each layer are from the
 * reference's, on the same tokens. Two errors a layer, RMS over all tokens and channels:
 *
 *     drift   |h' - h| / |h|              both models from the embedding on: what has come together
 *     own     |f'(h) - f(h)| / |f(h) - h|  the layer f' put on the reference's own input h: what
 *                                         this layer does by itself, against what f adds to h
 *
 * Quantization gives every layer an own error of about the same size, and a drift that grows; a
 * layer that is wrong stands out of the former, at once and only there.
 *
 * Both come from one pass: the model under test runs twice as many sequences, the second half of
 * them on the reference's hidden states. Every weight is read once.
 *
 * Memory: 4 * hidden_size bytes a token five times (the model's two, the reference's, its last and a
 * copy), and what a layer takes (model/room.h).
 */
#ifndef BL_VERIFY_ACTIVATIONS_H
#define BL_VERIFY_ACTIVATIONS_H

#include "base/progress.h"
#include "formats/ckpt/ckpt.h"

typedef struct bl_layer_error {
    double drift, own;
    bool wrong; /* its own error is over 0.5, or over 1e-4 and 4 times the median of all layers */
} bl_layer_error;

typedef struct bl_activations {
    size_t n_tokens;
    uint32_t n_layers;
    double embedding;      /* drift of the embeddings */
    bl_layer_error *layer; /* [n_layers] */
    double median_own;
    int64_t first_wrong; /* a layer, or -1 */
} bl_activations;

/*
 * tokens: [n_seqs][n_positions]. Fails with BL_E_MISMATCH when layers or hidden sizes differ or
 * hidden states overflow. The caller releases *out.
 */
BL_MUST_USE bl_status bl_activations_run(bl_activations *out, const bl_ckpt *ref,
                                         const bl_ckpt *test, const int32_t *tokens,
                                         uint32_t n_seqs, uint32_t n_positions, int n_threads,
                                         bl_progress *progress, struct bl_err *err);
void bl_activations_release(bl_activations *activations);

#endif
