/* stats.c - see stats.h: opening either kind of file, and reading its values by position. */
#include "formats/stats/stats.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/stats/stats_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

bl_status bl_stats_allocate(struct bl_stats *s, struct bl_err *err)
{
    s->entry =
        bl_arena_alloc(&s->arena, (size_t)s->info.n_layers + 1, BL_SITE_COUNT * sizeof(*s->entry));
    s->extra = bl_arena_alloc(&s->arena, s->info.n_layers, sizeof(*s->extra));
    return s->entry && s->extra ? BL_OK : bl_fail_nomem(err, s->path);
}

bl_status bl_stats_open_source(bl_stats **out, bl_source *source, struct bl_err *err)
{
    struct bl_stats *s = bl_calloc(1, sizeof(*s));
    unsigned char magic[4] = { 0 };
    bl_status rc = BL_OK;

    if (!s) {
        rc = bl_fail_nomem(err, source->name);
        bl_source_close(source);
        return rc;
    }
    s->path = source->name;
    s->source = source;
    if (source->size >= sizeof(magic))
        rc = bl_source_read(source, 0, magic, sizeof(magic), err);
    if (rc == BL_OK && memcmp(magic, "GGUF", 4) == 0) {
        s->source = NULL;
        rc = bl_gguf_open_source(&s->gguf, source, err);
        if (rc == BL_OK)
            rc = bl_stats_read_imatrix(s, err);
    } else if (rc == BL_OK) {
        rc = bl_stats_read_table(s, err);
    }
    if (rc == BL_OK)
        *out = s;
    else
        bl_stats_close(s);
    return rc;
}

bl_status bl_stats_open(bl_stats **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? bl_stats_open_source(out, source, err) : rc;
}

void bl_stats_close(bl_stats *s)
{
    if (!s)
        return;
    bl_source_close(s->source);
    bl_container_close(s->gguf);
    bl_arena_release(&s->arena);
    bl_free(s);
}

const char *bl_stats_path(const bl_stats *s)
{
    return s->path;
}

const bl_stats_info *bl_stats_info_of(const bl_stats *s)
{
    return &s->info;
}

uint32_t bl_stats_n_parts_in(const bl_stats_info *info)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < info->n_parts; i++)
        n += info->part[i / 8] >> i % 8 & 1;
    return n;
}

bl_stats_shape bl_stats_shape_of(const bl_stats *s, bl_stats_site site, uint32_t layer)
{
    return bl_stats_entry_of(s, site, layer)->shape;
}

/* n values of bytes_each at offset `at` of our file, or byte `at` of an imatrix' tensor `where`. */
static bl_status read_bytes(unsigned char **out, const bl_stats *s, uint64_t where, uint64_t at,
                            size_t n, size_t bytes_each, struct bl_err *err)
{
    unsigned char *bytes = bl_alloc(n, bytes_each);
    bl_status rc;

    if (!bytes)
        return bl_fail_nomem(err, s->path);
    rc = s->gguf ? bl_container_read(s->gguf, (size_t)where, at, bytes, n * bytes_each, err)
                 : bl_source_read(s->source, where + at, bytes, n * bytes_each, err);
    if (rc == BL_OK)
        *out = bytes;
    else
        bl_free(bytes);
    return rc;
}

static bl_status refuse(const bl_stats *s, bl_stats_site site, uint32_t layer, struct bl_err *err)
{
    return bl_fail(err, BL_E_FORMAT,
                   "%s: layer %" PRIu32 ": '%s' has a value that is negative or not finite",
                   s->path, layer, bl_stats_site_name(site));
}

/* Tokens behind rows [row, row + n): I64 of ours, F32 of an imatrix. */
static bl_status read_counts(uint64_t *count, const bl_stats *s, bl_stats_site site, uint32_t layer,
                             uint64_t row, uint64_t n, struct bl_err *err)
{
    const bl_stats_entry *e = bl_stats_entry_of(s, site, layer);
    const size_t each = s->gguf ? 4 : 8;
    unsigned char *bytes = NULL;
    bl_status rc = read_bytes(&bytes, s, e->count, row * each, (size_t)n, each, err);

    for (uint64_t i = 0; i < n && rc == BL_OK; i++) {
        float tokens = s->gguf ? bl_f32_from_bits(bl_get_u32(bytes + 4 * i)) : 0;

        if (!(tokens >= 0 && tokens < 0x1p62f))
            rc = refuse(s, site, layer, err);
        else
            count[i] = s->gguf ? (uint64_t)tokens : bl_get_u64(bytes + 8 * i);
    }
    bl_free(bytes);
    return rc;
}

/* Means of rows: as they are, or sums by their counts. */
static bl_status read_means(float *mean, const uint64_t *count, const bl_stats *s,
                            bl_stats_site site, uint32_t layer, uint64_t row, uint64_t n,
                            struct bl_err *err)
{
    const bl_stats_entry *e = bl_stats_entry_of(s, site, layer);
    const uint64_t n_cols = e->shape.n_cols;
    unsigned char *bytes = NULL;
    bl_status rc = read_bytes(&bytes, s, e->value, row * n_cols * 4, (size_t)(n * n_cols), 4, err);

    for (uint64_t i = 0; i < n * n_cols && rc == BL_OK; i++) {
        float x = bl_f32_from_bits(bl_get_u32(bytes + 4 * i));
        uint64_t tokens = count[i / n_cols];

        if (!(x >= 0 && isfinite(x))) /* also when no token is behind it: then it is zero */
            rc = refuse(s, site, layer, err);
        else if (tokens == 0)
            mean[i] = 0;
        else
            mean[i] = s->gguf ? (float)((double)x / (double)tokens) : x;
    }
    bl_free(bytes);
    return rc;
}

static const bl_stats_extra *derived_of(const bl_stats *s, bl_stats_site site, uint32_t layer)
{
    const bool all = site == BL_SITE_EXPERTS_INPUT || site == BL_SITE_EXPERTS_INNER;

    return s->gguf && all ? &s->extra[layer] : NULL;
}

bl_status bl_stats_read(float *mean, uint64_t *count, const bl_stats *s, bl_stats_site site,
                        uint32_t layer, uint64_t row, uint64_t n_rows, struct bl_err *err)
{
    const bl_stats_entry *e = bl_stats_entry_of(s, site, layer);
    const bl_stats_extra *derived = derived_of(s, site, layer);
    uint64_t *tokens;
    bl_status rc;

    assert(bl_range_fits(row, n_rows, e->shape.n_rows));
    if (derived) {
        const int i = site == BL_SITE_EXPERTS_INNER;

        if (mean)
            memcpy(mean, derived->derived[i], (size_t)e->shape.n_cols * sizeof(*mean));
        if (count)
            *count = derived->derived_tokens[i];
        return BL_OK;
    }
    tokens = bl_alloc((size_t)n_rows, sizeof(*tokens));
    rc = tokens ? read_counts(tokens, s, site, layer, row, n_rows, err)
                : bl_fail_nomem(err, s->path);
    if (rc == BL_OK && mean)
        rc = read_means(mean, tokens, s, site, layer, row, n_rows, err);
    if (rc == BL_OK && count)
        memcpy(count, tokens, (size_t)n_rows * sizeof(*count));
    bl_free(tokens);
    return rc;
}

bool bl_stats_has_saliency(const bl_stats *s, uint32_t layer)
{
    return layer < s->info.n_layers && s->extra[layer].saliency != 0;
}

static double get_f64(const unsigned char *bytes)
{
    const uint64_t bits = bl_get_u64(bytes);
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* n F64 at offset, all finite and not below least. */
static bl_status read_f64(double *out, const bl_stats *s, uint64_t offset, size_t n, double least,
                          const char *what, struct bl_err *err)
{
    unsigned char *bytes = NULL;
    bl_status rc = read_bytes(&bytes, s, offset, 0, n, 8, err);

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        out[i] = get_f64(bytes + 8 * i);
        if (!(isfinite(out[i]) && out[i] >= least))
            rc = bl_fail(err, BL_E_FORMAT, "%s: %s has a value that cannot be", s->path, what);
    }
    bl_free(bytes);
    return rc;
}

bl_status bl_stats_read_saliency(bl_stats_saliency *out, const bl_stats *s, uint32_t layer,
                                 struct bl_err *err)
{
    const size_t n = (size_t)bl_stats_shape_of(s, BL_SITE_EXPERT_INPUT, layer).n_rows;
    double(*value)[BL_STATS_SALIENCY_COLS] = bl_alloc(n, sizeof(*value));
    uint64_t *count = bl_alloc(n, sizeof(*count));
    bl_status rc = value && count ? BL_OK : bl_fail_nomem(err, s->path);

    assert(bl_stats_has_saliency(s, layer));
    if (rc == BL_OK)
        rc = read_counts(count, s, BL_SITE_EXPERT_INPUT, layer, 0, n, err);
    if (rc == BL_OK)
        rc = read_f64(value[0], s, s->extra[layer].saliency, n * BL_STATS_SALIENCY_COLS, 0,
                      "a saliency", err);
    for (size_t e = 0; e < n && rc == BL_OK; e++)
        out[e] = (bl_stats_saliency){ .n = count[e],
                                      .gate = value[e][0],
                                      .norm = value[e][1],
                                      .norm2 = value[e][2],
                                      .gate_norm = value[e][3],
                                      .gate_norm_turn = value[e][4],
                                      .max_abs = value[e][5] };
    bl_free(value);
    bl_free(count);
    return rc;
}

bl_status bl_stats_read_angle(double *sum, uint64_t *n, const bl_stats *s, uint32_t layer,
                              struct bl_err *err)
{
    bl_status rc;

    *sum = 0;
    *n = 0;
    if (s->extra[layer].angle == 0)
        return BL_OK;
    rc = read_f64(sum, s, s->extra[layer].angle, 1, 0, "an angle", err);
    return rc == BL_OK ? read_counts(n, s, BL_SITE_ATTENTION_INPUT, layer, 0, 1, err) : rc;
}

bool bl_stats_sensitivity_shape(uint64_t *n_rows, uint64_t *n_roles, const bl_stats *s)
{
    *n_rows = s->n_sensitivity_rows;
    *n_roles = s->n_sensitivity_rows ? s->n_roles : 0;
    return s->n_sensitivity_rows > 0;
}

const char *bl_stats_sensitivity_role(const bl_stats *s, uint64_t i)
{
    assert(i < s->n_roles);
    return s->role[i];
}

bl_status bl_stats_read_sensitivity(double *out, const bl_stats *s, struct bl_err *err)
{
    assert(s->n_sensitivity_rows > 0);
    return read_f64(out, s, s->sensitivity, (size_t)(s->n_sensitivity_rows * s->n_roles),
                    -(double)INFINITY, "a sensitivity", err);
}
