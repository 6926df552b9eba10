/*
 * perplexity.c - the drivers: passes over the weights, and the statistics of their scores.
 *
 * A pass takes a run of chunks through all layers of each model, then through both heads together.
 */
#include "verify/perplexity.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/layer.h"
#include "verify/logit_stats.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CTX = 512 };

struct model {
    bl_network network;
    bl_weights weights;
    const bl_router_policy *policy; /* [n_layers], or NULL */
};

struct run {
    bl_ppl_result *result;
    const bl_ppl_options *options;
    const int32_t *tokens;
    struct model model[2];
    size_t chunks_per_pass, scored_per_chunk;
};

static uint32_t ctx_of(const bl_ppl_options *options)
{
    return options->ctx ? options->ctx : DEFAULT_CTX;
}

static bl_status open_model(struct model *m, const bl_ckpt *ckpt, const bl_ppl_options *options,
                            bool policy, struct bl_err *err)
{
    bl_status rc = bl_network_init(&m->network, bl_ckpt_config(ckpt), err);

    if (rc != BL_OK) {
        bl_err_prefix(err, "%s", bl_ckpt_path(ckpt));
        return rc;
    }
    m->weights = (bl_weights){ ckpt, &m->network, options->n_threads };
    m->policy = policy ? options->policy : NULL;
    return BL_OK;
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

uint64_t bl_ppl_bytes(const bl_ckpt *base, const bl_ckpt *test, size_t n_tokens,
                      const bl_ppl_options *options)
{
    uint64_t n_chunks = bl_min_u64(n_tokens, options->max_tokens ? options->max_tokens : n_tokens) /
                        ctx_of(options);
    uint64_t passes =
        options->chunks_per_pass ? bl_ceil_div_u64(n_chunks, options->chunks_per_pass) : 1;
    uint64_t sum = 0;

    for (int m = 0; m < 2; m++) {
        const bl_ckpt *ckpt = m == 0 ? base : test;

        for (size_t i = 0; ckpt && i < bl_ckpt_n_tensors(ckpt); i++)
            if (!bl_ckpt_tensor(ckpt, i)->is_mtp)
                sum += bl_ckpt_tensor(ckpt, i)->n_bytes;
    }
    return sum * passes;
}

/* Chunks [chunk, chunk + n) as sequences, with BOS in their first places. */
static bl_status make_state(bl_state *out, const struct run *run, const struct model *m,
                            size_t chunk, size_t n, struct bl_err *err)
{
    uint32_t ctx = run->result->ctx;
    bl_status rc = bl_state_init(out, run->tokens + chunk * ctx, (uint32_t)n, ctx,
                                 m->network.config->hidden_size, err);

    for (size_t s = 0; rc == BL_OK && run->options->bos >= 0 && s < n; s++)
        out->token[s * ctx] = (int32_t)run->options->bos;
    return rc;
}

/* x[n scored][hidden]: the scored positions after all layers and the final norm. */
static bl_status run_layers(float **out, const struct run *run, const struct model *m, size_t chunk,
                            size_t n, const size_t *rows, struct bl_err *err)
{
    const bl_config *c = m->network.config;
    size_t n_scored = n * run->scored_per_chunk;
    bl_state state = { 0 };
    float *x = NULL;
    bl_status rc = make_state(&state, run, m, chunk, n, err);

    if (rc == BL_OK)
        rc = bl_embed(&state, &m->weights, err);
    for (uint32_t layer = 0; layer < c->n_layers && rc == BL_OK; layer++) {
        rc = bl_layer_step(&state, layer, &m->weights, m->policy ? &m->policy[layer] : NULL, NULL,
                           err);
        bl_progress_add(run->options->progress, layer_bytes(m->weights.ckpt, layer));
    }
    if (rc == BL_OK) {
        x = bl_alloc(n_scored, c->hidden_size * sizeof(*x));
        rc = x ? bl_final_norm(x, &state, rows, n_scored, &m->weights, err)
               : bl_fail_nomem(err, "final hidden states");
    }
    bl_state_release(&state);
    if (rc == BL_OK)
        *out = x;
    else
        bl_free(x);
    return rc;
}

/* Where the scored positions of n chunks are, and which token each predicts. */
static void find_scored(size_t *rows, int32_t *targets, const struct run *run, size_t chunk,
                        size_t n)
{
    size_t ctx = run->result->ctx, i = 0;

    for (size_t s = 0; s < n; s++)
        for (size_t p = ctx / 2; p + 1 < ctx; p++, i++) {
            rows[i] = s * ctx + p;
            targets[i] = run->tokens[(chunk + s) * ctx + p + 1];
        }
}

static bl_status score_heads(struct run *run, float *const *x, const int32_t *targets, size_t chunk,
                             size_t n_scored, struct bl_err *err)
{
    bl_ppl_result *r = run->result;
    bl_head head[2] = { 0 };
    bl_logit_stats stats = { 0 };
    size_t first = chunk * run->scored_per_chunk;
    bl_status rc = bl_logit_stats_init(&stats, r->n_models, targets, n_scored, err);

    for (size_t m = 0; m < r->n_models && rc == BL_OK; m++) {
        head[m] = (bl_head){ .weights = &run->model[m].weights, .x = x[m] };
        rc = bl_head_table(&head[m].table, head[m].weights, err);
    }
    if (rc == BL_OK)
        rc = bl_head_run(head, r->n_models, n_scored, bl_logit_stats_add, &stats, err);
    for (size_t i = 0; i < n_scored && rc == BL_OK; i++) {
        for (size_t m = 0; m < r->n_models; m++)
            r->model[m].nll[first + i] = bl_logit_stats_nll(&stats, i, m);
        if (r->n_models == 2) {
            r->kl[first + i] = bl_logit_stats_kl(&stats, i);
            r->same_top += bl_logit_stats_same_top(&stats, i); /* a count until the last pass */
        }
    }
    bl_logit_stats_release(&stats);
    return rc;
}

/* One pass over the weights of every model: chunks [chunk, chunk + n). */
static bl_status run_pass(struct run *run, size_t chunk, size_t n, struct bl_err *err)
{
    size_t n_scored = n * run->scored_per_chunk;
    size_t *rows = bl_alloc(n_scored, sizeof(*rows));
    int32_t *targets = bl_alloc(n_scored, sizeof(*targets));
    float *x[2] = { 0 };
    bl_status rc = BL_OK;

    if (!rows || !targets)
        rc = bl_fail_nomem(err, "scored tokens");
    else
        find_scored(rows, targets, run, chunk, n);
    for (size_t m = 0; m < run->result->n_models && rc == BL_OK; m++)
        rc = run_layers(&x[m], run, &run->model[m], chunk, n, rows, err);
    if (rc == BL_OK)
        rc = score_heads(run, x, targets, chunk, n_scored, err);
    for (size_t m = 0; m < run->result->n_models; m++) {
        bl_progress_add(run->options->progress, layer_bytes(run->model[m].weights.ckpt, -1));
        bl_free(x[m]);
    }
    bl_free(rows);
    bl_free(targets);
    return rc;
}

/* Mean of x[n] and the standard error of that mean. */
static double mean_of(double *error, const double *x, size_t n)
{
    double sum = 0, squares = 0, mean;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    *error = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0.0;
    return mean;
}

static void finish_score(bl_ppl_score *s, const bl_ppl_result *r, size_t scored_per_chunk)
{
    double error, sum = 0;

    s->mean_nll = mean_of(&error, s->nll, r->n_scored);
    s->perplexity = exp(s->mean_nll);
    s->error = s->perplexity * error;
    for (size_t c = 0; c < r->n_chunks; c++) {
        for (size_t i = c * scored_per_chunk; i < (c + 1) * scored_per_chunk; i++)
            sum += s->nll[i];
        s->running[c] = exp(sum / (double)((c + 1) * scored_per_chunk));
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Linear interpolation between the two nearest ranks, as numpy's default. */
static double quantile(const double *sorted, size_t n, double fraction)
{
    double place = fraction * (double)(n - 1);
    size_t i = (size_t)place;
    double next = sorted[i + 1 < n ? i + 1 : i];

    return sorted[i] + (place - (double)i) * (next - sorted[i]);
}

static bl_status finish_pair(bl_ppl_result *r, struct bl_err *err)
{
    const double *base = r->model[0].nll, *test = r->model[1].nll;
    size_t n = r->n_scored;
    double *work = bl_alloc(n, sizeof(*work)), squares = 0;

    if (!work)
        return bl_fail_nomem(err, "KL divergence");
    r->kl_mean = mean_of(&r->kl_error, r->kl, n);
    memcpy(work, r->kl, n * sizeof(*work));
    qsort(work, n, sizeof(*work), compare_doubles);
    r->kl_median = quantile(work, n, 0.5);
    r->kl_p90 = quantile(work, n, 0.90);
    r->kl_p95 = quantile(work, n, 0.95);
    r->kl_p99 = quantile(work, n, 0.99);
    r->kl_p999 = quantile(work, n, 0.999);
    r->kl_max = work[n - 1];
    r->same_top /= (double)n;
    r->same_top_error = n > 1 ? sqrt(r->same_top * (1 - r->same_top) / (double)(n - 1)) : 0.0;
    for (size_t i = 0; i < n; i++) {
        double dp = exp(-test[i]) - exp(-base[i]);

        squares += dp * dp;
        work[i] = test[i] - base[i];
    }
    r->rms_dp = sqrt(squares / (double)n);
    r->ln_ratio = mean_of(&r->ln_ratio_error, work, n);
    bl_free(work);
    return BL_OK;
}

static bl_status allocate(bl_ppl_result *r, struct bl_err *err)
{
    bool ok = true;

    assert(r->n_models <= 2);
    for (size_t m = 0; m < r->n_models; m++) {
        r->model[m].nll = bl_alloc(r->n_scored, sizeof(double));
        r->model[m].running = bl_alloc(r->n_chunks, sizeof(double));
        ok = ok && r->model[m].nll && r->model[m].running;
    }
    if (r->n_models == 2) {
        r->kl = bl_alloc(r->n_scored, sizeof(double));
        ok = ok && r->kl;
    }
    return ok ? BL_OK : bl_fail_nomem(err, "token scores");
}

/* Everything that can be known before the first weight is read. */
static bl_status prepare(struct run *run, const bl_ckpt *base, const bl_ckpt *test, size_t n_tokens,
                         struct bl_err *err)
{
    const bl_ppl_options *o = run->options;
    bl_ppl_result *r = run->result;
    uint64_t n = bl_min_u64(n_tokens, o->max_tokens ? o->max_tokens : n_tokens);
    bl_status rc;

    r->ctx = ctx_of(o);
    r->n_models = test ? 2 : 1;
    r->n_chunks = (size_t)(n / r->ctx);
    if (r->ctx < 4)
        return bl_fail(err, BL_E_USAGE, "a context of %u tokens: at least 4", r->ctx);
    if (r->n_chunks < 2)
        return bl_fail(err, BL_E_USAGE,
                       "the text has %" PRIu64
                       " tokens: perplexity needs at least two contexts, %" PRIu64,
                       n, 2 * (uint64_t)r->ctx);
    run->scored_per_chunk = r->ctx - 1 - r->ctx / 2;
    r->n_scored = r->n_chunks * run->scored_per_chunk;
    run->chunks_per_pass = o->chunks_per_pass ? o->chunks_per_pass : r->n_chunks;
    rc = open_model(&run->model[0], base, o, !test, err);
    if (rc == BL_OK && test)
        rc = open_model(&run->model[1], test, o, true, err);
    if (rc == BL_OK && test && bl_ckpt_config(base)->vocab_size != bl_ckpt_config(test)->vocab_size)
        rc = bl_fail(err, BL_E_MISMATCH, "%s has a vocabulary of %u, %s one of %u",
                     bl_ckpt_path(base), bl_ckpt_config(base)->vocab_size, bl_ckpt_path(test),
                     bl_ckpt_config(test)->vocab_size);
    return rc == BL_OK ? allocate(r, err) : rc;
}

bl_status bl_ppl_run(bl_ppl_result *out, const bl_ckpt *base, const bl_ckpt *test,
                     const int32_t *tokens, size_t n_tokens, const bl_ppl_options *options,
                     struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    struct run run = { .result = &r, .options = options, .tokens = tokens };
    bl_status rc = prepare(&run, base, test, n_tokens, err);

    for (size_t chunk = 0; chunk < r.n_chunks && rc == BL_OK; chunk += run.chunks_per_pass)
        rc =
            run_pass(&run, chunk, (size_t)bl_min_u64(run.chunks_per_pass, r.n_chunks - chunk), err);
    for (size_t m = 0; m < r.n_models && rc == BL_OK; m++)
        finish_score(&r.model[m], &r, run.scored_per_chunk);
    if (rc == BL_OK && r.n_models == 2)
        rc = finish_pair(&r, err);
    if (rc == BL_OK)
        *out = r;
    else
        bl_ppl_release(&r);
    return rc;
}

void bl_ppl_release(bl_ppl_result *result)
{
    for (size_t m = 0; m < 2; m++) {
        bl_free(result->model[m].nll);
        bl_free(result->model[m].running);
    }
    bl_free(result->kl);
    *result = (bl_ppl_result){ 0 };
}
