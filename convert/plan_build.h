/*
 * plan_build.h - what the two kinds of plan share: growing the array of jobs and asking for
 * encoders. Internal to convert/.
 */
#ifndef BL_CONVERT_PLAN_BUILD_H
#define BL_CONVERT_PLAN_BUILD_H

#include "base/arena.h"
#include "convert/plan.h"

typedef struct bl_plan_memory {
    bl_arena arena;
} bl_plan_memory;

typedef struct bl_plan_builder {
    const bl_ckpt *ckpt;
    bl_choose_fn choose;
    const void *context;
    struct bl_err *err;
    bl_plan_memory *memory;
    bl_plan plan;
    size_t room; /* for jobs */
} bl_plan_builder;

BL_MUST_USE bl_status bl_plan_begin(bl_plan_builder *b);

/*
 * Choose the encoder for one output tensor of this shape, lay out its parts, and append the job.
 * choice->name is copied.
 */
BL_MUST_USE bl_status bl_plan_add(bl_plan_builder *b, const bl_job *job, const bl_choice *choice,
                                  uint32_t ndim, const uint64_t *dim);

/* Collect the stored tensors and hand the plan over; on failure (rc), release everything. */
BL_MUST_USE bl_status bl_plan_end(bl_plan *out, bl_plan_builder *b, bl_status rc);

#endif
