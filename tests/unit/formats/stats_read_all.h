/*
 * stats_read_all.h - every value of opened statistics, for tests and for the fuzzer.
 */
#ifndef BL_TESTS_STATS_READ_ALL_H
#define BL_TESTS_STATS_READ_ALL_H

#include "base/alloc.h"
#include "formats/stats/stats.h"

static inline bl_status stats_read_site(const bl_stats *stats, bl_stats_site site, uint32_t layer,
                                        struct bl_err *err)
{
    const bl_stats_shape shape = bl_stats_shape_of(stats, site, layer);
    float *mean = bl_alloc((size_t)shape.n_cols, sizeof(*mean));
    bl_status rc = mean ? BL_OK : bl_fail_nomem(err, "values");
    uint64_t n;

    for (uint64_t row = 0; row < shape.n_rows && rc == BL_OK; row++)
        rc = bl_stats_read(mean, &n, stats, site, layer, row, 1, err);
    bl_free(mean);
    return rc;
}

static inline bl_status stats_read_extras(const bl_stats *stats, uint32_t layer, struct bl_err *err)
{
    const size_t n = (size_t)bl_stats_shape_of(stats, BL_SITE_EXPERT_INPUT, layer).n_rows;
    bl_stats_saliency *s = bl_alloc(n, sizeof(*s));
    bl_status rc = s ? BL_OK : bl_fail_nomem(err, "values");
    uint64_t n_tokens;
    double angle;

    if (rc == BL_OK)
        rc = bl_stats_read_angle(&angle, &n_tokens, stats, layer, err);
    if (rc == BL_OK && bl_stats_has_saliency(stats, layer))
        rc = bl_stats_read_saliency(s, stats, layer, err);
    bl_free(s);
    return rc;
}

static inline bl_status stats_read_all(const bl_stats *stats, struct bl_err *err)
{
    const uint32_t n_layers = bl_stats_info_of(stats)->n_layers;
    uint64_t n_rows, n_roles;
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer <= n_layers && rc == BL_OK; layer++) {
        for (int site = 0; site < BL_SITE_COUNT && rc == BL_OK; site++)
            rc = stats_read_site(stats, (bl_stats_site)site, layer, err);
        if (rc == BL_OK && layer < n_layers)
            rc = stats_read_extras(stats, layer, err);
    }
    if (rc == BL_OK && bl_stats_sensitivity_shape(&n_rows, &n_roles, stats)) {
        double *value = bl_alloc((size_t)n_rows, (size_t)n_roles * sizeof(*value));

        rc = value ? bl_stats_read_sensitivity(value, stats, err) : bl_fail_nomem(err, "values");
        bl_free(value);
    }
    return rc;
}

#endif
