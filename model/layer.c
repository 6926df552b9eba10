/* layer.c - see layer.h. */
#include "model/layer.h"

#include "base/alloc.h"
#include "model/attention.h"
#include "model/mlp.h"
#include "model/moe.h"
#include "model/norm.h"

#include <assert.h>
#include <math.h>

static bl_status run_dense(bl_state *state, uint32_t layer, const float *x,
                           const bl_weights *weights, const bl_taps *taps, struct bl_err *err)
{
    bl_mlp mlp = { .prefix = "mlp.",
                   .layer = layer,
                   .width = weights->network->config->intermediate_size,
                   .x = x,
                   .y = state->hidden,
                   .n_tokens = state->n_tokens,
                   .add = true,
                   .seen = { .expert = -1 } };
    bl_status rc;

    mlp.inner = bl_alloc(mlp.n_tokens, 2 * (size_t)mlp.width * sizeof(*mlp.inner));
    if (!mlp.inner)
        return bl_fail_nomem(err, "dense MLP");
    rc = bl_mlp_run(&mlp, weights, taps, err);
    bl_free(mlp.inner);
    return rc;
}

static bl_status run_ffn(bl_state *state, uint32_t layer, const bl_weights *weights,
                         const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    size_t hidden = state->hidden_size;
    bl_activation seen = { .tap = BL_TAP_FFN_INPUT,
                           .layer = layer,
                           .expert = -1,
                           .n_rows = state->n_tokens,
                           .n_cols = hidden,
                           .ld = hidden };
    float *x = NULL;
    bl_status rc =
        bl_norm_hidden(&x, state, layer, "post_attention_layernorm.weight", weights, err);

    if (rc != BL_OK)
        return rc;
    seen.value = x;
    rc = bl_taps_show(taps, &seen, err);
    if (rc == BL_OK && bl_config_layer_is_moe(weights->network->config, layer))
        rc = bl_moe_run(state, layer, x, weights, policy, taps, err);
    else if (rc == BL_OK)
        rc = run_dense(state, layer, x, weights, taps, err);
    bl_free(x);
    return rc;
}

static bl_status check_finite(const bl_state *state, uint32_t layer, const bl_weights *weights,
                              struct bl_err *err)
{
    for (size_t t = 0; t < state->n_tokens; t++) {
        const float *h = state->hidden + t * state->hidden_size;
        float sum = 0; /* of x - x: 0, or NaN as soon as one x is not finite */

        for (size_t i = 0; i < state->hidden_size; i++)
            sum += h[i] - h[i];
        if (isnan(sum))
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: layer %u: the hidden state of token %zu is not finite",
                           bl_ckpt_path(weights->ckpt), layer, t);
    }
    return BL_OK;
}

bl_status bl_layer_step(bl_state *state, uint32_t layer, const bl_weights *weights,
                        const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    const bl_activation seen = { .tap = BL_TAP_HIDDEN,
                                 .layer = layer,
                                 .expert = -1,
                                 .n_rows = state->n_tokens,
                                 .n_cols = state->hidden_size,
                                 .ld = state->hidden_size,
                                 .value = state->hidden };
    bl_status rc;

    assert(layer == state->n_layers_done);
    assert(state->hidden_size == weights->network->config->hidden_size);
    if (weights->network->mla)
        rc = bl_attention_mla(state, layer, weights, taps, err);
    else
        rc = bl_attention_gqa(state, layer, weights, taps, err);
    if (rc == BL_OK)
        rc = run_ffn(state, layer, weights, policy, taps, err);
    if (rc == BL_OK)
        rc = check_finite(state, layer, weights, err);
    if (rc != BL_OK)
        return rc;
    state->n_layers_done = layer + 1;
    return bl_taps_show(taps, &seen, err);
}
