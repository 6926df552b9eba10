/* gptq_run.c - see gptq_run.h. */
#include "quantize/gptq_run.h"

#include "base/alloc.h"
#include "base/memory.h"
#include "base/sink.h"
#include "base/size.h"
#include "model/forward.h"
#include "model/kept_state.h"
#include "quantize/gptq_collect.h"
#include "quantize/gptq_store.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define USUAL_MEMORY ((uint64_t)8 << 30)

enum {
    METHOD = 1, /* changes when other codes come of the same inputs */
    SLACK = 32  /* one part in so many is left for what the formulas leave out */
};

struct bl_gptq {
    const bl_ckpt *ckpt;
    bl_plan *plan;
    bl_gptq_options options;
    bl_network network;
    bl_weights weights;
    bl_gptq_items items;
    bl_gptq_how how;
    bl_gptq_store *store;
    bl_gptq_report report;
    bl_hash128 run_id; /* of the states */
    bl_state state;
    char *kept; /* file of the state */
};

void bl_gptq_free(bl_gptq *gptq)
{
    if (!gptq)
        return;
    bl_gptq_store_free(gptq->store);
    bl_gptq_items_release(&gptq->items);
    bl_state_release(&gptq->state);
    bl_free(gptq->kept);
    bl_free(gptq);
}

const bl_gptq_report *bl_gptq_report_of(const bl_gptq *gptq)
{
    return &gptq->report;
}

size_t bl_gptq_n_matrices(const bl_gptq *gptq)
{
    return gptq->items.n_items;
}

/* The forward pass and one expert; then more experts where they fit. */
static bl_status choose_room(bl_gptq *g, struct bl_err *err)
{
    const bl_gptq_options *o = &g->options;
    const bl_room_job job = { .network = { &g->network },
                              .n_models = 1,
                              .n_seqs = o->n_seqs,
                              .n_positions = o->n_positions,
                              .n_threads = o->n_threads };
    const uint64_t allowed = o->memory ? o->memory : USUAL_MEMORY;
    const uint64_t held = bl_memory_resident() + allowed / SLACK;
    uint64_t gptq, forward, spilled;
    bl_status rc;

    g->how.batch_experts = 1;
    gptq = bl_gptq_collect_bytes(&g->items, &g->how);
    rc = bl_room_choose(&g->report.room, &job, allowed > held + gptq ? allowed - held - gptq : 0,
                        o->scratch, o->memory ? err : NULL);
    if (rc != BL_OK && o->memory) {
        bl_err_prefix(err, "beside %" PRIu64 " MiB for an expert's matrices", gptq >> 20);
        return rc;
    }
    if (rc != BL_OK)
        g->report.room = bl_room_least(&job, o->scratch);
    forward = bl_room_bytes(&job, &g->report.room, &spilled);
    for (size_t n = 2; n <= BL_GPTQ_BATCH; n++) {
        bl_gptq_how more = g->how;

        more.batch_experts = n;
        if (held + forward + bl_gptq_collect_bytes(&g->items, &more) <= allowed)
            g->how = more;
    }
    g->report.batch_experts = g->how.batch_experts;
    g->report.memory = held + forward + bl_gptq_collect_bytes(&g->items, &g->how);
    return BL_OK;
}

/* What decides the codes, beside model and tokens: types, names, options. */
static void hash_items(bl_hasher *hasher, const bl_gptq *g)
{
    const uint32_t how[4] = { METHOD, g->options.shared_hessian, g->options.sequential,
                              g->options.n_positions };

    bl_hasher_add(hasher, how, sizeof(how));
    for (size_t i = 0; i < g->items.n_items; i++) {
        const bl_gptq_item *item = &g->items.item[i];
        const char *text[2] = { item->job->part[0].name, item->job->encoder->name };

        bl_hasher_add(hasher, text[0], strlen(text[0]) + 1);
        bl_hasher_add(hasher, text[1], strlen(text[1]) + 1);
        bl_hasher_add(hasher, &item->first_row, sizeof(item->first_row));
        bl_hasher_add(hasher, item->row_bytes, sizeof(item->row_bytes));
    }
}

static bl_status open_store(bl_gptq *g, struct bl_err *err)
{
    const bl_gptq_options *o = &g->options;
    bl_hasher *hasher = NULL;
    bl_hash128 id = { 0 };
    bl_status rc = bl_run_id(&g->run_id, &g->weights, NULL, err);

    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    if (rc != BL_OK)
        return rc;
    bl_hasher_add(hasher, (uint64_t[2]){ g->run_id.low, g->run_id.high }, 16);
    bl_hasher_add(hasher, o->token, (size_t)o->n_seqs * o->n_positions * sizeof(*o->token));
    hash_items(hasher, g);
    id = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    g->run_id.low ^= id.low; /* the states are this run's alone */
    g->run_id.high ^= id.high;
    rc = bl_gptq_store_new(&g->store, o->scratch, id, &g->items, err);
    if (rc == BL_OK && !o->resume && !o->force && bl_gptq_store_exists(g->store))
        rc = bl_fail(err, BL_E_USAGE,
                     "%s: layers of a run that was cut off are there: --resume goes on from them, "
                     "--force begins again",
                     o->scratch);
    return rc;
}

bl_status bl_gptq_begin(bl_gptq **out, const bl_ckpt *ckpt, bl_plan *plan,
                        const bl_gptq_options *options, struct bl_err *err)
{
    bl_gptq *g = bl_calloc(1, sizeof(*g));
    bl_status rc;

    if (!g)
        return bl_fail_nomem(err, "GPTQ");
    g->ckpt = ckpt;
    g->plan = plan;
    g->options = *options;
    g->how =
        (bl_gptq_how){ .n_threads = options->n_threads, .shared_hessian = options->shared_hessian };
    rc = bl_weights_init(&g->weights, &g->network, ckpt, options->n_threads, err);
    if (rc == BL_OK)
        rc = bl_gptq_items_make(&g->items, plan, bl_ckpt_config(ckpt)->n_layers, err);
    if (rc == BL_OK)
        rc = choose_room(g, err);
    if (rc == BL_OK)
        rc = open_store(g, err);
    if (rc == BL_OK)
        *out = g;
    else
        bl_gptq_free(g);
    return rc;
}

/* Where a layer's matrices go. */
struct taking {
    bl_gptq *gptq;
    bl_gptq_layer *layer;
};

static void count(bl_gptq_count *c, const bl_gptq_outcome *o)
{
    const bl_gptq_verdict *v = &o->verdict;

    c->n_matrices++;
    c->n_accepted += v->accepted;
    c->n_unjudged += o->n_held == 0;
    c->n_unfactored += o->n_held > 0 && o->tries == 0;
    c->search_error += v->search_error;
    c->gptq_error += v->accepted ? v->gptq_error : v->search_error;
    if (v->search_error > 0 && v->gptq_error > 0)
        c->log_ratio += log(v->gptq_error / v->search_error);
}

static bl_status take(void *context, const bl_gptq_outcome *outcome,
                      unsigned char *const part[BL_JOB_MAX_PARTS], struct bl_err *err)
{
    struct taking *t = context;
    bl_status rc = BL_OK;

    count(&t->gptq->report.role[outcome->item->job->role], outcome);
    for (uint32_t k = 0; k < outcome->item->n_parts && rc == BL_OK; k++)
        rc =
            bl_gptq_layer_put(t->layer, part[k], (size_t)bl_gptq_item_bytes(outcome->item, k), err);
    return rc;
}

/* One layer: its forward pass, its matrices, its file. */
static bl_status run_layer(bl_gptq *g, uint32_t layer, struct bl_err *err)
{
    struct taking taking = { .gptq = g };
    bl_gptq_collect *collect = NULL;
    double factors, tiles;
    bl_taps taps;
    bl_status rc = bl_gptq_layer_begin(&taking.layer, g->store, layer, err);

    if (rc == BL_OK)
        rc = bl_gptq_collect_begin(&collect, &g->items, layer, &g->how, take, &taking, err);
    if (rc == BL_OK) {
        taps = bl_gptq_collect_taps(collect);
        rc = bl_layer_step(&g->state, layer, &g->weights, NULL, &taps, err);
    }
    if (rc == BL_OK)
        rc = bl_gptq_collect_end(collect, err);
    if (rc == BL_OK) {
        bl_gptq_collect_times(&factors, &tiles, collect);
        g->report.factor_seconds += factors;
        g->report.tile_seconds += tiles;
        rc = bl_gptq_layer_commit(&taking.layer, err);
    }
    bl_gptq_layer_abort(&taking.layer);
    bl_gptq_collect_free(collect);
    return rc;
}

/* The states where the run begins, or as they were kept. */
static bl_status begin_state(bl_gptq *g, bool resume, struct bl_err *err)
{
    const bl_gptq_options *o = &g->options;
    const bl_run run = { .weights = &g->weights,
                         .tokens = o->token,
                         .n_seqs = o->n_seqs,
                         .n_positions = o->n_positions,
                         .room = &g->report.room,
                         .id = g->run_id };
    const bl_kept_state kept = { .folder = o->scratch,
                                 .resume = resume,
                                 .force = o->force && !resume };

    return bl_kept_state_begin(&g->state, &g->kept, &run, &kept, err);
}

/* The layers that are finished. */
static bl_status open_layers(bl_gptq *g, struct bl_err *err)
{
    bl_status rc = BL_OK;

    g->report.n_layers_before = g->state.n_layers_done;
    for (uint32_t layer = 0; layer < g->state.n_layers_done && rc == BL_OK; layer++) {
        rc = bl_gptq_store_open(g->store, layer, err);
        bl_progress_add(g->options.progress, bl_forward_layer_bytes(g->ckpt, layer));
    }
    return rc;
}

/* Whether the job has the rows of its tensors in their own order. */
static bool keeps_order(const bl_gptq *g, const bl_gptq_item *item)
{
    const char *name = item->tensor->name;
    int32_t layer, expert;
    const bl_arch_row *row = bl_arch_match(bl_ckpt_config(g->ckpt)->arch, name, &layer, &expert);

    return row->layout != BL_LAYOUT_ROPE_PAIRS ||
           strncmp(item->job->part[0].name, name, strlen(name) - strlen(".weight")) == 0;
}

/* Rows of a tensor as the output has them; the others are left as they are. */
static bl_status read_quantized(const void *context, const bl_tensor *tensor, uint64_t row,
                                uint64_t n_rows, float *rows, struct bl_err *err)
{
    const bl_gptq *g = context;
    const bl_gptq_items *items = &g->items;
    const size_t end = items->first[tensor->layer + 1];
    size_t i = items->first[tensor->layer];
    const bl_gptq_item *item;
    void *part[BL_JOB_MAX_PARTS] = { NULL };
    bl_status rc = BL_OK;

    while (i < end && items->item[i].tensor != tensor)
        i++;
    if (i == end || !keeps_order(g, &items->item[i]))
        return BL_OK;
    item = &items->item[i];
    for (uint32_t k = 0; k < item->n_parts && rc == BL_OK; k++) {
        part[k] = bl_alloc((size_t)n_rows, (size_t)item->row_bytes[k]);
        rc = part[k] ? bl_gptq_store_read(g->store, i, k, row * item->row_bytes[k], part[k],
                                          (size_t)(n_rows * item->row_bytes[k]), err)
                     : bl_fail_nomem(err, "encoded rows");
    }
    if (rc == BL_OK)
        bl_code_grid_decode(rows, item->grid, part, n_rows, item->n_cols);
    for (uint32_t k = 0; k < item->n_parts; k++)
        bl_free(part[k]);
    return rc;
}

/* The state before the layer, as it was kept, through the layer's quantized weights. */
static bl_status run_again(bl_gptq *g, uint32_t layer, struct bl_err *err)
{
    const bl_weight_filter filter = { read_quantized, g };
    bl_weights weights = g->weights;
    bl_status rc;

    weights.filter = &filter;
    bl_state_release(&g->state);
    bl_free(g->kept);
    g->kept = NULL;
    rc = begin_state(g, true, err);
    return rc == BL_OK ? bl_layer_step(&g->state, layer, &weights, NULL, NULL, err) : rc;
}

bl_status bl_gptq_run(bl_gptq *g, struct bl_err *err)
{
    const bl_gptq_options *o = &g->options;
    bl_status rc = begin_state(g, o->resume, err);

    if (rc == BL_OK)
        rc = open_layers(g, err);
    for (uint32_t layer = g->state.n_layers_done; layer < g->items.n_layers && rc == BL_OK;
         layer++) {
        rc = run_layer(g, layer, err);
        if (rc == BL_OK && o->sequential)
            rc = run_again(g, layer, err);
        if (rc == BL_OK)
            rc = bl_state_keep(&g->state, g->kept, err);
        bl_progress_add(o->progress, bl_forward_layer_bytes(g->ckpt, layer));
    }
    bl_state_release(&g->state);
    if (rc == BL_OK)
        bl_gptq_store_lend(g->store, g->plan);
    return rc;
}

bl_status bl_gptq_end(bl_gptq *gptq, struct bl_err *err)
{
    bl_status rc = bl_gptq_store_remove(gptq->store, err);

    return rc == BL_OK && gptq->kept ? bl_sink_remove(gptq->kept, err) : rc;
}
