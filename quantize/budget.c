/* budget.c - hulls, steps in the order of gain, fill. */
#include "quantize/budget.h"

#include "base/alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* From one corner of an item's hull to the next. */
struct step {
    size_t item;
    uint32_t to; /* choice */
    uint64_t bytes;
    double gain; /* S (e - e') > 0 */
    size_t order;
};

static double loss_of(const bl_budget_item *item, uint32_t choice)
{
    return item->sensitivity * item->choice[choice].error;
}

/* Whether the step a gains less for a byte than b: a.gain / a.bytes < b.gain / b.bytes. */
static bool gains_less(const struct step *a, const struct step *b)
{
    return a->gain * (double)b->bytes < b->gain * (double)a->bytes;
}

static int compare_steps(const void *left, const void *right)
{
    const struct step *a = left, *b = right;

    if (gains_less(a, b))
        return 1;
    if (gains_less(b, a))
        return -1;
    return a->order < b->order ? -1 : 1;
}

/* The choice of least bytes, of those the one of least loss. */
static uint32_t least(const bl_budget_item *item)
{
    uint32_t best = 0;

    for (uint32_t q = 1; q < item->n_choices; q++)
        if (item->choice[q].bytes < item->choice[best].bytes ||
            (item->choice[q].bytes == item->choice[best].bytes &&
             loss_of(item, q) < loss_of(item, best)))
            best = q;
    return best;
}

/* From choice `from`, the step that gains most for a byte within `room`; false when none gains. */
static bool best_step(struct step *out, const bl_budget_item *item, uint32_t from, uint64_t room)
{
    bool found = false;

    for (uint32_t q = 0; q < item->n_choices; q++) {
        const uint64_t have = item->choice[from].bytes, want = item->choice[q].bytes;
        struct step s = { .to = q, .bytes = want - have };

        s.gain = loss_of(item, from) - loss_of(item, q);
        if (want <= have || s.bytes > room || !(s.gain > 0))
            continue;
        /* of equal gains a byte the longest step, so that a hull has no corner on an edge */
        if (!found || gains_less(out, &s) || (!gains_less(&s, out) && s.bytes > out->bytes))
            *out = s;
        found = true;
    }
    return found;
}

/* The steps along all hulls, most gain for a byte first. */
static size_t make_steps(struct step *step, const bl_budget_item *item, size_t n)
{
    size_t n_steps = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t at = item[i].chosen;

        while (best_step(&step[n_steps], &item[i], at, UINT64_MAX)) {
            step[n_steps].item = i;
            step[n_steps].order = n_steps;
            at = step[n_steps++].to;
        }
    }
    qsort(step, n_steps, sizeof(*step), compare_steps);
    return n_steps;
}

/* Steps in order while they fit; the bound is what a part of the first that does not would give. */
static void take_steps(bl_budget_result *r, bl_budget_item *item, const struct step *step,
                       size_t n_steps, uint64_t bytes)
{
    size_t i = 0;

    for (; i < n_steps && step[i].bytes <= bytes - r->bytes; i++) {
        item[step[i].item].chosen = step[i].to;
        r->bytes += step[i].bytes;
        r->loss -= step[i].gain;
    }
    r->bound = r->loss;
    if (i < n_steps)
        r->bound -= step[i].gain * ((double)(bytes - r->bytes) / (double)step[i].bytes);
}

/* Whatever single change still fits and gains most for a byte, until none does. */
static void fill(bl_budget_result *r, bl_budget_item *item, size_t n, uint64_t bytes)
{
    for (;;) {
        struct step best = { 0 }, s = { 0 };
        bool found = false;

        for (size_t i = 0; i < n; i++) {
            if (!best_step(&s, &item[i], item[i].chosen, bytes - r->bytes) ||
                (found && !gains_less(&best, &s)))
                continue;
            best = s;
            best.item = i;
            found = true;
        }
        if (!found)
            return;
        item[best.item].chosen = best.to;
        r->bytes += best.bytes;
    }
}

static double total_loss(const bl_budget_item *item, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += loss_of(&item[i], item[i].chosen);
    return sum;
}

bl_status bl_budget_solve(bl_budget_result *out, bl_budget_item *item, size_t n, uint64_t bytes,
                          struct bl_err *err)
{
    bl_budget_result r = { 0 };
    struct step *step;

    for (size_t i = 0; i < n; i++) {
        assert(item[i].n_choices > 0 && item[i].n_choices <= BL_BUDGET_MAX_CHOICES);
        item[i].chosen = least(&item[i]);
        r.bytes += item[i].choice[item[i].chosen].bytes;
    }
    if (r.bytes > bytes)
        return bl_fail(err, BL_E_USAGE,
                       "the smallest types need %" PRIu64 " bytes, %" PRIu64 " are left for them",
                       r.bytes, bytes);
    step = bl_alloc(n * BL_BUDGET_MAX_CHOICES + 1, sizeof(*step));
    if (!step)
        return bl_fail_nomem(err, "bit budget");
    r.loss = total_loss(item, n);
    take_steps(&r, item, step, make_steps(step, item, n), bytes);
    bl_free(step);
    fill(&r, item, n, bytes);
    r.loss = total_loss(item, n);
    *out = r;
    return BL_OK;
}
