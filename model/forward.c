/* forward.c - see forward.h. */
#include "model/forward.h"

#include "base/size.h"
#include "model/kept_state.h"

uint64_t bl_forward_layer_bytes(const bl_ckpt *ckpt, int64_t layer)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);

        if (t->layer == layer && !t->is_mtp)
            sum += t->n_bytes;
    }
    return sum;
}

uint64_t bl_forward_bytes(const bl_ckpt *ckpt)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        if (!bl_ckpt_tensor(ckpt, i)->is_mtp)
            sum += bl_ckpt_tensor(ckpt, i)->n_bytes;
    return sum;
}

double bl_forward_flop(const bl_weights *weights, uint32_t n_seqs, uint32_t n_positions,
                       size_t n_scored)
{
    const bl_network *net = weights->network;
    const bl_config *c = net->config;
    double n_tokens = (double)n_seqs * n_positions, pairs = n_tokens * (n_positions + 1) / 2;
    double met = 0; /* weights that a token meets, on average */

    for (size_t i = 0; i < bl_ckpt_n_tensors(weights->ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(weights->ckpt, i);
        double share = t->expert >= 0 ? (double)c->n_experts_used / c->n_experts : 1;

        if (t->layer >= 0 && !t->is_mtp && t->n_rows > 1)
            met += share * (double)t->n_values;
    }
    return 2 * n_tokens * met +
           2 * pairs * c->n_layers * net->n_heads * ((double)net->qk_dim + net->v_dim) +
           2 * (double)n_scored * c->vocab_size * c->hidden_size;
}

/* One model through one layer, unless it has passed it or has none. */
static bl_status step(const bl_forward *m, uint32_t layer, const bl_forward_options *options,
                      struct bl_err *err)
{
    bl_status rc;

    if (layer >= m->weights->network->config->n_layers || layer < m->state->n_layers_done)
        return BL_OK;
    rc = bl_layer_step(m->state, layer, m->weights, m->policy ? &m->policy[layer] : NULL, m->taps,
                       err);
    if (rc == BL_OK && m->before_keep)
        rc = m->before_keep(m->context, m->state, err);
    if (rc == BL_OK && m->save_as)
        rc = bl_state_keep(m->state, m->save_as, err);
    bl_progress_add(options->progress, bl_forward_layer_bytes(m->weights->ckpt, layer));
    return rc;
}

bl_status bl_forward_run(const bl_forward *model, size_t n_models,
                         const bl_forward_options *options, struct bl_err *err)
{
    uint32_t first = UINT32_MAX, end = 0;
    bl_status rc = BL_OK;

    for (size_t m = 0; m < n_models; m++) {
        first = (uint32_t)bl_min_u64(first, model[m].state->n_layers_done);
        end = (uint32_t)bl_max_u64(end, model[m].weights->network->config->n_layers);
    }
    for (uint32_t layer = first; layer < end && rc == BL_OK; layer++) {
        for (size_t m = 0; m < n_models && rc == BL_OK; m++)
            rc = step(&model[m], layer, options, err);
        if (rc == BL_OK && options->done)
            rc = options->done(options->context, layer, err);
    }
    return rc;
}
