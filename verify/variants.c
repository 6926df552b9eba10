/*
 * variants.c - see variants.h. The layers are score.c's business; when the last one is done, the heads pass
 * here, as there are several rows for each position.
 */
#include "verify/variants.h"

#include "base/alloc.h"
#include "base/size.h"
#include "verify/logit_stats.h"
#include "verify/perplexity_parts.h"

#include <string.h>

enum { AT_HEAD = BL_HEAD_MAX_MODELS - 1 }; /* variants beside the base */

struct run {
    const bl_variants *variants;
    bl_ppl_result *result; /* [n_texts][n] */
    bl_ppl_cut *cut;       /* [n_texts] */
    size_t *first_seq;     /* [n_texts + 1] where each text's sequences begin, of one variant */
    uint32_t ctx;
    int32_t *token;             /* [n][all sequences][ctx] */
    bl_router_policy *policy;   /* [n_layers] for all variants */
    bl_router_policy *by_layer; /* [n_layers][n] */
    bl_network network;
    bl_weights weights;
};

/* The policies of all variants, layer by layer. */
static bl_status set_policies(struct run *r, struct bl_err *err)
{
    const bl_variants *v = r->variants;
    const uint32_t n_layers = bl_ckpt_config(v->ckpt)->n_layers;

    r->policy = bl_calloc(n_layers, sizeof(*r->policy));
    r->by_layer = bl_calloc(n_layers * v->n, sizeof(*r->by_layer));
    if (!r->policy || !r->by_layer)
        return bl_fail_nomem(err, "variants");
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        bl_router_policy *of_layer = r->by_layer + layer * v->n;

        for (size_t i = 0; i < v->n; i++)
            if (v->policy[i])
                of_layer[i] = v->policy[i][layer];
        r->policy[layer] = (bl_router_policy){ .variant = of_layer, .n_variants = (uint32_t)v->n };
    }
    return BL_OK;
}

/* Lengths of all texts. */
static bl_status measure_texts(struct run *r, const bl_ppl_options *options, struct bl_err *err)
{
    const bl_variants *v = r->variants;
    bl_status rc = BL_OK;

    r->first_seq = bl_calloc(v->n_texts + 1, sizeof(*r->first_seq));
    if (!r->first_seq)
        return bl_fail_nomem(err, "variants");
    for (size_t t = 0; t < v->n_texts && rc == BL_OK; t++) {
        bl_ppl_result one = { 0 };

        rc = bl_ppl_check(&one, 2, v->text[t].n_tokens, options, err);
        r->first_seq[t + 1] = r->first_seq[t] + one.n_chunks;
        r->ctx = one.ctx;
    }
    return rc;
}

/* Every text cut; its sequences, and room for scores, once for each variant. */
static bl_status cut_texts(struct run *r, const bl_ppl_options *options, struct bl_err *err)
{
    const bl_variants *v = r->variants;
    const size_t n_tokens = r->first_seq[v->n_texts] * r->ctx;
    bl_status rc = BL_OK;

    r->cut = bl_calloc(v->n_texts, sizeof(*r->cut));
    r->token = bl_alloc(v->n * n_tokens, sizeof(*r->token));
    if (!r->cut || !r->token)
        return bl_fail_nomem(err, "variants");
    for (size_t t = 0; t < v->n_texts && rc == BL_OK; t++) {
        bl_ppl_result one = { 0 };

        rc = bl_ppl_check(&one, 2, v->text[t].n_tokens, options, err);
        if (rc == BL_OK)
            rc = bl_ppl_cut_text(&r->cut[t], &one, v->text[t].token, v->text[t].n_tokens, options,
                                 err);
        for (size_t i = 0; i < v->n && rc == BL_OK; i++) {
            r->result[t * v->n + i] = one;
            rc = bl_ppl_allocate(&r->result[t * v->n + i], err);
            memcpy(r->token + i * n_tokens + r->first_seq[t] * r->ctx, r->cut[t].token,
                   one.n_chunks * r->ctx * sizeof(*r->token));
        }
    }
    return rc;
}

/* A part of a text's scored positions, and room for them. */
struct part {
    size_t text, first, n;
    float *x;    /* [1 + AT_HEAD][n][hidden] */
    size_t *row; /* [n] */
};

/* The final hidden states of a variant at the part's positions. */
static bl_status normalise(float *out, const struct run *r, const bl_state *state, size_t variant,
                           const struct part *part, struct bl_err *err)
{
    const size_t n_seqs = r->first_seq[r->variants->n_texts];
    const size_t begin = (variant * n_seqs + r->first_seq[part->text]) * r->ctx;

    for (size_t i = 0; i < part->n; i++)
        part->row[i] = begin + r->cut[part->text].row[part->first + i];
    return bl_final_norm(out, state, part->row, part->n, &r->weights, err);
}

static void take_scores(struct run *r, const struct part *part, size_t variant,
                        const bl_logit_stats *stats)
{
    bl_ppl_result *result = &r->result[part->text * r->variants->n + variant];

    for (size_t i = 0; i < part->n; i++) {
        for (size_t m = 0; m < 2; m++)
            result->model[m].nll[part->first + i] = bl_logit_stats_nll(stats, i, m);
        result->kl[part->first + i] = bl_logit_stats_kl(stats, i);
        result->same_top += bl_logit_stats_same_top(stats, i);
    }
}

/* Variants [first, first + n) at the part's positions; the base's hidden states are in part->x. */
static bl_status run_heads(struct run *r, const bl_state *state, const struct part *part,
                           size_t first, size_t n, struct bl_err *err)
{
    const size_t hidden = state->hidden_size;
    bl_head head[BL_HEAD_MAX_MODELS] = { { .weights = &r->weights, .x = part->x } };
    bl_logit_stats stats[AT_HEAD] = { 0 };
    bl_logit_beside beside = { .stats = stats, .n = n };
    bl_status rc = bl_head_table(&head[0].table, &r->weights, err);

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        float *x = part->x + (1 + i) * part->n * hidden;

        head[1 + i] = (bl_head){ .weights = &r->weights, .table = head[0].table, .x = x };
        rc = normalise(x, r, state, first + i, part, err);
        if (rc == BL_OK)
            rc = bl_logit_stats_init(&stats[i], 2, r->cut[part->text].target + part->first, part->n,
                                     err);
    }
    if (rc == BL_OK)
        rc = bl_head_run(head, 1 + n, part->n, bl_logit_beside_add, &beside, err);
    for (size_t i = 0; i < n; i++) {
        if (rc == BL_OK)
            take_scores(r, part, first + i, &stats[i]);
        bl_logit_stats_release(&stats[i]);
    }
    return rc;
}

static bl_status run_part(struct run *r, const bl_state *state, const struct part *part,
                          struct bl_err *err)
{
    const size_t n = r->variants->n;
    bl_status rc = normalise(part->x, r, state, 0, part, err);

    for (size_t i = 0; i < n && rc == BL_OK; i += AT_HEAD)
        rc = run_heads(r, state, part, i, (size_t)bl_min_u64(AT_HEAD, n - i), err);
    return rc;
}

/* After the last layer: all heads. */
static bl_status layer_done(void *context, uint32_t layer, const bl_state *const *state,
                            struct bl_err *err)
{
    struct run *r = context;
    const size_t row_bytes = BL_HEAD_MAX_MODELS * sizeof(float) * state[0]->hidden_size;
    const size_t blocks = BL_VARIANTS_HEAD_BYTES / (row_bytes * BL_HEAD_TOKENS);
    const size_t step = (size_t)bl_max_u64(blocks, 1) * BL_HEAD_TOKENS;
    struct part part = { 0 };
    bl_status rc = BL_OK;

    if (layer + 1 < r->network.config->n_layers)
        return BL_OK;
    part.x = bl_alloc(step, row_bytes);
    part.row = bl_alloc(step, sizeof(*part.row));
    if (!part.x || !part.row)
        rc = bl_fail_nomem(err, "final hidden states");
    for (part.text = 0; part.text < r->variants->n_texts && rc == BL_OK; part.text++) {
        const size_t n_scored = r->result[part.text * r->variants->n].n_scored;

        for (part.first = 0; part.first < n_scored && rc == BL_OK; part.first += step) {
            part.n = (size_t)bl_min_u64(step, n_scored - part.first);
            rc = run_part(r, state[0], &part, err);
        }
    }
    bl_free(part.x);
    bl_free(part.row);
    return rc;
}

static void release(struct run *r)
{
    for (size_t t = 0; r->cut && t < r->variants->n_texts; t++)
        bl_ppl_cut_release(&r->cut[t]);
    bl_free(r->cut);
    bl_free(r->first_seq);
    bl_free(r->token);
    bl_free(r->policy);
    bl_free(r->by_layer);
}

/* What score.c runs: one model, all sequences of all variants. */
static bl_score score_of(struct run *r)
{
    const size_t n_seqs = r->first_seq[r->variants->n_texts];
    bl_score score = { .token = r->token,
                       .n_seqs = (uint32_t)(r->variants->n * n_seqs),
                       .n_positions = r->ctx,
                       .layer_fn = layer_done,
                       .context = r };

    bl_score_set_models(&score, r->variants->ckpt, NULL, r->policy);
    return score;
}

/* The numbers of every text and variant. */
static bl_status finish(struct run *r, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t t = 0; t < r->variants->n_texts; t++)
        for (size_t i = 0; i < r->variants->n && rc == BL_OK; i++)
            rc = bl_ppl_finish(&r->result[t * r->variants->n + i], &r->cut[t], err);
    return rc;
}

bl_status bl_variants_run(bl_ppl_result *out, const bl_variants *variants,
                          const bl_ppl_options *options, struct bl_err *err)
{
    const size_t n_results = variants->n_texts * variants->n;
    struct run r = { .variants = variants, .result = out };
    bl_status rc;

    memset(out, 0, n_results * sizeof(*out));
    rc = bl_weights_init(&r.weights, &r.network, variants->ckpt, options->run.n_threads, err);
    if (rc == BL_OK)
        rc = set_policies(&r, err);
    if (rc == BL_OK)
        rc = measure_texts(&r, options, err);
    if (rc == BL_OK)
        rc = cut_texts(&r, options, err);
    if (rc == BL_OK) {
        const bl_score score = score_of(&r);

        rc = bl_score_run(&score, &options->run, err);
    }
    if (rc == BL_OK)
        rc = finish(&r, err);
    release(&r);
    for (size_t i = 0; i < n_results && rc != BL_OK; i++)
        bl_ppl_release(&out[i]);
    return rc;
}

bl_status bl_variants_plan(bl_score_plan *out, const bl_variants *variants,
                           const bl_ppl_options *options, struct bl_err *err)
{
    struct run r = { .variants = variants };
    bl_status rc = measure_texts(&r, options, err);

    if (rc == BL_OK) {
        const bl_score score = score_of(&r);

        rc = bl_score_plan_make(out, &score, &options->run, err);
        out->memory += BL_VARIANTS_HEAD_BYTES;
    }
    release(&r);
    return rc;
}
