/*
 * attention_gqa.c - grouped-query attention (arXiv 2305.13245): Qwen2, Llama.
 *
 *     q = Wq x + bq   [heads][d]      k = Wk x + bk, v = Wv x + bv   [kv heads][d]
 *     score = scale rope(q) . rope(k);   query head h uses kv head h / (heads / kv heads)
 */
#include "model/attention.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/linear.h"
#include "model/norm.h"

/* One of the three projections. */
struct projection {
    const char *weight_name, *bias_name;
    uint32_t n_heads;        /* in all */
    const bl_tensor *weight; /* [n_heads * d][hidden] */
    float *bias;             /* [n_heads * d], or NULL */
    float *y;                /* [T][heads of a group][d] */
};

struct gqa {
    bl_block *block;
    uint32_t layer;
    const bl_weights *weights;
    const bl_taps *taps;
    const bl_network *net;
    bl_rope rope;
    struct projection q, k, v;
    uint32_t group; /* kv heads computed together */
    float *x;       /* [T][hidden] */
    float *out;     /* [T][heads * d] */
};

static void release(struct gqa *g)
{
    bl_free(g->q.bias);
    bl_free(g->k.bias);
    bl_free(g->v.bias);
    if (g->block->tape)
        return;
    bl_rope_release(&g->rope);
    bl_free(g->q.y);
    bl_free(g->k.y);
    bl_free(g->v.y);
    bl_free(g->x);
    bl_free(g->out);
}

/* The tape's memory, or that of a block for the time of the step. */
static bl_status take(float **out, const struct gqa *g, float *kept, size_t n, struct bl_err *err)
{
    *out = g->block->tape ? kept : bl_alloc(g->block->n_tokens, n * sizeof(**out));
    return *out ? BL_OK : bl_fail_nomem(err, "attention");
}

/* Weight, bias and room for the heads of one group. */
static bl_status open_projection(struct projection *p, const struct gqa *g, uint32_t group_heads,
                                 float *kept, struct bl_err *err)
{
    size_t d = g->net->qk_dim, n = p->n_heads * d;
    bl_status rc = bl_weights_find(&p->weight, g->weights, g->layer, p->weight_name, n,
                                   g->block->hidden_size, err);

    if (rc == BL_OK && g->net->config->qkv_bias)
        rc = bl_weights_vector(&p->bias, g->weights, g->layer, p->bias_name, n, err);
    return rc == BL_OK ? take(&p->y, g, kept, group_heads * d, err) : rc;
}

/* y = W x + b for heads [head, head + n). */
static bl_status project(const struct projection *p, const struct gqa *g, uint32_t head, uint32_t n,
                         struct bl_err *err)
{
    size_t d = g->net->qk_dim, hidden = g->block->hidden_size;
    bl_linear l = { .y = p->y,
                    .ldy = n * d,
                    .x = g->x,
                    .ldx = hidden,
                    .n_tokens = g->block->n_tokens,
                    .weight = p->weight,
                    .row = head * d,
                    .n_rows = n * d };
    bl_status rc = bl_linear_run(&l, g->weights, err);

    if (rc == BL_OK && p->bias)
        bl_linear_add_bias(p->y, l.ldy, l.n_tokens, p->bias + head * d, n * d);
    return rc;
}

/* kv heads [kv, kv + n) and the query heads that belong to them. */
static bl_status attend_group(const struct gqa *g, uint32_t kv, uint32_t n, struct bl_err *err)
{
    const bl_network *net = g->net;
    const size_t d = net->qk_dim;
    const uint32_t share = net->heads_per_kv, head = kv * share, n_heads = n * share;
    const int n_threads = g->weights->n_threads;
    bl_attention_heads heads = {
        .n_heads = n_heads,
        .heads_per_kv = share,
        .q = g->q.y,
        .ldq = n_heads * d,
        .k = g->k.y,
        .ldk = n * d,
        .k_stride = d,
        .own_dim = d,
        .v = g->v.y,
        .ldv = n * d,
        .v_stride = d,
        .v_dim = d,
        .out = g->out + head * d,
        .ldout = net->n_heads * d,
        .scale = net->softmax_scale,
    };
    bl_status rc = project(&g->q, g, head, n_heads, err);

    if (rc == BL_OK)
        rc = project(&g->k, g, kv, n, err);
    if (rc == BL_OK)
        rc = project(&g->v, g, kv, n, err);
    if (rc == BL_OK)
        rc = bl_attention_rotate(g->q.y, heads.ldq, n_heads, d, &g->rope, g->block, n_threads, err);
    if (rc == BL_OK)
        rc = bl_attention_rotate(g->k.y, heads.ldk, n, d, &g->rope, g->block, n_threads, err);
    if (rc == BL_OK)
        rc = bl_attention_heads_run(&heads, g->block, n_threads, err);
    return rc;
}

static bl_status prepare(struct gqa *g, struct bl_err *err)
{
    const bl_network *net = g->net;
    const bl_tape none = { 0 }, *tape = g->block->tape ? g->block->tape : &none;
    const size_t hidden = g->block->hidden_size;
    bl_status rc = BL_OK;

    if (g->block->tape)
        g->rope = tape->rope;
    else
        rc = bl_rope_init(&g->rope, net->rope_dim, net->config->rope_interleaved, net->inv_freq,
                          net->rope_magnitude, g->block->n_positions, err);
    if (rc == BL_OK)
        rc = take(&g->x, g, tape->attention_x, hidden, err);
    if (rc == BL_OK)
        rc = bl_norm_block(g->x, g->block, g->layer, "input_layernorm.weight", g->weights, err);
    if (rc == BL_OK)
        rc = bl_taps_show_block(g->taps, BL_TAP_ATTENTION_INPUT, g->layer, g->block, g->x, hidden,
                                err);
    if (rc == BL_OK)
        rc = open_projection(&g->q, g, g->group * net->heads_per_kv, tape->q, err);
    if (rc == BL_OK)
        rc = open_projection(&g->k, g, g->group, tape->k, err);
    if (rc == BL_OK)
        rc = open_projection(&g->v, g, g->group, tape->v, err);
    if (rc == BL_OK)
        rc = take(&g->out, g, tape->heads, net->n_heads * (size_t)net->v_dim, err);
    return rc;
}

bl_status bl_attention_gqa(bl_block *block, uint32_t layer, const bl_weights *weights,
                           const bl_taps *taps, struct bl_err *err)
{
    const bl_network *net = weights->network;
    struct gqa g = {
        .block = block,
        .layer = layer,
        .weights = weights,
        .taps = taps,
        .net = net,
        .q = { "self_attn.q_proj.weight", "self_attn.q_proj.bias", net->n_heads, 0, 0, 0 },
        .k = { "self_attn.k_proj.weight", "self_attn.k_proj.bias", net->n_kv_heads, 0, 0, 0 },
        .v = { "self_attn.v_proj.weight", "self_attn.v_proj.bias", net->n_kv_heads, 0, 0, 0 },
    };
    bl_status rc;

    g.group = (uint32_t)bl_max_u64(BL_ATTENTION_GROUP / net->heads_per_kv, 1);
    g.group = block->tape ? net->n_kv_heads : (uint32_t)bl_min_u64(g.group, net->n_kv_heads);
    rc = prepare(&g, err);
    for (uint32_t kv = 0; kv < net->n_kv_heads && rc == BL_OK; kv += g.group)
        rc = attend_group(&g, kv, (uint32_t)bl_min_u64(g.group, net->n_kv_heads - kv), err);
    if (rc == BL_OK)
        rc = bl_attention_output(block, g.out, layer, weights, taps, err);
    release(&g);
    return rc;
}
