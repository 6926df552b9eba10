/*
 * stats_internal.h - how opened statistics lie in memory. Internal to formats/stats; stats.h is the
 * view for others.
 */
#ifndef BL_FORMATS_STATS_INTERNAL_H
#define BL_FORMATS_STATS_INTERNAL_H

#include "base/arena.h"
#include "base/text.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/stats/stats.h"

/* A site of a layer, and where its two tensors are: offsets in our file, or tensors of a GGUF. */
typedef struct bl_stats_entry {
    bl_stats_shape shape;
    uint64_t value, count;
    uint64_t n_counts; /* as the file has them, which must be shape.n_rows */
} bl_stats_entry;

/* What a layer has beside its sites; offsets in our file, 0: none. */
typedef struct bl_stats_extra {
    uint64_t saliency, angle;
    uint64_t n_saliency_rows;
    float *derived[2];          /* an imatrix's BL_SITE_EXPERTS_INPUT and _INNER */
    uint64_t derived_tokens[2]; /* and the pairs behind them */
} bl_stats_extra;

struct bl_stats {
    bl_source *source;  /* of our file, or NULL */
    bl_container *gguf; /* of an imatrix, or NULL */
    const char *path;   /* theirs */
    bl_stats_info info;
    bl_stats_entry *entry;                             /* [n_layers + 1][BL_SITE_COUNT] */
    bl_stats_extra *extra;                             /* [n_layers] */
    uint64_t sensitivity, n_sensitivity_rows, n_roles; /* offset and shape */
    const char **role;                                 /* [n_roles] */
    bl_arena arena;
};

static inline bl_stats_entry *bl_stats_entry_of(const struct bl_stats *s, bl_stats_site site,
                                                uint32_t layer)
{
    return &s->entry[(uint64_t)layer * BL_SITE_COUNT + site];
}

/* entry and extra for info.n_layers, zeroed, in the arena. */
BL_MUST_USE bl_status bl_stats_allocate(struct bl_stats *stats, struct bl_err *err);

/* Fills stats from the table of our file, or from its GGUF. On failure the caller releases it. */
BL_MUST_USE bl_status bl_stats_read_table(struct bl_stats *stats, struct bl_err *err);
BL_MUST_USE bl_status bl_stats_read_imatrix(struct bl_stats *stats, struct bl_err *err);

/* The metadata of our file; roles go to the arena. */
BL_MUST_USE bl_status bl_stats_parse_info(struct bl_stats *stats, const bl_safetensors *st,
                                          struct bl_err *err);

enum { BL_STATS_MAX_PAIRS = 16 };

/* The same back: pairs for a writer, whose values lie in *text, which the caller releases. */
BL_MUST_USE bl_status bl_stats_put_info(bl_safetensors_pair pair[BL_STATS_MAX_PAIRS], size_t *n,
                                        bl_text *text, const bl_stats_info *info,
                                        const char *const *role, uint64_t n_roles,
                                        struct bl_err *err);

#endif
