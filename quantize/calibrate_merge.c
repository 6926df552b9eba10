/* calibrate_merge.c - see calibrate_merge.h. */
#include "quantize/calibrate_merge.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/stats/stats_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct merge {
    const bl_stats **stats; /* [n], by their first part */
    size_t n;
    bl_stats_plan plan;
    bl_stats_shape *shape;
    bl_text bytes; /* of a layer */
};

static uint32_t first_part(const bl_stats *stats)
{
    const bl_stats_info *info = bl_stats_info_of(stats);
    uint32_t i = 0;

    while (i < info->n_parts && !(info->part[i / 8] >> i % 8 & 1))
        i++;
    return i;
}

static int compare_parts(const void *a, const void *b)
{
    const uint32_t x = first_part(*(const bl_stats *const *)a);
    const uint32_t y = first_part(*(const bl_stats *const *)b);

    return (x > y) - (x < y);
}

static const char *difference(const bl_stats_info *a, const bl_stats_info *b)
{
    if (!a->has_model || !b->has_model)
        return "an imatrix does not say of which model and text it is";
    if (!bl_hash128_equal(a->identity, b->identity) || a->n_layers != b->n_layers)
        return "they are of two models";
    if (!bl_hash128_equal(a->fingerprint, b->fingerprint))
        return "they were made with two containers or precisions of one model";
    if (!bl_hash128_equal(a->text, b->text))
        return "they are of two texts";
    if (!bl_hash128_equal(a->token_ids, b->token_ids))
        return "they are of two lengths of the text, or two tokenizers";
    if (a->ctx != b->ctx)
        return "their contexts have two lengths";
    return a->n_parts != b->n_parts ? "the text was divided in two ways" : NULL;
}

static bool same_shapes(const bl_stats *a, const bl_stats *b)
{
    for (uint32_t layer = 0; layer <= bl_stats_info_of(a)->n_layers; layer++)
        for (int i = 0; i < BL_SITE_COUNT; i++) {
            const bl_stats_shape x = bl_stats_shape_of(a, (bl_stats_site)i, layer);
            const bl_stats_shape y = bl_stats_shape_of(b, (bl_stats_site)i, layer);

            if (x.n_rows != y.n_rows || x.n_cols != y.n_cols)
                return false;
        }
    return true;
}

/* One more file that the others must go with. */
static bl_status join(bl_stats_plan *plan, const bl_stats *first, const bl_stats *next,
                      struct bl_err *err)
{
    const bl_stats_info *info = bl_stats_info_of(next);
    const char *why = difference(&plan->info, info);
    bl_stats_plan own;
    bl_stats_shape *shape = NULL;
    bl_status rc;

    if (why)
        return bl_fail(err, BL_E_MISMATCH, "%s and %s: %s", bl_stats_path(first),
                       bl_stats_path(next), why);
    for (uint32_t i = 0; i < info->n_parts; i++)
        if (plan->info.part[i / 8] & info->part[i / 8] & 1u << i % 8)
            return bl_fail(err, BL_E_USAGE, "%s: part %" PRIu32 " of %" PRIu32 " is there twice",
                           bl_stats_path(next), i + 1, info->n_parts);
    rc = bl_stats_plan_of(&own, &shape, next, err);
    bl_free(shape);
    if (rc == BL_OK &&
        (own.saliency != plan->saliency || own.angle != plan->angle || !same_shapes(first, next)))
        rc = bl_fail(err, BL_E_MISMATCH, "%s and %s: one has statistics that the other lacks",
                     bl_stats_path(first), bl_stats_path(next));
    for (size_t i = 0; i < sizeof(info->part); i++)
        plan->info.part[i] |= info->part[i];
    if (rc == BL_OK && !bl_add_u64(&plan->info.n_tokens, plan->info.n_tokens, info->n_tokens))
        rc = bl_fail(err, BL_E_FORMAT, "%s: too many tokens", bl_stats_path(next));
    return rc;
}

static bl_status prepare(struct merge *m, const bl_stats *const *stats, size_t n,
                         struct bl_err *err)
{
    bl_status rc;

    m->stats = bl_alloc(n, sizeof(*m->stats));
    if (!m->stats)
        return bl_fail_nomem(err, "a merge");
    for (size_t i = 0; i < n; i++)
        m->stats[i] = stats[i];
    m->n = n;
    qsort(m->stats, n, sizeof(*m->stats), compare_parts);
    rc = bl_stats_plan_of(&m->plan, &m->shape, m->stats[0], err);
    if (rc == BL_OK && !m->plan.info.has_model)
        rc =
            bl_fail(err, BL_E_MISMATCH, "%s: an imatrix does not say of which model and text it is",
                    bl_stats_path(m->stats[0]));
    for (size_t i = 1; i < n && rc == BL_OK; i++)
        rc = join(&m->plan, m->stats[0], m->stats[i], err);
    return rc;
}

/* Sums and counts of a site over all files; mean is room for one. */
static bl_status add_site(double *sum, uint64_t *count, float *mean, uint64_t *n,
                          const bl_stats *stats, bl_stats_site site, uint32_t layer,
                          struct bl_err *err)
{
    const bl_stats_shape shape = bl_stats_shape_of(stats, site, layer);
    bl_status rc = bl_stats_read(mean, n, stats, site, layer, 0, shape.n_rows, err);

    for (uint64_t row = 0; row < shape.n_rows && rc == BL_OK; row++) {
        count[row] += n[row];
        for (uint64_t c = 0; c < shape.n_cols; c++)
            sum[row * shape.n_cols + c] += (double)mean[row * shape.n_cols + c] * (double)n[row];
    }
    return rc;
}

static bl_status merge_site(struct merge *m, bl_stats_site site, uint32_t layer, struct bl_err *err)
{
    const bl_stats_shape shape = m->shape[(size_t)layer * BL_SITE_COUNT + site];
    const size_t n_rows = (size_t)shape.n_rows, n_cols = (size_t)shape.n_cols;
    double *sum = bl_calloc(n_rows, n_cols * sizeof(*sum));
    float *mean = bl_alloc(n_rows, n_cols * sizeof(*mean));
    uint64_t *count = bl_calloc(n_rows, sizeof(*count)), *n = bl_alloc(n_rows, sizeof(*n));
    bl_status rc = sum && mean && count && n ? BL_OK : bl_fail_nomem(err, "a merge");

    for (size_t i = 0; i < m->n && rc == BL_OK; i++)
        rc = add_site(sum, count, mean, n, m->stats[i], site, layer, err);
    for (size_t i = 0; i < n_rows * n_cols && rc == BL_OK; i++) {
        const uint64_t tokens = count[i / n_cols];

        mean[i] = tokens > 0 ? (float)(sum[i] / (double)tokens) : 0.0f;
    }
    if (rc == BL_OK) {
        bl_stats_pack_f32(&m->bytes, mean, n_rows * n_cols);
        bl_stats_pack_counts(&m->bytes, count, n_rows);
    }
    bl_free(sum);
    bl_free(mean);
    bl_free(count);
    bl_free(n);
    return rc;
}

static void add_saliency(bl_stats_saliency *sum, const bl_stats_saliency *s)
{
    sum->n += s->n;
    sum->gate += s->gate;
    sum->norm += s->norm;
    sum->norm2 += s->norm2;
    sum->gate_norm += s->gate_norm;
    sum->gate_norm_turn += s->gate_norm_turn;
    sum->max_abs = fmax(sum->max_abs, s->max_abs);
}

static bl_status merge_saliency(struct merge *m, uint32_t layer, struct bl_err *err)
{
    const size_t n = (size_t)m->shape[(size_t)layer * BL_SITE_COUNT + BL_SITE_EXPERT_INPUT].n_rows;
    bl_stats_saliency *sum = bl_calloc(n, sizeof(*sum)), *one = bl_alloc(n, sizeof(*one));
    bl_status rc = sum && one ? BL_OK : bl_fail_nomem(err, "a merge");

    for (size_t i = 0; i < m->n && rc == BL_OK; i++) {
        rc = bl_stats_read_saliency(one, m->stats[i], layer, err);
        for (size_t e = 0; e < n && rc == BL_OK; e++)
            add_saliency(&sum[e], &one[e]);
    }
    if (rc == BL_OK)
        bl_stats_pack_saliency(&m->bytes, sum, n);
    bl_free(sum);
    bl_free(one);
    return rc;
}

static bl_status merge_layer(struct merge *m, uint32_t layer, struct bl_err *err)
{
    const bl_stats_shape *shape = m->shape + (size_t)layer * BL_SITE_COUNT;
    double angle = 0;
    bl_status rc = BL_OK;

    m->bytes.n = 0;
    for (int i = 0; i < BL_SITE_COUNT && rc == BL_OK; i++)
        if (shape[i].n_rows > 0)
            rc = merge_site(m, (bl_stats_site)i, layer, err);
    if (layer == m->plan.info.n_layers)
        return rc == BL_OK ? bl_text_check(&m->bytes, err) : rc;
    if (rc == BL_OK && m->plan.saliency && shape[BL_SITE_EXPERT_INPUT].n_rows > 0)
        rc = merge_saliency(m, layer, err);
    for (size_t i = 0; i < m->n && rc == BL_OK && m->plan.angle; i++) {
        uint64_t n;
        double one;

        rc = bl_stats_read_angle(&one, &n, m->stats[i], layer, err);
        angle += one;
    }
    if (rc == BL_OK && m->plan.angle)
        bl_stats_pack_f64(&m->bytes, &angle, 1);
    return rc == BL_OK ? bl_text_check(&m->bytes, err) : rc;
}

bl_status bl_calibrate_merge(const char *path, bool force, const bl_stats *const *stats,
                             size_t n_stats, struct bl_err *err)
{
    struct merge m = { 0 };
    bl_stats_writer *w = NULL;
    bl_status rc = prepare(&m, stats, n_stats, err);

    if (rc == BL_OK)
        rc = bl_stats_writer_begin(&w, path, force, &m.plan, err);
    for (uint32_t layer = 0; layer <= m.plan.info.n_layers && rc == BL_OK; layer++) {
        rc = merge_layer(&m, layer, err);
        if (rc == BL_OK)
            rc = bl_stats_writer_write(w, m.bytes.bytes, m.bytes.n, err);
    }
    if (rc == BL_OK)
        rc = bl_stats_writer_commit(&w, err);
    bl_stats_writer_abort(&w);
    bl_text_release(&m.bytes);
    bl_free(m.shape);
    bl_free(m.stats);
    return rc;
}
