/*
 * attention_mla.c - multi-head latent attention in its naive form (arXiv 2405.04434, 2.1).
 *
 *     cq = RMSNorm(Wq_a x)            q = Wq_b cq      [heads][nope + rope]   (or q = Wq x)
 *     a  = Wkv_a x                    c = RMSNorm(a[:kv_lora])   k_pe = rope(a[kv_lora:])
 *     kv = Wkv_b c                    [heads][nope k | v]
 *     score = scale (q_nope . k_nope + rope(q_pe) . k_pe)        one k_pe for all heads
 */
#include "model/attention.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/linear.h"
#include "model/norm.h"

#include <string.h>

struct mla {
    bl_block *block;
    uint32_t layer;
    const bl_weights *weights;
    const bl_taps *taps;
    const bl_network *net;
    const bl_config *config;
    size_t n_tokens;
    bl_rope rope;
    size_t ld_latent; /* kv_lora + rope */
    float *x;         /* [T][hidden] */
    float *query;     /* [T][q_lora], or NULL */
    float *latent;    /* [T][kv_lora + rope]: c, k_pe */
    float *q, *kv;    /* [T][group][nope + rope], [T][group][nope + v] */
    float *mean;      /* [T][kv_lora]: of one head, for a tap; or NULL */
    float *out;       /* [T][heads * v] */
};

static void release(struct mla *m)
{
    bl_free(m->mean);
    if (m->block->tape)
        return;
    bl_rope_release(&m->rope);
    bl_free(m->x);
    bl_free(m->query);
    bl_free(m->latent);
    bl_free(m->q);
    bl_free(m->kv);
    bl_free(m->out);
}

/* The tape's memory, or that of a block for the time of the step. */
static bl_status take(float **out, const struct mla *m, float *kept, size_t n, struct bl_err *err)
{
    *out = m->block->tape ? kept : bl_alloc(m->n_tokens, n * sizeof(**out));
    return *out ? BL_OK : bl_fail_nomem(err, "attention");
}

/* y[T][n] = W x for the whole tensor `suffix`. */
static bl_status project(float *y, const struct mla *m, const char *suffix, size_t n,
                         struct bl_err *err)
{
    bl_linear l = { .y = y,
                    .ldy = n,
                    .x = m->x,
                    .ldx = m->block->hidden_size,
                    .n_tokens = m->n_tokens,
                    .n_rows = n };
    bl_status rc = bl_weights_find(&l.weight, m->weights, m->layer, suffix, n, l.ldx, err);

    return rc == BL_OK ? bl_linear_run(&l, m->weights, err) : rc;
}

/* y = the first n values of each row of x, normalised; y may be x. */
static bl_status norm_latent(float *y, const float *x, size_t ld, size_t n, const struct mla *m,
                             const char *suffix, bl_tap tap, struct bl_err *err)
{
    const bl_activation seen = { .tap = tap,
                                 .layer = m->layer,
                                 .expert = -1,
                                 .first = m->block->first,
                                 .n_rows = m->n_tokens,
                                 .n_cols = n,
                                 .ld = ld,
                                 .value = y };
    bl_norm norm = { .y = y,
                     .ldy = ld,
                     .x = x,
                     .ldx = ld,
                     .n_rows = m->n_tokens,
                     .n = n,
                     .eps = m->net->latent_norm_eps };
    float *w = NULL;
    bl_status rc = bl_weights_vector(&w, m->weights, m->layer, suffix, n, err);

    if (rc != BL_OK)
        return rc;
    norm.w = w;
    rc = bl_norm_run(&norm, m->weights->n_threads, err);
    bl_free(w);
    return rc == BL_OK ? bl_taps_show(m->taps, &seen, err) : rc;
}

/* The key latent and the rotated key that all heads share. */
static bl_status make_latent(struct mla *m, const bl_tape *tape, struct bl_err *err)
{
    const size_t lora = m->config->kv_lora_rank, ld = m->ld_latent;
    float *raw;
    bl_status rc = take(&m->latent, m, tape->latent, ld, err);

    if (rc != BL_OK)
        return rc;
    raw = m->block->tape ? tape->latent_raw : m->latent;
    rc = project(raw, m, "self_attn.kv_a_proj_with_mqa.weight", ld, err);
    for (size_t t = 0; t < m->n_tokens && raw != m->latent; t++)
        memcpy(m->latent + t * ld + lora, raw + t * ld + lora, (ld - lora) * sizeof(*raw));
    if (rc == BL_OK)
        rc = norm_latent(m->latent, raw, ld, lora, m, "self_attn.kv_a_layernorm.weight",
                         BL_TAP_KEY_LATENT, err);
    if (rc == BL_OK)
        rc = bl_attention_rotate(m->latent + lora, ld, 1, 0, &m->rope, m->block,
                                 m->weights->n_threads, err);
    return rc;
}

static bl_status make_query(struct mla *m, const bl_tape *tape, struct bl_err *err)
{
    const size_t n = m->config->q_lora_rank;
    float *raw;
    bl_status rc = take(&m->query, m, tape->query, n, err);

    if (rc != BL_OK)
        return rc;
    raw = m->block->tape ? tape->query_raw : m->query;
    rc = project(raw, m, "self_attn.q_a_proj.weight", n, err);
    if (!m->block->tape)
        bl_free(m->x);
    m->x = NULL;
    if (rc == BL_OK)
        rc = norm_latent(m->query, raw, n, n, m, "self_attn.q_a_layernorm.weight",
                         BL_TAP_QUERY_LATENT, err);
    return rc;
}

/* From the hidden states to the latents; x is dropped unless q is made from it. */
static bl_status make_latents(struct mla *m, const bl_tape *tape, struct bl_err *err)
{
    const size_t hidden = m->config->hidden_size;
    bl_status rc = take(&m->x, m, tape->attention_x, hidden, err);

    if (rc == BL_OK)
        rc = bl_norm_block(m->x, m->block, m->layer, "input_layernorm.weight", m->weights, err);
    if (rc == BL_OK)
        rc = bl_taps_show_block(m->taps, BL_TAP_ATTENTION_INPUT, m->layer, m->block, m->x, hidden,
                                err);
    if (rc == BL_OK)
        rc = make_latent(m, tape, err);
    return rc == BL_OK && m->config->q_lora_rank > 0 ? make_query(m, tape, err) : rc;
}

/* q and kv of heads [head, head + n). */
static bl_status project_group(const struct mla *m, const bl_tensor *wq, const bl_tensor *wkv,
                               uint32_t head, uint32_t n, struct bl_err *err)
{
    size_t qk = m->net->qk_dim, kv = m->config->qk_nope_head_dim + m->net->v_dim;
    const bl_activation seen = { .tap = BL_TAP_QUERY_HEADS,
                                 .layer = m->layer,
                                 .expert = -1,
                                 .head = head,
                                 .first = m->block->first,
                                 .n_rows = m->n_tokens,
                                 .n_cols = n * qk,
                                 .ld = n * qk,
                                 .value = m->q };
    bl_linear q = { .y = m->q,
                    .ldy = n * qk,
                    .x = m->query ? m->query : m->x,
                    .ldx = (size_t)wq->n_cols,
                    .n_tokens = m->n_tokens,
                    .weight = wq,
                    .row = head * qk,
                    .n_rows = n * qk };
    bl_linear k = { .y = m->kv,
                    .ldy = n * kv,
                    .x = m->latent,
                    .ldx = m->ld_latent,
                    .n_tokens = m->n_tokens,
                    .weight = wkv,
                    .row = head * kv,
                    .n_rows = n * kv };
    bl_status rc = bl_linear_run(&q, m->weights, err);

    if (rc == BL_OK)
        rc = bl_linear_run(&k, m->weights, err);
    if (rc == BL_OK)
        rc = bl_attention_rotate(m->q + m->config->qk_nope_head_dim, n * qk, n, qk, &m->rope,
                                 m->block, m->weights->n_threads, err);
    return rc == BL_OK ? bl_taps_show(m->taps, &seen, err) : rc;
}

/* The heads of a group, over the values that are made of the latents. */
static bl_attention_heads heads_of(const struct mla *m, uint32_t head, uint32_t n)
{
    size_t nope = m->config->qk_nope_head_dim, v = m->net->v_dim;

    return (bl_attention_heads){
        .n_heads = n,
        .heads_per_kv = 1,
        .q = m->q,
        .ldq = n * (size_t)m->net->qk_dim,
        .k = m->kv,
        .ldk = n * (nope + v),
        .k_stride = nope + v,
        .own_dim = nope,
        .shared_k = m->latent + m->config->kv_lora_rank,
        .ld_shared = m->ld_latent,
        .shared_dim = m->net->rope_dim,
        .v = m->kv + nope,
        .ldv = n * (nope + v),
        .v_stride = nope + v,
        .v_dim = v,
        .out = m->out + head * v,
        .ldout = m->net->n_heads * v,
        .scale = m->net->softmax_scale,
    };
}

/* The same over the latents themselves, head by head: computed for who looks at it. */
static bl_status show_value_latents(const struct mla *m, const bl_attention_heads *group,
                                    uint32_t first, struct bl_err *err)
{
    const size_t lora = m->config->kv_lora_rank, qk = m->net->qk_dim;
    bl_activation seen = { .tap = BL_TAP_VALUE_LATENT,
                           .layer = m->layer,
                           .expert = -1,
                           .first = m->block->first,
                           .n_rows = m->n_tokens,
                           .n_cols = lora,
                           .ld = lora,
                           .value = m->mean };
    bl_status rc = BL_OK;

    for (uint32_t h = 0; h < group->n_heads && rc == BL_OK; h++) {
        bl_attention_heads one = *group;

        one.n_heads = 1;
        one.q += h * qk;
        one.k += h * group->k_stride;
        one.v = m->latent;
        one.ldv = m->ld_latent;
        one.v_dim = lora;
        one.out = m->mean;
        one.ldout = lora;
        rc = bl_attention_heads_run(&one, m->block, m->weights->n_threads, err);
        seen.head = first + h;
        if (rc == BL_OK)
            rc = bl_taps_show(m->taps, &seen, err);
    }
    return rc;
}

static bl_status attend_group(const struct mla *m, uint32_t head, uint32_t n, struct bl_err *err)
{
    const bl_attention_heads heads = heads_of(m, head, n);
    bl_status rc = bl_attention_heads_run(&heads, m->block, m->weights->n_threads, err);

    return rc == BL_OK && m->mean ? show_value_latents(m, &heads, head, err) : rc;
}

static bl_status attend(struct mla *m, const bl_tape *tape, struct bl_err *err)
{
    const bl_network *net = m->net;
    size_t nope = m->config->qk_nope_head_dim, v = net->v_dim, heads = net->n_heads;
    uint32_t group = (uint32_t)(m->block->tape ? heads : bl_min_u64(BL_ATTENTION_GROUP, heads));
    bool lora = m->config->q_lora_rank > 0;
    const bl_tensor *wq = NULL, *wkv = NULL;
    bl_status rc = bl_weights_find(
        &wq, m->weights, m->layer, lora ? "self_attn.q_b_proj.weight" : "self_attn.q_proj.weight",
        heads * net->qk_dim, lora ? m->config->q_lora_rank : m->config->hidden_size, err);

    if (rc == BL_OK)
        rc = bl_weights_find(&wkv, m->weights, m->layer, "self_attn.kv_b_proj.weight",
                             heads * (nope + v), m->config->kv_lora_rank, err);
    if (rc == BL_OK)
        rc = take(&m->out, m, tape->heads, heads * v, err);
    if (rc == BL_OK)
        rc = take(&m->q, m, tape->q, group * (size_t)net->qk_dim, err);
    if (rc == BL_OK)
        rc = take(&m->kv, m, tape->k, group * (nope + v), err);
    if (rc == BL_OK && bl_taps_want(m->taps, BL_TAP_VALUE_LATENT)) {
        m->mean = bl_alloc(m->n_tokens, m->config->kv_lora_rank * sizeof(*m->mean));
        rc = m->mean ? BL_OK : bl_fail_nomem(err, "attention");
    }
    for (uint32_t head = 0; head < heads && rc == BL_OK; head += group) {
        uint32_t n = (uint32_t)bl_min_u64(group, heads - head);

        rc = project_group(m, wq, wkv, head, n, err);
        if (rc == BL_OK)
            rc = attend_group(m, head, n, err);
    }
    return rc;
}

bl_status bl_attention_mla(bl_block *block, uint32_t layer, const bl_weights *weights,
                           const bl_taps *taps, struct bl_err *err)
{
    const bl_network *net = weights->network;
    struct mla m = { .block = block,
                     .layer = layer,
                     .weights = weights,
                     .taps = taps,
                     .net = net,
                     .config = net->config,
                     .n_tokens = block->n_tokens };
    const bl_tape none = { 0 }, *tape = block->tape ? block->tape : &none;
    bl_status rc = BL_OK;

    m.ld_latent = (size_t)net->config->kv_lora_rank + net->rope_dim;
    if (block->tape)
        m.rope = tape->rope;
    else
        rc = bl_rope_init(&m.rope, net->rope_dim, net->config->rope_interleaved, net->inv_freq,
                          net->rope_magnitude, block->n_positions, err);
    if (rc == BL_OK)
        rc = make_latents(&m, tape, err);
    if (rc == BL_OK)
        rc = attend(&m, tape, err);
    if (rc == BL_OK)
        rc = bl_attention_output(block, m.out, layer, weights, taps, err);
    release(&m);
    return rc;
}
