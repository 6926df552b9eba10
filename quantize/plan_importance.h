/*
 * plan_importance.h - tell the jobs of a plan what meets their columns, out of calibration
 * statistics (quantize/importance.h).
 */
#ifndef BL_QUANTIZE_PLAN_IMPORTANCE_H
#define BL_QUANTIZE_PLAN_IMPORTANCE_H

#include "convert/job.h"
#include "quantize/importance.h"

/* Where importance comes from; borrowed by the plan for as long as it runs. */
typedef struct bl_plan_importance {
    const bl_stats *stats;
    const bl_config *config;
    uint64_t n_values, n_known; /* of the linear tensors: all, and those whose input was measured */
} bl_plan_importance;

/*
 * Set job[i].importance of every linear tensor whose input was measured. Norms, biases, routers and
 * what the statistics do not know are left alone. Fails as bl_importance_of_tensor() does.
 */
BL_MUST_USE bl_status bl_plan_set_importance(bl_plan *plan, bl_plan_importance *from,
                                             struct bl_err *err);

#endif
