/* attention_gqa_backward.c - grouped-query attention on the way back (attention_gqa.c). */
#include "model/layer_backward.h"

#include "model/linear_backward.h"
#include "model/norm.h"

/* q, k and v of all heads, as the tape has them. */
static bl_attention_heads heads_of(const bl_network *net, const bl_tape *tape)
{
    const size_t d = net->qk_dim;

    return (bl_attention_heads){
        .n_heads = net->n_heads,
        .heads_per_kv = net->heads_per_kv,
        .q = tape->q,
        .ldq = net->n_heads * d,
        .k = tape->k,
        .ldk = net->n_kv_heads * d,
        .k_stride = d,
        .own_dim = d,
        .v = tape->v,
        .ldv = net->n_kv_heads * d,
        .v_stride = d,
        .v_dim = d,
        .out = tape->heads,
        .ldout = net->n_heads * d,
        .scale = net->softmax_scale,
    };
}

/* dx (+)= W^T dy of one of the three projections. */
static bl_status project_backward(const bl_layer_backward *s, const char *weight, const char *bias,
                                  const float *dy, size_t n_out, bool add, struct bl_err *err)
{
    const bl_config *c = s->weights->network->config;
    const bl_linear_backward l = { .layer = s->layer,
                                   .weight = weight,
                                   .bias = c->qkv_bias ? bias : NULL,
                                   .dy = dy,
                                   .x = s->block->tape->attention_x,
                                   .dx = s->work->attention_x,
                                   .ldx = c->hidden_size,
                                   .lddx = c->hidden_size,
                                   .n_tokens = s->block->n_tokens,
                                   .n_out = n_out,
                                   .n_in = c->hidden_size,
                                   .add = add };

    return bl_linear_backward_run(&l, s->weights, err);
}

bl_status bl_attention_gqa_backward(float *d, const bl_layer_backward *s, struct bl_err *err)
{
    const bl_network *net = s->weights->network;
    const bl_tape *tape = s->block->tape, *work = s->work;
    const bl_attention_heads heads = heads_of(net, tape);
    const bl_attention_heads_gradient gradient = { work->q, work->k, work->v, NULL, work->heads };
    const size_t hidden = net->config->hidden_size, dim = net->qk_dim;
    const int n_threads = s->weights->n_threads;
    const bl_norm_backward norm = { .layer = s->layer,
                                    .suffix = "input_layernorm.weight",
                                    .dx = d,
                                    .dy = work->attention_x,
                                    .x = tape->input,
                                    .lddx = hidden,
                                    .lddy = hidden,
                                    .ldx = hidden,
                                    .n_rows = s->block->n_tokens,
                                    .n = hidden,
                                    .eps = net->norm_eps };
    bl_status rc = bl_attention_heads_backward(&gradient, &heads, s->block, n_threads, err);

    if (rc == BL_OK)
        rc = bl_attention_rotate_backward(work->q, heads.ldq, net->n_heads, dim, &tape->rope,
                                          s->block, n_threads, err);
    if (rc == BL_OK)
        rc = bl_attention_rotate_backward(work->k, heads.ldk, net->n_kv_heads, dim, &tape->rope,
                                          s->block, n_threads, err);
    if (rc == BL_OK)
        rc = project_backward(s, "self_attn.q_proj.weight", "self_attn.q_proj.bias", work->q,
                              heads.ldq, false, err);
    if (rc == BL_OK)
        rc = project_backward(s, "self_attn.k_proj.weight", "self_attn.k_proj.bias", work->k,
                              heads.ldk, true, err);
    if (rc == BL_OK)
        rc = project_backward(s, "self_attn.v_proj.weight", "self_attn.v_proj.bias", work->v,
                              heads.ldv, true, err);
    return rc == BL_OK ? bl_norm_backward_run(&norm, s->weights, err) : rc;
}
