/* stats_writer.c - see stats_writer.h: the plan of a file, and its bytes on the way through. */
#include "formats/stats/stats_writer.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "base/size.h"
#include "formats/safetensors/safetensors_writer.h"
#include "formats/stats/stats_internal.h"

#include <inttypes.h>
#include <string.h>

struct bl_stats_writer {
    bl_safetensors_writer *file;
};

/* The tensors of a file, in order. */
struct listing {
    const bl_stats_plan *plan;
    bl_arena arena;
    bl_stored *stored;
    size_t n, room;
};

static bool add(struct listing *l, const char *name, bl_dtype dtype, uint64_t rows, uint64_t cols)
{
    bl_stored *t;

    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 64;

        t = bl_realloc(l->stored, room, sizeof(*t));
        if (!t)
            return false;
        l->stored = t;
        l->room = room;
    }
    t = &l->stored[l->n++];
    *t = (bl_stored){ .name = name, .dtype = dtype, .ndim = rows ? 2 : 1 };
    t->dim[0] = rows ? rows : cols;
    t->dim[1] = cols;
    return name != NULL;
}

/* "layers.3.ffn_input", or outside the layers the rest alone. */
static char *name_of(struct listing *l, uint32_t layer, const char *rest, const char *suffix)
{
    if (layer >= l->plan->info.n_layers)
        return bl_arena_format(&l->arena, "%s%s", rest, suffix);
    return bl_arena_format(&l->arena, "layers.%" PRIu32 ".%s%s", layer, rest, suffix);
}

static bool list_layer(struct listing *l, uint32_t layer)
{
    const bl_stats_plan *plan = l->plan;
    const bl_stats_shape *shape = plan->shape + (size_t)layer * BL_SITE_COUNT;
    bool ok = true;

    for (int i = 0; i < BL_SITE_COUNT && ok; i++) {
        const char *name = bl_stats_site_name((bl_stats_site)i);
        const bool experts = i == BL_SITE_EXPERT_INPUT || i == BL_SITE_EXPERT_INNER;

        if (shape[i].n_rows > 0)
            ok = add(l, name_of(l, layer, name, ""), BL_F32, experts ? shape[i].n_rows : 0,
                     shape[i].n_cols) &&
                 add(l, name_of(l, layer, name, ".count"), BL_I64, 0, shape[i].n_rows);
    }
    if (layer == plan->info.n_layers)
        return ok;
    if (ok && plan->saliency && shape[BL_SITE_EXPERT_INPUT].n_rows > 0)
        ok = add(l, name_of(l, layer, "saliency", ""), BL_F64, shape[BL_SITE_EXPERT_INPUT].n_rows,
                 BL_STATS_SALIENCY_COLS);
    if (ok && plan->angle)
        ok = add(l, name_of(l, layer, "angle", ""), BL_F64, 0, 1);
    return ok;
}

static bl_status check_roles(const bl_stats_plan *plan, const char *path, struct bl_err *err)
{
    if (plan->n_roles > BL_STATS_MAX_ROLES)
        return bl_fail(err, BL_E_USAGE, "%s: %" PRIu64 " roles, at most %d", path, plan->n_roles,
                       BL_STATS_MAX_ROLES);
    for (uint64_t i = 0; i < plan->n_roles; i++)
        if (plan->role[i][0] == '\0' || strchr(plan->role[i], ','))
            return bl_fail(err, BL_E_USAGE, "%s: '%s' is no name of a role", path, plan->role[i]);
    return BL_OK;
}

/* Room for all values: half a gigabyte that does not fit is found before hours of work. */
static bl_status check_space(const char *path, const struct listing *l, struct bl_err *err)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->n; i++) {
        uint64_t n_bytes;

        if (!bl_dtype_bytes(&n_bytes, l->stored[i].dtype, l->stored[i].ndim, l->stored[i].dim) ||
            !bl_add_u64(&sum, sum, n_bytes))
            return bl_fail(err, BL_E_FORMAT, "%s: the file passes 2^64 bytes", path);
    }
    return bl_space_check(path, sum, err);
}

static bl_status begin_file(struct bl_stats_writer *w, const char *path, bool force,
                            const struct listing *l, struct bl_err *err)
{
    const bl_stats_plan *plan = l->plan;
    bl_safetensors_pair pair[BL_STATS_MAX_PAIRS];
    bl_text text = { 0 };
    bl_sink *sink = NULL;
    size_t n_pairs = 0;
    bl_status rc = bl_stats_put_info(pair, &n_pairs, &text, &plan->info, plan->role,
                                     plan->n_sensitivity_rows ? plan->n_roles : 0, err);

    if (rc == BL_OK)
        rc = check_space(path, l, err);
    if (rc == BL_OK)
        rc = bl_sink_begin(&sink, path, force, err);
    if (rc == BL_OK)
        rc = bl_safetensors_writer_begin_with(&w->file, sink, path, l->stored, l->n, pair, n_pairs,
                                              err);
    if (rc != BL_OK)
        bl_sink_abort(&sink);
    bl_text_release(&text);
    return rc;
}

bl_status bl_stats_writer_begin(bl_stats_writer **out, const char *path, bool force,
                                const bl_stats_plan *plan, struct bl_err *err)
{
    struct bl_stats_writer *w = bl_calloc(1, sizeof(*w));
    struct listing l = { .plan = plan };
    bool ok = w != NULL;
    bl_status rc = check_roles(plan, path, err);

    for (uint32_t layer = 0; layer <= plan->info.n_layers && ok; layer++)
        ok = list_layer(&l, layer);
    if (ok && plan->n_sensitivity_rows > 0)
        ok = add(&l, "sensitivity", BL_F64, plan->n_sensitivity_rows, plan->n_roles);
    if (rc == BL_OK && !ok)
        rc = bl_fail_nomem(err, path);
    if (rc == BL_OK)
        rc = begin_file(w, path, force, &l, err);
    bl_free(l.stored);
    bl_arena_release(&l.arena);
    if (rc == BL_OK)
        *out = w;
    else
        bl_free(w);
    return rc;
}

bl_status bl_stats_writer_write(bl_stats_writer *w, const void *bytes, size_t n, struct bl_err *err)
{
    return bl_safetensors_writer_write(w->file, bytes, n, err);
}

bl_status bl_stats_writer_commit(bl_stats_writer **writer, struct bl_err *err)
{
    bl_status rc = bl_safetensors_writer_commit(&(*writer)->file, err);

    bl_stats_writer_abort(writer);
    return rc;
}

void bl_stats_writer_abort(bl_stats_writer **writer)
{
    if (!*writer)
        return;
    bl_safetensors_writer_abort(&(*writer)->file);
    bl_free(*writer);
    *writer = NULL;
}
