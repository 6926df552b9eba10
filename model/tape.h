/*
 * tape.h - what one layer keeps of its forward pass for the backward one.
 *
 * A state with a tape (state.h) has its layers write here what they otherwise hold in scratch
 * memory for a block of tokens: then all tokens pass at once. Only layers with a dense MLP. The
 * backward pass keeps the gradients of the same activations in a second tape.
 *
 * Memory: bl_tape_floats() for each token: 4 hidden + the queries, keys, values and results of all
 * heads (latent attention: and twice the latents) + 3 intermediate.
 */
#ifndef BL_MODEL_TAPE_H
#define BL_MODEL_TAPE_H

#include "model/network.h"
#include "model/op_rope.h"

#include <stddef.h>

/* Each [n_tokens][...]. */
typedef struct bl_tape {
    size_t n_tokens;
    float *input;       /* [hidden] the residual stream before the layer */
    float *attention_x; /* [hidden] after input_layernorm */
    float *query_raw;   /* MLA: [q_lora] before the norm; NULL without q_lora */
    float *query;       /* [q_lora] after it */
    float *latent_raw;  /* MLA: [kv_lora + rope] before norm and rotation */
    float *latent;      /* [kv_lora + rope] after */
    float *q;           /* [heads][qk_dim], rotated */
    float *k;           /* GQA: [kv heads][qk_dim], rotated; MLA: [heads][nope + v_dim] */
    float *v;           /* GQA: [kv heads][v_dim]; MLA: NULL */
    float *heads;       /* [heads][v_dim] */
    float *middle;      /* [hidden] the residual stream after attention */
    float *ffn_x;       /* [hidden] after post_attention_layernorm */
    float *gate, *up;   /* [intermediate] each, gate first */
    float *inner;       /* [intermediate] silu(gate) * up */
    bl_rope rope;       /* of n_positions */
    float *memory;      /* all of them */
} bl_tape;

size_t bl_tape_floats(const bl_network *network);
BL_MUST_USE bl_status bl_tape_init(bl_tape *out, const bl_network *network, size_t n_tokens,
                                   size_t n_positions, struct bl_err *err);
void bl_tape_release(bl_tape *tape); /* zeroed is allowed */

#endif
