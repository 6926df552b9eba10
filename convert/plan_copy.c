/*
 * plan_copy.c - every stored tensor as it lies, byte for byte: for other shards of the same weights.
 */
#include "convert/plan.h"

#include "convert/plan_build.h"

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

static bl_status add(bl_plan_builder *b, const bl_tensor *t, size_t i, bool is_main)
{
    const bl_container *c = bl_ckpt_container(b->ckpt);
    const bl_stored *s = &c->stored[i];
    uint64_t n_rows = s->ndim > 0 && s->dim[0] > 0 && s->n_bytes % s->dim[0] == 0 ? s->dim[0] : 1;
    bl_encoder *encoder = bl_arena_alloc(&b->memory->arena, 1, sizeof(*encoder));
    const bl_tensor **source = bl_arena_alloc(&b->memory->arena, 1, sizeof(*source));
    int32_t layer, expert;
    const bl_job job = { /* a row is counted in values of four bytes, for tiles of a megabyte */
                         .rows = { .n_cols = s->n_bytes / n_rows / 4 + 1 },
                         .n_rows = n_rows,
                         .row_unit = 1,
                         .view = BL_VIEW_ROWS,
                         .source = source,
                         .rows_each = n_rows,
                         .source_bytes = s->n_bytes,
                         .raw = { read_stored, c, { i } }
    };
    const bl_choice choice = {
        s->name, bl_arch_match(bl_ckpt_config(b->ckpt)->arch, t->name, &layer, &expert), s->ndim, 1,
        t
    };
    uint64_t n_values = b->plan.n_values;
    bl_status rc;

    if (!encoder || !source)
        return bl_fail_nomem(b->err, "plan");
    *source = t;
    *encoder = (bl_encoder){ .name = bl_dtype_name(s->dtype), .dtype = s->dtype, .multiple = 1 };
    b->context = encoder;
    rc = bl_plan_add(b, &job, &choice, s->ndim, s->dim);
    if (rc != BL_OK)
        return rc;
    b->plan.job[b->plan.n_jobs - 1].n_values =
        is_main ? t->n_values : 0; /* scales are no weights */
    b->plan.n_values = n_values + (is_main ? t->n_values : 0);
    return BL_OK;
}

bl_status bl_plan_copy(bl_plan *out, const bl_ckpt *ckpt, bool drop_mtp, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(ckpt);
    bl_plan_builder b = { .ckpt = ckpt, .choose = choose_stored, .err = err };
    const bl_tensor **owner = NULL;
    bl_status rc = bl_plan_begin(&b);

    if (rc == BL_OK) {
        owner = bl_arena_alloc(&b.memory->arena, c->n_stored, sizeof(*owner));
        rc = owner ? BL_OK : bl_fail_nomem(err, "plan");
    }
    for (size_t i = 0; rc == BL_OK && i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        const bl_parts *p = bl_ckpt_parts(ckpt, t);
        const size_t part[] = { p->values, p->scales, p->zeros, p->order };

        for (int k = 0; k < 4; k++)
            if (part[k] < c->n_stored)
                owner[part[k]] = t;
    }
    /* parts that readers do not need (a shape) belong to the tensor before */
    for (size_t i = 0; rc == BL_OK && i < c->n_stored; i++) {
        const bl_tensor *t = owner[i] ? owner[i] : i > 0 ? owner[i - 1] : bl_ckpt_tensor(ckpt, 0);

        owner[i] = t;
        if (!(drop_mtp && t->is_mtp))
            rc = add(&b, t, i, bl_ckpt_parts(ckpt, t)->values == i);
    }
    return bl_plan_end(out, &b, rc);
}
