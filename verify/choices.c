/* choices.c - see choices.h. */
#include "verify/choices.h"

#include "base/alloc.h"
#include "verify/logit_stats.h"
#include "verify/score.h"

#include <math.h>
#include <string.h>

/* Index of the largest of n values, the lowest on ties. */
static uint32_t largest(const double *x, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static bl_choice_pick pick_choice(const bl_choice_item *item, const double *log_likelihood)
{
    double per_byte[BL_CHOICES_MAX], other = -HUGE_VAL;
    uint32_t n = item->n_choices;

    for (uint32_t c = 0; c < n; c++) {
        per_byte[c] = log_likelihood[c] / (double)strlen(item->choice[c]);
        if (c != item->answer)
            other = fmax(other, log_likelihood[c]);
    }
    return (bl_choice_pick){ largest(log_likelihood, n), largest(per_byte, n),
                             log_likelihood[item->answer] - other };
}

static void count(bl_choice_tally *tally, const bl_choice_item *item, const bl_choice_pick *pick)
{
    tally->n++;
    tally->sum += pick->sum == item->answer;
    tally->per_byte += pick->per_byte == item->answer;
}

static void judge_model(bl_choices_model *m, const bl_choice_items *items)
{
    for (size_t i = 0; i < items->n_items; i++) {
        const bl_choice_item *item = &items->item[i];

        m->pick[i] = pick_choice(item, m->log_likelihood + item->first);
        count(&m->all, item, &m->pick[i]);
        if (item->group >= 0)
            count(&m->group[item->group], item, &m->pick[i]);
    }
}

/* ln sum e^x, of n values. */
static double log_sum_exp(const double *x, uint32_t n)
{
    double top = x[largest(x, n)], sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += exp(x[i] - top);
    return top + log(sum);
}

/* KL divergence between two distributions over n choices, each the softmax of log-likelihoods. */
static double divergence(const double *p, const double *q, uint32_t n)
{
    double lse_p = log_sum_exp(p, n), lse_q = log_sum_exp(q, n), sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += exp(p[i] - lse_p) * ((p[i] - lse_p) - (q[i] - lse_q));
    return sum;
}

static void compare_picks(bl_choices_result *r, const bl_choice_item *item,
                          const bl_choice_pick *base, const bl_choice_pick *test)
{
    r->same += base->sum == test->sum;
    r->gained += test->sum == item->answer && base->sum != item->answer;
    r->lost += base->sum == item->answer && test->sum != item->answer;
    r->gained_per_byte += test->per_byte == item->answer && base->per_byte != item->answer;
    r->lost_per_byte += base->per_byte == item->answer && test->per_byte != item->answer;
}

static bl_status judge_pair(bl_choices_result *r, struct bl_err *err)
{
    const bl_choices_model *base = &r->model[0], *test = &r->model[1];
    size_t n = r->items->n_items;
    double *change = bl_alloc(n, sizeof(*change)), *kl = bl_alloc(n, sizeof(*kl));
    bl_status rc = change && kl ? BL_OK : bl_fail_nomem(err, "multiple-choice items");

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        const bl_choice_item *item = &r->items->item[i];

        compare_picks(r, item, &base->pick[i], &test->pick[i]);
        change[i] = test->pick[i].margin - base->pick[i].margin;
        kl[i] = divergence(base->log_likelihood + item->first, test->log_likelihood + item->first,
                           item->n_choices);
    }
    if (rc == BL_OK) {
        r->kl_mean = bl_mean(&r->kl_error, kl, n);
        r->margin_change = bl_mean(&r->margin_change_error, change, n);
        for (size_t i = 0; i < n; i++)
            change[i] = fabs(change[i]);
        r->abs_margin_change = bl_mean(&r->abs_margin_change_error, change, n);
    }
    bl_free(change);
    bl_free(kl);
    return rc;
}

bl_status bl_choices_judge(bl_choices_result *r, struct bl_err *err)
{
    for (size_t i = 0; i < r->items->n_items; i++)
        r->chance += 1 / (double)r->items->item[i].n_choices;
    r->chance /= (double)r->items->n_items;
    for (size_t m = 0; m < r->n_models; m++)
        judge_model(&r->model[m], r->items);
    return r->n_models == 2 ? judge_pair(r, err) : BL_OK;
}

bl_status bl_choices_init(bl_choices_result *out, const bl_choice_items *items, size_t n_models,
                          struct bl_err *err)
{
    bl_choices_result r = { .items = items, .n_models = n_models };
    bool ok = true;

    for (size_t i = 0; i < n_models; i++) {
        bl_choices_model *m = &r.model[i];

        m->log_likelihood = bl_calloc(items->n_choices, sizeof(*m->log_likelihood));
        m->pick = bl_calloc(items->n_items, sizeof(*m->pick));
        m->group = bl_calloc(items->n_groups, sizeof(*m->group));
        ok = ok && m->log_likelihood && m->pick && m->group;
    }
    if (!ok) {
        bl_choices_release(&r);
        return bl_fail_nomem(err, "multiple-choice items");
    }
    *out = r;
    return BL_OK;
}

void bl_choices_release(bl_choices_result *r)
{
    for (size_t m = 0; m < r->n_models; m++) {
        bl_free(r->model[m].log_likelihood);
        bl_free(r->model[m].pick);
        bl_free(r->model[m].group);
    }
    *r = (bl_choices_result){ 0 };
}

/* Through the network: the log-likelihood of every choice. */
static bl_status measure(bl_choices_result *r, const bl_choice_sequences *q, const bl_ckpt *base,
                         const bl_ckpt *test, const bl_choices_options *options, struct bl_err *err)
{
    bl_logit_stats stats = { 0 };
    bl_score score = { .token = q->token,
                       .n_seqs = q->n_seqs,
                       .n_positions = q->n_positions,
                       .row = q->place,
                       .n_rows = q->n_scored,
                       .fn = bl_logit_stats_add,
                       .context = &stats };
    bl_status rc = bl_logit_stats_init(&stats, r->n_models, q->target, q->n_scored, err);

    bl_score_set_models(&score, base, test, options->policy);
    if (rc == BL_OK)
        rc = bl_score_run(&score, &options->run, err);
    for (size_t i = 0; i < q->n_scored && rc == BL_OK; i++)
        for (size_t m = 0; m < r->n_models; m++)
            r->model[m].log_likelihood[q->choice[i]] -= bl_logit_stats_nll(&stats, i, m);
    bl_logit_stats_release(&stats);
    return rc;
}

bl_status bl_choices_run(bl_choices_result *out, const bl_choice_items *items,
                         const bl_choice_sequences *sequences, const bl_ckpt *base,
                         const bl_ckpt *test, const bl_choices_options *options, struct bl_err *err)
{
    bl_choices_result r = { 0 };
    bl_status rc = bl_choices_init(&r, items, test ? 2 : 1, err);

    if (rc == BL_OK) {
        r.n_seqs = sequences->n_seqs;
        r.n_positions = sequences->n_positions;
        r.n_scored = sequences->n_scored;
        rc = measure(&r, sequences, base, test, options, err);
    }
    if (rc == BL_OK)
        rc = bl_choices_judge(&r, err);
    if (rc == BL_OK)
        *out = r;
    else
        bl_choices_release(&r);
    return rc;
}
