/*
 * stats_table.c - the tensors of our file, by name: every one must be known, of the right type and
 * shape, and have its companions; counts must agree.
 */
#include "formats/stats/stats_internal.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_SUFFIX = 64 };

struct table {
    struct bl_stats *stats;
};

static bl_status complain(const struct table *t, const bl_stored *stored, const char *what,
                          struct bl_err *err)
{
    return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' %s", t->stats->path, stored->name, what);
}

/* "layers.12.x" to 12 and "x"; n_layers and the name itself outside the layers. */
static bool split_name(uint32_t *layer, const char **rest, const struct table *t, const char *name)
{
    const char *p = name;
    uint64_t number = 0;

    *layer = t->stats->info.n_layers;
    *rest = name;
    if (strncmp(name, "layers.", 7) != 0)
        return true;
    p += 7;
    if (*p < '0' || *p > '9' || (*p == '0' && p[1] != '.'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        number = number * 10 + (uint64_t)(*p - '0');
        if (number >= t->stats->info.n_layers)
            return false;
    }
    if (*p != '.')
        return false;
    *layer = (uint32_t)number;
    *rest = p + 1;
    return true;
}

static bool is_expert_site(bl_stats_site site)
{
    return site == BL_SITE_EXPERT_INPUT || site == BL_SITE_EXPERT_INNER;
}

/* Means: F32 [cols], or [rows][cols]. */
static bl_status take_means(const struct table *t, const bl_stored *stored, bl_stats_entry *entry,
                            bool experts, struct bl_err *err)
{
    if (stored->dtype != BL_F32 || stored->ndim != (experts ? 2u : 1u) || stored->n_bytes == 0)
        return complain(t, stored, "is not a vector or a matrix of F32", err);
    entry->shape.n_rows = experts ? stored->dim[0] : 1;
    entry->shape.n_cols = stored->dim[stored->ndim - 1];
    entry->value = stored->offset;
    return BL_OK;
}

static bl_status take_extra(const struct table *t, const bl_stored *stored, uint32_t layer,
                            const char *rest, struct bl_err *err)
{
    bl_stats_extra *extra = &t->stats->extra[layer];

    if (strcmp(rest, "angle") == 0) {
        if (stored->dtype != BL_F64 || stored->ndim != 1 || stored->dim[0] != 1)
            return complain(t, stored, "is not one F64", err);
        extra->angle = stored->offset;
        return BL_OK;
    }
    if (strcmp(rest, "saliency") != 0)
        return complain(t, stored, "is none of the statistics", err);
    if (stored->dtype != BL_F64 || stored->ndim != 2 || stored->dim[1] != BL_STATS_SALIENCY_COLS ||
        stored->n_bytes == 0)
        return complain(t, stored, "is not F64 of experts x 6", err);
    extra->saliency = stored->offset;
    extra->n_saliency_rows = stored->dim[0];
    return BL_OK;
}

static bl_status take_sensitivity(const struct table *t, const bl_stored *stored,
                                  struct bl_err *err)
{
    struct bl_stats *s = t->stats;

    if (stored->dtype != BL_F64 || stored->ndim != 2 || stored->n_bytes == 0 ||
        stored->dim[1] != s->n_roles)
        return complain(t, stored, "is not F64 of layers x the roles in the metadata", err);
    s->sensitivity = stored->offset;
    s->n_sensitivity_rows = stored->dim[0];
    return BL_OK;
}

static bl_status take(const struct table *t, const bl_stored *stored, struct bl_err *err)
{
    char site_name[MAX_SUFFIX];
    bl_stats_entry *entry;
    bl_stats_site site;
    const char *rest;
    uint32_t layer;
    size_t n;

    if (!split_name(&layer, &rest, t, stored->name))
        return complain(t, stored, "is of no layer of the file", err);
    if (layer == t->stats->info.n_layers && strcmp(rest, "sensitivity") == 0)
        return take_sensitivity(t, stored, err);
    n = strcspn(rest, ".");
    if (n >= sizeof(site_name))
        return complain(t, stored, "is none of the statistics", err);
    memcpy(site_name, rest, n);
    site_name[n] = '\0';
    if (!bl_stats_site_by_name(&site, site_name))
        return layer < t->stats->info.n_layers
                   ? take_extra(t, stored, layer, rest, err)
                   : complain(t, stored, "is none of the statistics", err);
    if ((site == BL_SITE_FINAL) != (layer == t->stats->info.n_layers))
        return complain(t, stored, "is of no layer of the file", err);
    if (rest[n] == '\0')
        return take_means(t, stored, bl_stats_entry_of(t->stats, site, layer), is_expert_site(site),
                          err);
    if (strcmp(rest + n, ".count") != 0)
        return complain(t, stored, "is none of the statistics", err);
    if (stored->dtype != BL_I64 || stored->ndim != 1)
        return complain(t, stored, "is not a vector of I64", err);
    entry = bl_stats_entry_of(t->stats, site, layer);
    entry->count = stored->offset;
    entry->n_counts = stored->dim[0];
    return BL_OK;
}

/* Sum of the tokens behind an entry's rows; each must be a number of tokens. */
static bl_status sum_counts(uint64_t *out, const struct table *t, const bl_stats_entry *e,
                            uint32_t layer, bl_stats_site site, struct bl_err *err)
{
    const uint64_t n_tokens = t->stats->info.n_tokens;
    unsigned char bytes[8];
    bl_status rc = BL_OK;

    *out = 0;
    for (uint64_t i = 0; i < e->shape.n_rows && rc == BL_OK; i++) {
        uint64_t n;

        rc = bl_source_read(t->stats->source, e->count + 8 * i, bytes, sizeof(bytes), err);
        if (rc != BL_OK)
            return rc;
        n = bl_get_u64(bytes);
        if (n > INT64_MAX || !bl_add_u64(out, *out, n) ||
            (t->stats->info.has_model && e->shape.n_rows == 1 && n != n_tokens &&
             site != BL_SITE_EXPERTS_INPUT && site != BL_SITE_EXPERTS_INNER))
            rc = bl_fail(err, BL_E_FORMAT,
                         "%s: layer %" PRIu32 ": the tokens of '%s' are not as many as the file's",
                         t->stats->path, layer, bl_stats_site_name(site));
    }
    return rc;
}

/* Counts stand behind their means, as many as these have rows. */
static bl_status check_entry(const struct table *t, uint32_t layer, bl_stats_site site,
                             struct bl_err *err)
{
    const bl_stats_entry *e = bl_stats_entry_of(t->stats, site, layer);

    if (e->n_counts != e->shape.n_rows)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: layer %" PRIu32 ": '%s' and its counts do not belong together",
                       t->stats->path, layer, bl_stats_site_name(site));
    return BL_OK;
}

/* Experts and the mean over all of them. */
static bl_status check_experts(const struct table *t, uint32_t layer, struct bl_err *err)
{
    for (int i = 0; i < 2; i++) {
        const bl_stats_site site = (bl_stats_site)(BL_SITE_EXPERT_INPUT + i);
        const bl_stats_site all = (bl_stats_site)(BL_SITE_EXPERTS_INPUT + i);
        const bl_stats_entry *e = bl_stats_entry_of(t->stats, site, layer);
        const bl_stats_entry *a = bl_stats_entry_of(t->stats, all, layer);
        const bl_stats_entry *first = bl_stats_entry_of(t->stats, BL_SITE_EXPERT_INPUT, layer);
        uint64_t n = 0, n_all = 0;
        bl_status rc = sum_counts(&n, t, e, layer, site, err);

        if (rc == BL_OK)
            rc = sum_counts(&n_all, t, a, layer, all, err);
        if (rc != BL_OK)
            return rc;
        if (e->shape.n_cols != a->shape.n_cols || n != n_all ||
            (e->shape.n_rows && first->shape.n_rows && e->shape.n_rows != first->shape.n_rows))
            return bl_fail(
                err, BL_E_FORMAT, "%s: layer %" PRIu32 ": '%s' and '%s' contradict each other",
                t->stats->path, layer, bl_stats_site_name(site), bl_stats_site_name(all));
    }
    return BL_OK;
}

static bl_status check_layer(const struct table *t, uint32_t layer, struct bl_err *err)
{
    const struct bl_stats *s = t->stats;
    const bl_stats_extra *extra = layer < s->info.n_layers ? &s->extra[layer] : NULL;
    uint64_t n_experts = bl_stats_entry_of(s, BL_SITE_EXPERT_INPUT, layer)->shape.n_rows, unused;
    bl_status rc = BL_OK;

    for (int i = 0; i < BL_SITE_COUNT && rc == BL_OK; i++) {
        rc = check_entry(t, layer, (bl_stats_site)i, err);
        if (rc == BL_OK && (i < BL_SITE_EXPERT_INPUT || i == BL_SITE_FINAL))
            rc = sum_counts(&unused, t, bl_stats_entry_of(s, (bl_stats_site)i, layer), layer,
                            (bl_stats_site)i, err);
    }
    if (rc == BL_OK)
        rc = check_experts(t, layer, err);
    if (rc != BL_OK || !extra)
        return rc;
    if (extra->saliency && extra->n_saliency_rows != n_experts)
        return bl_fail(err, BL_E_FORMAT, "%s: layer %" PRIu32 ": saliencies of other experts",
                       s->path, layer);
    if (extra->angle && !bl_stats_entry_of(s, BL_SITE_ATTENTION_INPUT, layer)->n_counts)
        return bl_fail(err, BL_E_FORMAT, "%s: layer %" PRIu32 ": an angle of no tokens", s->path,
                       layer);
    return BL_OK;
}

bl_status bl_stats_read_table(struct bl_stats *stats, struct bl_err *err)
{
    bl_safetensors st = { 0 };
    const struct table t = { stats };
    bl_status rc = bl_safetensors_read(&st, stats->source, err);

    if (rc == BL_OK)
        rc = bl_stats_parse_info(stats, &st, err);
    /* Every layer has its two tensors at least: no table larger than the file justifies. */
    if (rc == BL_OK && stats->info.n_layers > st.n_stored)
        rc = bl_fail(err, BL_E_FORMAT, "%s: %zu tensors are none for %" PRIu32 " layers",
                     stats->path, st.n_stored, stats->info.n_layers);
    if (rc == BL_OK)
        rc = bl_stats_allocate(stats, err);
    for (size_t i = 0; i < st.n_stored && rc == BL_OK; i++)
        rc = take(&t, &st.stored[i], err);
    for (uint32_t layer = 0; layer <= stats->info.n_layers && rc == BL_OK; layer++)
        rc = check_layer(&t, layer, err);
    if (rc == BL_OK && stats->n_roles > 0 && stats->n_sensitivity_rows == 0)
        rc = bl_fail(err, BL_E_FORMAT, "%s: roles of sensitivities, and no table of them",
                     stats->path);
    bl_safetensors_release(&st);
    return rc;
}
