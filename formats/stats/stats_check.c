/* stats_check.c - whether statistics are of this model. */
#include "formats/ckpt/fingerprint.h"
#include "formats/ckpt/identity.h"
#include "formats/slice/pruning.h"
#include "formats/stats/stats.h"

#include <inttypes.h>

static bl_status check_shapes(const bl_stats *stats, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(ckpt);
    const uint32_t n_layers = bl_stats_info_of(stats)->n_layers;

    if (n_layers > c->n_layers)
        return bl_fail(err, BL_E_MISMATCH, "%s: statistics of %" PRIu32 " layers, %s has %" PRIu32,
                       bl_stats_path(stats), n_layers, bl_ckpt_path(ckpt), c->n_layers);
    for (uint32_t layer = 0; layer <= n_layers; layer++)
        for (int i = 0; i < BL_SITE_COUNT; i++) {
            const bl_stats_site site = (bl_stats_site)i;
            const bl_stats_shape has = bl_stats_shape_of(stats, site, layer);
            const bl_stats_shape wants =
                bl_stats_site_shape(c, site, layer == n_layers ? c->n_layers : layer);

            if (has.n_rows > 0 && (has.n_rows != wants.n_rows || has.n_cols != wants.n_cols))
                return bl_fail(err, BL_E_MISMATCH,
                               "%s: layer %" PRIu32 ": '%s' is %" PRIu64 " x %" PRIu64
                               ", %s needs %" PRIu64 " x %" PRIu64 ": statistics of another model",
                               bl_stats_path(stats), layer, bl_stats_site_name(site), has.n_rows,
                               has.n_cols, bl_ckpt_path(ckpt), wants.n_rows, wants.n_cols);
        }
    return BL_OK;
}

/* Statistics of another model: of which, if that can be told. */
static bl_status refuse(const bl_stats *stats, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_pruning pruning = { 0 };
    bool pruned = false, before;
    bl_status rc = bl_pruning_read(&pruning, &pruned, ckpt, err);

    if (rc != BL_OK)
        return rc;
    before = pruned && bl_pruning_descends(&pruning, bl_stats_info_of(stats)->identity);
    bl_pruning_release(&pruning);
    if (before)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: statistics of the model before it was pruned to %s, whose experts meet "
                       "other tokens: 'baleen calibrate' the pruned one",
                       bl_stats_path(stats), bl_ckpt_path(ckpt));
    return bl_fail(err, BL_E_MISMATCH,
                   "%s: statistics of another model than %s (pruned, trained, or another "
                   "network): calibrate this one",
                   bl_stats_path(stats), bl_ckpt_path(ckpt));
}

bl_status bl_stats_check(bool *other_precision, const bl_stats *stats, const bl_ckpt *ckpt,
                         struct bl_err *err)
{
    const bl_stats_info *info = bl_stats_info_of(stats);
    bl_hash128 hash;
    bl_status rc;

    *other_precision = false;
    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: without a configuration it is no model",
                       bl_ckpt_path(ckpt));
    if (info->has_model) {
        rc = bl_ckpt_identity(&hash, ckpt, err);
        if (rc != BL_OK)
            return rc;
        if (!bl_hash128_equal(hash, info->identity))
            return refuse(stats, ckpt, err);
        rc = bl_container_fingerprint(&hash, bl_ckpt_container(ckpt), err);
        if (rc != BL_OK)
            return rc;
        *other_precision = !bl_hash128_equal(hash, info->fingerprint);
    }
    return check_shapes(stats, ckpt, err);
}
