/*
 * calibrate_merge.h - statistics of parts of one text, made on several machines, as those of the
 * whole: means weighted by their tokens, sums added, the largest value kept.
 *
 * Parts are added in ascending order whatever the order they are named in: the same bytes. They
 * differ from those of one run by the rounding of the parts' means to F32.
 */
#ifndef BL_QUANTIZE_CALIBRATE_MERGE_H
#define BL_QUANTIZE_CALIBRATE_MERGE_H

#include "formats/stats/stats.h"

/*
 * Memory: a site of a layer, in F64. BL_E_MISMATCH when they are of another model, container,
 * text or context, or not of as many parts; BL_E_USAGE when one part is in two of them.
 */
BL_MUST_USE bl_status bl_calibrate_merge(const char *path, bool force, const bl_stats *const *stats,
                                         size_t n_stats, struct bl_err *err);

#endif
