/*
 * perplexity.c - text cut into sequences by either rule, and the statistics of their scores. How
 * the sequences pass through the models is score.c's business.
 */
#include "verify/perplexity.h"

#include "base/alloc.h"
#include "base/size.h"
#include "verify/logit_stats.h"
#include "verify/statistics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CTX = 512 };

/* The text cut into sequences, and what is scored of them. */
struct cut {
    int32_t *token;  /* [n_seqs][ctx] */
    size_t *row;     /* [n_scored] places in token whose next token is scored */
    int32_t *target; /* [n_scored] that next token */
    size_t *place;   /* [n_scored] where that is in the text */
    size_t *first;   /* [n_seqs + 1] where each sequence's scores begin */
};

static void release_cut(struct cut *c)
{
    bl_free(c->token);
    bl_free(c->row);
    bl_free(c->target);
    bl_free(c->place);
    bl_free(c->first);
}

static uint32_t ctx_of(const bl_ppl_options *options)
{
    return options->ctx ? options->ctx : DEFAULT_CTX;
}

static size_t used_tokens(const bl_ppl_options *options, size_t n_tokens)
{
    return (size_t)bl_min_u64(n_tokens, options->max_tokens ? options->max_tokens : n_tokens);
}

/* Sequences of the rule: whole chunks, or windows until one reaches the end of the text. */
static size_t count_sequences(const bl_ppl_options *options, size_t n_tokens)
{
    size_t ctx = ctx_of(options), n = used_tokens(options, n_tokens);

    if (options->stride == 0)
        return n / ctx;
    return n <= ctx ? 1 : 1 + (size_t)bl_ceil_div_u64(n - ctx, options->stride);
}

/* Positions [from, to) of sequence s, which is text[begin ..], score the tokens that follow them. */
static void score_positions(struct cut *c, size_t *n_scored, size_t ctx, size_t s, size_t from,
                            size_t to, const int32_t *text, size_t begin)
{
    for (size_t p = from; p < to; p++, ++*n_scored) {
        c->row[*n_scored] = s * ctx + p;
        c->target[*n_scored] = text[begin + p + 1];
        c->place[*n_scored] = begin + p + 1;
    }
}

/* llama.cpp's rule: chunks, BOS in their first places, the second half scored. */
static size_t cut_chunks(struct cut *c, size_t n_seqs, const int32_t *tokens,
                         const bl_ppl_options *options)
{
    size_t ctx = ctx_of(options), n = 0;

    for (size_t s = 0; s < n_seqs; s++) {
        memcpy(c->token + s * ctx, tokens + s * ctx, ctx * sizeof(*tokens));
        if (options->bos >= 0)
            c->token[s * ctx] = (int32_t)options->bos;
        c->first[s] = n;
        score_positions(c, &n, ctx, s, ctx / 2, ctx - 1, tokens, s * ctx);
    }
    c->first[n_seqs] = n;
    return n;
}

/* The papers' rule: windows that overlap, each scoring what the one before did not reach. */
static size_t cut_windows(struct cut *c, size_t n_seqs, const int32_t *tokens, size_t n_tokens,
                          const bl_ppl_options *options)
{
    size_t ctx = ctx_of(options), n = 0, done = 1; /* nothing comes before the first token */

    for (size_t s = 0; s < n_seqs; s++) {
        size_t begin = s * options->stride, end = (size_t)bl_min_u64(begin + ctx, n_tokens);

        memcpy(c->token + s * ctx, tokens + begin, (end - begin) * sizeof(*tokens));
        for (size_t p = end - begin; p < ctx; p++) /* seen by nothing that is scored */
            c->token[s * ctx + p] = tokens[0];
        c->first[s] = n;
        /* with stride = ctx the first token of a window has nothing before it */
        score_positions(c, &n, ctx, s, done > begin ? done - 1 - begin : 0, end - 1 - begin, tokens,
                        begin);
        done = end;
    }
    c->first[n_seqs] = n;
    return n;
}

static bl_status cut_text(struct cut *out, bl_ppl_result *r, const int32_t *tokens, size_t n_tokens,
                          const bl_ppl_options *options, struct bl_err *err)
{
    size_t n_seqs = r->n_chunks, n = used_tokens(options, n_tokens);
    struct cut c = { 0 };

    c.token = bl_alloc(n_seqs, r->ctx * sizeof(*c.token));
    c.row = bl_alloc(n_seqs, r->ctx * sizeof(*c.row));
    c.target = bl_alloc(n_seqs, r->ctx * sizeof(*c.target));
    c.place = bl_alloc(n_seqs, r->ctx * sizeof(*c.place));
    c.first = bl_alloc(n_seqs + 1, sizeof(*c.first));
    if (!c.token || !c.row || !c.target || !c.place || !c.first) {
        release_cut(&c);
        return bl_fail_nomem(err, "scored tokens");
    }
    r->n_scored = options->stride ? cut_windows(&c, n_seqs, tokens, n, options)
                                  : cut_chunks(&c, n_seqs, tokens, options);
    *out = c;
    return BL_OK;
}

/* The same with kept logits: a file gets what the model says, or is what it is compared with. */
static bl_status measure_kept(bl_ppl_result *r, const struct cut *c, const bl_ckpt *ckpt,
                              const bl_ppl_options *options, struct bl_err *err)
{
    const bl_kept_text text = { .token = c->token,
                                .n_seqs = (uint32_t)r->n_chunks,
                                .n_positions = r->ctx,
                                .row = c->row,
                                .target = c->target,
                                .first = c->first,
                                .n_scored = r->n_scored,
                                .stride = options->stride,
                                .bos = options->stride ? -1 : options->bos };
    bl_score score = { .token = c->token,
                       .n_seqs = (uint32_t)r->n_chunks,
                       .n_positions = r->ctx,
                       .row = c->row,
                       .n_rows = r->n_scored,
                       .heads = bl_kept_heads,
                       .context = options->kept };
    double variance = 0;
    bl_status rc = bl_kept_begin(options->kept, &text, ckpt, err);

    bl_score_set_models(&score, ckpt, NULL, options->policy);
    if (rc == BL_OK)
        rc = bl_score_run(&score, &options->run, err);
    for (size_t i = 0; i < r->n_scored && rc == BL_OK; i++) {
        const bl_logit_verdict v = bl_kept_verdict(options->kept, i);

        r->model[r->n_models - 1].nll[i] = v.nll;
        if (r->n_models == 2) {
            r->model[0].nll[i] = v.nll_base;
            r->kl[i] = v.kl;
            r->same_top += v.same_top;
            variance += v.kl_variance;
        }
    }
    r->kl_sampling_error = sqrt(variance) / (double)r->n_scored;
    return rc;
}

/* Through the network, and what was gathered of the logits as numbers per token. */
static bl_status measure(bl_ppl_result *r, const struct cut *c, const bl_ckpt *base,
                         const bl_ckpt *test, const bl_ppl_options *options, struct bl_err *err)
{
    bl_logit_stats stats = { 0 };
    bl_score score = { .token = c->token,
                       .n_seqs = (uint32_t)r->n_chunks,
                       .n_positions = r->ctx,
                       .row = c->row,
                       .n_rows = r->n_scored,
                       .fn = bl_logit_stats_add,
                       .context = &stats };
    bl_status rc = bl_logit_stats_init(&stats, r->n_models, c->target, r->n_scored, err);

    bl_score_set_models(&score, base, test, options->policy);
    if (rc == BL_OK)
        rc = bl_score_run(&score, &options->run, err);
    for (size_t i = 0; i < r->n_scored && rc == BL_OK; i++) {
        for (size_t m = 0; m < r->n_models; m++)
            r->model[m].nll[i] = bl_logit_stats_nll(&stats, i, m);
        if (r->n_models == 2) {
            r->kl[i] = bl_logit_stats_kl(&stats, i);
            r->same_top += bl_logit_stats_same_top(&stats, i); /* a count until finish_pair() */
        }
    }
    bl_logit_stats_release(&stats);
    return rc;
}

static void finish_score(bl_ppl_score *s, const bl_ppl_result *r, const size_t *first)
{
    double error, sum = 0;

    s->mean_nll = bl_mean(&error, s->nll, r->n_scored);
    s->perplexity = exp(s->mean_nll);
    s->error = s->perplexity * error;
    for (size_t c = 0; c < r->n_chunks; c++) {
        for (size_t i = first[c]; i < first[c + 1]; i++)
            sum += s->nll[i];
        s->running[c] = exp(sum / (double)first[c + 1]);
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
    double *work = bl_alloc(n, sizeof(*work)), mean, error;

    if (!work)
        return bl_fail_nomem(err, "KL divergence");
    r->kl_mean = bl_mean(&r->kl_error, r->kl, n);
    memcpy(work, r->kl, n * sizeof(*work));
    qsort(work, n, sizeof(*work), compare_doubles);
    r->kl_median = quantile(work, n, 0.5);
    r->kl_p90 = quantile(work, n, 0.90);
    r->kl_p95 = quantile(work, n, 0.95);
    r->kl_p99 = quantile(work, n, 0.99);
    r->kl_p999 = quantile(work, n, 0.999);
    r->kl_max = work[n - 1];
    r->n_same_top = (size_t)r->same_top;
    r->same_top /= (double)n;
    r->same_top_error = n > 1 ? sqrt(r->same_top * (1 - r->same_top) / (double)(n - 1)) : 0.0;
    for (size_t i = 0; i < n; i++) {
        double dp = exp(-test[i]) - exp(-base[i]);

        work[i] = dp * dp;
    }
    mean = bl_mean(&error, work, n);
    r->rms_dp = sqrt(mean);
    r->rms_dp_error = mean > 0 ? error / (2 * r->rms_dp) : 0.0; /* the derivative of the root */
    for (size_t i = 0; i < n; i++)
        work[i] = test[i] - base[i];
    r->ln_ratio = bl_mean(&r->ln_ratio_error, work, n);
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
static bl_status check_options(bl_ppl_result *r, const bl_ckpt *test, size_t n_tokens,
                               const bl_ppl_options *o, struct bl_err *err)
{
    size_t n = used_tokens(o, n_tokens);

    r->ctx = ctx_of(o);
    r->n_models = test || (o->kept && bl_kept_is_reference(o->kept)) ? 2 : 1;
    if (r->ctx < 4)
        return bl_fail(err, BL_E_USAGE, "a context of %u tokens: at least 4", r->ctx);
    if (o->stride > r->ctx)
        return bl_fail(err, BL_E_USAGE, "a stride of %u leaves out tokens between contexts of %u",
                       o->stride, r->ctx);
    if (o->stride == 0 && n < 2 * (size_t)r->ctx)
        return bl_fail(err, BL_E_USAGE,
                       "the text has %zu tokens: perplexity needs at least two contexts, %" PRIu64,
                       n, 2 * (uint64_t)r->ctx);
    if (n < 2)
        return bl_fail(err, BL_E_USAGE, "the text has %zu tokens: nothing to predict", n);
    r->n_chunks = count_sequences(o, n_tokens);
    return BL_OK;
}

bl_status bl_ppl_plan(bl_score_plan *out, const bl_ckpt *base, const bl_ckpt *test, size_t n_tokens,
                      const bl_ppl_options *options, struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    bl_score score = { 0 };
    bl_status rc = check_options(&r, test, n_tokens, options, err);

    if (rc != BL_OK)
        return rc;
    bl_score_set_models(&score, base, test, options->policy);
    score.n_seqs = (uint32_t)r.n_chunks;
    score.n_positions = r.ctx;
    /* windows overlap, and every token but the first is scored in one of them */
    score.n_rows =
        options->stride ? used_tokens(options, n_tokens) - 1 : r.n_chunks * (r.ctx - 1 - r.ctx / 2);
    return bl_score_plan_make(out, &score, &options->run, err);
}

bl_status bl_ppl_run(bl_ppl_result *out, const bl_ckpt *base, const bl_ckpt *test,
                     const int32_t *tokens, size_t n_tokens, const bl_ppl_options *options,
                     struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    struct cut cut = { 0 };
    bl_status rc = check_options(&r, test, n_tokens, options, err);

    if (rc == BL_OK)
        rc = cut_text(&cut, &r, tokens, n_tokens, options, err);
    if (rc == BL_OK)
        rc = allocate(&r, err);
    if (rc == BL_OK)
        rc = options->kept ? measure_kept(&r, &cut, base, options, err)
                           : measure(&r, &cut, base, test, options, err);
    for (size_t m = 0; m < r.n_models && rc == BL_OK; m++)
        finish_score(&r.model[m], &r, cut.first);
    if (rc == BL_OK && r.n_models == 2)
        rc = finish_pair(&r, err);
    if (rc == BL_OK) {
        r.place = cut.place;
        cut.place = NULL;
        *out = r;
    } else {
        bl_ppl_release(&r);
    }
    release_cut(&cut);
    return rc;
}

void bl_ppl_release(bl_ppl_result *result)
{
    for (size_t m = 0; m < 2; m++) {
        bl_free(result->model[m].nll);
        bl_free(result->model[m].running);
    }
    bl_free(result->kl);
    bl_free(result->place);
    *result = (bl_ppl_result){ 0 };
}
