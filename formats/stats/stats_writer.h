/*
 * stats_writer.h - write calibration statistics: what is to come is declared, then the bytes of all
 * tensors in the order of the file.
 *
 *     bl_stats_writer_begin(&w, path, force, &plan, err);
 *     for each layer:  text.n = 0; for each site that has a shape, in order: means, then counts;
 *                      then the saliencies, then the angle, where planned
 *                      bl_stats_writer_write(w, text.bytes, text.n, err);
 *     the sites outside the layers, and the sensitivities, in the same way
 *     bl_stats_writer_commit(&w, err);      or bl_stats_writer_abort(&w)
 *
 * The same values give the same bytes: no path, no time. The output is atomic (base/sink.h).
 */
#ifndef BL_FORMATS_STATS_WRITER_H
#define BL_FORMATS_STATS_WRITER_H

#include "base/text.h"
#include "formats/stats/stats.h"

typedef struct bl_stats_plan {
    bl_stats_info info;
    const bl_stats_shape *shape; /* [info.n_layers + 1][BL_SITE_COUNT]; the last: outside */
    bool saliency;               /* in layers that have BL_SITE_EXPERT_INPUT */
    bool angle;                  /* in every layer */
    uint64_t n_sensitivity_rows; /* 0: none */
    const char *const *role;     /* [n_roles] their names: no comma, not empty */
    uint64_t n_roles;
} bl_stats_plan;

typedef struct bl_stats_writer bl_stats_writer;

BL_MUST_USE bl_status bl_stats_writer_begin(bl_stats_writer **out, const char *path, bool force,
                                            const bl_stats_plan *plan, struct bl_err *err);
BL_MUST_USE bl_status bl_stats_writer_write(bl_stats_writer *writer, const void *bytes, size_t n,
                                            struct bl_err *err);
BL_MUST_USE bl_status bl_stats_writer_commit(bl_stats_writer **writer, struct bl_err *err);
void bl_stats_writer_abort(bl_stats_writer **writer);

/* Append values as they lie in the file. */
void bl_stats_pack_f32(bl_text *out, const float *value, size_t n);
void bl_stats_pack_f64(bl_text *out, const double *value, size_t n);
void bl_stats_pack_counts(bl_text *out, const uint64_t *count, size_t n);
void bl_stats_pack_saliency(bl_text *out, const bl_stats_saliency *saliency, size_t n);

/* Append all of layer `layer` of other statistics (n_layers: what is outside); memory: a site. */
BL_MUST_USE bl_status bl_stats_pack_layer(bl_text *out, const bl_stats *stats, uint32_t layer,
                                          struct bl_err *err);

/* The plan of a file that holds what `stats` holds; the caller frees *shape, which it points to. */
BL_MUST_USE bl_status bl_stats_plan_of(bl_stats_plan *out, bl_stats_shape **shape,
                                       const bl_stats *stats, struct bl_err *err);

/* The same statistics in a file of ours: what an imatrix holds, for one. */
BL_MUST_USE bl_status bl_stats_copy(const char *path, bool force, const bl_stats *stats,
                                    struct bl_err *err);

/*
 * A copy of the statistics with this table of sensitivities (in place of the one they had):
 * value[n_rows][n_roles], all finite. path may be the file that
 * `stats` reads, which it goes on reading.
 */
BL_MUST_USE bl_status bl_stats_add_sensitivity(const char *path, bool force, const bl_stats *stats,
                                               const char *const *role, uint64_t n_roles,
                                               const double *value, uint64_t n_rows,
                                               struct bl_err *err);

#endif
