/*
 * hfquant_group.c - which stored tensors make up a canonical one. Suffixes are the whole
 * convention; shapes are checked here, once, so that reading needs no second look.
 */
#include "formats/hfquant/hfquant_group.h"

#include "base/size.h"

#include <inttypes.h>
#include <string.h>

bl_status bl_grouping_fail(const bl_grouping *g, size_t i, const char *what, const char *which)
{
    return bl_container_fail(g->err, BL_E_FORMAT, g->container, i, "%s%s%s%s", what,
                             which ? " '" : "", which ? which : "", which ? "'" : "");
}

/* *name is of the arena, NULL without memory. */
static bool find(size_t *out, char **name, const bl_grouping *g, const char *stem, size_t n,
                 const char *suffix)
{
    uint32_t i;

    *name = bl_arena_format(g->arena, "%.*s%s", (int)n, stem, suffix);
    if (!*name || !bl_map_get(&i, &g->by_name, *name, strlen(*name)))
        return false;
    *out = i;
    return true;
}

bl_status bl_grouping_require(size_t *out, const bl_grouping *g, size_t i, size_t n,
                              const char *suffix)
{
    char *name;

    if (find(out, &name, g, g->container->stored[i].name, n, suffix))
        return BL_OK;
    return name ? bl_grouping_fail(g, i, "no shard holds its part", name)
                : bl_fail_nomem(g->err, "a tensor's name");
}

bl_status bl_grouping_look(size_t *out, const bl_grouping *g, size_t i, size_t n,
                           const char *suffix)
{
    char *name;

    *out = BL_NO_PART;
    if (!find(out, &name, g, g->container->stored[i].name, n, suffix) && !name)
        return bl_fail_nomem(g->err, "a tensor's name");
    return BL_OK;
}

bl_parts *bl_grouping_add(bl_grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];
    bl_parts *p = &g->parts[g->n_parts++];

    *p = (bl_parts){ .name = t->name,
                     .type_name = bl_dtype_name(t->dtype),
                     .coding = BL_CODING_PLAIN,
                     .values = i,
                     .scales = i,
                     .zeros = BL_NO_PART,
                     .order = BL_NO_PART,
                     .dtype = t->dtype,
                     .ndim = t->ndim,
                     .n_bytes = t->n_bytes };
    memcpy(p->dim, t->dim, sizeof(p->dim));
    return p;
}

bool bl_grouping_is(const bl_grouping *g, size_t i, bl_dtype dtype, uint64_t rows, uint64_t cols)
{
    const bl_stored *t = &g->container->stored[i];

    return t->dtype == dtype && t->ndim == 2 && t->dim[0] == rows && t->dim[1] == cols;
}

bool bl_grouping_is_scale(const bl_grouping *g, size_t i, uint64_t rows, uint64_t cols)
{
    return bl_grouping_is(g, i, BL_BF16, rows, cols) || bl_grouping_is(g, i, BL_F16, rows, cols) ||
           bl_grouping_is(g, i, BL_F32, rows, cols);
}

static bl_status add_fp8(bl_grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];
    const bl_quantization *q = &g->quantization;
    uint64_t rows, cols;
    size_t scales = BL_NO_PART;
    bl_parts *p;
    bl_status rc;

    if (q->storage != BL_STORAGE_FP8_BLOCK)
        return bl_grouping_fail(g, i, "FP8 codes, but config.json gives no weight_block_size",
                                NULL);
    if (t->ndim != 2)
        return bl_grouping_fail(g, i, "FP8 codes that are not a matrix", NULL);
    rc = bl_grouping_require(&scales, g, i, strlen(t->name), "_scale_inv");
    if (rc != BL_OK)
        return rc;
    rows = bl_ceil_div_u64(t->dim[0], q->block_rows);
    cols = bl_ceil_div_u64(t->dim[1], q->block_cols);
    if (!bl_grouping_is(g, scales, BL_F32, rows, cols) &&
        !bl_grouping_is(g, scales, BL_F8_E8M0, rows, cols))
        return bl_grouping_fail(g, scales, "not one F32 or F8_E8M0 scale for each block of",
                                t->name);
    p = bl_grouping_add(g, i);
    p->coding = BL_CODING_FP8_BLOCK;
    p->scales = scales;
    p->block_rows = q->block_rows;
    p->block_cols = q->block_cols;
    p->n_bytes += g->container->stored[scales].n_bytes;
    p->type_name = bl_arena_format(g->arena, "%s %" PRIu32 "x%" PRIu32, bl_dtype_name(t->dtype),
                                   p->block_rows, p->block_cols);
    return p->type_name ? BL_OK : bl_fail_nomem(g->err, t->name);
}

/* Codes of one byte with a scale for each row; Ascend's offsets must be zeros, which reading checks. */
static bl_status add_int8(bl_grouping *g, size_t i)
{
    const bl_stored *t = &g->container->stored[i];
    const bl_storage storage = g->quantization.storage;
    const bool ascend = storage == BL_STORAGE_ASCEND_INT8;
    size_t scales = BL_NO_PART, offsets = BL_NO_PART;
    bl_parts *p;
    bl_status rc;

    if (!ascend && storage != BL_STORAGE_CT_INT8)
        return bl_grouping_fail(g, i, "I8 codes, but config.json does not say of what", NULL);
    if (ascend && !g->is_int8[i])
        return bl_grouping_fail(g, i, "I8 codes that are not W8A8_DYNAMIC in",
                                BL_ASCEND_DESCRIPTION);
    if (t->ndim != 2)
        return bl_grouping_fail(g, i, "I8 codes that are not a matrix", NULL);
    rc = bl_grouping_require(&scales, g, i, strlen(t->name), "_scale");
    if (rc == BL_OK && ascend)
        rc = bl_grouping_require(&offsets, g, i, strlen(t->name), "_offset");
    if (rc != BL_OK)
        return rc;
    if (!bl_grouping_is_scale(g, scales, t->dim[0], 1))
        return bl_grouping_fail(g, scales, "not one scale for each row of", t->name);
    if (ascend && !bl_grouping_is_scale(g, offsets, t->dim[0], 1))
        return bl_grouping_fail(g, offsets, "not one offset for each row of", t->name);
    p = bl_grouping_add(g, i);
    p->coding = BL_CODING_INT8_ROW;
    p->scales = scales;
    p->zeros = offsets;
    p->block_rows = 1;
    p->block_cols = (uint32_t)bl_min_u64(t->dim[1], UINT32_MAX);
    p->n_bytes += g->container->stored[scales].n_bytes;
    if (ascend)
        p->n_bytes += g->container->stored[offsets].n_bytes;
    p->type_name = "int8 by row";
    return BL_OK;
}

static bl_status add_plain(bl_grouping *g, size_t i)
{
    const bl_dtype dtype = g->container->stored[i].dtype;

    if (dtype == BL_F8_E4M3)
        return add_fp8(g, i);
    if (dtype == BL_I8)
        return add_int8(g, i);
    if (g->is_int8 && g->is_int8[i])
        return bl_grouping_fail(g, i, "not I8 codes, as it should be by", BL_ASCEND_DESCRIPTION);
    (void)bl_grouping_add(g, i);
    return BL_OK;
}

/* The parts of each layout by the ends of their names: what puts them together, or whose they are. */
static const struct part_rule {
    bl_storage storage;
    const char *suffix;
    bl_status (*add)(bl_grouping *g, size_t i, size_t stem); /* NULL: part of stem + owner */
    const char *owner;
} rules[] = {
    { BL_STORAGE_FP8_BLOCK, ".weight_scale_inv", NULL, ".weight" },
    { BL_STORAGE_CT_INT4, ".weight_packed", bl_group_int4, NULL },
    { BL_STORAGE_CT_INT4, ".weight_scale", NULL, ".weight_packed" },
    { BL_STORAGE_CT_INT4, ".weight_shape", NULL, ".weight_packed" },
    { BL_STORAGE_CT_INT4, ".weight_zero_point", NULL, ".weight_packed" },
    { BL_STORAGE_CT_INT4, ".weight_g_idx", NULL, ".weight_packed" },
    { BL_STORAGE_CT_INT8, ".weight_scale", NULL, ".weight" },
    { BL_STORAGE_ASCEND_INT8, ".weight_scale", NULL, ".weight" },
    { BL_STORAGE_ASCEND_INT8, ".weight_offset", NULL, ".weight" },
    { BL_STORAGE_GPTQ, ".qweight", bl_group_gptq, NULL },
    { BL_STORAGE_GPTQ, ".qzeros", NULL, ".qweight" },
    { BL_STORAGE_GPTQ, ".scales", NULL, ".qweight" },
    { BL_STORAGE_GPTQ, ".g_idx", NULL, ".qweight" },
    { BL_STORAGE_AWQ, ".qweight", bl_group_awq, NULL },
    { BL_STORAGE_AWQ, ".qzeros", NULL, ".qweight" },
    { BL_STORAGE_AWQ, ".scales", NULL, ".qweight" },
};

static bool ends_with(size_t *stem, const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    if (n <= s || strcmp(name + n - s, suffix) != 0)
        return false;
    *stem = n - s;
    return true;
}

static bl_status add(bl_grouping *g, size_t i)
{
    const char *name = g->container->stored[i].name;
    bool of_another = false;
    size_t stem, unused;

    for (size_t k = 0; k < sizeof(rules) / sizeof(*rules); k++) {
        if (!ends_with(&stem, name, rules[k].suffix))
            continue;
        of_another = true;
        if (rules[k].storage != g->quantization.storage)
            continue;
        return rules[k].add ? rules[k].add(g, i, stem)
                            : bl_grouping_require(&unused, g, i, stem, rules[k].owner);
    }
    if (of_another)
        return bl_grouping_fail(g, i, "part of a layout that config.json does not name", NULL);
    return add_plain(g, i);
}

static bl_status add_all(bl_grouping *g)
{
    const bl_container *c = g->container;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_stored && rc == BL_OK; i++)
        rc = bl_map_put(&g->by_name, c->stored[i].name, strlen(c->stored[i].name), (uint32_t)i,
                        NULL, g->err);
    if (rc == BL_OK)
        rc = bl_group_description(g);
    for (size_t i = 0; i < c->n_stored && rc == BL_OK; i++)
        rc = add(g, i);
    return rc;
}

bl_status bl_hfquant_group(bl_parts **out, size_t *n_parts, bl_arena *arena,
                           const bl_container *container, const bl_config *config,
                           struct bl_err *err)
{
    bl_grouping g = { .container = container, .arena = arena, .err = err };
    bl_status rc = BL_OK;

    g.parts = bl_arena_alloc(arena, container->n_stored, sizeof(*g.parts));
    if (!g.parts)
        return bl_fail_nomem(err, container->path);
    if (config) {
        g.quantization = config->quantization;
        rc = add_all(&g);
    } else {
        for (size_t i = 0; i < container->n_stored; i++)
            (void)bl_grouping_add(&g, i);
    }
    bl_map_release(&g.by_name);
    if (rc == BL_OK) {
        *out = g.parts;
        *n_parts = g.n_parts;
    }
    return rc;
}
