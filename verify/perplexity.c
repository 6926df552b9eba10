/*
 * perplexity.c - the statistics of the scores of a text. How it is cut is perplexity_cut.c's business,
 * how its sequences pass through the models score.c's.
 */
#include "verify/perplexity_parts.h"

#include "base/alloc.h"
#include "verify/logit_stats.h"
#include "verify/statistics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The same with kept logits: a file gets what the model says, or is what it is compared with. */
static bl_status measure_kept(bl_ppl_result *r, const bl_ppl_cut *c, const bl_ckpt *ckpt,
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
static bl_status measure(bl_ppl_result *r, const bl_ppl_cut *c, const bl_ckpt *base,
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

bl_status bl_ppl_finish(bl_ppl_result *r, const bl_ppl_cut *cut, struct bl_err *err)
{
    for (size_t m = 0; m < r->n_models; m++)
        finish_score(&r->model[m], r, cut->first);
    return r->n_models == 2 ? finish_pair(r, err) : BL_OK;
}

static size_t models_of(const bl_ckpt *test, const bl_ppl_options *o)
{
    return test || (o->kept && bl_kept_is_reference(o->kept)) ? 2 : 1;
}

bl_status bl_ppl_plan(bl_score_plan *out, const bl_ckpt *base, const bl_ckpt *test, size_t n_tokens,
                      const bl_ppl_options *options, struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    bl_score score = { 0 };
    bl_status rc = bl_ppl_check(&r, models_of(test, options), n_tokens, options, err);

    if (rc != BL_OK)
        return rc;
    bl_score_set_models(&score, base, test, options->policy);
    score.n_seqs = (uint32_t)r.n_chunks;
    score.n_positions = r.ctx;
    score.n_rows = r.n_scored;
    return bl_score_plan_make(out, &score, &options->run, err);
}

bl_status bl_ppl_run(bl_ppl_result *out, const bl_ckpt *base, const bl_ckpt *test,
                     const int32_t *tokens, size_t n_tokens, const bl_ppl_options *options,
                     struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    bl_ppl_cut cut = { 0 };
    bl_status rc = bl_ppl_check(&r, models_of(test, options), n_tokens, options, err);

    if (rc == BL_OK)
        rc = bl_ppl_cut_text(&cut, &r, tokens, n_tokens, options, err);
    if (rc == BL_OK)
        rc = bl_ppl_allocate(&r, err);
    if (rc == BL_OK)
        rc = options->kept ? measure_kept(&r, &cut, base, options, err)
                           : measure(&r, &cut, base, test, options, err);
    if (rc == BL_OK)
        rc = bl_ppl_finish(&r, &cut, err);
    if (rc == BL_OK) {
        r.place = cut.place;
        cut.place = NULL;
        *out = r;
    } else {
        bl_ppl_release(&r);
    }
    bl_ppl_cut_release(&cut);
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
