/*
 * sensitivity_store.h - measured sensitivities in a file of calibration statistics (formats/stats):
 * a table of layers, the last row for what is in none, by roles. A role's name is the reference type
 * and the row of the family's table without its layer: "q4_0 mlp.experts.{E}.down_proj.weight".
 * Below 0: not measured.
 */
#ifndef BL_QUANTIZE_SENSITIVITY_STORE_H
#define BL_QUANTIZE_SENSITIVITY_STORE_H

#include "formats/stats/stats_writer.h"
#include "quantize/sensitivity.h"

/* A copy of the statistics with these, beside or over them. Fails as bl_stats_add_sensitivity() does. */
BL_MUST_USE bl_status bl_sensitivity_save(const char *path, bool force, const bl_stats *stats,
                                          const bl_sensitivity *sensitivity, struct bl_err *err);

/*
 * What the statistics hold for this model, which bl_stats_check() has accepted; *known false and
 * *out untouched when they hold none. Roles that the family does not know are left out. BL_E_FORMAT
 * for another number of layers, or names that are not of the form above. The caller releases *out.
 */
BL_MUST_USE bl_status bl_sensitivity_load(bl_sensitivity *out, bool *known, const bl_stats *stats,
                                          const bl_config *config, struct bl_err *err);

#endif
