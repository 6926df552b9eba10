/* gptq_batch.c - see gptq_batch.h. */
#include "quantize/gptq_batch.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"

#include <assert.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t bl_gptq_group_bytes(const bl_gptq_item *const *item, size_t n_items, bool own_factor)
{
    const size_t n = item[0]->n_cols;
    uint64_t sum = (uint64_t)n * sizeof(float) * (BL_HESSIAN_HELD + 1);

    if (own_factor)
        sum += bl_gptq_factor_bytes(n);
    for (size_t i = 0; i < n_items; i++)
        for (uint32_t k = 0; k < item[i]->n_parts; k++)
            sum += 2 * bl_gptq_item_bytes(item[i], k);
    return sum;
}

static void release_group(bl_gptq_group *g)
{
    for (size_t i = 0; i < g->n_items; i++)
        bl_gptq_matrix_release(&g->matrix[i]);
    bl_gptq_factor_release(&g->own);
    bl_free(g->held);
    bl_free(g->importance);
    *g = (bl_gptq_group){ 0 };
}

bl_status bl_gptq_batch_init(bl_gptq_batch *out, size_t max_groups, int n_threads,
                             struct bl_err *err)
{
    *out = (bl_gptq_batch){ .max_groups = max_groups, .n_threads = n_threads };
    out->group = bl_calloc(max_groups, sizeof(*out->group));
    return out->group ? BL_OK : bl_fail_nomem(err, "a batch of matrices");
}

void bl_gptq_batch_release(bl_gptq_batch *batch)
{
    for (size_t i = 0; i < batch->n_groups; i++)
        release_group(&batch->group[i]);
    bl_free(batch->group);
    *batch = (bl_gptq_batch){ 0 };
}

static bl_status set_importance(bl_gptq_group *g, const bl_hessian *h, const bl_hessian *layer,
                                struct bl_err *err)
{
    if (!h && !layer)
        return BL_OK;
    g->importance = bl_alloc(g->n_cols, sizeof(*g->importance));
    if (!g->importance)
        return bl_fail_nomem(err, "importance");
    bl_hessian_importance(g->importance, h, layer);
    return BL_OK;
}

/* Tokens to judge with, and the factor's matrix. */
static bl_status set_factor(bl_gptq_group *g, const bl_hessian *h, const bl_hessian *layer,
                            const bl_gptq_factor *shared, int n_threads, struct bl_err *err)
{
    const uint64_t n_tokens = h->n_seen;
    bl_status rc;

    g->held = bl_alloc(h->n_held, g->n_cols * sizeof(*g->held));
    if (!g->held)
        return bl_fail_nomem(err, "tokens held out");
    memcpy(g->held, h->held, h->n_held * g->n_cols * sizeof(*g->held));
    g->n_held = h->n_held;
    g->factor = shared ? shared : &g->own;
    if (shared)
        return BL_OK;
    g->damping = bl_hessian_damping(n_tokens, g->n_cols);
    rc = bl_gptq_factor_init(&g->own, g->n_cols, err);
    if (rc == BL_OK)
        rc = bl_gptq_factor_set(&g->own, h, layer, bl_hessian_share(n_tokens, g->n_cols), n_threads,
                                err);
    return rc;
}

bl_status bl_gptq_batch_add(bl_gptq_batch *batch, const bl_gptq_item *const *item, size_t n_items,
                            const bl_hessian *h, const bl_hessian *layer,
                            const bl_gptq_factor *shared, struct bl_err *err)
{
    bl_gptq_group *g = &batch->group[batch->n_groups];
    bl_status rc;

    assert(batch->n_groups < batch->max_groups && n_items > 0 && n_items <= BL_GPTQ_GROUP_MAX);
    batch->n_groups++;
    *g = (bl_gptq_group){ .n_items = n_items, .n_cols = item[0]->n_cols };
    g->n_tokens = h ? h->n_seen : 0;
    memcpy(g->item, item, n_items * sizeof(*item));
    rc = set_importance(g, h, layer, err);
    if (rc == BL_OK && h && h->n_held > 0 && (shared || h->sum))
        rc = set_factor(g, h, layer, shared, batch->n_threads, err);
    return rc;
}

/* One group's factor; n_threads inside. */
static bl_status make_factor(bl_gptq_group *g, int n_threads, struct bl_err *err)
{
    bl_status rc;

    if (g->factor != &g->own)
        return BL_OK;
    rc = bl_gptq_factor_make(&g->tries, &g->own, g->damping, n_threads, err);
    if (g->tries == 0)
        g->factor = NULL;
    return rc;
}

static bl_status make_factor_alone(void *context, size_t i, int i_thread, struct bl_err *err)
{
    bl_gptq_batch *b = context;

    (void)i_thread;
    return make_factor(&b->group[i], 1, err);
}

/* A thread a factor where there are enough of them, else all threads on one after the other. */
static bl_status make_factors(bl_gptq_batch *b, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (b->n_groups >= 2 * (size_t)b->n_threads)
        rc = bl_par_for(b->n_groups, b->n_threads, make_factor_alone, b, err);
    else
        for (size_t i = 0; i < b->n_groups && rc == BL_OK; i++)
            rc = make_factor(&b->group[i], b->n_threads, err);
    for (size_t i = 0; i < b->n_groups && rc == BL_OK; i++) {
        b->n_factored += b->group[i].tries > 0;
        b->n_unfactored += b->group[i].n_held > 0 && !b->group[i].factor;
    }
    return rc;
}

/* Rows of the item are rows of its job further down. */
static bl_status read_item(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                           float *out, struct bl_err *err)
{
    const bl_gptq_item *item = context;
    const bl_rows *rows = &item->job->rows;

    (void)tensor;
    return rows->read(rows->context, rows->tensor, item->first_row + row, n_rows, out, err);
}

static bl_status make_matrices(bl_gptq_group *g, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < g->n_items && rc == BL_OK; i++) {
        g->matrix[i] = (bl_gptq_matrix){ .rows = { read_item, g->item[i], NULL, g->n_cols },
                                         .n_rows = g->item[i]->n_rows,
                                         .grid = g->item[i]->grid,
                                         .importance = g->importance,
                                         .factor = g->factor,
                                         .held = g->held,
                                         .n_held = g->n_held,
                                         .n_parts = g->item[i]->n_parts };
        memcpy(g->matrix[i].row_bytes, g->item[i]->row_bytes, sizeof(g->item[i]->row_bytes));
        rc = bl_gptq_matrix_init(&g->matrix[i], err);
    }
    return rc;
}

struct tiles {
    bl_gptq_batch *batch;
    bl_gptq_work *work; /* [n_threads] */
};

/* Tile i of all tiles of all matrices. */
static bl_status run_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct tiles *t = context;

    for (size_t g = 0; g < t->batch->n_groups; g++) {
        bl_gptq_group *group = &t->batch->group[g];

        for (size_t k = 0; k < group->n_items; k++) {
            size_t n = bl_gptq_matrix_tiles(&group->matrix[k]);
            bl_status rc;

            if (i >= n) {
                i -= n;
                continue;
            }
            rc = bl_gptq_matrix_run(&group->matrix[k], i, &t->work[i_thread], err);
            if (rc == BL_E_UNSUPPORTED)
                bl_err_prefix(err, "quantizing '%s'", group->item[k]->job->part[0].name);
            return rc;
        }
    }
    return BL_OK;
}

static bl_status run_tiles(bl_gptq_batch *b, struct bl_err *err)
{
    struct tiles t = { .batch = b };
    size_t n_tiles = 0, max_cols = 0;
    bl_status rc = BL_OK;

    for (size_t g = 0; g < b->n_groups; g++) {
        max_cols = (size_t)bl_max_u64(max_cols, b->group[g].n_cols);
        for (size_t k = 0; k < b->group[g].n_items; k++)
            n_tiles += bl_gptq_matrix_tiles(&b->group[g].matrix[k]);
    }
    t.work = bl_calloc((size_t)b->n_threads, sizeof(*t.work));
    if (!t.work)
        return bl_fail_nomem(err, "tiles of rows");
    for (int i = 0; i < b->n_threads && rc == BL_OK; i++)
        rc = bl_gptq_work_init(&t.work[i], max_cols, err);
    if (rc == BL_OK)
        rc = bl_par_for(n_tiles, b->n_threads, run_tile, &t, err);
    for (int i = 0; i < b->n_threads; i++)
        bl_gptq_work_release(&t.work[i]);
    bl_free(t.work);
    return rc;
}

static bl_status hand_over(const bl_gptq_group *g, bl_gptq_take_fn take, void *context,
                           struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < g->n_items && rc == BL_OK; i++) {
        const bl_gptq_matrix *m = &g->matrix[i];
        const bl_gptq_outcome outcome = { .item = g->item[i],
                                          .n_tokens = g->n_tokens,
                                          .n_held = g->n_held,
                                          .tries =
                                              g->factor == &g->own ? g->tries : g->factor != NULL,
                                          .verdict = bl_gptq_matrix_judge(m) };

        rc = take(context, &outcome, outcome.verdict.accepted ? m->gptq : m->search, err);
    }
    return rc;
}

bl_status bl_gptq_batch_run(bl_gptq_batch *batch, bl_gptq_take_fn take, void *context,
                            struct bl_err *err)
{
    double begin = now(), middle;
    bl_status rc = make_factors(batch, err);

    middle = now();
    for (size_t i = 0; i < batch->n_groups && rc == BL_OK; i++)
        rc = make_matrices(&batch->group[i], err);
    if (rc == BL_OK)
        rc = run_tiles(batch, err);
    batch->factor_seconds += middle - begin;
    batch->tile_seconds += now() - middle;
    for (size_t i = 0; i < batch->n_groups && rc == BL_OK; i++)
        rc = hand_over(&batch->group[i], take, context, err);
    for (size_t i = 0; i < batch->n_groups; i++)
        release_group(&batch->group[i]);
    batch->n_groups = 0;
    return rc;
}
