/* layer.c - see layer.h. */
#include "model/layer.h"

#include "base/alloc.h"
#include "model/attention.h"
#include "model/block.h"
#include "model/hold.h"
#include "model/mlp.h"
#include "model/moe.h"
#include "model/norm.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* One layer's step over the blocks of its state. */
struct step {
    bl_state *state;
    uint32_t layer;
    const bl_weights *weights; /* with a hold where there are several blocks */
    const bl_taps *taps;
    float *x, *inner; /* dense MLP: [block][hidden], [2][block][width] */
    bl_moe *moe;
};

static bl_status attend(void *context, bl_block *block, struct bl_err *err)
{
    const struct step *s = context;
    bl_status rc = bl_taps_show_block(s->taps, BL_TAP_LAYER_INPUT, s->layer, block, block->hidden,
                                      block->hidden_size, err);

    if (rc != BL_OK)
        return rc;
    if (block->tape)
        memcpy(block->tape->input, block->hidden,
               block->n_tokens * block->hidden_size * sizeof(float));
    return s->weights->network->mla ? bl_attention_mla(block, s->layer, s->weights, s->taps, err)
                                    : bl_attention_gqa(block, s->layer, s->weights, s->taps, err);
}

static bl_status check_finite(const struct step *s, const bl_block *block, struct bl_err *err)
{
    for (size_t t = 0; t < block->n_tokens; t++) {
        const float *h = block->hidden + t * block->hidden_size;
        float sum = 0; /* of x - x: 0, or NaN as soon as one x is not finite */

        for (size_t i = 0; i < block->hidden_size; i++)
            sum += h[i] - h[i];
        if (isnan(sum))
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: layer %u: the hidden state of token %zu is not finite",
                           bl_ckpt_path(s->weights->ckpt), s->layer, block->first + t);
    }
    return BL_OK;
}

/* The layer is done for these tokens. */
static bl_status finish(const struct step *s, const bl_block *block, struct bl_err *err)
{
    bl_status rc = check_finite(s, block, err);

    return rc == BL_OK ? bl_taps_show_block(s->taps, BL_TAP_HIDDEN, s->layer, block, block->hidden,
                                            block->hidden_size, err)
                       : rc;
}

static bl_status dense_block(void *context, bl_block *block, struct bl_err *err)
{
    const struct step *s = context;
    bl_mlp mlp = { .prefix = "mlp.",
                   .layer = s->layer,
                   .width = s->weights->network->config->intermediate_size,
                   .x = s->x,
                   .y = block->hidden,
                   .n_tokens = block->n_tokens,
                   .add = true,
                   .inner = s->inner,
                   .product = block->tape ? block->tape->inner : NULL,
                   .seen = { .expert = -1, .first = block->first } };
    bl_status rc =
        bl_norm_block(s->x, block, s->layer, "post_attention_layernorm.weight", s->weights, err);

    if (block->tape)
        memcpy(block->tape->middle, block->hidden,
               block->n_tokens * block->hidden_size * sizeof(float));
    if (rc == BL_OK)
        rc = bl_taps_show_block(s->taps, BL_TAP_FFN_INPUT, s->layer, block, s->x,
                                block->hidden_size, err);
    if (rc == BL_OK)
        rc = bl_mlp_run(&mlp, s->weights, s->taps, err);
    return rc == BL_OK ? finish(s, block, err) : rc;
}

static bl_status run_dense(struct step *s, struct bl_err *err)
{
    size_t n = bl_block_tokens(s->state), width = s->weights->network->config->intermediate_size;
    bl_status rc;

    if (s->state->tape) {
        s->x = s->state->tape->ffn_x;
        s->inner = s->state->tape->gate;
        return bl_blocks_for(s->state, dense_block, s, err);
    }
    s->x = bl_alloc(n, s->state->hidden_size * sizeof(*s->x));
    s->inner = bl_alloc(n, 2 * width * sizeof(*s->inner));
    rc = s->x && s->inner ? bl_blocks_for(s->state, dense_block, s, err)
                          : bl_fail_nomem(err, "dense MLP");
    bl_free(s->x);
    bl_free(s->inner);
    return rc;
}

static bl_status route_block(void *context, bl_block *block, struct bl_err *err)
{
    return bl_moe_route(((struct step *)context)->moe, block, err);
}

static bl_status shared_block(void *context, bl_block *block, struct bl_err *err)
{
    const struct step *s = context;
    bl_status rc = bl_moe_shared(s->moe, block, err);

    return rc == BL_OK ? finish(s, block, err) : rc;
}

static bl_status run_moe(struct step *s, const bl_router_policy *policy, struct bl_err *err)
{
    bl_status rc = bl_moe_begin(&s->moe, s->state, s->layer, s->weights, policy, s->taps, err);

    if (rc == BL_OK)
        rc = bl_blocks_for(s->state, route_block, s, err);
    if (rc == BL_OK)
        rc = bl_moe_experts(s->moe, err);
    if (rc == BL_OK)
        rc = bl_blocks_for(s->state, shared_block, s, err);
    bl_moe_end(s->moe);
    return rc;
}

static bool skips(const bl_router_policy *policy, uint32_t variant)
{
    const bl_router_policy *p = bl_router_variant(policy, variant);

    return p && p->skipped;
}

/* How many variants of the policy run the layer: all up to the first that skips it. */
static bl_status count_running(uint32_t *out, const bl_state *state, uint32_t layer,
                               const bl_router_policy *policy, struct bl_err *err)
{
    const uint32_t n = bl_router_n_variants(policy);
    uint32_t running = 0;

    if (n == 0 || state->n_seqs % n != 0)
        return bl_fail(err, BL_E_USAGE,
                       "layer %u: %u sequences cannot be shared evenly by %u routing policies",
                       layer, state->n_seqs, n);
    while (running < n && !skips(policy, running))
        running++;
    for (uint32_t i = running; i < n; i++)
        if (!skips(policy, i))
            return bl_fail(err, BL_E_USAGE,
                           "layer %u: routing policy %u skips it and policy %u, which comes later, "
                           "does not: those that skip a layer must be the last ones",
                           layer, running, i);
    *out = running;
    return BL_OK;
}

/* The first sequences of a state, which stay its own: not to be released. */
static bl_state first_seqs(const bl_state *state, uint32_t n_seqs)
{
    bl_state first = *state;

    first.n_seqs = n_seqs;
    first.n_tokens = (size_t)n_seqs * state->n_positions;
    first.hidden.n_rows = first.n_tokens;
    return first;
}

static bl_status run_layer(bl_state *state, uint32_t layer, const bl_weights *weights,
                           const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    bl_hold hold = { 0 };
    bl_weights held = *weights;
    struct step step = { .state = state, .layer = layer, .weights = &held, .taps = taps };
    bl_status rc;

    if (bl_block_tokens(state) < state->n_tokens)
        held.hold = &hold;
    rc = bl_blocks_for(state, attend, &step, err);
    bl_hold_release(&hold);
    if (rc == BL_OK)
        rc = bl_config_layer_is_moe(weights->network->config, layer) ? run_moe(&step, policy, err)
                                                                     : run_dense(&step, err);
    bl_hold_release(&hold);
    return rc;
}

bl_status bl_layer_step(bl_state *state, uint32_t layer, const bl_weights *weights,
                        const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    const uint32_t n = bl_router_n_variants(policy);
    bl_router_policy those = policy ? *policy : (bl_router_policy){ 0 };
    uint32_t running = 0;
    bl_state part;
    bl_status rc = count_running(&running, state, layer, policy, err);

    assert(layer == state->n_layers_done);
    assert(state->hidden_size == weights->network->config->hidden_size);
    if (rc != BL_OK)
        return rc;
    part = first_seqs(state, state->n_seqs / n * running);
    those.n_variants = running;
    if (running > 0)
        rc = run_layer(&part, layer, weights, &those, taps, err);
    if (rc == BL_OK)
        state->n_layers_done = layer + 1;
    return rc;
}
