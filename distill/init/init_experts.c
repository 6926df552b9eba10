/*
 * init_experts.c - which experts become part of a dense FFN, and by what their outputs are multiplied.
 *
 * A layer with experts adds the sum of g_e E_e(x) over the experts that x chose; the dense one adds the sum of
 * s_e E_e(x) over those that were kept, whatever x is. With outputs of different experts uncorrelated and as
 * large where they were not chosen, the squared error is least for s_e = E[g_e], g_e = 0 where e was not chosen:
 * BL_SCALE_EXPECTED. It leaves out what the dropped experts add; BL_SCALE_SHARE makes up for their weight.
 * BL_SCALE_MEAN (arXiv 2605.28207) is right for tokens that chose just these, and too much for all others.
 */
#include "base/alloc.h"
#include "base/size.h"
#include "distill/init/init_plan.h"
#include "prune/select.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const scale_names[BL_SCALE_COUNT] = { [BL_SCALE_MEAN] = "mean",
                                                         [BL_SCALE_EXPECTED] = "expected",
                                                         [BL_SCALE_SHARE] = "share",
                                                         [BL_SCALE_ONE] = "one" };

const char *bl_init_scale_name(bl_init_scale scale)
{
    return scale_names[scale];
}

bool bl_init_scale_by_name(bl_init_scale *out, const char *name)
{
    for (int i = 0; i < BL_SCALE_COUNT; i++)
        if (strcmp(scale_names[i], name) == 0) {
            *out = (bl_init_scale)i;
            return true;
        }
    return false;
}

bool bl_init_has_experts(const bl_init_plan *plan, uint32_t l)
{
    return bl_config_layer_is_moe(bl_ckpt_config(plan->teacher), plan->cut->layer[l]);
}

uint64_t bl_init_shared_width(const bl_init_plan *plan)
{
    return bl_arch_dim(bl_ckpt_config(plan->teacher), BL_DIM_SHARED_FFN);
}

/* Tokens that the statistics of a layer are of. */
static bl_status count_tokens(uint64_t *out, const bl_stats *stats, uint32_t layer,
                              struct bl_err *err)
{
    *out = bl_stats_info_of(stats)->n_tokens;
    if (bl_stats_shape_of(stats, BL_SITE_FFN_INPUT, layer).n_rows == 0)
        return BL_OK;
    return bl_stats_read(NULL, out, stats, BL_SITE_FFN_INPUT, layer, 0, 1, err);
}

/* Sums over a layer: of weights and of tokens, of all experts and of the kept ones. */
struct sums {
    double gate, kept_gate, n;
    double kept_mean; /* of the kept experts' mean weights */
    uint64_t n_tokens;
};

static double mean_of(const bl_stats_saliency *s, const struct sums *sums)
{
    /* one that no token chose is like the others */
    return s->n > 0 ? s->gate / (double)s->n : sums->gate / sums->n;
}

static double scale_of(bl_init_scale scale, const bl_stats_saliency *s, const struct sums *sums)
{
    const double n = (double)sums->n_tokens;

    if (scale == BL_SCALE_MEAN)
        return mean_of(s, sums);
    if (scale == BL_SCALE_SHARE && sums->kept_gate > 0)
        return s->gate / sums->kept_gate * fmin(sums->gate / n, sums->kept_mean);
    return s->gate / n;
}

/* Scales of the kept experts of a layer. */
static bl_status set_scales(float *scale, const bl_init_plan *plan, uint32_t layer,
                            const uint32_t *expert, bl_stats_saliency *s, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    const uint32_t n_experts = bl_ckpt_config(plan->teacher)->n_experts;
    struct sums sums = { 0 };
    bl_status rc;

    if (!bl_stats_has_saliency(cut->stats, layer))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: has no router weights of layer %" PRIu32
                       ": use statistics of 'baleen calibrate'",
                       bl_stats_path(cut->stats), layer);
    rc = bl_stats_read_saliency(s, cut->stats, layer, err);
    if (rc == BL_OK)
        rc = count_tokens(&sums.n_tokens, cut->stats, layer, err);
    if (rc != BL_OK)
        return rc;
    for (uint32_t e = 0; e < n_experts; e++) {
        sums.gate += s[e].gate;
        sums.n += (double)s[e].n;
    }
    if (!(sums.n > 0) || sums.n_tokens == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: layer %" PRIu32 " has met no token",
                       bl_stats_path(cut->stats), layer);
    for (uint32_t k = 0; k < cut->n_experts; k++) {
        sums.kept_gate += s[expert[k]].gate;
        sums.kept_mean += mean_of(&s[expert[k]], &sums);
    }
    for (uint32_t k = 0; k < cut->n_experts; k++)
        scale[k] = (float)scale_of(cut->scale, &s[expert[k]], &sums);
    return BL_OK;
}

/* The experts that stay, by layers of the teacher: best[its layers][cut->n_experts]. */
static bl_status select_experts(uint32_t **best, const bl_init_plan *plan, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    const bl_config *c = bl_ckpt_config(plan->teacher);
    const bl_prune_domain domain = { cut->stats, 1 };
    const bl_prune_order order = { .n_experts = cut->n_experts,
                                   .ungroup = true,
                                   .experts_per_token = cut->n_experts < c->n_experts_used
                                                            ? cut->n_experts
                                                            : c->n_experts_used };
    bl_prune_scores scores = { 0 };
    bl_status rc = bl_prune_score(&scores, plan->teacher, cut->method, &domain, cut->stats ? 1 : 0,
                                  cut->seed, cut->n_threads, err);

    if (rc != BL_OK)
        return rc;
    *best = bl_calloc((size_t)scores.n_layers * cut->n_experts, sizeof(**best));
    rc = *best ? bl_prune_select(*best, c, &scores, &order, err) : bl_fail_nomem(err, "experts");
    bl_prune_scores_release(&scores);
    return rc;
}

static bl_status check(const bl_init_plan *plan, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    const bl_config *c = bl_ckpt_config(plan->teacher);

    if (cut->n_experts > c->n_experts)
        return bl_fail(err, BL_E_USAGE,
                       "--experts: the teacher has %" PRIu32 " in a layer, not %" PRIu32,
                       c->n_experts, cut->n_experts);
    if (!cut->stats && cut->scale != BL_SCALE_ONE)
        return bl_fail(err, BL_E_USAGE,
                       "--scale %s wants router weights, measured by 'baleen calibrate': --stats "
                       "FILE (or --scale one)",
                       bl_init_scale_name(cut->scale));
    return BL_OK;
}

bl_status bl_init_choose_experts(bl_init_plan *plan, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    const size_t k = cut->n_experts;
    bl_stats_saliency *saliency;
    uint32_t *best = NULL;
    bl_status rc = check(plan, err);

    if (rc == BL_OK)
        rc = select_experts(&best, plan, err);
    plan->expert = bl_calloc(cut->n_layers * k, sizeof(*plan->expert));
    plan->scale = bl_calloc(cut->n_layers * k, sizeof(*plan->scale));
    saliency = bl_calloc(bl_ckpt_config(plan->teacher)->n_experts, sizeof(*saliency));
    if (rc == BL_OK && (!plan->expert || !plan->scale || !saliency))
        rc = bl_fail_nomem(err, "experts");
    for (uint32_t l = 0; l < cut->n_layers && rc == BL_OK; l++) {
        if (!bl_init_has_experts(plan, l))
            continue;
        memcpy(plan->expert + l * k, best + cut->layer[l] * k, k * sizeof(*best));
        for (size_t i = 0; i < k; i++)
            plan->scale[l * k + i] = 1;
        if (cut->scale != BL_SCALE_ONE)
            rc = set_scales(plan->scale + l * k, plan, cut->layer[l], plan->expert + l * k,
                            saliency, err);
    }
    bl_free(saliency);
    bl_free(best);
    return rc;
}
