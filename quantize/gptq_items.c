/* gptq_items.c - see gptq_items.h. */
#include "quantize/gptq_items.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TYPES = 32 };

/* The input of each matrix of a layer, by the end of its canonical name. */
static const struct {
    const char *suffix;
    bl_tap tap;
} inputs[] = {
    { ".self_attn.q_proj.weight", BL_TAP_ATTENTION_INPUT },
    { ".self_attn.k_proj.weight", BL_TAP_ATTENTION_INPUT },
    { ".self_attn.v_proj.weight", BL_TAP_ATTENTION_INPUT },
    { ".self_attn.q_a_proj.weight", BL_TAP_ATTENTION_INPUT },
    { ".self_attn.kv_a_proj_with_mqa.weight", BL_TAP_ATTENTION_INPUT },
    { ".self_attn.q_b_proj.weight", BL_TAP_QUERY_LATENT },
    { ".self_attn.kv_b_proj.weight", BL_TAP_KEY_LATENT },
    { ".self_attn.o_proj.weight", BL_TAP_ATTENTION_HEADS },
    { ".gate_proj.weight", BL_TAP_FFN_INPUT },
    { ".up_proj.weight", BL_TAP_FFN_INPUT },
    { ".down_proj.weight", BL_TAP_FFN_INNER },
};

static bool find_tap(bl_tap *out, const bl_tensor *t)
{
    const size_t n = strlen(t->name);

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        size_t length = strlen(inputs[i].suffix);

        if (n < length || strcmp(t->name + n - length, inputs[i].suffix) != 0)
            continue;
        *out = inputs[i].tap == BL_TAP_FFN_INPUT && t->expert >= 0 ? BL_TAP_EXPERT_INPUT
                                                                   : inputs[i].tap;
        return true;
    }
    return false;
}

/* Whether the job's rows are rows of linear maps of a layer, each meeting one input. */
static bool has_rows(const bl_job *job, uint32_t n_layers)
{
    const bl_tensor *t = job->source ? job->source[0] : NULL;
    bl_tap tap;

    return t && (job->view == BL_VIEW_ROWS || job->view == BL_VIEW_V_B) && t->layer >= 0 &&
           (uint32_t)t->layer < n_layers && !t->is_mtp && job->n_rows > 0 && !job->raw.read &&
           find_tap(&tap, t);
}

static bl_status find_grid(const bl_code_grid **out, bl_gptq_items *items, const bl_job *job,
                           struct bl_err *err)
{
    bl_code_grid_type type;
    bl_status rc;

    *out = NULL;
    for (size_t i = 0; i < items->n_types; i++)
        if (items->type[i].encoder == job->encoder)
            *out = &items->grid[i];
    if (*out || items->n_types == MAX_TYPES || !bl_code_grid_type_of(&type, job->encoder))
        return BL_OK;
    items->type[items->n_types] = type;
    rc = bl_code_grid_init(&items->grid[items->n_types], &items->type[items->n_types], err);
    if (rc == BL_OK)
        *out = &items->grid[items->n_types++];
    return rc;
}

/* One item for every source of the job, or one for all rows where a view cuts its source. */
static size_t count_items(const bl_job *job)
{
    return job->view == BL_VIEW_ROWS ? (size_t)(job->n_rows / job->rows_each) : 1;
}

static void add_items(bl_gptq_items *items, const bl_job *job, const bl_code_grid *grid)
{
    const size_t n = count_items(job);

    for (size_t i = 0; i < n; i++) {
        const bl_tensor *t = job->source[i];
        bl_gptq_item *item = &items->item[items->n_items++];
        bool known;

        *item = (bl_gptq_item){ .job = job,
                                .grid = grid,
                                .layer = (uint32_t)t->layer,
                                .expert = t->expert,
                                .tensor = job->view == BL_VIEW_ROWS ? t : NULL,
                                .first_row = i * (job->n_rows / n),
                                .n_rows = job->n_rows / n,
                                .n_cols = (size_t)job->rows.n_cols };
        known = find_tap(&item->tap, t);
        assert(known); /* has_rows() asked */
        for (uint32_t k = 0; k < job->n_parts && job->unit_bytes[k] > 0; k++)
            item->row_bytes[item->n_parts++] = job->unit_bytes[k];
    }
}

/* When a forward pass is done with an item's input: attention, experts, the rest of the FFN. */
static int stage(const bl_gptq_item *item)
{
    if (item->expert >= 0)
        return 1;
    return item->tap == BL_TAP_FFN_INPUT || item->tap == BL_TAP_FFN_INNER ? 2 : 0;
}

/* By layer, stage, expert, input, then the order of the plan. */
static int compare(const void *a, const void *b)
{
    const bl_gptq_item *x = a, *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (stage(x) != stage(y))
        return stage(x) - stage(y);
    if (x->expert != y->expert)
        return x->expert < y->expert ? -1 : 1;
    if (x->tap != y->tap)
        return (int)x->tap - (int)y->tap;
    return x->job != y->job ? (x->job < y->job ? -1 : 1) : 0;
}

static bl_status allocate(bl_gptq_items *items, const bl_plan *plan, uint32_t n_layers,
                          struct bl_err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_jobs; i++)
        if (has_rows(&plan->job[i], n_layers))
            n += count_items(&plan->job[i]);
    items->n_layers = n_layers;
    items->item = bl_alloc(n, sizeof(*items->item));
    items->first = bl_calloc((size_t)n_layers + 1, sizeof(*items->first));
    items->grid = bl_alloc(MAX_TYPES, sizeof(*items->grid));
    items->type = bl_alloc(MAX_TYPES, sizeof(*items->type));
    return items->item && items->first && items->grid && items->type
               ? BL_OK
               : bl_fail_nomem(err, "the list of matrices");
}

bl_status bl_gptq_items_make(bl_gptq_items *out, const bl_plan *plan, uint32_t n_layers,
                             struct bl_err *err)
{
    bl_gptq_items items = { 0 };
    bl_status rc = allocate(&items, plan, n_layers, err);

    for (size_t i = 0; i < plan->n_jobs && rc == BL_OK; i++) {
        const bl_code_grid *grid = NULL;

        if (has_rows(&plan->job[i], n_layers))
            rc = find_grid(&grid, &items, &plan->job[i], err);
        if (rc == BL_OK && grid)
            add_items(&items, &plan->job[i], grid);
    }
    if (rc != BL_OK) {
        bl_gptq_items_release(&items);
        return rc;
    }
    qsort(items.item, items.n_items, sizeof(*items.item), compare);
    for (size_t i = 0; i < items.n_items; i++)
        items.first[items.item[i].layer + 1] = i + 1;
    for (uint32_t layer = 0; layer < n_layers; layer++) /* layers without items */
        if (items.first[layer + 1] < items.first[layer])
            items.first[layer + 1] = items.first[layer];
    *out = items;
    return BL_OK;
}

void bl_gptq_items_release(bl_gptq_items *items)
{
    bl_free(items->item);
    bl_free(items->first);
    bl_free(items->grid);
    bl_free(items->type);
    *items = (bl_gptq_items){ 0 };
}

uint64_t bl_gptq_item_bytes(const bl_gptq_item *item, uint32_t k)
{
    return item->n_rows * item->row_bytes[k];
}
