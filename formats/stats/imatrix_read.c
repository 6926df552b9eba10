/*
 * imatrix_read.c - an imatrix (imatrix.h) as statistics: its weights' names to layers and sites.
 * Weights that meet the same activation have the same sums: the first one's are taken.
 */
#include "formats/stats/stats_internal.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/size.h"
#include "formats/gguf/gguf_reader.h"

#include <inttypes.h>
#include <string.h>

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

enum { MAX_NAME = 128 };

static bl_status read_info(struct bl_stats *s, struct bl_err *err)
{
    const bl_gguf_meta *meta = bl_gguf_meta_of(s->gguf);
    const bl_gguf_kv *type = bl_gguf_find(meta, "general.type");
    const bl_gguf_kv *size = bl_gguf_find(meta, "imatrix.chunk_size");
    const bl_gguf_kv *count = bl_gguf_find(meta, "imatrix.chunk_count");
    uint32_t n_chunks = 0, chunk = 0;
    bl_gguf_string name = { "", 0 };
    bl_status rc = type ? bl_gguf_kv_string(&name, type, err) : BL_OK;

    if (rc == BL_OK && (name.n != 7 || memcmp(name.bytes, "imatrix", 7) != 0))
        rc =
            bl_fail(err, BL_E_FORMAT, "%s: a GGUF file that is no imatrix (general.type)", s->path);
    if (rc == BL_OK && size)
        rc = bl_gguf_kv_u32(&chunk, size, err);
    if (rc == BL_OK && count)
        rc = bl_gguf_kv_u32(&n_chunks, count, err);
    s->info.ctx = chunk;
    s->info.n_tokens = (uint64_t)n_chunks * chunk;
    s->info.n_parts = 1;
    s->info.part[0] = 1;
    return rc;
}

/* The weight whose sums this tensor has: its site and layer. False for any other tensor. */
static bool weight_of(const bl_stats_tensor **out, int32_t *layer, const char *stored_name,
                      char weight[MAX_NAME])
{
    const size_t n = strlen(stored_name), n_suffix = sizeof(sums_suffix) - 1;

    if (n <= n_suffix || n - n_suffix >= MAX_NAME ||
        strcmp(stored_name + n - n_suffix, sums_suffix) != 0)
        return false;
    memcpy(weight, stored_name, n - n_suffix);
    weight[n - n_suffix] = '\0';
    *out = bl_stats_tensor_by_gguf(weight, layer);
    return *out != NULL;
}

static bl_status count_layers(struct bl_stats *s, struct bl_err *err)
{
    const bl_stats_tensor *t;
    char weight[MAX_NAME];
    int32_t layer, most = -1;

    for (size_t i = 0; i < s->gguf->n_stored; i++)
        if (weight_of(&t, &layer, s->gguf->stored[i].name, weight) && layer > most)
            most = layer;
    if (most < 0)
        return bl_fail(err, BL_E_FORMAT, "%s: an imatrix without a weight of a layer", s->path);
    if ((uint64_t)most >= bl_min_u64(s->gguf->n_stored, BL_STATS_MAX_LAYERS))
        return bl_fail(err, BL_E_FORMAT, "%s: %zu tensors are none for %" PRId32 " layers", s->path,
                       s->gguf->n_stored, most + 1);
    s->info.n_layers = (uint32_t)most + 1;
    return BL_OK;
}

/* Sums [rows][cols] and counts [rows][1], both F32, dimensions of one left out at the front. */
static bl_status take(struct bl_stats *s, const bl_map *names, size_t i, struct bl_err *err)
{
    const bl_stored *sums = &s->gguf->stored[i], *counts;
    const bl_stats_tensor *t;
    char weight[MAX_NAME], name[MAX_NAME + sizeof(counts_suffix)];
    bl_stats_entry *e;
    uint32_t at;
    int32_t layer;
    size_t n;

    if (!weight_of(&t, &layer, sums->name, weight))
        return BL_OK; /* what we know nothing of, or counts */
    n = strlen(weight);
    memcpy(name, weight, n);
    memcpy(name + n, counts_suffix, sizeof(counts_suffix));
    if (!bl_map_get(&at, names, name, strlen(name)))
        return bl_container_fail(err, BL_E_FORMAT, s->gguf, i, "no counts go with it");
    counts = &s->gguf->stored[at];
    e = bl_stats_entry_of(s, t->site, layer < 0 ? s->info.n_layers : (uint32_t)layer);
    if (e->shape.n_rows > 0)
        return BL_OK;
    e->shape.n_rows = sums->ndim == 2 ? sums->dim[0] : 1;
    e->shape.n_cols = sums->dim[sums->ndim - 1];
    e->value = i;
    e->count = at;
    e->n_counts = counts->ndim == 2 ? counts->dim[0] : 1;
    if (sums->dtype != BL_F32 || counts->dtype != BL_F32 || sums->ndim > 2 || counts->ndim > 2 ||
        counts->dim[counts->ndim - 1] != 1 || e->n_counts != e->shape.n_rows)
        return bl_container_fail(err, BL_E_FORMAT, s->gguf, i,
                                 "it and its counts are not F32 of n x channels and n x 1");
    if (e->shape.n_rows != 1 && t->site != BL_SITE_EXPERT_INPUT && t->site != BL_SITE_EXPERT_INNER)
        return bl_container_fail(err, BL_E_FORMAT, s->gguf, i, "one row is expected");
    return BL_OK;
}

/* The mean over all pairs of a token and an expert: sum N_e h_e / sum N_e. */
static bl_status derive(struct bl_stats *s, int which, uint32_t layer, struct bl_err *err)
{
    const bl_stats_site site = (bl_stats_site)(BL_SITE_EXPERT_INPUT + which);
    const bl_stats_shape shape = bl_stats_shape_of(s, site, layer);
    bl_stats_extra *extra = &s->extra[layer];
    bl_stats_entry *all =
        bl_stats_entry_of(s, (bl_stats_site)(BL_SITE_EXPERTS_INPUT + which), layer);
    double *sum;
    float *row;
    bl_status rc = BL_OK;

    if (shape.n_rows == 0)
        return BL_OK;
    sum = bl_calloc((size_t)shape.n_cols, sizeof(*sum));
    row = bl_alloc((size_t)shape.n_cols, sizeof(*row));
    extra->derived[which] = bl_arena_alloc(&s->arena, (size_t)shape.n_cols, sizeof(float));
    if (!sum || !row || !extra->derived[which])
        rc = bl_fail_nomem(err, s->path);
    for (uint64_t e = 0; e < shape.n_rows && rc == BL_OK; e++) {
        uint64_t n = 0;

        rc = bl_stats_read(row, &n, s, site, layer, e, 1, err);
        if (rc == BL_OK &&
            !bl_add_u64(&extra->derived_tokens[which], extra->derived_tokens[which], n))
            rc =
                bl_fail(err, BL_E_FORMAT, "%s: layer %" PRIu32 ": too many tokens", s->path, layer);
        for (uint64_t c = 0; c < shape.n_cols && rc == BL_OK; c++)
            sum[c] += (double)n * (double)row[c];
    }
    for (uint64_t c = 0; c < shape.n_cols && rc == BL_OK; c++)
        extra->derived[which][c] =
            (float)(sum[c] / (double)bl_max_u64(extra->derived_tokens[which], 1));
    all->shape = (bl_stats_shape){ 1, shape.n_cols };
    bl_free(sum);
    bl_free(row);
    return rc;
}

bl_status bl_stats_read_imatrix(struct bl_stats *s, struct bl_err *err)
{
    bl_map names = { 0 };
    bl_status rc;

    s->path = s->gguf->path;
    rc = read_info(s, err);
    if (rc == BL_OK)
        rc = count_layers(s, err);
    if (rc == BL_OK)
        rc = bl_stats_allocate(s, err);
    for (size_t i = 0; i < s->gguf->n_stored && rc == BL_OK; i++) {
        const char *name = s->gguf->stored[i].name;

        rc = bl_map_put(&names, name, strlen(name), (uint32_t)i, NULL, err);
    }
    for (size_t i = 0; i < s->gguf->n_stored && rc == BL_OK; i++)
        rc = take(s, &names, i, err);
    for (uint32_t layer = 0; layer < s->info.n_layers && rc == BL_OK; layer++) {
        rc = derive(s, 0, layer, err);
        if (rc == BL_OK)
            rc = derive(s, 1, layer, err);
    }
    bl_map_release(&names);
    return rc;
}
