/* select.c - see select.h. */
#include "prune/select.h"

#include "base/alloc.h"
#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Groups that each lose the same number. */
static uint32_t groups_of(const bl_config *c, bool ungroup)
{
    return ungroup ? 1 : c->n_group;
}

uint32_t bl_prune_count(const bl_config *c, double ratio, bool ungroup)
{
    const uint32_t n_groups = groups_of(c, ungroup);

    return c->n_experts - n_groups * (uint32_t)floor(ratio * c->n_experts / n_groups + 0.5);
}

bl_status bl_prune_check(const bl_config *c, const bl_prune_order *o, struct bl_err *err)
{
    const uint32_t n_groups = groups_of(c, o->ungroup), n = o->n_experts;
    const uint32_t topk_group = o->ungroup ? 1 : c->topk_group;
    const uint32_t k = o->experts_per_token ? o->experts_per_token : c->n_experts_used;

    if (n > c->n_experts)
        return bl_fail(err, BL_E_USAGE,
                       "the model has %" PRIu32 " experts in a layer, not %" PRIu32, c->n_experts,
                       n);
    if (n % n_groups != 0) {
        const uint32_t below = n / n_groups * n_groups;

        return bl_fail(err, BL_E_USAGE,
                       "the router's %" PRIu32 " groups must stay equal: %" PRIu32 " or %" PRIu32
                       " experts can stay, not %" PRIu32 " (or any number with --ungroup)",
                       n_groups, below > 0 ? below : below + n_groups, below + n_groups, n);
    }
    if (k > c->n_experts_used)
        return bl_fail(err, BL_E_USAGE,
                       "the model was made for %" PRIu32 " experts per token: not for %" PRIu32,
                       c->n_experts_used, k);
    if (k > n && n_groups == 1)
        return bl_fail(err, BL_E_USAGE,
                       "each token needs %" PRIu32 " experts, more than the %" PRIu32
                       " that would stay: keep more, or lower --experts-per-token",
                       k, n);
    if (k > n / n_groups * topk_group)
        return bl_fail(err, BL_E_USAGE,
                       "each token needs %" PRIu32 " experts, of %" PRIu32 " in the %" PRIu32
                       " chosen groups: keep more, lower --experts-per-token, or --ungroup",
                       k, n / n_groups * topk_group, topk_group);
    if (c->router_bias && n_groups > topk_group && n / n_groups < 2)
        return bl_fail(err, BL_E_USAGE,
                       "groups are chosen by their two best experts: at least %" PRIu32
                       " must stay (or --ungroup)",
                       2 * n_groups);
    return BL_OK;
}

/* The better of two experts that are not taken yet: super ones first, then the higher score. */
static bool is_better(const bl_prune_scores *s, size_t a, size_t b)
{
    return s->super[a] != s->super[b] ? s->super[a] : s->score[a] > s->score[b];
}

/* Mark the n best of experts [begin, end) of a layer; row: of the layer's first expert. */
static void take_best(bool *taken, const bl_prune_scores *s, size_t row, uint32_t begin,
                      uint32_t end, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++) {
        uint32_t best = end;

        for (uint32_t e = begin; e < end; e++)
            if (!taken[e] && (best == end || is_better(s, row + e, row + best)))
                best = e;
        taken[best] = true;
    }
}

bl_status bl_prune_select(uint32_t *expert, const bl_config *c, const bl_prune_scores *s,
                          const bl_prune_order *o, struct bl_err *err)
{
    const uint32_t n_groups = groups_of(c, o->ungroup), size = c->n_experts / n_groups;
    bl_status rc = bl_prune_check(c, o, err);
    bool *taken;

    if (rc != BL_OK)
        return rc;
    taken = bl_alloc(c->n_experts, sizeof(*taken));
    if (!taken)
        return bl_fail_nomem(err, "experts");
    for (uint32_t l = 0; l < s->n_layers; l++) {
        uint32_t *out = expert + (size_t)l * o->n_experts;

        if (!bl_config_layer_is_moe(c, l))
            continue;
        memset(taken, 0, c->n_experts * sizeof(*taken));
        for (uint32_t g = 0; g < n_groups; g++)
            take_best(taken, s, (size_t)l * c->n_experts, g * size, (g + 1) * size,
                      o->n_experts / n_groups);
        for (uint32_t e = 0; e < c->n_experts; e++)
            if (taken[e])
                *out++ = e;
    }
    bl_free(taken);
    return BL_OK;
}

/* How far each layer turns the residual stream: angle[n_layers]. */
static bl_status read_angles(double *angle, const bl_config *c, const bl_prune_domain *domain,
                             size_t n_domains, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t d = 0; d < n_domains && rc == BL_OK; d++)
        for (uint32_t l = 0; l < c->n_layers && rc == BL_OK; l++) {
            double sum = 0;
            uint64_t n = 0;

            rc = bl_stats_read_angle(&sum, &n, domain[d].stats, l, err);
            if (rc == BL_OK && n == 0)
                rc = bl_fail(err, BL_E_FORMAT,
                             "%s: does not know how far layer %" PRIu32
                             " turns the residual stream: use statistics of 'baleen calibrate'",
                             bl_stats_path(domain[d].stats), l);
            if (rc == BL_OK)
                angle[l] += domain[d].weight * sum / (double)n;
        }
    return rc;
}

bl_status bl_prune_select_layers(uint32_t *layer, const bl_config *c, uint32_t n_drop,
                                 const bl_prune_domain *domain, size_t n_domains,
                                 struct bl_err *err)
{
    double *angle = bl_calloc(c->n_layers, sizeof(*angle));
    bool *dropped = bl_calloc(c->n_layers, sizeof(*dropped));
    bl_status rc = angle && dropped ? BL_OK : bl_fail_nomem(err, "layers");
    uint32_t n = 0;

    if (rc == BL_OK && n_drop >= c->n_layers)
        rc = bl_fail(err, BL_E_USAGE,
                     "the model has %" PRIu32 " layers: %" PRIu32 " cannot be dropped", c->n_layers,
                     n_drop);
    if (rc == BL_OK && n_drop > 0 && n_domains == 0)
        rc = bl_fail(err, BL_E_USAGE,
                     "--drop-layers needs --stats FILE: which layers do least is measured");
    if (rc == BL_OK && n_drop > 0)
        rc = read_angles(angle, c, domain, n_domains, err);
    for (uint32_t k = 0; k < n_drop && rc == BL_OK; k++) {
        uint32_t least = c->n_layers;

        for (uint32_t l = 0; l < c->n_layers; l++)
            if (!dropped[l] && (least == c->n_layers || angle[l] < angle[least]))
                least = l;
        dropped[least] = true;
    }
    for (uint32_t l = 0; l < c->n_layers && rc == BL_OK; l++)
        if (!dropped[l])
            layer[n++] = l;
    bl_free(angle);
    bl_free(dropped);
    return rc;
}
