/* prune_try.c - prune --dry-run on texts: every method and ratio as a mask, in one pass. */
#include "base/alloc.h"
#include "base/size.h"
#include "cli/prune_run.h"
#include "cli/read_text.h"
#include "cli/score_plan.h"

#include <inttypes.h>
#include <string.h>

/* The texts as tokens; released in any case. */
struct texts {
    bl_cli_text *read;
    bl_variants_text *text;
    size_t n;
};

static void release_texts(struct texts *t)
{
    for (size_t i = 0; t->read && i < t->n; i++)
        bl_cli_text_release(&t->read[i]);
    bl_free(t->read);
    bl_free(t->text);
}

static bl_status read_texts(struct texts *t, const bl_prune_options *o, const bl_ckpt *ckpt,
                            struct bl_err *err)
{
    bl_status rc = BL_OK;

    t->n = o->text.n;
    t->read = bl_calloc(t->n, sizeof(*t->read));
    t->text = bl_calloc(t->n, sizeof(*t->text));
    if (!t->read || !t->text)
        return bl_fail_nomem(err, "texts");
    for (size_t i = 0; i < t->n && rc == BL_OK; i++) {
        rc = bl_cli_read_text(&t->read[i], ckpt, o->text.value[i], err);
        t->text[i] = (bl_variants_text){ t->read[i].tokens.id, t->read[i].tokens.n };
    }
    return rc;
}

static bl_prune_sweep sweep_of(const bl_prune_options *o, const bl_prune_input *in)
{
    const bool drops = o->convert.mtp && o->convert.mtp[0] == 'd';

    return (bl_prune_sweep){ .ckpt = in->ckpt,
                             .domain = in->domain,
                             .n_domains = in->n_domains,
                             .ungroup = o->ungroup,
                             .experts_per_token = o->experts_per_token == BL_NOT_GIVEN
                                                      ? 0
                                                      : (uint32_t)o->experts_per_token,
                             .n_drop = o->n_drop == BL_NOT_GIVEN ? 0 : (uint32_t)o->n_drop,
                             .drops_mtp = drops,
                             .only_layer =
                                 o->rank_layer == BL_NOT_GIVEN ? -1 : (int64_t)o->rank_layer };
}

/* What judges the experts: a method, or a seed of random. */
struct judge {
    const char *method;
    int64_t seed; /* -1: none */
    bl_prune_scores scores;
};

/* All of them, each scored once, whatever is then tried. */
struct judges {
    struct judge *judge;
    size_t n;
};

static void release_judges(struct judges *j)
{
    for (size_t i = 0; i < j->n; i++)
        bl_prune_scores_release(&j->judge[i].scores);
    bl_free(j->judge);
}

static bl_status call_judges(struct judges *out, const bl_prune_options *o,
                             const bl_prune_input *in, struct bl_err *err)
{
    bl_status rc = BL_OK;

    out->judge = bl_calloc(in->n_methods + (size_t)o->n_seeds, sizeof(*out->judge));
    if (!out->judge)
        return bl_fail_nomem(err, "experts");
    for (size_t m = 0; m < in->n_methods; m++) {
        const bool random = in->method[m] == BL_PRUNE_RANDOM;

        for (uint64_t k = 0; k < (random ? o->n_seeds : 1) && rc == BL_OK; k++) {
            struct judge *j = &out->judge[out->n];

            *j = (struct judge){ .method = bl_prune_method_name(in->method[m]),
                                 .seed = random ? (int64_t)(o->seed + k) : -1 };
            rc = bl_prune_judge(&j->scores, in->ckpt, in->method[m], in->domain, in->n_domains,
                                o->seed + k, !o->no_protection, (int)o->convert.common.n_threads,
                                err);
            out->n += rc == BL_OK;
        }
    }
    return rc;
}

/* At ratio 0 all methods are the same: what the other options do. */
static bl_status add_all(bl_prune_trials *t, const bl_prune_sweep *sweep, const bl_prune_input *in,
                         const struct judges *judges, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t r = 0; r < in->n_ratios && rc == BL_OK; r++) {
        if (in->ratio[r] <= 0) {
            rc = bl_prune_trials_add(t, sweep, NULL, "all", -1, 0, err);
            continue;
        }
        for (size_t i = 0; i < judges->n && rc == BL_OK; i++)
            rc = bl_prune_trials_add(t, sweep, &judges->judge[i].scores, judges->judge[i].method,
                                     judges->judge[i].seed, in->ratio[r], err);
    }
    return rc;
}

static bl_ppl_options run_options(const bl_prune_options *o, const struct texts *t)
{
    return (bl_ppl_options){ .ctx = o->ctx == BL_NOT_GIVEN ? 0 : (uint32_t)o->ctx,
                             .max_tokens = o->max_tokens == BL_NOT_GIVEN ? 0 : o->max_tokens,
                             .bos = t->read[0].bos,
                             .run = { .n_threads = (int)o->convert.common.n_threads,
                                      .memory = o->convert.memory,
                                      .scratch = o->scratch } };
}

static bl_status run(bl_prune_trials *t, const bl_prune_sweep *sweep, const struct texts *texts,
                     const bl_prune_options *o, struct bl_err *err)
{
    bl_ppl_options options = run_options(o, texts);
    bl_status rc;

    options.run.progress = bl_progress_new(
        o->convert.command->name, bl_score_bytes(sweep->ckpt, NULL), o->convert.common.progress);
    rc = bl_prune_trials_run(t, sweep, texts->text, texts->n, &options, err);
    bl_progress_free(options.run.progress);
    return rc;
}

/* What happens without each expert as a score of the layer, for a choice that knows the outcome. */
static bl_status score_singles(bl_prune_scores *out, const bl_prune_trials *singles,
                               const bl_config *c, uint32_t layer, struct bl_err *err)
{
    const size_t n = (size_t)(c->n_layers + c->n_mtp_layers) * c->n_experts;

    *out = (bl_prune_scores){ .n_layers = c->n_layers + c->n_mtp_layers,
                              .n_experts = c->n_experts,
                              .score = bl_calloc(n, sizeof(*out->score)),
                              .super = bl_calloc(n, sizeof(*out->super)) };
    if (!out->score || !out->super) {
        bl_prune_scores_release(out);
        return bl_fail_nomem(err, "experts");
    }
    for (uint32_t e = 0; e < c->n_experts; e++)
        out->score[(size_t)layer * c->n_experts + e] =
            bl_prune_trial_kl(&singles->trial[e], singles->n_texts);
    return BL_OK;
}

/* The criteria's scores of the layer: out[n_methods][n_experts]; of random those of the first seed. */
static void take_scores(double *out, const bl_prune_input *in, const struct judges *judges,
                        uint32_t layer)
{
    size_t m = 0;

    for (size_t i = 0; i < judges->n && m < in->n_methods; i++) {
        const bl_prune_scores *s = &judges->judge[i].scores;

        if (i > 0 && judges->judge[i].method == judges->judge[i - 1].method)
            continue;
        memcpy(out + m++ * s->n_experts, s->score + (size_t)layer * s->n_experts,
               s->n_experts * sizeof(*out));
    }
}

/* Methods, and the choice that knows the outcome, in the one layer. */
static bl_status try_in_layer(bl_prune_trials *t, const bl_prune_trials *singles,
                              const bl_prune_sweep *sweep, const bl_prune_input *in,
                              const struct judges *judges, const bl_prune_options *o,
                              const struct texts *texts, struct bl_err *err)
{
    const uint32_t layer = (uint32_t)sweep->only_layer;
    bl_prune_scores ceiling = { 0 };
    bl_status rc = score_singles(&ceiling, singles, bl_ckpt_config(sweep->ckpt), layer, err);

    if (rc == BL_OK)
        rc = add_all(t, sweep, in, judges, err);
    for (size_t r = 0; r < in->n_ratios && rc == BL_OK; r++)
        rc = bl_prune_trials_add(t, sweep, &ceiling, "ceiling", -1, in->ratio[r], err);
    bl_prune_scores_release(&ceiling);
    return rc == BL_OK ? run(t, sweep, texts, o, err) : rc;
}

/* --rank-layer: every single removal, then ratios in that layer alone. */
static bl_status rank(const bl_prune_sweep *sweep, const bl_prune_input *in,
                      const struct judges *judges, const bl_prune_options *o,
                      const struct texts *texts, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(sweep->ckpt);
    const uint32_t layer = (uint32_t)sweep->only_layer;
    bl_prune_trials singles = { 0 }, ratios = { 0 };
    double *score = NULL;
    bl_status rc = BL_OK;

    if (layer >= c->n_layers || !bl_config_layer_is_moe(c, layer))
        return bl_fail(err, BL_E_USAGE, "--rank-layer: layer %" PRIu32 " has no experts", layer);
    score = bl_alloc(in->n_methods * c->n_experts, sizeof(*score));
    if (score)
        take_scores(score, in, judges, layer);
    else
        rc = bl_fail_nomem(err, "experts");
    if (rc == BL_OK)
        rc = bl_prune_trials_add_singles(&singles, sweep, layer, err);
    if (rc == BL_OK)
        rc = run(&singles, sweep, texts, o, err);
    if (rc == BL_OK && in->n_ratios > 0)
        rc = try_in_layer(&ratios, &singles, sweep, in, judges, o, texts, err);
    if (rc == BL_OK)
        rc = bl_prune_print_rank(o, in, &singles, score, &ratios, err);
    if (rc == BL_OK && o->plot && ratios.n > 0)
        rc = bl_prune_write_plot(o, &ratios, err);
    bl_prune_trials_release(&singles);
    bl_prune_trials_release(&ratios);
    bl_free(score);
    return rc;
}

/* Every ratio and method in all layers. */
static bl_status try_all(const bl_prune_sweep *sweep, const bl_prune_input *in,
                         const struct judges *judges, const bl_prune_options *o,
                         const struct texts *texts, struct bl_err *err)
{
    bl_prune_trials trials = { 0 };
    bl_status rc = add_all(&trials, sweep, in, judges, err);

    if (rc == BL_OK)
        rc = run(&trials, sweep, texts, o, err);
    if (rc == BL_OK)
        rc = bl_prune_print_trials(o, &trials, err);
    if (rc == BL_OK && o->plot)
        rc = bl_prune_write_plot(o, &trials, err);
    bl_prune_trials_release(&trials);
    return rc;
}

/* Without a ratio nothing is chosen: then no method, and no statistics, are needed. */
static bool wants_judges(const bl_prune_sweep *sweep, const bl_prune_input *in)
{
    bool any = sweep->only_layer >= 0;

    for (size_t r = 0; r < in->n_ratios; r++)
        any = any || in->ratio[r] > 0;
    return any;
}

bl_status bl_prune_try(const bl_prune_options *o, const bl_prune_input *in, struct bl_err *err)
{
    const bl_prune_sweep sweep = sweep_of(o, in);
    struct judges judges = { 0 };
    struct texts texts = { 0 };
    bl_status rc = read_texts(&texts, o, in->ckpt, err);

    if (rc == BL_OK && wants_judges(&sweep, in))
        rc = call_judges(&judges, o, in, err);
    if (rc == BL_OK)
        rc = (sweep.only_layer >= 0 ? rank : try_all)(&sweep, in, &judges, o, &texts, err);
    release_judges(&judges);
    release_texts(&texts);
    return rc;
}
