/* trials.c - see trials.h. */
#include "prune/trials.h"

#include "base/alloc.h"

#include <string.h>

static bl_status make_room(bl_prune_trials *t, struct bl_err *err)
{
    const size_t room = t->room ? 2 * t->room : 16;
    bl_prune_trial *grown;

    if (t->n < t->room)
        return BL_OK;
    grown = bl_realloc(t->trial, room, sizeof(*grown));
    if (!grown)
        return bl_fail_nomem(err, "trials");
    t->trial = grown;
    t->room = room;
    return BL_OK;
}

bl_status bl_prune_trials_add(bl_prune_trials *t, const bl_prune_sweep *sweep,
                              const bl_prune_scores *scores, const char *method, int64_t seed,
                              double ratio, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(sweep->ckpt);
    const bl_prune_order order = { .n_experts = bl_prune_count(c, ratio, sweep->ungroup),
                                   .ungroup = sweep->ungroup,
                                   .experts_per_token = sweep->experts_per_token };
    bl_prune_trial trial = {
        .method = method, .seed = seed, .ratio = ratio, .n_experts = order.n_experts, .without = -1
    };
    bl_prune_choice choice = { 0 };
    bl_status rc = make_room(t, err);

    if (rc == BL_OK)
        rc = bl_prune_choose(&choice, c, scores, &order, sweep->n_drop, sweep->domain,
                             sweep->n_domains, err);
    if (rc != BL_OK)
        return rc;
    choice.method = method;
    choice.keeps_mtp = !sweep->drops_mtp;
    rc = bl_prune_mask_of(&trial.mask, c, &choice, sweep->only_layer, err);
    if (rc == BL_OK && sweep->only_layer < 0) {
        const bl_slice slice = bl_prune_slice_of(&choice);

        rc = bl_slice_bytes(&trial.n_bytes, sweep->ckpt, &slice, err);
    }
    bl_prune_choice_release(&choice);
    if (rc == BL_OK)
        t->trial[t->n++] = trial;
    else
        bl_prune_mask_release(&trial.mask);
    return rc;
}

bl_status bl_prune_trials_add_singles(bl_prune_trials *t, const bl_prune_sweep *sweep,
                                      uint32_t layer, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(sweep->ckpt);
    bl_status rc = BL_OK;

    for (uint32_t e = 0; e < c->n_experts && rc == BL_OK; e++) {
        bool *disabled;

        rc = bl_prune_trials_add(t, sweep, NULL, "single", -1, 0, err);
        if (rc != BL_OK)
            break;
        disabled = t->trial[t->n - 1].mask.disabled + (size_t)layer * c->n_experts;
        disabled[e] = true;
        t->trial[t->n - 1].mask.policy[layer].disabled = disabled;
        t->trial[t->n - 1].without = e;
    }
    return rc;
}

/* [n_texts][1 + n] as the run gives them to the base and to each trial. */
static bl_status deal_out(bl_prune_trials *t, struct bl_err *err)
{
    t->base = bl_calloc(t->n_texts, sizeof(*t->base));
    t->by_trial = bl_calloc(t->n * t->n_texts, sizeof(*t->by_trial));
    if (!t->base || !t->by_trial)
        return bl_fail_nomem(err, "trials");
    for (size_t text = 0; text < t->n_texts; text++) {
        const bl_ppl_result *all = t->all + text * (1 + t->n);

        t->base[text] = all[0];
        for (size_t i = 0; i < t->n; i++)
            t->by_trial[i * t->n_texts + text] = all[1 + i];
    }
    for (size_t i = 0; i < t->n; i++)
        t->trial[i].result = t->by_trial + i * t->n_texts;
    return BL_OK;
}

bl_status bl_prune_trials_run(bl_prune_trials *t, const bl_prune_sweep *sweep,
                              const bl_variants_text *text, size_t n_texts,
                              const bl_ppl_options *options, struct bl_err *err)
{
    const bl_router_policy **policy = bl_calloc(1 + t->n, sizeof(const bl_router_policy *));
    bl_ppl_result *all = bl_calloc(n_texts * (1 + t->n), sizeof(*all));
    const bl_variants variants = {
        .ckpt = sweep->ckpt, .policy = policy, .n = 1 + t->n, .text = text, .n_texts = n_texts
    };
    bl_status rc = policy && all ? BL_OK : bl_fail_nomem(err, "trials");

    for (size_t i = 0; i < t->n && rc == BL_OK; i++)
        policy[1 + i] = t->trial[i].mask.policy; /* the base, as configured, is NULL */
    if (rc == BL_OK)
        rc = bl_variants_run(all, &variants, options, err);
    bl_free(policy);
    if (rc != BL_OK) {
        bl_free(all);
        return rc;
    }
    t->all = all;
    t->n_texts = n_texts;
    return deal_out(t, err);
}

void bl_prune_trials_release(bl_prune_trials *t)
{
    for (size_t i = 0; t->all && i < t->n_texts * (1 + t->n); i++)
        bl_ppl_release(&t->all[i]);
    for (size_t i = 0; i < t->n; i++)
        bl_prune_mask_release(&t->trial[i].mask);
    bl_free(t->trial);
    bl_free(t->base);
    bl_free(t->by_trial);
    bl_free(t->all);
    *t = (bl_prune_trials){ 0 };
}

double bl_prune_trial_kl(const bl_prune_trial *trial, size_t n_texts)
{
    double sum = 0;
    size_t n = 0;

    for (size_t t = 0; t < n_texts; t++) {
        sum += trial->result[t].kl_mean * (double)trial->result[t].n_scored;
        n += trial->result[t].n_scored;
    }
    return sum / (double)n;
}
