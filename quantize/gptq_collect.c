/* gptq_collect.c - see gptq_collect.h. */
#include "quantize/gptq_collect.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>

enum { MAX_SITES = 6, NOBODY = -1 };

/* An input of the layer that no expert's is, and who meets it. */
struct site {
    bl_tap tap;
    bl_hessian h;
    const bl_gptq_item *item[BL_GPTQ_GROUP_MAX];
    size_t n_items; /* 0: only H is wanted */
};

struct bl_gptq_collect {
    bl_gptq_how how;
    const bl_gptq_item *item, *end; /* experts' items that are still to come, and the end */
    struct site site[MAX_SITES];    /* attention's, then the FFN's */
    size_t n_sites, n_done;
    bool has_experts;
    bl_hessian input, inner; /* of the current expert */
    int32_t expert;          /* whose inputs these are, or NOBODY */
    bl_gptq_factor shared;   /* of the layer's H, where it is shared */
    bl_gptq_batch batch;
    bl_gptq_take_fn take;
    void *context;
};

static bool is_ffn(bl_tap tap)
{
    return tap == BL_TAP_FFN_INPUT || tap == BL_TAP_FFN_INNER;
}

/* Items from `item` (before `end`) on that meet the same input, to list; how many. */
static size_t find_group(const bl_gptq_item **list, const bl_gptq_item *item,
                         const bl_gptq_item *end)
{
    size_t n = 1;

    list[0] = item;
    while (item + n < end && n < BL_GPTQ_GROUP_MAX && item[n].expert == item->expert &&
           item[n].tap == item->tap && item[n].layer == item->layer) {
        list[n] = item + n;
        n++;
    }
    return n;
}

static struct site *find_site(bl_gptq_collect *c, bl_tap tap)
{
    for (size_t i = 0; i < c->n_sites; i++)
        if (c->site[i].tap == tap)
            return &c->site[i];
    return NULL;
}

static bl_status add_site(bl_gptq_collect *c, bl_tap tap, size_t n_cols, struct bl_err *err)
{
    struct site *s = &c->site[c->n_sites];
    bl_status rc;

    assert(c->n_sites < MAX_SITES);
    *s = (struct site){ .tap = tap };
    rc = bl_hessian_init(&s->h, n_cols, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, err);
    if (rc == BL_OK)
        c->n_sites++;
    return rc;
}

/* Sites of the layer's items [item, end), experts' aside; the experts' range in c. */
static bl_status add_sites(bl_gptq_collect *c, const bl_gptq_item *item, const bl_gptq_item *end,
                           struct bl_err *err)
{
    bl_status rc = BL_OK;

    c->item = c->end = end;
    while (item < end && rc == BL_OK) {
        const bl_gptq_item *list[BL_GPTQ_GROUP_MAX];
        size_t n = find_group(list, item, end);

        if (item->expert >= 0) {
            c->item = c->item == end ? item : c->item;
            if (!find_site(c, BL_TAP_FFN_INPUT) && item->tap == BL_TAP_EXPERT_INPUT)
                rc = add_site(c, BL_TAP_FFN_INPUT, item->n_cols, err); /* H of the layer */
            c->end = item + n;
        } else {
            struct site *s = find_site(c, item->tap);

            if (!s)
                rc = add_site(c, item->tap, item->n_cols, err);
            s = rc == BL_OK ? find_site(c, item->tap) : NULL;
            for (size_t i = 0; i < n && s; i++)
                s->item[s->n_items++] = list[i];
        }
        item += n;
    }
    c->has_experts = c->item < c->end;
    return rc;
}

/* Where one expert's inputs are gathered. */
static bl_status add_expert_sites(bl_gptq_collect *c, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (const bl_gptq_item *i = c->item; i < c->end && rc == BL_OK; i++) {
        if (i->tap == BL_TAP_EXPERT_INPUT && !c->input.n_cols)
            rc = bl_hessian_init(&c->input, i->n_cols,
                                 BL_HESSIAN_HOLD | (c->how.shared_hessian ? 0 : BL_HESSIAN_SUM),
                                 err);
        if (i->tap == BL_TAP_FFN_INNER && !c->inner.n_cols)
            rc = bl_hessian_init(&c->inner, i->n_cols, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, err);
    }
    return rc;
}

bl_status bl_gptq_collect_begin(bl_gptq_collect **out, const bl_gptq_items *items, uint32_t layer,
                                const bl_gptq_how *how, bl_gptq_take_fn take, void *context,
                                struct bl_err *err)
{
    bl_gptq_collect *c = bl_calloc(1, sizeof(*c));
    bl_status rc;

    if (!c)
        return bl_fail_nomem(err, "a layer's inputs");
    c->how = *how;
    c->take = take;
    c->context = context;
    c->expert = NOBODY;
    rc =
        add_sites(c, items->item + items->first[layer], items->item + items->first[layer + 1], err);
    if (rc == BL_OK)
        rc = bl_gptq_batch_init(&c->batch, 2 * how->batch_experts, how->n_threads, err);
    if (rc == BL_OK)
        *out = c;
    else
        bl_gptq_collect_free(c);
    return rc;
}

void bl_gptq_collect_free(bl_gptq_collect *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_sites; i++)
        bl_hessian_release(&c->site[i].h);
    bl_hessian_release(&c->input);
    bl_hessian_release(&c->inner);
    bl_gptq_factor_release(&c->shared);
    bl_gptq_batch_release(&c->batch);
    bl_free(c);
}

static bl_status run_batch(bl_gptq_collect *c, struct bl_err *err)
{
    return c->batch.n_groups > 0 ? bl_gptq_batch_run(&c->batch, c->take, c->context, err) : BL_OK;
}

/* A site that has met everything: quantize who meets it. */
static bl_status finish_site(bl_gptq_collect *c, struct site *s, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (s->n_items > 0) {
        rc = bl_hessian_finish(&s->h, c->how.n_threads, err);
        if (rc == BL_OK)
            rc = bl_gptq_batch_add(&c->batch, s->item, s->n_items, &s->h, NULL, NULL, err);
        if (rc == BL_OK)
            rc = run_batch(c, err);
    }
    bl_hessian_release(&s->h);
    return rc;
}

/* Attention's sites, in order; they come before the FFN's. */
static bl_status finish_attention(bl_gptq_collect *c, struct bl_err *err)
{
    bl_status rc = BL_OK;

    while (c->n_done < c->n_sites && !is_ffn(c->site[c->n_done].tap) && rc == BL_OK)
        rc = finish_site(c, &c->site[c->n_done++], err);
    return rc;
}

static const bl_hessian *layer_of(bl_gptq_collect *c)
{
    struct site *s = find_site(c, BL_TAP_FFN_INPUT);

    return s ? &s->h : NULL;
}

/* All tokens have passed the router: H of the layer is complete. */
static bl_status begin_experts(bl_gptq_collect *c, struct bl_err *err)
{
    struct site *s = find_site(c, BL_TAP_FFN_INPUT);
    bl_status rc = add_expert_sites(c, err);
    int tries = 0;

    if (rc == BL_OK && s)
        rc = bl_hessian_finish(&s->h, c->how.n_threads, err);
    if (rc != BL_OK || !c->how.shared_hessian || !s)
        return rc;
    rc = bl_gptq_factor_init(&c->shared, s->h.n_cols, err);
    if (rc == BL_OK)
        rc = bl_gptq_factor_set(&c->shared, &s->h, NULL, 0, c->how.n_threads, err);
    if (rc == BL_OK)
        rc = bl_gptq_factor_make(&tries, &c->shared, bl_hessian_damping(s->h.n_seen, s->h.n_cols),
                                 c->how.n_threads, err);
    if (rc == BL_OK && tries == 0)
        bl_gptq_factor_release(&c->shared);
    return rc;
}

/* The next group of an expert, which met h (NULL: nothing). */
static bl_status add_group(bl_gptq_collect *c, const bl_hessian *h, struct bl_err *err)
{
    const bl_gptq_item *list[BL_GPTQ_GROUP_MAX];
    const size_t n = find_group(list, c->item, c->end);
    const bool is_input = c->item->tap == BL_TAP_EXPERT_INPUT;
    const bl_gptq_factor *shared = is_input && c->shared.n > 0 ? &c->shared : NULL;
    bl_status rc = BL_OK;

    if (c->batch.n_groups == c->batch.max_groups)
        rc = run_batch(c, err);
    if (rc == BL_OK)
        rc = bl_gptq_batch_add(&c->batch, list, n, h, is_input ? layer_of(c) : NULL, shared, err);
    c->item += n;
    return rc;
}

/* Experts before `expert` that no token chose; up to the end: expert INT32_MAX. */
static bl_status add_starved(bl_gptq_collect *c, int32_t expert, struct bl_err *err)
{
    bl_status rc = BL_OK;

    while (c->item < c->end && c->item->expert < expert && rc == BL_OK)
        rc = add_group(c, NULL, err);
    return rc;
}

/* The current expert has met everything. */
static bl_status close_expert(bl_gptq_collect *c, struct bl_err *err)
{
    const int32_t expert = c->expert;
    bl_status rc = BL_OK;

    if (expert == NOBODY)
        return BL_OK;
    c->expert = NOBODY;
    if (c->input.n_cols)
        rc = bl_hessian_finish(&c->input, c->how.n_threads, err);
    if (rc == BL_OK && c->inner.n_cols)
        rc = bl_hessian_finish(&c->inner, c->how.n_threads, err);
    if (rc == BL_OK)
        rc = add_starved(c, expert, err);
    while (c->item < c->end && c->item->expert == expert && rc == BL_OK)
        rc = add_group(c, c->item->tap == BL_TAP_EXPERT_INPUT ? &c->input : &c->inner, err);
    if (c->input.n_cols)
        bl_hessian_reset(&c->input);
    if (c->inner.n_cols)
        bl_hessian_reset(&c->inner);
    return rc;
}

static bl_status finish_experts(bl_gptq_collect *c, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!c->has_experts)
        return BL_OK;
    c->has_experts = false;
    if (c->expert == NOBODY) /* a layer whose experts no token chose */
        rc = begin_experts(c, err);
    if (rc == BL_OK)
        rc = close_expert(c, err);
    if (rc == BL_OK)
        rc = add_starved(c, INT32_MAX, err);
    if (rc == BL_OK)
        rc = run_batch(c, err);
    bl_hessian_release(&c->input);
    bl_hessian_release(&c->inner);
    bl_gptq_factor_release(&c->shared);
    return rc;
}

/* Rows of an expert's input or of its inner activation. */
static bl_status see_expert(bl_gptq_collect *c, const bl_activation *a, struct bl_err *err)
{
    bl_hessian *h = a->tap == BL_TAP_EXPERT_INPUT ? &c->input : &c->inner;
    bl_status rc = BL_OK;

    if (!c->has_experts)
        return BL_OK;
    if (a->expert != c->expert) {
        rc = c->expert == NOBODY && !h->n_cols ? begin_experts(c, err) : close_expert(c, err);
        c->expert = a->expert;
    }
    return rc == BL_OK && h->n_cols
               ? bl_hessian_add(h, a->value, a->ld, a->n_rows, c->how.n_threads, err)
               : rc;
}

static bl_status see(void *context, const bl_activation *a, struct bl_err *err)
{
    bl_gptq_collect *c = context;
    struct site *s;
    bl_status rc = BL_OK;

    if (a->expert >= 0)
        return see_expert(c, a, err);
    if (is_ffn(a->tap))
        rc = finish_attention(c, err);
    if (rc == BL_OK && a->tap == BL_TAP_FFN_INNER)
        rc = finish_experts(c, err);
    s = find_site(c, a->tap);
    return rc == BL_OK && s
               ? bl_hessian_add(&s->h, a->value, a->ld, a->n_rows, c->how.n_threads, err)
               : rc;
}

bl_taps bl_gptq_collect_taps(bl_gptq_collect *collect)
{
    bl_taps taps = { .fn = see, .context = collect };

    for (size_t i = 0; i < collect->n_sites; i++)
        taps.wanted |= 1u << collect->site[i].tap;
    if (collect->has_experts)
        taps.wanted |= 1u << BL_TAP_EXPERT_INPUT | 1u << BL_TAP_FFN_INNER;
    return taps;
}

bl_status bl_gptq_collect_end(bl_gptq_collect *collect, struct bl_err *err)
{
    bl_status rc = finish_attention(collect, err);

    if (rc == BL_OK)
        rc = finish_experts(collect, err);
    while (collect->n_done < collect->n_sites && rc == BL_OK)
        rc = finish_site(collect, &collect->site[collect->n_done++], err);
    return rc;
}

void bl_gptq_collect_times(double *factors, double *tiles, const bl_gptq_collect *collect)
{
    *factors = collect->batch.factor_seconds;
    *tiles = collect->batch.tile_seconds;
}

/* What a layer's stages take: H of the sites, the largest group, its columns. */
struct stage {
    uint64_t hessians, group;
    size_t max_cols;
};

static void add_stage(struct stage *s, const bl_gptq_item *const *list, size_t n, unsigned want,
                      bool own_factor)
{
    const size_t n_cols = list[0]->n_cols;

    s->hessians += bl_hessian_bytes(n_cols, want);
    s->group = bl_max_u64(s->group, bl_gptq_group_bytes(list, n, own_factor));
    s->max_cols = (size_t)bl_max_u64(s->max_cols, n_cols);
}

static uint64_t stage_bytes(const struct stage *s, const bl_gptq_how *how, uint64_t n_groups)
{
    if (s->max_cols == 0)
        return 0;
    return s->hessians + n_groups * s->group +
           (uint64_t)how->n_threads * bl_gptq_work_bytes(s->max_cols);
}

static uint64_t layer_bytes(const bl_gptq_item *item, const bl_gptq_item *end,
                            const bl_gptq_how *how)
{
    const unsigned both = BL_HESSIAN_SUM | BL_HESSIAN_HOLD;
    struct stage attention = { 0 }, input = { 0 }, inner = { 0 }, rest = { 0 };
    uint64_t layer = 0, experts = 0;

    while (item < end) {
        const bl_gptq_item *list[BL_GPTQ_GROUP_MAX];
        const size_t n = find_group(list, item, end);

        if (item->expert < 0) {
            add_stage(is_ffn(item->tap) ? &rest : &attention, list, n, both, true);
        } else if (item->tap == BL_TAP_EXPERT_INPUT && input.max_cols == 0) {
            layer = bl_hessian_bytes(item->n_cols, both) +
                    (how->shared_hessian ? bl_gptq_factor_bytes(item->n_cols) : 0);
            add_stage(&input, list, n, how->shared_hessian ? BL_HESSIAN_HOLD : both,
                      !how->shared_hessian);
        } else if (item->tap == BL_TAP_FFN_INNER && inner.max_cols == 0) {
            add_stage(&inner, list, n, both, true);
        }
        item += n;
    }
    input.hessians += inner.hessians; /* an expert: both groups, one set of tiles */
    input.group += inner.group;
    input.max_cols = (size_t)bl_max_u64(input.max_cols, inner.max_cols);
    experts = stage_bytes(&input, how, how->batch_experts) + layer;
    return bl_max_u64(experts,
                      bl_max_u64(stage_bytes(&attention, how, 1), stage_bytes(&rest, how, 1)));
}

uint64_t bl_gptq_collect_bytes(const bl_gptq_items *items, const bl_gptq_how *how)
{
    uint64_t most = 0;

    for (uint32_t layer = 0; layer < items->n_layers; layer++)
        most = bl_max_u64(most, layer_bytes(items->item + items->first[layer],
                                            items->item + items->first[layer + 1], how));
    return most;
}
