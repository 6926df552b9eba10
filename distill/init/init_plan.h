/*
 * init_plan.h - how a teacher is cut: what init_experts.c and init_width.c choose, and init_cut.c carries out.
 * Internal to distill/.
 */
#ifndef BL_DISTILL_INIT_PLAN_H
#define BL_DISTILL_INIT_PLAN_H

#include "base/text.h"
#include "distill/init/init.h"

typedef struct bl_init_plan {
    const bl_ckpt *teacher;
    const bl_init_cut *cut;
    uint64_t *width;  /* [cut->n_layers] channels of the FFN before any goes */
    uint64_t widest;  /* of them */
    uint32_t *expert; /* [cut->n_layers][cut->n_experts] ascending; NULL: no layer has any */
    float *scale;     /* the same */
    uint32_t *hidden; /* [cut->hidden] channels that stay, ascending; NULL: all */
    uint32_t **inner; /* [cut->n_layers], each [cut->intermediate] or NULL: all */
    float *
        norm; /* [2 * cut->n_layers + 1]: of attention and FFN of each layer, and the last; NULL: 1 */
} bl_init_plan;

/* Whether layer l of the student is made of experts. */
bool bl_init_has_experts(const bl_init_plan *plan, uint32_t l);

/* Channels of the shared expert, which are the first of such a layer; 0: there is none. */
uint64_t bl_init_shared_width(const bl_init_plan *plan);

/* Choose the experts and their scales. */
BL_MUST_USE bl_status bl_init_choose_experts(bl_init_plan *plan, struct bl_err *err);

/* Choose channels; whole: the student with all of them. */
BL_MUST_USE bl_status bl_init_choose_channels(bl_init_plan *plan, const bl_ckpt *whole,
                                              struct bl_err *err);

/* By what the values of a norm of the residual stream are multiplied. */
float bl_init_norm_scale(const bl_init_plan *plan, const bl_arch_row *row, uint32_t l);

/* Append the student's config.json. */
BL_MUST_USE bl_status bl_init_cut_config(bl_text *out, const bl_init_plan *plan, uint64_t hidden,
                                         uint64_t intermediate, struct bl_err *err);

#endif
