/*
 * hfquant_group.c - which stored tensors make up a canonical one. Suffixes are the whole
 * convention; shapes are checked here, once, so that reading needs no second look.
 */
#include "formats/hfquant/hfquant.h"

#include "base/map.h"
#include "base/size.h"

#include <inttypes.h>
#include <string.h>

struct grouping {
    const bl_container *container;
    const bl_config *config;
    bl_arena *arena;
    bl_map by_name;
    bl_parts *parts;
    size_t n_parts;
    struct bl_err *err;
};

static bl_status complain(const struct grouping *g, size_t i, const char *what, const char *which)
{
    return bl_container_fail(g->err, BL_E_FORMAT, g->container, i, "%s%s%s%s", what,
                             which ? " '" : "", which ? which : "", which ? "'" : "");
}

/* A part that no shard holds; name NULL: there was no memory to spell it. */
static bl_status missing(const struct grouping *g, size_t i, const char *what, const char *name)
{
    return name ? complain(g, i, what, name) : bl_fail_nomem(g->err, "a tensor's name");
}

/* The stored tensor named stem + suffix, stem being the first n bytes of a name. */
static bool find(size_t *out, char **name, const struct grouping *g, const char *stem, size_t n,
                 const char *suffix)
{
    uint32_t i;

    *name = bl_arena_format(g->arena, "%.*s%s", (int)n, stem, suffix);
    if (!*name || !bl_map_get(&i, &g->by_name, *name, strlen(*name)))
        return false;
    *out = i;
    return true;
}

static bool ends_with(size_t *stem, const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    if (n <= s || strcmp(name + n - s, suffix) != 0)
        return false;
    *stem = n - s;
    return true;
}

static bl_status add_plain(struct grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];
    bl_parts *p = &g->parts[g->n_parts++];

    *p = (bl_parts){ .name = t->name,
                     .type_name = bl_dtype_name(t->dtype),
                     .coding = BL_CODING_PLAIN,
                     .values = i,
                     .scales = i,
                     .dtype = t->dtype,
                     .ndim = t->ndim,
                     .n_bytes = t->n_bytes };
    memcpy(p->dim, t->dim, sizeof(p->dim));
    return BL_OK;
}

static bl_status add_fp8(struct grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i], *s;
    const bl_config *c = g->config;
    bl_parts *p = &g->parts[g->n_parts];
    char *scale_name;
    size_t scales;

    if (c->fp8_block_rows == 0)
        return complain(g, i, "FP8 codes, but config.json gives no weight_block_size", NULL);
    if (t->ndim != 2)
        return complain(g, i, "FP8 codes that are not a matrix", NULL);
    if (!find(&scales, &scale_name, g, t->name, strlen(t->name), "_scale_inv"))
        return missing(g, i, "no shard holds its scales", scale_name);
    s = &g->container->stored[scales];
    if (s->dtype != BL_F32 || s->ndim != 2 ||
        s->dim[0] != bl_ceil_div_u64(t->dim[0], c->fp8_block_rows) ||
        s->dim[1] != bl_ceil_div_u64(t->dim[1], c->fp8_block_cols))
        return complain(g, scales, "not one F32 scale for each block of", t->name);
    (void)add_plain(g, i);
    p->coding = BL_CODING_FP8_BLOCK;
    p->scales = scales;
    p->block_rows = c->fp8_block_rows;
    p->block_cols = c->fp8_block_cols;
    p->n_bytes += s->n_bytes;
    p->type_name = bl_arena_format(g->arena, "%s %" PRIu32 "x%" PRIu32, bl_dtype_name(t->dtype),
                                   p->block_rows, p->block_cols);
    return p->type_name ? BL_OK : bl_fail_nomem(g->err, t->name);
}

/* Read {N, K} of a packed matrix. */
static bl_status read_shape(uint64_t *shape, struct grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];

    if (t->dtype != BL_I64 || t->ndim != 1 || t->dim[0] != 2)
        return complain(g, i, "not two I64 numbers", NULL);
    return bl_container_read(g->container, i, 0, shape, 2 * sizeof(*shape), g->err);
}

static bl_status add_int4(struct grouping *g, size_t i, size_t stem)
{
    const bl_stored *t = &g->container->stored[i], *s;
    const uint64_t group = g->config->int4_group_size;
    bl_parts *p = &g->parts[g->n_parts];
    uint64_t shape[2] = { 0 };
    size_t scales, shapes;
    char *name;
    bl_status rc;

    if (group == 0)
        return complain(g, i, "packed int4, but config.json gives no group size", NULL);
    if (!find(&scales, &name, g, t->name, stem, ".weight_scale") ||
        !find(&shapes, &name, g, t->name, stem, ".weight_shape"))
        return missing(g, i, "no shard holds its part", name);
    rc = read_shape(shape, g, shapes);
    if (rc != BL_OK)
        return rc;
    s = &g->container->stored[scales];
    if (t->dtype != BL_I32 || t->ndim != 2 || t->dim[0] != shape[0] ||
        t->dim[1] != bl_ceil_div_u64(shape[1], 8) || shape[1] % group != 0)
        return complain(g, i, "its shape is not that of", name);
    if ((s->dtype != BL_BF16 && s->dtype != BL_F16 && s->dtype != BL_F32) || s->ndim != 2 ||
        s->dim[0] != shape[0] || s->dim[1] != shape[1] / group)
        return complain(g, scales, "not one scale for each group of", t->name);
    (void)add_plain(g, i);
    p->coding = BL_CODING_INT4_GROUP;
    p->scales = scales;
    p->dim[1] = shape[1];
    p->block_rows = 1;
    p->block_cols = (uint32_t)group;
    p->n_bytes += s->n_bytes + g->container->stored[shapes].n_bytes;
    p->name = bl_arena_format(g->arena, "%.*s.weight", (int)stem, t->name);
    p->type_name = bl_arena_format(g->arena, "int4 g%" PRIu64, group);
    return p->name && p->type_name ? BL_OK : bl_fail_nomem(g->err, t->name);
}

/* A scale or shape: it must belong to something. */
static bl_status check_companion(struct grouping *g, size_t i, size_t stem, const char *owner)
{
    char *name;
    size_t unused;

    if (!find(&unused, &name, g, g->container->stored[i].name, stem, owner))
        return missing(g, i, "no shard holds what it belongs to", name);
    return BL_OK;
}

static bl_status add(struct grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];
    size_t stem;

    if (!g->config)
        return add_plain(g, i);
    if (ends_with(&stem, t->name, "_scale_inv"))
        return check_companion(g, i, stem, "");
    if (ends_with(&stem, t->name, ".weight_packed"))
        return add_int4(g, i, stem);
    if (ends_with(&stem, t->name, ".weight_scale") || ends_with(&stem, t->name, ".weight_shape"))
        return check_companion(g, i, stem, ".weight_packed");
    return t->dtype == BL_F8_E4M3 ? add_fp8(g, i) : add_plain(g, i);
}

bl_status bl_hfquant_group(bl_parts **out, size_t *n_parts, bl_arena *arena,
                           const bl_container *container, const bl_config *config,
                           struct bl_err *err)
{
    struct grouping g = { .container = container, .config = config, .arena = arena, .err = err };
    bl_status rc = BL_OK;

    g.parts = bl_arena_alloc(arena, container->n_stored, sizeof(*g.parts));
    if (!g.parts)
        return bl_fail_nomem(err, container->path);
    for (size_t i = 0; i < container->n_stored && rc == BL_OK; i++)
        rc = bl_map_put(&g.by_name, container->stored[i].name, strlen(container->stored[i].name),
                        (uint32_t)i, NULL, err);
    for (size_t i = 0; i < container->n_stored && rc == BL_OK; i++)
        rc = add(&g, i);
    bl_map_release(&g.by_name);
    if (rc == BL_OK) {
        *out = g.parts;
        *n_parts = g.n_parts;
    }
    return rc;
}
