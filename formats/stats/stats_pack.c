/* stats_pack.c - values as bytes of a file (stats_writer.h), and files made out of other files. */
#include "formats/stats/stats_writer.h"

#include "base/alloc.h"
#include "base/le.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <string.h>

static void put_u64(bl_text *out, uint64_t value)
{
    unsigned char bytes[8];

    bl_put_u64(bytes, value);
    bl_text_add(out, (const char *)bytes, sizeof(bytes));
}

void bl_stats_pack_f32(bl_text *out, const float *value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char bytes[4];

        bl_put_u32(bytes, bl_bits_from_f32(value[i]));
        bl_text_add(out, (const char *)bytes, sizeof(bytes));
    }
}

void bl_stats_pack_f64(bl_text *out, const double *value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;

        memcpy(&bits, &value[i], sizeof(bits));
        put_u64(out, bits);
    }
}

void bl_stats_pack_counts(bl_text *out, const uint64_t *count, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_u64(out, count[i]);
}

void bl_stats_pack_saliency(bl_text *out, const bl_stats_saliency *saliency, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bl_stats_saliency *s = &saliency[i];
        const double value[BL_STATS_SALIENCY_COLS] = {
            s->gate, s->norm, s->norm2, s->gate_norm, s->gate_norm_turn, s->max_abs
        };

        bl_stats_pack_f64(out, value, BL_STATS_SALIENCY_COLS);
    }
}

static bl_status pack_site(bl_text *out, const bl_stats *stats, bl_stats_site site, uint32_t layer,
                           struct bl_err *err)
{
    const bl_stats_shape shape = bl_stats_shape_of(stats, site, layer);
    const size_t n = (size_t)(shape.n_rows * shape.n_cols);
    float *mean = bl_alloc(n, sizeof(*mean));
    uint64_t *count = bl_alloc((size_t)shape.n_rows, sizeof(*count));
    bl_status rc = mean && count ? BL_OK : bl_fail_nomem(err, bl_stats_path(stats));

    if (rc == BL_OK)
        rc = bl_stats_read(mean, count, stats, site, layer, 0, shape.n_rows, err);
    if (rc == BL_OK) {
        bl_stats_pack_f32(out, mean, n);
        bl_stats_pack_counts(out, count, (size_t)shape.n_rows);
    }
    bl_free(mean);
    bl_free(count);
    return rc;
}

static bl_status pack_saliency(bl_text *out, const bl_stats *stats, uint32_t layer,
                               struct bl_err *err)
{
    const size_t n = (size_t)bl_stats_shape_of(stats, BL_SITE_EXPERT_INPUT, layer).n_rows;
    bl_stats_saliency *saliency = bl_alloc(n, sizeof(*saliency));
    bl_status rc = saliency ? bl_stats_read_saliency(saliency, stats, layer, err)
                            : bl_fail_nomem(err, bl_stats_path(stats));

    if (rc == BL_OK)
        bl_stats_pack_saliency(out, saliency, n);
    bl_free(saliency);
    return rc;
}

bl_status bl_stats_pack_layer(bl_text *out, const bl_stats *stats, uint32_t layer,
                              struct bl_err *err)
{
    bl_status rc = BL_OK;
    uint64_t n = 0;
    double angle;

    for (int i = 0; i < BL_SITE_COUNT && rc == BL_OK; i++)
        if (bl_stats_shape_of(stats, (bl_stats_site)i, layer).n_rows > 0)
            rc = pack_site(out, stats, (bl_stats_site)i, layer, err);
    if (rc == BL_OK && bl_stats_has_saliency(stats, layer))
        rc = pack_saliency(out, stats, layer, err);
    if (rc == BL_OK && layer < bl_stats_info_of(stats)->n_layers)
        rc = bl_stats_read_angle(&angle, &n, stats, layer, err);
    if (rc == BL_OK && n > 0)
        bl_stats_pack_f64(out, &angle, 1);
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}

/* Saliencies and angles are in all layers or in none: a file that has them in some is not ours. */
static bl_status find_extras(bl_stats_plan *plan, const bl_stats *stats, struct bl_err *err)
{
    uint32_t n_angles = 0, n_saliencies = 0, n_moe = 0;
    const uint32_t n_layers = plan->info.n_layers;
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer < n_layers && rc == BL_OK; layer++) {
        uint64_t n = 0;
        double angle;

        rc = bl_stats_read_angle(&angle, &n, stats, layer, err);
        n_angles += n > 0;
        n_saliencies += bl_stats_has_saliency(stats, layer);
        n_moe += bl_stats_shape_of(stats, BL_SITE_EXPERT_INPUT, layer).n_rows > 0;
    }
    if (rc == BL_OK &&
        ((n_angles > 0 && n_angles < n_layers) || (n_saliencies > 0 && n_saliencies < n_moe)))
        rc = bl_fail(err, BL_E_FORMAT, "%s: saliencies or angles in some layers, and not in others",
                     bl_stats_path(stats));
    plan->angle = n_angles > 0;
    plan->saliency = n_saliencies > 0;
    return rc;
}

bl_status bl_stats_plan_of(bl_stats_plan *out, bl_stats_shape **shape, const bl_stats *stats,
                           struct bl_err *err)
{
    bl_stats_plan plan = { .info = *bl_stats_info_of(stats) };
    const uint32_t n_layers = plan.info.n_layers;
    bl_stats_shape *s = bl_alloc((size_t)n_layers + 1, BL_SITE_COUNT * sizeof(*s));
    bl_status rc = s ? find_extras(&plan, stats, err) : bl_fail_nomem(err, bl_stats_path(stats));

    if (rc != BL_OK) {
        bl_free(s);
        return rc;
    }
    for (uint32_t layer = 0; layer <= n_layers; layer++)
        for (int i = 0; i < BL_SITE_COUNT; i++)
            s[(size_t)layer * BL_SITE_COUNT + (size_t)i] =
                bl_stats_shape_of(stats, (bl_stats_site)i, layer);
    plan.shape = s;
    *shape = s;
    *out = plan;
    return BL_OK;
}

/* All layers of stats, then the sensitivities where the plan has any. */
static bl_status write_all(bl_stats_writer *w, const bl_stats *stats, const bl_stats_plan *plan,
                           const double *sensitivity, struct bl_err *err)
{
    bl_text bytes = { 0 };
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer <= plan->info.n_layers && rc == BL_OK; layer++) {
        bytes.n = 0;
        rc = bl_stats_pack_layer(&bytes, stats, layer, err);
        if (rc == BL_OK && layer == plan->info.n_layers)
            bl_stats_pack_f64(&bytes, sensitivity,
                              (size_t)(plan->n_sensitivity_rows * plan->n_roles));
        if (rc == BL_OK)
            rc = bl_text_check(&bytes, err);
        if (rc == BL_OK)
            rc = bl_stats_writer_write(w, bytes.bytes, bytes.n, err);
    }
    bl_text_release(&bytes);
    return rc;
}

static bl_status write_copy(const char *path, bool force, const bl_stats *stats,
                            const bl_stats_plan *plan, const double *sensitivity,
                            struct bl_err *err)
{
    bl_stats_writer *w = NULL;
    bl_status rc = bl_stats_writer_begin(&w, path, force, plan, err);

    if (rc == BL_OK)
        rc = write_all(w, stats, plan, sensitivity, err);
    if (rc == BL_OK)
        rc = bl_stats_writer_commit(&w, err);
    bl_stats_writer_abort(&w);
    return rc;
}

bl_status bl_stats_copy(const char *path, bool force, const bl_stats *stats, struct bl_err *err)
{
    bl_stats_plan plan;
    bl_stats_shape *shape = NULL;
    const char *role[BL_STATS_MAX_ROLES];
    double *value = NULL;
    bl_status rc = bl_stats_plan_of(&plan, &shape, stats, err);

    if (rc == BL_OK && bl_stats_sensitivity_shape(&plan.n_sensitivity_rows, &plan.n_roles, stats)) {
        value = bl_alloc((size_t)plan.n_sensitivity_rows, (size_t)plan.n_roles * sizeof(*value));
        rc = value ? bl_stats_read_sensitivity(value, stats, err) : bl_fail_nomem(err, path);
        for (uint64_t i = 0; i < plan.n_roles; i++)
            role[i] = bl_stats_sensitivity_role(stats, i);
        plan.role = role;
    }
    if (rc == BL_OK)
        rc = write_copy(path, force, stats, &plan, value, err);
    bl_free(value);
    bl_free(shape);
    return rc;
}

bl_status bl_stats_add_sensitivity(const char *path, bool force, const bl_stats *stats,
                                   const char *const *role, uint64_t n_roles, const double *value,
                                   uint64_t n_rows, struct bl_err *err)
{
    bl_stats_plan plan;
    bl_stats_shape *shape = NULL;
    bl_status rc;

    for (uint64_t i = 0; i < n_rows * n_roles; i++)
        if (!isfinite(value[i]))
            return bl_fail(err, BL_E_USAGE, "%s: a sensitivity that is not finite", path);
    rc = bl_stats_plan_of(&plan, &shape, stats, err);
    plan.n_sensitivity_rows = n_rows;
    plan.role = role;
    plan.n_roles = n_roles;
    if (rc == BL_OK)
        rc = write_copy(path, force, stats, &plan, value, err);
    bl_free(shape);
    return rc;
}
