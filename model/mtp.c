/* mtp.c - see mtp.h. */
#include "model/mtp.h"

#include "base/alloc.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/linear.h"
#include "model/norm.h"

#include <assert.h>
#include <string.h>

/* The tokens that follow positions 0 .. n_positions - 2 of each sequence. */
static bl_status shift_tokens(bl_state *out, const bl_state *main_state, struct bl_err *err)
{
    const uint32_t n = main_state->n_positions - 1;
    int32_t *next = bl_alloc(main_state->n_seqs, n * sizeof(*next));
    bl_status rc;

    if (!next)
        return bl_fail_nomem(err, "MTP tokens");
    for (size_t s = 0; s < main_state->n_seqs; s++)
        memcpy(next + s * n, main_state->token + s * main_state->n_positions + 1,
               n * sizeof(*next));
    rc = bl_state_init(out, next, main_state->n_seqs, n, main_state->hidden_size, NULL, err);
    bl_free(next);
    return rc;
}

/* pair[T][2 hidden]: the embedding half. */
static bl_status fill_embedding(float *pair, const bl_state *mtp, const bl_weights *weights,
                                struct bl_err *err)
{
    const bl_config *c = weights->network->config;
    const size_t hidden = c->hidden_size;
    bl_norm norm = { .y = pair,
                     .ldy = 2 * hidden,
                     .x = pair,
                     .ldx = 2 * hidden,
                     .n_rows = mtp->n_tokens,
                     .n = hidden,
                     .eps = weights->network->norm_eps };
    const bl_tensor *table = NULL;
    float *w = NULL;
    bl_status rc;

    if (bl_weights_has(weights, c->n_layers, "embed_tokens.weight"))
        rc = bl_weights_find(&table, weights, c->n_layers, "embed_tokens.weight", c->vocab_size,
                             hidden, err);
    else
        rc = bl_ckpt_expect(&table, weights->ckpt, "model.embed_tokens.weight", c->vocab_size,
                            hidden, err);
    if (rc == BL_OK)
        rc = bl_embed_rows(pair, 2 * hidden, mtp->token, mtp->n_tokens, table, weights, err);
    if (rc == BL_OK)
        rc = bl_weights_vector(&w, weights, c->n_layers, "enorm.weight", hidden, err);
    norm.w = w;
    if (rc == BL_OK)
        rc = bl_norm_run(&norm, weights->n_threads, err);
    bl_free(w);
    return rc;
}

/* pair[T][2 hidden]: the half of the main hidden states, all positions but each sequence's last. */
static bl_status fill_hidden(float *pair, const bl_state *mtp, const bl_state *main_state,
                             const bl_weights *weights, struct bl_err *err)
{
    const size_t hidden = main_state->hidden_size, n = main_state->n_tokens;
    bl_norm norm = { .y = pair + hidden,
                     .ldy = 2 * hidden,
                     .x = pair + hidden,
                     .ldx = 2 * hidden,
                     .n_rows = mtp->n_tokens,
                     .n = hidden,
                     .eps = weights->network->norm_eps };
    float *w = NULL, *h = bl_alloc(n, hidden * sizeof(*h));
    bl_status rc =
        h ? bl_final_norm(h, main_state, NULL, n, weights, err) : bl_fail_nomem(err, "MTP input");

    for (size_t t = 0; t < mtp->n_tokens && rc == BL_OK; t++) {
        size_t from = t / mtp->n_positions * main_state->n_positions + t % mtp->n_positions;

        memcpy(pair + (2 * t + 1) * hidden, h + from * hidden, hidden * sizeof(*h));
    }
    bl_free(h);
    if (rc == BL_OK)
        rc = bl_weights_vector(&w, weights, weights->network->config->n_layers, "hnorm.weight",
                               hidden, err);
    norm.w = w;
    if (rc == BL_OK)
        rc = bl_norm_run(&norm, weights->n_threads, err);
    bl_free(w);
    return rc;
}

static bl_status project(bl_state *mtp, const bl_state *main_state, const bl_weights *weights,
                         struct bl_err *err)
{
    const size_t hidden = main_state->hidden_size;
    bl_linear l = { .y = mtp->hidden.values,
                    .ldy = hidden,
                    .ldx = 2 * hidden,
                    .n_tokens = mtp->n_tokens,
                    .n_rows = hidden };
    float *pair = bl_alloc(mtp->n_tokens, 2 * hidden * sizeof(*pair));
    bl_status rc = pair ? fill_embedding(pair, mtp, weights, err) : bl_fail_nomem(err, "MTP input");

    if (rc == BL_OK)
        rc = fill_hidden(pair, mtp, main_state, weights, err);
    l.x = pair;
    if (rc == BL_OK)
        rc = bl_weights_find(&l.weight, weights, weights->network->config->n_layers,
                             "eh_proj.weight", hidden, 2 * hidden, err);
    if (rc == BL_OK)
        rc = bl_linear_run(&l, weights, err);
    bl_free(pair);
    return rc;
}

bl_status bl_mtp_begin(bl_state *out, const bl_state *main_state, const bl_weights *weights,
                       struct bl_err *err)
{
    const bl_config *c = weights->network->config;
    bl_state mtp = { 0 };
    bl_status rc;

    assert(main_state->n_layers_done == c->n_layers);
    if (c->n_mtp_layers == 0)
        return bl_fail(err, BL_E_USAGE, "%s: the model has no MTP layer",
                       bl_ckpt_path(weights->ckpt));
    if (main_state->n_positions < 2)
        return bl_fail(err, BL_E_USAGE, "MTP needs sequences of at least 2 tokens");
    rc = shift_tokens(&mtp, main_state, err);
    if (rc == BL_OK)
        rc = project(&mtp, main_state, weights, err);
    if (rc != BL_OK) {
        bl_state_release(&mtp);
        return rc;
    }
    mtp.n_layers_done = c->n_layers;
    mtp.run_id = main_state->run_id;
    *out = mtp;
    return BL_OK;
}

bl_status bl_mtp_norm(float *out, const bl_state *state, const bl_weights *weights,
                      struct bl_err *err)
{
    float *w = NULL;
    bl_status rc = bl_weights_vector(&w, weights, weights->network->config->n_layers,
                                     "shared_head.norm.weight", state->hidden_size, err);

    if (rc == BL_OK)
        rc = bl_final_norm_with(out, state, NULL, state->n_tokens, w, weights, err);
    bl_free(w);
    return rc;
}

bl_status bl_mtp_table(const bl_tensor **out, const bl_weights *weights, struct bl_err *err)
{
    const bl_config *c = weights->network->config;

    if (!bl_weights_has(weights, c->n_layers, "shared_head.head.weight"))
        return bl_head_table(out, weights, err);
    return bl_weights_find(out, weights, c->n_layers, "shared_head.head.weight", c->vocab_size,
                           c->hidden_size, err);
}
