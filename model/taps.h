/*
 * taps.h - looking at the inside of a layer: a callback per named activation.
 *
 * Calibration, activation comparison, pruning criteria and teacher caches are all taps. The
 * callback runs on the calling thread, in a fixed order, and borrows the values for its duration.
 * Tokens may come in several blocks (block.h), an expert's in several runs of rows.
 */
#ifndef BL_MODEL_TAPS_H
#define BL_MODEL_TAPS_H

#include "base/err.h"
#include "model/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bl_tap {
    BL_TAP_LAYER_INPUT,     /* [n][hidden] the residual stream before the layer */
    BL_TAP_ATTENTION_INPUT, /* [n][hidden] after input_layernorm: of q_a, q, kv_a, k, v */
    BL_TAP_QUERY_LATENT,    /* [n][q_lora] after its norm: of q_b */
    BL_TAP_KEY_LATENT,      /* [n][kv_lora] after its norm: of kv_b */
    BL_TAP_QUERY_HEADS,     /* [n][group of heads][nope + rope], rotated: queries (MLA) */
    BL_TAP_VALUE_LATENT,    /* [n][kv_lora] of head `head`: sum_t p_t c_t, key latents by their
                               probabilities: what v_b meets in the absorbed form (MLA) */
    BL_TAP_ATTENTION_HEADS, /* [n][heads * v_dim]: of o_proj */
    BL_TAP_MOE_RESIDUAL,    /* [n][hidden] the residual stream before the experts */
    BL_TAP_FFN_INPUT,       /* [n][hidden] after post_attention_layernorm: of gate, up, router */
    BL_TAP_ROUTER_LOGITS,   /* [n][n_experts] */
    BL_TAP_ROUTER_CHOICE,   /* [n][k]: choice and, as value, weight; ascending expert; k: the
                               largest of the policy's variants */
    BL_TAP_EXPERT_INPUT,    /* [n][hidden] rows of the expert's tokens: of its gate and up */
    BL_TAP_FFN_INNER,       /* [n][width] silu(gate) * up: of down */
    BL_TAP_EXPERT_OUTPUT,   /* [n][hidden] before the router's weight */
    BL_TAP_MOE_ROUTED,      /* [n][hidden] the residual stream with what routed experts said */
    BL_TAP_HIDDEN,          /* [n][hidden] the residual stream after the layer */
    BL_TAP_COUNT
} bl_tap;

typedef struct bl_activation {
    bl_tap tap;
    uint32_t layer;
    int32_t expert; /* routed expert; -1: none, the dense MLP or the shared expert */
    uint32_t head;  /* VALUE_LATENT: which; QUERY_HEADS: the first of the group */
    size_t first;   /* where token is NULL: row r is the state's token first + r */
    size_t n_rows, n_cols, ld;
    const float *value;     /* [n_rows][n_cols], rows ld apart */
    const uint32_t *token;  /* [n_rows] which token each row is, or NULL */
    const uint32_t *choice; /* ROUTER_CHOICE: [n_rows][n_cols] experts */
    const float *weight;    /* EXPERT_*: [n_rows] the router's weight of each row */
} bl_activation;

typedef bl_status (*bl_tap_fn)(void *context, const bl_activation *activation, struct bl_err *err);

typedef struct bl_taps {
    bl_tap_fn fn;
    void *context;
    uint32_t wanted; /* bit (1u << tap): which activations to hand out */
} bl_taps;

/* Whether anybody wants it: for what is computed only then. taps may be NULL. */
bool bl_taps_want(const bl_taps *taps, bl_tap tap);

/* Hand the activation out if it is wanted; taps may be NULL. */
BL_MUST_USE bl_status bl_taps_show(const bl_taps *taps, const bl_activation *activation,
                                   struct bl_err *err);

/* The same for value[n_tokens][n_cols] of a block's tokens, in which no expert is. */
BL_MUST_USE bl_status bl_taps_show_block(const bl_taps *taps, bl_tap tap, uint32_t layer,
                                         const bl_block *block, const float *value, size_t n_cols,
                                         struct bl_err *err);

#endif
