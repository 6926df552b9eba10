/*
 * schedule.h - how large each step is: up from nothing, then down by one of three ways.
 *
 * Warm-up is linear and arrives at lr with its last step. Then:
 *     cosine     half a cosine down to the floor, which the step behind the last one would have
 *                (arXiv 1608.03983)
 *     wsd        lr, and over the last share of all steps down a line to the floor: warm-up, stable,
 *                decay (arXiv 2404.06395)
 *     constant   lr
 */
#ifndef BL_DISTILL_SCHEDULE_H
#define BL_DISTILL_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum bl_schedule_kind {
    BL_SCHEDULE_COSINE,
    BL_SCHEDULE_WSD,
    BL_SCHEDULE_CONSTANT
} bl_schedule_kind;

typedef struct bl_schedule {
    bl_schedule_kind kind;
    double lr, floor;
    uint64_t n_steps, n_warmup;
    double decay; /* wsd: share of all steps */
} bl_schedule;

const char *bl_schedule_kind_name(bl_schedule_kind kind);
bool bl_schedule_kind_by_name(bl_schedule_kind *out, const char *name);

/* Of step 0, 1, ... n_steps - 1; past the end that of the last. */
double bl_schedule_lr(const bl_schedule *schedule, uint64_t step);

#endif
