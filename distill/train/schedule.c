/* schedule.c - learning rates; see schedule.h. */
#include "distill/train/schedule.h"

#include <math.h>
#include <string.h>

static const char *const kind_name[] = { "cosine", "wsd", "constant" };

const char *bl_schedule_kind_name(bl_schedule_kind kind)
{
    return kind_name[kind];
}

bool bl_schedule_kind_by_name(bl_schedule_kind *out, const char *name)
{
    for (size_t i = 0; i < sizeof(kind_name) / sizeof(*kind_name); i++)
        if (strcmp(kind_name[i], name) == 0) {
            *out = (bl_schedule_kind)i;
            return true;
        }
    return false;
}

/* From lr at 0 to the floor at 1. */
static double cosine_at(const bl_schedule *s, double done)
{
    return s->floor + (s->lr - s->floor) * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

double bl_schedule_lr(const bl_schedule *s, uint64_t step)
{
    const double n_decay = round(s->decay * (double)s->n_steps);
    double left;

    if (step >= s->n_steps)
        step = s->n_steps > 0 ? s->n_steps - 1 : 0;
    left = (double)(s->n_steps - step); /* this step and those behind it */
    if (step < s->n_warmup)
        return s->lr * (double)(step + 1) / (double)s->n_warmup;
    switch (s->kind) {
    case BL_SCHEDULE_COSINE:
        return cosine_at(s, (double)(step - s->n_warmup) / (double)(s->n_steps - s->n_warmup));
    case BL_SCHEDULE_WSD:
        return left >= n_decay ? s->lr : s->floor + (s->lr - s->floor) * left / n_decay;
    case BL_SCHEDULE_CONSTANT:
        break;
    }
    return s->lr;
}
