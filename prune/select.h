/*
 * select.h - which experts and layers stay, by the rules of the router.
 *
 * The same number in every layer, as configurations and engines know one number only. With routing limited to
 * groups the same number in every group of neighbouring experts, so that they stay groups (llm-compressor's
 * rule); or freely, for a router that is ungrouped. Super experts first, then by score; among equals the
 * lower number.
 */
#ifndef BL_PRUNE_SELECT_H
#define BL_PRUNE_SELECT_H

#include "prune/criteria.h"

/* What is asked for. */
typedef struct bl_prune_order {
    uint32_t n_experts;         /* that stay in each layer */
    bool ungroup;               /* the router will have one group */
    uint32_t experts_per_token; /* 0: as configured */
} bl_prune_order;

/*
 * Experts that stay when a share of them goes: what goes is rounded to whole experts, in every group where the
 * router has groups. 0 <= ratio < 1.
 */
uint32_t bl_prune_count(const bl_config *config, double ratio, bool ungroup);

/* BL_E_USAGE, with what would be possible, when no router could work with what is left. */
BL_MUST_USE bl_status bl_prune_check(const bl_config *config, const bl_prune_order *order,
                                     struct bl_err *err);

/* expert[scores->n_layers][order->n_experts], ascending; rows of dense layers are left alone. */
BL_MUST_USE bl_status bl_prune_select(uint32_t *expert, const bl_config *config,
                                      const bl_prune_scores *scores, const bl_prune_order *order,
                                      struct bl_err *err);

/*
 * layer[config->n_layers - n_drop], ascending: without those n_drop layers that turn the residual stream least
 * (mean angle of input and output, weighted over the domains; ShortGPT, arXiv 2403.03853, by angles).
 * BL_E_USAGE when none would be left, BL_E_FORMAT for statistics without angles.
 */
BL_MUST_USE bl_status bl_prune_select_layers(uint32_t *layer, const bl_config *config,
                                             uint32_t n_drop, const bl_prune_domain *domain,
                                             size_t n_domains, struct bl_err *err);

#endif
