/* layer_backward.c - see layer_backward.h: the MLP, and the order of things. */
#include "model/layer_backward.h"

#include "base/par.h"
#include "base/size.h"
#include "model/linear_backward.h"
#include "model/norm.h"
#include "model/op_swiglu.h"
#include "model/rows.h"

struct gate_job {
    float *gate, *up;
    const float *dy;
    size_t width;
};

static void gate_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct gate_job *job = context;
    const size_t first = row * job->width;

    (void)i_thread;
    bl_swiglu_backward(job->gate + first, job->up + first, job->dy + first, n_rows * job->width);
}

static bl_status mlp_backward(float *d, const bl_layer_backward *s, struct bl_err *err)
{
    const bl_config *c = s->weights->network->config;
    const bl_tape *tape = s->block->tape;
    const size_t n = s->block->n_tokens, hidden = c->hidden_size, width = c->intermediate_size;
    struct gate_job gate = { tape->gate, tape->up, s->work->inner, width };
    bl_linear_backward down = { .layer = s->layer,
                                .weight = "mlp.down_proj.weight",
                                .dy = d,
                                .x = tape->inner,
                                .dx = s->work->inner,
                                .ldx = width,
                                .lddx = width,
                                .n_tokens = n,
                                .n_out = hidden,
                                .n_in = width };
    bl_linear_backward in = { .layer = s->layer,
                              .weight = "mlp.gate_proj.weight",
                              .dy = tape->gate,
                              .x = tape->ffn_x,
                              .dx = s->work->ffn_x,
                              .ldx = hidden,
                              .lddx = hidden,
                              .n_tokens = n,
                              .n_out = width,
                              .n_in = hidden };
    const bl_norm_backward norm = { .layer = s->layer,
                                    .suffix = "post_attention_layernorm.weight",
                                    .dx = d,
                                    .dy = s->work->ffn_x,
                                    .x = tape->middle,
                                    .lddx = hidden,
                                    .lddy = hidden,
                                    .ldx = hidden,
                                    .n_rows = n,
                                    .n = hidden,
                                    .eps = s->weights->network->norm_eps };
    bl_status rc = bl_linear_backward_run(&down, s->weights, err);

    if (rc == BL_OK)
        rc = bl_rows_for(n, s->weights->n_threads, gate_rows, &gate, err);
    if (rc == BL_OK)
        rc = bl_linear_backward_run(&in, s->weights, err);
    in.weight = "mlp.up_proj.weight";
    in.dy = tape->up;
    in.add = true;
    if (rc == BL_OK)
        rc = bl_linear_backward_run(&in, s->weights, err);
    return rc == BL_OK ? bl_norm_backward_run(&norm, s->weights, err) : rc;
}

bl_status bl_layer_backward_run(float *d, const bl_layer_backward *step, struct bl_err *err)
{
    const bl_network *net = step->weights->network;
    const size_t hidden = net->config->hidden_size, n = net->n_heads * (size_t)net->v_dim;
    const bl_linear_backward out = { .layer = step->layer,
                                     .weight = "self_attn.o_proj.weight",
                                     .dy = d,
                                     .x = step->block->tape->heads,
                                     .dx = step->work->heads,
                                     .ldx = n,
                                     .lddx = n,
                                     .n_tokens = step->block->n_tokens,
                                     .n_out = hidden,
                                     .n_in = n };
    bl_status rc = mlp_backward(d, step, err);

    if (rc == BL_OK)
        rc = bl_linear_backward_run(&out, step->weights, err);
    if (rc != BL_OK)
        return rc;
    return net->mla ? bl_attention_mla_backward(d, step, err)
                    : bl_attention_gqa_backward(d, step, err);
}

struct embed_job {
    float *gradient;
    const float *d;
    const int32_t *token;
    size_t n_tokens, hidden;
};

enum { EMBED_COLS = 64 };

/* Some columns of all tokens: equal tokens add in their order. */
static bl_status add_columns(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct embed_job *job = context;
    const size_t first = i * EMBED_COLS;
    const size_t end = (size_t)bl_min_u64(first + EMBED_COLS, job->hidden);

    (void)i_thread;
    (void)err;
    for (size_t t = 0; t < job->n_tokens; t++) {
        float *row = job->gradient + (size_t)job->token[t] * job->hidden;

        for (size_t j = first; j < end; j++)
            row[j] += job->d[t * job->hidden + j];
    }
    return BL_OK;
}

bl_status bl_embed_backward(const float *d, const int32_t *token, size_t n_tokens,
                            const bl_weights *weights, struct bl_err *err)
{
    const bl_config *c = weights->network->config;
    struct embed_job job = {
        .d = d, .token = token, .n_tokens = n_tokens, .hidden = c->hidden_size
    };
    const bl_tensor *table;
    bl_status rc = bl_ckpt_expect(&table, weights->ckpt, "model.embed_tokens.weight", c->vocab_size,
                                  c->hidden_size, err);

    if (rc != BL_OK)
        return rc;
    job.gradient = bl_resident_get(weights->resident, table)->gradient;
    return bl_par_for((size_t)bl_ceil_div_u64(job.hidden, EMBED_COLS), weights->n_threads,
                      add_columns, &job, err);
}
