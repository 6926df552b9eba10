/*
 * layer_backward.h - one layer on the way back, and the embedding.
 *
 * d[T][hidden], the gradient in the residual stream after the layer, becomes that before it; the
 * gradients of the layer's learned weights (resident.h) are added to. `tape` is what the layer's step
 * has kept (layer.h), `work` another tape of the same size, for the gradients of activations; both
 * are used up: gate and up of `tape` become their gradients.
 *
 * Each half is the residual stream plus something, so its gradient passes unchanged, and what comes
 * back through the half is added:
 *
 *     MLP         d += RMSNorm'(Wgate^T dgate + Wup^T dup)
 *     attention   d += RMSNorm'(Wq^T dq + Wk^T dk + Wv^T dv), or through the latents
 */
#ifndef BL_MODEL_LAYER_BACKWARD_H
#define BL_MODEL_LAYER_BACKWARD_H

#include "model/attention.h"
#include "model/block.h"
#include "model/tape.h"
#include "model/weights.h"

/* block: hidden is not looked at; its tape is the layer's. */
typedef struct bl_layer_backward {
    const bl_weights *weights; /* resident */
    const bl_block *block;
    bl_tape *work;
    uint32_t layer;
} bl_layer_backward;

BL_MUST_USE bl_status bl_layer_backward_run(float *d, const bl_layer_backward *step,
                                            struct bl_err *err);

/* Parts of it: the attention half, of either kind. */
BL_MUST_USE bl_status bl_attention_gqa_backward(float *d, const bl_layer_backward *step,
                                                struct bl_err *err);
BL_MUST_USE bl_status bl_attention_mla_backward(float *d, const bl_layer_backward *step,
                                                struct bl_err *err);

/* The embedding's gradient += rows of d[n_tokens][hidden], in the order of the tokens. */
BL_MUST_USE bl_status bl_embed_backward(const float *d, const int32_t *token, size_t n_tokens,
                                        const bl_weights *weights, struct bl_err *err);

#endif
