/*
 * choice.h - which experts and layers of a checkpoint stay: as a slice, to be written, and as masks of its
 * routers, to see what that would do before it is written. Both give the same network.
 */
#ifndef BL_PRUNE_CHOICE_H
#define BL_PRUNE_CHOICE_H

#include "formats/slice/slice.h"
#include "model/op_router.h"
#include "prune/select.h"

typedef struct bl_prune_choice {
    bl_prune_order order;
    const char *method; /* borrowed */
    uint32_t n_layers;
    uint32_t *layer;  /* [n_layers] that stay, ascending; without MTP layers */
    uint32_t *expert; /* [all layers][order.n_experts] */
    bool keeps_mtp;
} bl_prune_choice;

/*
 * By these scores (NULL: all experts stay), and without the n_drop layers that do least. Fails as
 * bl_prune_select() and bl_prune_select_layers() do. The caller releases it.
 */
BL_MUST_USE bl_status bl_prune_choose(bl_prune_choice *out, const bl_config *config,
                                      const bl_prune_scores *scores, const bl_prune_order *order,
                                      uint32_t n_drop, const bl_prune_domain *domain,
                                      size_t n_domains, struct bl_err *err);
void bl_prune_choice_release(bl_prune_choice *choice); /* zeroed is allowed */

/* Borrows from the choice. */
bl_slice bl_prune_slice_of(const bl_prune_choice *choice);

/* Policies of all layers, and what they point to. */
typedef struct bl_prune_mask {
    bl_router_policy *policy; /* [config->n_layers] */
    bool *disabled;           /* [config->n_layers][config->n_experts] */
} bl_prune_mask;

/* only_layer: experts of this layer only are masked; -1: of all. */
BL_MUST_USE bl_status bl_prune_mask_of(bl_prune_mask *out, const bl_config *config,
                                       const bl_prune_choice *choice, int64_t only_layer,
                                       struct bl_err *err);
void bl_prune_mask_release(bl_prune_mask *mask);

#endif
