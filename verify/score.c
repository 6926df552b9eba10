/* score.c - see score.h. */
#include "verify/score.h"

#include "base/alloc.h"
#include "model/embed.h"
#include "model/layer.h"

struct model {
    bl_network network;
    bl_weights weights;
    const bl_router_policy *policy; /* [n_layers], or NULL */
    float *x;                       /* [n_rows][hidden]: chosen positions after the final norm */
};

struct run {
    const bl_score *score;
    const bl_score_options *options;
    struct model model[BL_SCORE_MAX_MODELS];
};

static bl_status open_model(struct model *m, const bl_ckpt *ckpt, const bl_router_policy *policy,
                            int n_threads, struct bl_err *err)
{
    bl_status rc = bl_network_init(&m->network, bl_ckpt_config(ckpt), err);

    if (rc != BL_OK) {
        bl_err_prefix(err, "%s", bl_ckpt_path(ckpt));
        return rc;
    }
    m->weights = (bl_weights){ .ckpt = ckpt, .network = &m->network, .n_threads = n_threads };
    m->policy = policy;
    return BL_OK;
}

static bl_status open_models(struct run *run, struct bl_err *err)
{
    const bl_score *s = run->score;
    bl_status rc = BL_OK;

    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++)
        rc = open_model(&run->model[m], s->ckpt[m], s->policy[m], run->options->n_threads, err);
    if (rc == BL_OK && s->n_models == 2 &&
        bl_ckpt_config(s->ckpt[0])->vocab_size != bl_ckpt_config(s->ckpt[1])->vocab_size)
        rc = bl_fail(err, BL_E_MISMATCH, "%s has a vocabulary of %u, %s one of %u",
                     bl_ckpt_path(s->ckpt[0]), bl_ckpt_config(s->ckpt[0])->vocab_size,
                     bl_ckpt_path(s->ckpt[1]), bl_ckpt_config(s->ckpt[1])->vocab_size);
    return rc;
}

/* Bytes of one layer, or with -1 of everything outside the layers. */
static uint64_t layer_bytes(const bl_ckpt *ckpt, int64_t layer)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);

        if (t->layer == layer && !t->is_mtp)
            sum += t->n_bytes;
    }
    return sum;
}

void bl_score_set_models(bl_score *score, const bl_ckpt *base, const bl_ckpt *test,
                         const bl_router_policy *policy)
{
    score->n_models = test ? 2 : 1;
    score->ckpt[0] = base;
    score->ckpt[1] = test;
    score->policy[test ? 1 : 0] = policy;
}

uint64_t bl_score_bytes(const bl_score *score)
{
    uint64_t sum = 0;

    for (size_t m = 0; m < score->n_models; m++)
        for (size_t i = 0; i < bl_ckpt_n_tensors(score->ckpt[m]); i++)
            if (!bl_ckpt_tensor(score->ckpt[m], i)->is_mtp)
                sum += bl_ckpt_tensor(score->ckpt[m], i)->n_bytes;
    return sum;
}

static bl_status run_layers(struct run *run, struct model *m, struct bl_err *err)
{
    const bl_score *s = run->score;
    const bl_config *c = m->network.config;
    bl_state state = { 0 };
    bl_status rc =
        bl_state_init(&state, s->token, s->n_seqs, s->n_positions, c->hidden_size, NULL, err);

    if (rc == BL_OK)
        rc = bl_embed(&state, &m->weights, err);
    for (uint32_t layer = 0; layer < c->n_layers && rc == BL_OK; layer++) {
        rc = bl_layer_step(&state, layer, &m->weights, m->policy ? &m->policy[layer] : NULL, NULL,
                           err);
        bl_progress_add(run->options->progress, layer_bytes(m->weights.ckpt, layer));
    }
    if (rc == BL_OK) {
        m->x = bl_alloc(s->n_rows, c->hidden_size * sizeof(*m->x));
        rc = m->x ? bl_final_norm(m->x, &state, s->row, s->n_rows, &m->weights, err)
                  : bl_fail_nomem(err, "final hidden states");
    }
    bl_state_release(&state);
    return rc;
}

static bl_status run_heads(struct run *run, struct bl_err *err)
{
    const bl_score *s = run->score;
    bl_head head[BL_SCORE_MAX_MODELS] = { 0 };
    bl_status rc = BL_OK;

    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++) {
        head[m] = (bl_head){ .weights = &run->model[m].weights, .x = run->model[m].x };
        rc = bl_head_table(&head[m].table, head[m].weights, err);
    }
    if (rc == BL_OK)
        rc = bl_head_run(head, s->n_models, s->n_rows, s->fn, s->context, err);
    for (size_t m = 0; m < s->n_models; m++)
        bl_progress_add(run->options->progress, layer_bytes(s->ckpt[m], -1));
    return rc;
}

bl_status bl_score_run(const bl_score *score, const bl_score_options *options, struct bl_err *err)
{
    struct run run = { .score = score, .options = options };
    bl_status rc = open_models(&run, err);

    for (size_t m = 0; m < score->n_models && rc == BL_OK; m++)
        rc = run_layers(&run, &run.model[m], err);
    if (rc == BL_OK)
        rc = run_heads(&run, err);
    for (size_t m = 0; m < score->n_models; m++)
        bl_free(run.model[m].x);
    return rc;
}
