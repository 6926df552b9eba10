/* choice.c - see choice.h. */
#include "prune/choice.h"

#include "base/alloc.h"

#include <string.h>

void bl_prune_choice_release(bl_prune_choice *choice)
{
    bl_free(choice->layer);
    bl_free(choice->expert);
    *choice = (bl_prune_choice){ 0 };
}

bl_status bl_prune_choose(bl_prune_choice *out, const bl_config *c, const bl_prune_scores *scores,
                          const bl_prune_order *order, uint32_t n_drop,
                          const bl_prune_domain *domain, size_t n_domains, struct bl_err *err)
{
    const uint32_t n_all = c->n_layers + c->n_mtp_layers, n = order->n_experts;
    bl_prune_choice choice = { .order = *order, .method = "none", .keeps_mtp = true };
    bl_status rc = BL_OK;

    choice.n_layers = n_drop < c->n_layers ? c->n_layers - n_drop : 0;
    choice.layer = bl_alloc(c->n_layers, sizeof(*choice.layer));
    choice.expert = bl_calloc((size_t)n_all * n, sizeof(*choice.expert));
    if (!choice.layer || !choice.expert)
        rc = bl_fail_nomem(err, "experts");
    if (rc == BL_OK)
        rc = bl_prune_select_layers(choice.layer, c, n_drop, domain, n_domains, err);
    if (rc == BL_OK && scores)
        rc = bl_prune_select(choice.expert, c, scores, order, err);
    else if (rc == BL_OK && c->n_experts > 0)
        rc = bl_prune_check(c, order, err);
    for (size_t i = 0; !scores && i < (size_t)n_all * n; i++)
        choice.expert[i] = (uint32_t)(i % n);
    if (rc == BL_OK)
        *out = choice;
    else
        bl_prune_choice_release(&choice);
    return rc;
}

bl_slice bl_prune_slice_of(const bl_prune_choice *choice)
{
    return (bl_slice){ .n_layers = choice->n_layers,
                       .layer = choice->layer,
                       .keeps_mtp = choice->keeps_mtp,
                       .n_experts = choice->order.n_experts,
                       .expert = choice->expert,
                       .ungroup = choice->order.ungroup,
                       .experts_per_token = choice->order.experts_per_token,
                       .method = choice->method };
}

void bl_prune_mask_release(bl_prune_mask *mask)
{
    bl_free(mask->policy);
    bl_free(mask->disabled);
    *mask = (bl_prune_mask){ 0 };
}

bl_status bl_prune_mask_of(bl_prune_mask *out, const bl_config *c, const bl_prune_choice *choice,
                           int64_t only_layer, struct bl_err *err)
{
    const uint32_t n = choice->order.n_experts;
    bl_prune_mask mask = { bl_calloc(c->n_layers, sizeof(*mask.policy)),
                           bl_calloc((size_t)c->n_layers * c->n_experts, sizeof(*mask.disabled)) };
    uint32_t next = 0;

    if (!mask.policy || !mask.disabled) {
        bl_prune_mask_release(&mask);
        return bl_fail_nomem(err, "experts");
    }
    for (uint32_t l = 0; l < c->n_layers; l++) {
        const bool stays = next < choice->n_layers && choice->layer[next] == l;
        bool *disabled = mask.disabled + (size_t)l * c->n_experts;

        next += stays;
        mask.policy[l] = (bl_router_policy){ .experts_per_token = choice->order.experts_per_token,
                                             .ungrouped = choice->order.ungroup,
                                             .skipped = !stays };
        if (n == c->n_experts || !bl_config_layer_is_moe(c, l) ||
            (only_layer >= 0 && l != only_layer))
            continue;
        memset(disabled, true, c->n_experts * sizeof(*disabled));
        for (uint32_t i = 0; i < n; i++)
            disabled[choice->expert[(size_t)l * n + i]] = false;
        mask.policy[l].disabled = disabled;
    }
    *out = mask;
    return BL_OK;
}
