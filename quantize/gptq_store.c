/* gptq_store.c - see gptq_store.h. */
#include "quantize/gptq_store.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/safetensors/safetensors_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ID_BYTES = 16, PIECE = 1 << 20 };

struct bl_gptq_store {
    const bl_gptq_items *items;
    char *prefix;
    bl_hash128 id;
    bl_source **layer; /* [n_layers] */
    uint64_t *data;    /* [n_layers] where the data of an open layer begin */
    uint64_t *start;   /* [n_items] bytes from there to the item's part 0 */
    size_t *by_job;    /* [n_items] items in the order of jobs and rows */
};

struct bl_gptq_layer {
    bl_gptq_store *store;
    uint32_t layer;
    bl_safetensors_writer *writer;
    bl_hasher *hasher;
};

static char *path_of(const bl_gptq_store *s, uint32_t layer)
{
    return bl_format("%s-%u.safetensors", s->prefix, layer);
}

void bl_gptq_store_free(bl_gptq_store *store)
{
    if (!store)
        return;
    for (uint32_t i = 0; store->layer && i < store->items->n_layers; i++)
        bl_source_close(store->layer[i]);
    bl_free(store->layer);
    bl_free(store->data);
    bl_free(store->start);
    bl_free(store->by_job);
    bl_free(store->prefix);
    bl_free(store);
}

static uint64_t bytes_of(const bl_gptq_item *item)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < item->n_parts; k++)
        sum += bl_gptq_item_bytes(item, k);
    return sum;
}

static void find_starts(bl_gptq_store *s)
{
    for (uint32_t layer = 0; layer < s->items->n_layers; layer++) {
        uint64_t at = ID_BYTES;

        for (size_t i = s->items->first[layer]; i < s->items->first[layer + 1]; i++) {
            s->start[i] = at;
            at += bytes_of(&s->items->item[i]);
        }
    }
}

static int compare_jobs(const void *a, const void *b, void *context)
{
    const bl_gptq_item *item = context;
    const bl_gptq_item *x = &item[*(const size_t *)a], *y = &item[*(const size_t *)b];

    if (x->job != y->job)
        return x->job < y->job ? -1 : 1;
    return x->first_row < y->first_row ? -1 : x->first_row > y->first_row;
}

bl_status bl_gptq_store_new(bl_gptq_store **out, const char *folder, bl_hash128 id,
                            const bl_gptq_items *items, struct bl_err *err)
{
    bl_gptq_store *s = bl_calloc(1, sizeof(*s));

    if (!s)
        return bl_fail_nomem(err, "a store");
    s->items = items;
    s->id = id;
    s->prefix = bl_format("%s/baleen-gptq-%016" PRIx64 "%016" PRIx64, folder, id.low, id.high);
    s->layer = bl_calloc(items->n_layers, sizeof(*s->layer));
    s->data = bl_calloc(items->n_layers, sizeof(*s->data));
    s->start = bl_alloc(items->n_items, sizeof(*s->start));
    s->by_job = bl_alloc(items->n_items, sizeof(*s->by_job));
    if (!s->prefix || !s->layer || !s->data || !s->start || !s->by_job) {
        bl_gptq_store_free(s);
        return bl_fail_nomem(err, "a store");
    }
    find_starts(s);
    for (size_t i = 0; i < items->n_items; i++)
        s->by_job[i] = i;
    qsort_r(s->by_job, items->n_items, sizeof(*s->by_job), compare_jobs, items->item);
    *out = s;
    return BL_OK;
}

/* The table that a layer's file has; names in the arena. */
static bl_status make_table(bl_stored **out, size_t *n_out, bl_arena *arena, const bl_gptq_store *s,
                            uint32_t layer, struct bl_err *err)
{
    const bl_gptq_item *item = s->items->item;
    const size_t first = s->items->first[layer], end = s->items->first[layer + 1];
    const bl_stored pair = { .dtype = BL_U64, .ndim = 1, .dim = { 2 } };
    bl_stored *table;
    size_t n = 0;

    table = bl_arena_alloc(arena, 2 + (end - first) * BL_JOB_MAX_PARTS, sizeof(*table));
    if (!table)
        return bl_fail_nomem(err, "a layer's table");
    table[n] = pair;
    table[n++].name = "run";
    for (size_t i = first; i < end; i++)
        for (uint32_t k = 0; k < item[i].n_parts; k++) {
            table[n] = (bl_stored){ .dtype = BL_U8, .ndim = 2 };
            table[n].dim[0] = item[i].n_rows;
            table[n].dim[1] = item[i].row_bytes[k];
            table[n].name =
                bl_arena_format(arena, "%s#%" PRIu64, item[i].job->part[k].name, item[i].first_row);
            if (!table[n++].name)
                return bl_fail_nomem(err, "a layer's table");
        }
    table[n] = pair;
    table[n++].name = "sum";
    *out = table;
    *n_out = n;
    return BL_OK;
}

/* Whether the file's table is the expected one. */
static bool same_table(const bl_safetensors *st, const bl_stored *table, size_t n)
{
    if (st->n_stored != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const bl_stored *a = &st->stored[i], *b = &table[i];

        if (strcmp(a->name, b->name) != 0 || a->dtype != b->dtype || a->ndim != b->ndim ||
            memcmp(a->dim, b->dim, a->ndim * sizeof(*a->dim)) != 0)
            return false;
    }
    return true;
}

/* The checksum over [data, end), which the 16 bytes there must state. */
static bl_status check_sum(bl_source *source, uint64_t data, uint64_t end, struct bl_err *err)
{
    unsigned char *piece = bl_alloc(PIECE, 1);
    bl_hasher *hasher = NULL;
    bl_hash128 stated = { 0 };
    bl_status rc = piece ? bl_hasher_new(&hasher, err) : bl_fail_nomem(err, "a piece of a layer");

    for (uint64_t at = data; at < end && rc == BL_OK; at += PIECE) {
        size_t n = (size_t)bl_min_u64(PIECE, end - at);

        rc = bl_source_read(source, at, piece, n, err);
        if (rc == BL_OK)
            bl_hasher_add(hasher, piece, n);
    }
    if (rc == BL_OK)
        rc = bl_source_read(source, end, &stated, sizeof(stated), err);
    if (rc == BL_OK && !bl_hash128_equal(bl_hasher_digest(hasher), stated))
        rc = bl_fail(err, BL_E_FORMAT, "%s: the checksum does not match: the file is damaged",
                     source->name);
    bl_hasher_free(hasher);
    bl_free(piece);
    return rc;
}

/* *data: where its data begin. */
static bl_status check_layer(uint64_t *data, const bl_gptq_store *s, uint32_t layer,
                             bl_source *source, struct bl_err *err)
{
    bl_safetensors st = { 0 };
    bl_arena arena = { 0 };
    bl_stored *table = NULL;
    size_t n = 0;
    bl_hash128 id = { 0 };
    bl_status rc = bl_safetensors_read(&st, source, err);

    if (rc == BL_OK)
        rc = make_table(&table, &n, &arena, s, layer, err);
    if (rc == BL_OK)
        rc = same_table(&st, table, n)
                 ? bl_source_read(source, st.data_offset, &id, sizeof(id), err)
                 : BL_E_FORMAT;
    if (rc == BL_E_FORMAT || (rc == BL_OK && !bl_hash128_equal(id, s->id)))
        rc = bl_fail(err, BL_E_FORMAT, "%s: not a layer of this run", source->name);
    if (rc == BL_OK)
        rc = check_sum(source, st.data_offset, st.stored[n - 1].offset, err);
    if (rc == BL_OK)
        *data = st.data_offset;
    bl_arena_release(&arena);
    bl_safetensors_release(&st);
    return rc;
}

/* A file that was just written is not read again. */
static bl_status open_layer(bl_gptq_store *s, uint32_t layer, bool check, struct bl_err *err)
{
    char *path = path_of(s, layer);
    bl_source *source = NULL;
    bl_safetensors st = { 0 };
    bl_status rc = path ? bl_source_open(&source, path, err) : bl_fail_nomem(err, "a layer's name");

    if (rc == BL_OK && check)
        rc = check_layer(&s->data[layer], s, layer, source, err);
    if (rc == BL_OK && !check)
        rc = bl_safetensors_read(&st, source, err);
    if (rc == BL_OK && !check)
        s->data[layer] = st.data_offset;
    bl_safetensors_release(&st);
    bl_free(path);
    if (rc != BL_OK) {
        bl_source_close(source);
        return rc;
    }
    bl_source_close(s->layer[layer]);
    s->layer[layer] = source;
    return BL_OK;
}

bl_status bl_gptq_store_open(bl_gptq_store *store, uint32_t layer, struct bl_err *err)
{
    return open_layer(store, layer, true, err);
}

bool bl_gptq_store_exists(const bl_gptq_store *store)
{
    bool found = false;

    for (uint32_t layer = 0; layer < store->items->n_layers && !found; layer++) {
        char *path = path_of(store, layer);

        found = path && bl_source_exists(path);
        bl_free(path);
    }
    return found;
}

static bl_status begin_file(bl_gptq_layer *l, const char *path, struct bl_err *err)
{
    bl_arena arena = { 0 };
    bl_stored *table = NULL;
    bl_sink *sink = NULL;
    size_t n = 0;
    bl_status rc = make_table(&table, &n, &arena, l->store, l->layer, err);

    if (rc == BL_OK)
        rc = bl_sink_begin(&sink, path, true, err);
    if (rc == BL_OK) {
        rc = bl_safetensors_writer_begin(&l->writer, sink, path, table, n, err);
        if (rc != BL_OK)
            bl_sink_abort(&sink);
    }
    bl_arena_release(&arena);
    return rc;
}

bl_status bl_gptq_layer_begin(bl_gptq_layer **out, bl_gptq_store *store, uint32_t layer,
                              struct bl_err *err)
{
    bl_gptq_layer *l = bl_calloc(1, sizeof(*l));
    char *path = path_of(store, layer);
    bl_status rc = l && path ? bl_hasher_new(&l->hasher, err) : bl_fail_nomem(err, "a layer");

    if (rc == BL_OK) {
        l->store = store;
        l->layer = layer;
        rc = begin_file(l, path, err);
    }
    if (rc == BL_OK)
        rc = bl_gptq_layer_put(l, (uint64_t[2]){ store->id.low, store->id.high }, ID_BYTES, err);
    bl_free(path);
    if (rc == BL_OK)
        *out = l;
    else
        bl_gptq_layer_abort(&l);
    return rc;
}

bl_status bl_gptq_layer_put(bl_gptq_layer *layer, const void *bytes, size_t n, struct bl_err *err)
{
    bl_hasher_add(layer->hasher, bytes, n);
    return bl_safetensors_writer_write(layer->writer, bytes, n, err);
}

static void free_layer(bl_gptq_layer **layer)
{
    bl_hasher_free((*layer)->hasher);
    bl_free(*layer);
    *layer = NULL;
}

bl_status bl_gptq_layer_commit(bl_gptq_layer **layer, struct bl_err *err)
{
    bl_gptq_layer *l = *layer;
    bl_hash128 sum = bl_hasher_digest(l->hasher);
    bl_status rc =
        bl_safetensors_writer_write(l->writer, (uint64_t[2]){ sum.low, sum.high }, ID_BYTES, err);

    if (rc == BL_OK)
        rc = bl_safetensors_writer_commit(&l->writer, err);
    else
        bl_safetensors_writer_abort(&l->writer);
    if (rc == BL_OK)
        rc = open_layer(l->store, l->layer, false, err);
    free_layer(layer);
    return rc;
}

void bl_gptq_layer_abort(bl_gptq_layer **layer)
{
    if (!*layer)
        return;
    bl_safetensors_writer_abort(&(*layer)->writer);
    free_layer(layer);
}

bl_status bl_gptq_store_read(const bl_gptq_store *store, size_t item, uint32_t part,
                             uint64_t offset, void *out, size_t n, struct bl_err *err)
{
    const bl_gptq_item *it = &store->items->item[item];
    uint64_t at = store->data[it->layer] + store->start[item] + offset;

    assert(store->layer[it->layer]);
    for (uint32_t k = 0; k < part; k++)
        at += bl_gptq_item_bytes(it, k);
    return bl_source_read(store->layer[it->layer], at, out, n, err);
}

/* bl_raw's read: index is the place of the job's first item in by_job, times the parts, plus one. */
static bl_status read_part(const void *context, size_t index, uint64_t offset, void *out, size_t n,
                           struct bl_err *err)
{
    const bl_gptq_store *s = context;
    const size_t first = index / BL_JOB_MAX_PARTS;
    const uint32_t part = (uint32_t)(index % BL_JOB_MAX_PARTS);
    const uint64_t each = bl_gptq_item_bytes(&s->items->item[s->by_job[first]], part);
    unsigned char *to = out;
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        uint64_t inside = offset % each;
        size_t step = (size_t)bl_min_u64(n, each - inside);

        rc = bl_gptq_store_read(s, s->by_job[first + (size_t)(offset / each)], part, inside, to,
                                step, err);
        to += step;
        offset += step;
        n -= step;
    }
    return rc;
}

void bl_gptq_store_lend(bl_gptq_store *store, bl_plan *plan)
{
    const bl_gptq_item *item = store->items->item;

    for (size_t i = 0; i < store->items->n_items; i++) {
        const bl_gptq_item *it = &item[store->by_job[i]];
        bl_job *job = &plan->job[it->job - plan->job];

        if (it->first_row > 0)
            continue;
        job->raw = (bl_raw){ .read = read_part, .context = store };
        for (uint32_t k = 0; k < it->n_parts; k++)
            job->raw.index[k] = i * BL_JOB_MAX_PARTS + k;
    }
}

bl_status bl_gptq_store_remove(bl_gptq_store *store, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer < store->items->n_layers && rc == BL_OK; layer++) {
        char *path = path_of(store, layer);

        bl_source_close(store->layer[layer]);
        store->layer[layer] = NULL;
        rc = path ? bl_sink_remove(path, err) : bl_fail_nomem(err, "a layer's name");
        bl_free(path);
    }
    return rc;
}
