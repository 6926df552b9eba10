/*
 * hfquant_group_int4.c - the parts of int4 matrices: packed by row (compressed-tensors), or
 * transposed (GPTQ, AWQ). Every shape follows from that of the codes and the group size.
 */
#include "formats/hfquant/hfquant_group.h"

#include "base/size.h"

#include <inttypes.h>
#include <string.h>

/* What all of them have in common; the name is stem + ".weight". */
static bl_status finish(bl_grouping *g, bl_parts *p, const char *stored_name, size_t stem,
                        const char *format, uint64_t rows, uint64_t cols)
{
    const size_t part[] = { p->scales, p->zeros, p->order };

    p->dim[0] = rows;
    p->dim[1] = cols;
    p->block_rows = 1;
    p->block_cols = g->quantization.block_cols;
    for (size_t k = 0; k < 3; k++)
        if (part[k] != BL_NO_PART)
            p->n_bytes += g->container->stored[part[k]].n_bytes;
    p->name = bl_arena_format(g->arena, "%.*s.weight", (int)stem, stored_name);
    p->type_name = bl_arena_format(g->arena, "%s g%" PRIu32, format, p->block_cols);
    return p->name && p->type_name ? BL_OK : bl_fail_nomem(g->err, stored_name);
}

static bool is_vector(const bl_grouping *g, size_t i, bl_dtype dtype, uint64_t n)
{
    const bl_stored *t = &g->container->stored[i];

    return t->dtype == dtype && t->ndim == 1 && t->dim[0] == n;
}

/* {N, K} of a packed matrix; the library writes I64 and declares I32. */
static bl_status read_shape(uint64_t *shape, const bl_grouping *g, size_t i)
{
    uint32_t narrow[2] = { 0 };
    bl_status rc;

    if (is_vector(g, i, BL_I64, 2))
        return bl_container_read(g->container, i, 0, shape, 2 * sizeof(*shape), g->err);
    if (!is_vector(g, i, BL_I32, 2))
        return bl_grouping_fail(g, i, "not two I64 numbers", NULL);
    rc = bl_container_read(g->container, i, 0, narrow, sizeof(narrow), g->err);
    shape[0] = narrow[0];
    shape[1] = narrow[1];
    return rc;
}

/* The optional parts: zero points (as the configuration says) and the order of the columns. */
static bl_status find_extras(size_t *zeros, size_t *order, const bl_grouping *g, size_t i,
                             size_t stem, const uint64_t *shape)
{
    const char *owner = g->container->stored[i].name;
    bl_status rc = bl_grouping_look(zeros, g, i, stem, ".weight_zero_point");

    if (rc == BL_OK && g->quantization.asymmetric)
        rc = bl_grouping_require(zeros, g, i, stem, ".weight_zero_point");
    if (rc == BL_OK)
        rc = bl_grouping_look(order, g, i, stem, ".weight_g_idx");
    if (rc != BL_OK)
        return rc;
    if (!g->quantization.asymmetric && *zeros != BL_NO_PART)
        return bl_grouping_fail(g, *zeros, "a zero point where config.json says symmetric", NULL);
    if (*zeros != BL_NO_PART && !bl_grouping_is(g, *zeros, BL_I32, bl_ceil_div_u64(shape[0], 8),
                                                shape[1] / g->quantization.block_cols))
        return bl_grouping_fail(g, *zeros, "not four bits for each group of", owner);
    if (*order != BL_NO_PART && !is_vector(g, *order, BL_I32, shape[1]))
        return bl_grouping_fail(g, *order, "not a group for each column of", owner);
    return BL_OK;
}

bl_status bl_group_int4(bl_grouping *g, size_t i, size_t stem)
{
    const bl_stored *t = &g->container->stored[i];
    const uint64_t group = g->quantization.block_cols;
    uint64_t shape[2] = { 0 };
    size_t scales = BL_NO_PART, shapes = BL_NO_PART, zeros = BL_NO_PART, order = BL_NO_PART;
    bl_status rc = bl_grouping_require(&scales, g, i, stem, ".weight_scale");
    bl_parts *p;

    if (rc == BL_OK)
        rc = bl_grouping_require(&shapes, g, i, stem, ".weight_shape");
    if (rc == BL_OK)
        rc = read_shape(shape, g, shapes);
    if (rc != BL_OK)
        return rc;
    if (group % 8 != 0 || shape[1] % group != 0 ||
        !bl_grouping_is(g, i, BL_I32, shape[0], shape[1] / 8))
        return bl_grouping_fail(g, i, "its shape is not that of",
                                g->container->stored[shapes].name);
    if (!bl_grouping_is_scale(g, scales, shape[0], shape[1] / group))
        return bl_grouping_fail(g, scales, "not one scale for each group of", t->name);
    rc = find_extras(&zeros, &order, g, i, stem, shape);
    if (rc != BL_OK)
        return rc;
    p = bl_grouping_add(g, i);
    p->coding = BL_CODING_INT4_GROUP;
    p->scales = scales;
    p->zeros = zeros;
    p->order = order;
    p->n_bytes += g->container->stored[shapes].n_bytes;
    return finish(g, p, t->name, stem, zeros == BL_NO_PART ? "int4" : "int4+zero", shape[0],
                  shape[1]);
}

/* Zero points and scales of a transposed matrix [N, K], the same for GPTQ and AWQ. */
static bl_status find_transposed(size_t *scales, size_t *zeros, const bl_grouping *g, size_t i,
                                 size_t stem, uint64_t rows, uint64_t cols)
{
    const uint64_t group = g->quantization.block_cols;
    const char *owner = g->container->stored[i].name;
    bl_status rc = bl_grouping_require(scales, g, i, stem, ".scales");

    if (rc == BL_OK)
        rc = bl_grouping_require(zeros, g, i, stem, ".qzeros");
    if (rc != BL_OK)
        return rc;
    if (rows % 8 != 0 || cols % group != 0)
        return bl_grouping_fail(g, i, "rows and columns do not divide into words and groups", NULL);
    if (!bl_grouping_is_scale(g, *scales, cols / group, rows))
        return bl_grouping_fail(g, *scales, "not one scale for each group of", owner);
    if (!bl_grouping_is(g, *zeros, BL_I32, cols / group, rows / 8))
        return bl_grouping_fail(g, *zeros, "not four bits for each group of", owner);
    return BL_OK;
}

bl_status bl_group_gptq(bl_grouping *g, size_t i, size_t stem)
{
    const bl_stored *t = &g->container->stored[i];
    uint64_t rows = t->dim[1], cols;
    size_t scales = BL_NO_PART, zeros = BL_NO_PART, order = BL_NO_PART;
    bl_parts *p;
    bl_status rc;

    if (t->dtype != BL_I32 || t->ndim != 2 || !bl_mul_u64(&cols, t->dim[0], 8))
        return bl_grouping_fail(g, i, "not a matrix of packed words (I32)", NULL);
    rc = find_transposed(&scales, &zeros, g, i, stem, rows, cols);
    if (rc == BL_OK)
        rc = bl_grouping_require(&order, g, i, stem, ".g_idx");
    if (rc != BL_OK)
        return rc;
    if (!is_vector(g, order, BL_I32, cols))
        return bl_grouping_fail(g, order, "not a group for each column of", t->name);
    p = bl_grouping_add(g, i);
    p->coding = BL_CODING_GPTQ;
    p->scales = scales;
    p->zeros = zeros;
    p->order = order;
    p->zero_minus_one = g->quantization.zero_minus_one;
    return finish(g, p, t->name, stem, "GPTQ int4", rows, cols);
}

bl_status bl_group_awq(bl_grouping *g, size_t i, size_t stem)
{
    const bl_stored *t = &g->container->stored[i];
    uint64_t rows, cols = t->dim[0];
    size_t scales = BL_NO_PART, zeros = BL_NO_PART;
    bl_parts *p;
    bl_status rc;

    if (t->dtype != BL_I32 || t->ndim != 2 || !bl_mul_u64(&rows, t->dim[1], 8))
        return bl_grouping_fail(g, i, "not a matrix of packed words (I32)", NULL);
    rc = find_transposed(&scales, &zeros, g, i, stem, rows, cols);
    if (rc != BL_OK)
        return rc;
    p = bl_grouping_add(g, i);
    p->coding = BL_CODING_AWQ;
    p->scales = scales;
    p->zeros = zeros;
    return finish(g, p, t->name, stem, "AWQ int4", rows, cols);
}
