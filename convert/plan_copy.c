/*
 * plan_copy.c - every stored tensor as it lies, byte for byte: for other shards of the same weights.
 */
#include "convert/plan.h"

#include "convert/plan_build.h"
#include "formats/dtype/dtype.h"

#include <string.h>

static bl_status read_stored(const void *context, size_t index, uint64_t offset, void *out,
                             size_t n, struct bl_err *err)
{
    return bl_container_read(context, index, offset, out, n, err);
}

/* The encoder that stands for "no encoding": a name and a type. */
static const bl_encoder *choose_stored(const void *context, const bl_choice *choice)
{
    (void)choice;
    return context;
}

/* t: the canonical tensor that it belongs to; NULL: it is one by itself, as all are in GGUF. */
static bl_status add(bl_plan_builder *b, const bl_tensor *t, size_t i, bool is_main)
{
    const bl_container *c = bl_ckpt_container(b->ckpt);
    const bl_stored *s = &c->stored[i];
    uint64_t n_rows = s->ndim > 0 && s->dim[0] > 0 && s->n_bytes % s->dim[0] == 0 ? s->dim[0] : 1;
    bl_encoder *encoder = bl_arena_alloc(&b->memory->arena, 1, sizeof(*encoder));
    const bl_tensor **source = bl_arena_alloc(&b->memory->arena, 1, sizeof(*source));
    const bl_arch *arch = bl_ckpt_config(b->ckpt)->arch;
    uint64_t n_values = b->plan.n_values, n_own = 0;
    int32_t layer, expert;
    const bl_job job = { /* a row is counted in values of four bytes, for tiles of a megabyte */
                         .rows = { .n_cols = s->n_bytes / n_rows / 4 + 1 },
                         .n_rows = n_rows,
                         .row_unit = 1,
                         .view = t ? BL_VIEW_ROWS : BL_VIEW_NONE,
                         .source = t ? source : NULL,
                         .rows_each = n_rows,
                         .source_bytes = s->n_bytes,
                         .raw = { read_stored, c, { i } }
    };
    const bl_choice choice = { s->name,
                               t ? bl_arch_match(arch, t->name, &layer, &expert)
                                 : bl_arch_match_gguf(arch, s->name),
                               s->ndim, 1, t };
    bl_status rc;

    if (!encoder || !source)
        return bl_fail_nomem(b->err, "plan");
    *source = t;
    *encoder = (bl_encoder){ .name = bl_dtype_name(s->dtype), .dtype = s->dtype, .multiple = 1 };
    b->context = encoder;
    rc = bl_plan_add(b, &job, &choice, s->ndim, s->dim);
    if (rc != BL_OK)
        return rc;
    if (t)
        n_own = is_main ? t->n_values : 0; /* scales are no weights */
    else if (!bl_dim_product(&n_own, s->ndim, s->dim))
        return bl_fail(b->err, BL_E_FORMAT, "tensor '%s': its shape overflows 64 bits", s->name);
    b->plan.job[b->plan.n_jobs - 1].n_values = n_own;
    b->plan.n_values = n_values + n_own;
    return BL_OK;
}

static bl_status add_all_of_gguf(bl_plan_builder *b)
{
    const size_t n = bl_ckpt_container(b->ckpt)->n_stored;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = add(b, NULL, i, true);
    return rc;
}

/* With the canonical tensor that each belongs to. */
static bl_status add_all_of_folder(bl_plan_builder *b, bool drop_mtp)
{
    const bl_container *c = bl_ckpt_container(b->ckpt);
    const bl_tensor **owner = bl_arena_alloc(&b->memory->arena, c->n_stored, sizeof(*owner));
    bl_status rc = owner ? BL_OK : bl_fail_nomem(b->err, "plan");

    for (size_t i = 0; rc == BL_OK && i < bl_ckpt_n_tensors(b->ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(b->ckpt, i);
        const bl_parts *p = bl_ckpt_parts(b->ckpt, t);
        const size_t part[] = { p->values, p->scales, p->zeros, p->order };

        for (int k = 0; k < 4; k++)
            if (part[k] < c->n_stored)
                owner[part[k]] = t;
    }
    /* parts that readers do not need (a shape) belong to the tensor before */
    for (size_t i = 0; rc == BL_OK && i < c->n_stored; i++) {
        const bl_tensor *t = owner[i] ? owner[i]
                             : i > 0  ? owner[i - 1]
                                      : bl_ckpt_tensor(b->ckpt, 0);

        owner[i] = t;
        if (!(drop_mtp && t->is_mtp))
            rc = add(b, t, i, bl_ckpt_parts(b->ckpt, t)->values == i);
    }
    return rc;
}

bl_status bl_plan_copy(bl_plan *out, const bl_ckpt *ckpt, bool drop_mtp, struct bl_err *err)
{
    bl_plan_builder b = { .ckpt = ckpt, .choose = choose_stored, .err = err };
    bl_status rc = bl_plan_begin(&b);

    if (rc == BL_OK)
        rc = strcmp(bl_ckpt_container(ckpt)->kind, "gguf") == 0 ? add_all_of_gguf(&b)
                                                                : add_all_of_folder(&b, drop_mtp);
    return bl_plan_end(out, &b, rc);
}
