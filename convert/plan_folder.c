/*
 * plan_folder.c - canonical tensors under their own names, in the order of the source.
 */
#include "convert/plan.h"

#include "convert/plan_build.h"

static bl_status read_tensor(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                             float *out, struct bl_err *err)
{
    return bl_ckpt_read_rows(context, tensor, row, n_rows, out, err);
}

static bl_status read_stored(const void *context, size_t index, uint64_t offset, void *out,
                             size_t n, struct bl_err *err)
{
    return bl_container_read(context, index, offset, out, n, err);
}

/*
 * Where the source is stored as the encoder would store it, its codes and scales are copied: part 0
 * and part 1. The rows are still read, to be checked and compared.
 */
static void keep_stored(bl_job *job, const bl_ckpt *ckpt, const bl_tensor *t)
{
    const bl_part_ops *ops = job->encoder->in_parts;
    const bl_parts *parts = bl_ckpt_parts(ckpt, t);

    if (!ops || !ops->keeps || !parts || !ops->keeps(bl_ckpt_container(ckpt), parts))
        return;
    job->raw = (bl_raw){ read_stored, bl_ckpt_container(ckpt), { parts->values, parts->scales } };
}

static bl_status add(bl_plan_builder *b, const bl_tensor *t)
{
    int32_t layer, expert;
    const bl_tensor **source = bl_arena_alloc(&b->memory->arena, 1, sizeof(*source));
    bl_status rc;
    const bl_job job = { .rows = { read_tensor, b->ckpt, t, t->n_cols },
                         .n_rows = t->n_rows,
                         .row_unit = t->row_unit,
                         .view = BL_VIEW_ROWS,
                         .source = source,
                         .rows_each = t->n_rows,
                         .source_bytes = t->n_bytes };
    const bl_choice choice = {
        t->name, bl_arch_match(bl_ckpt_config(b->ckpt)->arch, t->name, &layer, &expert), t->ndim,
        t->n_cols, t
    };

    if (!source)
        return bl_fail_nomem(b->err, "plan");
    *source = t;
    rc = bl_plan_add(b, &job, &choice, t->ndim, t->dim);
    if (rc == BL_OK)
        keep_stored(&b->plan.job[b->plan.n_jobs - 1], b->ckpt, t);
    return rc;
}

bl_status bl_plan_folder(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose,
                         const void *context, struct bl_err *err)
{
    bl_plan_builder b = { .ckpt = ckpt, .choose = choose, .context = context, .err = err };
    bl_status rc;

    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_USAGE, "%s: no configuration, so it cannot be converted",
                       bl_ckpt_path(ckpt));
    rc = bl_plan_begin(&b);
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt) && rc == BL_OK; i++)
        rc = add(&b, bl_ckpt_tensor(ckpt, i));
    return bl_plan_end(out, &b, rc);
}
