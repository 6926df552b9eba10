/* imatrix_write.c - see imatrix.h. */
#include "formats/stats/imatrix.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/gguf/gguf_writer.h"
#include "formats/stats/stats_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 64 };

/* A weight of the imatrix. */
struct weight {
    char name[MAX_NAME];
    bl_stats_site site;
    uint32_t layer;
    bl_stats_shape shape; /* as it is written */
    uint32_t copies;      /* of the site's row, side by side */
};

struct imatrix {
    const bl_stats *stats;
    struct weight *weight;
    size_t n, room;
};

static bool has(const bl_stats *stats, uint32_t layer, uint32_t sites, bool all)
{
    bool any = false, every = true;

    for (int i = 0; i < BL_SITE_COUNT; i++)
        if (sites >> i & 1) {
            const bool there = bl_stats_shape_of(stats, (bl_stats_site)i, layer).n_rows > 0;

            any = any || there;
            every = every && there;
        }
    return sites == 0 || (all ? every : any);
}

static bl_status add(struct imatrix *m, const bl_stats_tensor *t, uint32_t layer,
                     struct bl_err *err)
{
    const bl_stats_info *info = bl_stats_info_of(m->stats);
    struct weight w = { .site = t->site, .layer = layer, .copies = 1 };
    struct weight *grown;

    w.shape = bl_stats_shape_of(m->stats, t->site, layer);
    if (t->site == BL_SITE_VALUE_LATENT && w.shape.n_rows == 0) { /* the key latent in its place */
        w.site = BL_SITE_KEY_LATENT;
        w.copies = info->n_heads;
        w.shape = bl_stats_shape_of(m->stats, BL_SITE_KEY_LATENT, layer);
        if (info->n_heads == 0 || !bl_mul_u64(&w.shape.n_cols, w.shape.n_cols, info->n_heads))
            return BL_OK;
    }
    if (w.shape.n_rows == 0 || !has(m->stats, layer, t->any, false) ||
        !has(m->stats, layer, t->all, true) || (t->none && has(m->stats, layer, t->none, false)))
        return BL_OK;
    if (layer < info->n_layers)
        snprintf(w.name, sizeof(w.name), "blk.%" PRIu32 ".%s", layer, t->gguf);
    else
        snprintf(w.name, sizeof(w.name), "%s", t->gguf);
    if (m->n == m->room) {
        const size_t room = m->room ? 2 * m->room : 64;

        grown = bl_realloc(m->weight, room, sizeof(*grown));
        if (!grown)
            return bl_fail_nomem(err, "an imatrix");
        m->weight = grown;
        m->room = room;
    }
    m->weight[m->n++] = w;
    return BL_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

/* In the order of names, as llama.cpp writes them. */
static bl_status list(struct imatrix *m, struct bl_err *err)
{
    size_t n_tensors;
    const bl_stats_tensor *t = bl_stats_tensors(&n_tensors);
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer <= bl_stats_info_of(m->stats)->n_layers; layer++)
        for (size_t i = 0; i < n_tensors && rc == BL_OK; i++)
            rc = add(m, &t[i], layer, err);
    if (rc == BL_OK && m->n == 0)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: nothing in it that an imatrix holds",
                     bl_stats_path(m->stats));
    if (rc == BL_OK)
        qsort(m->weight, m->n, sizeof(*m->weight), compare_names);
    return rc;
}

static void plan(bl_gguf_writer *w, const struct imatrix *m)
{
    const bl_stats_info *info = bl_stats_info_of(m->stats);
    static const bl_gguf_string dataset = { "calibration", 11 };
    const uint32_t ctx = info->ctx ? info->ctx : 1;

    bl_gguf_put_string(w, "general.type", "imatrix", 7);
    bl_gguf_put_strings(w, "imatrix.datasets", &dataset, 1);
    bl_gguf_put_u32(w, "imatrix.chunk_count",
                    (uint32_t)bl_min_u64(bl_ceil_div_u64(info->n_tokens, ctx), UINT32_MAX));
    bl_gguf_put_u32(w, "imatrix.chunk_size", info->ctx);
    for (size_t i = 0; i < m->n; i++) {
        const struct weight *t = &m->weight[i];
        const uint64_t sums[2] = { t->shape.n_rows, t->shape.n_cols };
        const uint64_t counts[2] = { t->shape.n_rows, 1 };
        char name[MAX_NAME + 16];

        snprintf(name, sizeof(name), "%s.in_sum2", t->name);
        bl_gguf_plan_tensor(w, name, BL_F32, 2, sums);
        snprintf(name, sizeof(name), "%s.counts", t->name);
        bl_gguf_plan_tensor(w, name, BL_F32, 2, counts);
    }
}

/* Sums are means by counts; every row as often as the weight wants it. */
static bl_status write_weight(bl_gguf_writer *w, bl_text *bytes, const struct imatrix *m,
                              const struct weight *t, struct bl_err *err)
{
    const size_t n_rows = (size_t)t->shape.n_rows, n_cols = (size_t)t->shape.n_cols / t->copies;
    float *mean = bl_alloc(n_rows, n_cols * sizeof(*mean));
    uint64_t *count = bl_alloc(n_rows, sizeof(*count));
    bl_status rc = mean && count
                       ? bl_stats_read(mean, count, m->stats, t->site, t->layer, 0, n_rows, err)
                       : bl_fail_nomem(err, "an imatrix");

    bytes->n = 0;
    for (size_t i = 0; i < n_rows && rc == BL_OK; i++) {
        float *row = mean + i * n_cols;

        for (size_t c = 0; c < n_cols; c++)
            row[c] = (float)((double)row[c] * (double)count[i]);
        for (uint32_t copy = 0; copy < t->copies; copy++)
            bl_stats_pack_f32(bytes, row, n_cols);
    }
    for (size_t i = 0; i < n_rows && rc == BL_OK; i++) {
        const float tokens = (float)count[i];

        bl_stats_pack_f32(bytes, &tokens, 1);
    }
    bl_free(mean);
    bl_free(count);
    if (rc == BL_OK)
        rc = bl_text_check(bytes, err);
    return rc == BL_OK ? bl_gguf_writer_write(w, bytes->bytes, bytes->n, err) : rc;
}

bl_status bl_imatrix_write(const char *path, bool force, const bl_stats *stats, struct bl_err *err)
{
    struct imatrix m = { .stats = stats };
    bl_gguf_writer *w = NULL;
    bl_text bytes = { 0 };
    bl_status rc = list(&m, err);

    if (rc == BL_OK)
        rc = bl_gguf_writer_new(&w, err);
    if (rc == BL_OK) {
        plan(w, &m);
        rc = bl_gguf_writer_begin(w, path, force, err);
    }
    for (size_t i = 0; i < m.n && rc == BL_OK; i++)
        rc = write_weight(w, &bytes, &m, &m.weight[i], err);
    if (rc == BL_OK)
        rc = bl_gguf_writer_commit(&w, err);
    bl_gguf_writer_abort(&w);
    bl_text_release(&bytes);
    bl_free(m.weight);
    return rc;
}
