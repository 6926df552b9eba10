/* attention_mla_backward.c - latent attention on the way back (attention_mla.c). */
#include "model/layer_backward.h"

#include "model/linear_backward.h"
#include "model/norm.h"

#include <string.h>

static bl_attention_heads heads_of(const bl_network *net, const bl_tape *tape)
{
    const size_t nope = net->config->qk_nope_head_dim, v = net->v_dim;
    const size_t lora = net->config->kv_lora_rank;

    return (bl_attention_heads){
        .n_heads = net->n_heads,
        .heads_per_kv = 1,
        .q = tape->q,
        .ldq = net->n_heads * (size_t)net->qk_dim,
        .k = tape->k,
        .ldk = net->n_heads * (nope + v),
        .k_stride = nope + v,
        .own_dim = nope,
        .shared_k = tape->latent + lora,
        .ld_shared = lora + net->rope_dim,
        .shared_dim = net->rope_dim,
        .v = tape->k + nope,
        .ldv = net->n_heads * (nope + v),
        .v_stride = nope + v,
        .v_dim = v,
        .out = tape->heads,
        .ldout = net->n_heads * v,
        .scale = net->softmax_scale,
    };
}

static bl_status norm_backward(float *dx, const float *dy, const float *x, size_t ld, size_t n,
                               const char *suffix, float eps, const bl_layer_backward *s,
                               struct bl_err *err)
{
    const bl_norm_backward norm = { .layer = s->layer,
                                    .suffix = suffix,
                                    .dx = dx,
                                    .dy = dy,
                                    .x = x,
                                    .lddx = ld,
                                    .lddy = ld,
                                    .ldx = ld,
                                    .n_rows = s->block->n_tokens,
                                    .n = n,
                                    .eps = eps };

    return bl_norm_backward_run(&norm, s->weights, err);
}

/* From dlatent (normalised, rotated) to attention_x: the first to write there. */
static bl_status latent_backward(const bl_layer_backward *s, struct bl_err *err)
{
    const bl_network *net = s->weights->network;
    const bl_tape *tape = s->block->tape, *work = s->work;
    const size_t lora = net->config->kv_lora_rank, ld = lora + net->rope_dim;
    const size_t n_tokens = s->block->n_tokens, hidden = net->config->hidden_size;
    const bl_linear_backward l = { .layer = s->layer,
                                   .weight = "self_attn.kv_a_proj_with_mqa.weight",
                                   .dy = work->latent_raw,
                                   .x = tape->attention_x,
                                   .dx = work->attention_x,
                                   .ldx = hidden,
                                   .lddx = hidden,
                                   .n_tokens = n_tokens,
                                   .n_out = ld,
                                   .n_in = hidden };
    bl_status rc = bl_attention_rotate_backward(work->latent + lora, ld, 1, 0, &tape->rope,
                                                s->block, s->weights->n_threads, err);

    if (rc != BL_OK)
        return rc;
    for (size_t t = 0; t < n_tokens; t++) {
        float *raw = work->latent_raw + t * ld;

        memset(raw, 0, lora * sizeof(*raw));
        memcpy(raw + lora, work->latent + t * ld + lora, (ld - lora) * sizeof(*raw));
    }
    rc = norm_backward(work->latent_raw, work->latent, tape->latent_raw, ld, lora,
                       "self_attn.kv_a_layernorm.weight", net->latent_norm_eps, s, err);
    return rc == BL_OK ? bl_linear_backward_run(&l, s->weights, err) : rc;
}

/* From dq to attention_x, through the query latent where there is one. */
static bl_status query_backward(const bl_layer_backward *s, struct bl_err *err)
{
    const bl_network *net = s->weights->network;
    const bl_tape *tape = s->block->tape, *work = s->work;
    const size_t lora = net->config->q_lora_rank, hidden = net->config->hidden_size;
    const size_t n_tokens = s->block->n_tokens, n_q = net->n_heads * (size_t)net->qk_dim;
    bl_linear_backward b = { .layer = s->layer,
                             .weight =
                                 lora ? "self_attn.q_b_proj.weight" : "self_attn.q_proj.weight",
                             .dy = work->q,
                             .x = lora ? tape->query : tape->attention_x,
                             .dx = lora ? work->query : work->attention_x,
                             .ldx = lora ? lora : hidden,
                             .lddx = lora ? lora : hidden,
                             .n_tokens = n_tokens,
                             .n_out = n_q,
                             .n_in = lora ? lora : hidden,
                             .add = lora == 0 };
    bl_linear_backward a = { .layer = s->layer,
                             .weight = "self_attn.q_a_proj.weight",
                             .dy = work->query_raw,
                             .x = tape->attention_x,
                             .dx = work->attention_x,
                             .ldx = hidden,
                             .lddx = hidden,
                             .n_tokens = n_tokens,
                             .n_out = lora,
                             .n_in = hidden,
                             .add = true };
    bl_status rc = bl_linear_backward_run(&b, s->weights, err);

    if (rc != BL_OK || lora == 0)
        return rc;
    memset(work->query_raw, 0, n_tokens * lora * sizeof(*work->query_raw));
    rc = norm_backward(work->query_raw, work->query, tape->query_raw, lora, lora,
                       "self_attn.q_a_layernorm.weight", net->latent_norm_eps, s, err);
    return rc == BL_OK ? bl_linear_backward_run(&a, s->weights, err) : rc;
}

bl_status bl_attention_mla_backward(float *d, const bl_layer_backward *s, struct bl_err *err)
{
    const bl_network *net = s->weights->network;
    const bl_tape *tape = s->block->tape, *work = s->work;
    const bl_attention_heads heads = heads_of(net, tape);
    const size_t nope = net->config->qk_nope_head_dim, lora = net->config->kv_lora_rank;
    const size_t ld = heads.ld_shared, hidden = net->config->hidden_size;
    const bl_attention_heads_gradient gradient = { .dq = work->q,
                                                   .dk = work->k,
                                                   .dv = work->k + nope,
                                                   .dshared_k = work->latent + lora,
                                                   .dout = work->heads };
    const bl_linear_backward kv = { .layer = s->layer,
                                    .weight = "self_attn.kv_b_proj.weight",
                                    .dy = work->k,
                                    .x = tape->latent,
                                    .dx = work->latent,
                                    .ldx = ld,
                                    .lddx = ld,
                                    .n_tokens = s->block->n_tokens,
                                    .n_out = heads.ldk,
                                    .n_in = lora };
    const int n_threads = s->weights->n_threads;
    bl_status rc = bl_attention_heads_backward(&gradient, &heads, s->block, n_threads, err);

    if (rc == BL_OK)
        rc = bl_attention_rotate_backward(work->q + nope, heads.ldq, net->n_heads, net->qk_dim,
                                          &tape->rope, s->block, n_threads, err);
    if (rc == BL_OK)
        rc = bl_linear_backward_run(&kv, s->weights, err);
    if (rc == BL_OK)
        rc = latent_backward(s, err);
    if (rc == BL_OK)
        rc = query_backward(s, err);
    if (rc == BL_OK)
        rc = norm_backward(d, work->attention_x, tape->input, hidden, hidden,
                           "input_layernorm.weight", net->norm_eps, s, err);
    return rc;
}
