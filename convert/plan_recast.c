/*
 * plan_recast.c - every stored tensor of a GGUF file under its own name, in its own shape and order:
 * only the encoding changes, so that nothing of what the file says is interpreted or lost.
 */
#include "convert/plan.h"

#include "convert/plan_build.h"
#include "formats/hfquant/hfquant.h"

static bool is_integer(bl_dtype dtype)
{
    return dtype == BL_I8 || dtype == BL_I16 || dtype == BL_I32 || dtype == BL_I64;
}

static bl_status add(bl_plan_builder *b, size_t i)
{
    const bl_container *gguf = bl_ckpt_container(b->ckpt);
    const bl_stored *t = &gguf->stored[i];
    const bl_rows rows = bl_hfquant_stored_rows(gguf, i);
    bl_job job = {
        .rows = rows, .n_rows = 1, .row_unit = 1, .view = BL_VIEW_NONE, .source_bytes = t->n_bytes
    };
    const bl_choice choice = { t->name, bl_arch_match_gguf(bl_ckpt_config(b->ckpt)->arch, t->name),
                               t->ndim, rows.n_cols, NULL };

    if (is_integer(t->dtype))
        return bl_fail(b->err, BL_E_UNSUPPORTED, "%s: tensor '%s': integers (%s) are not weights",
                       gguf->path, t->name, bl_dtype_name(t->dtype));
    for (uint32_t d = 0; d + 1 < t->ndim; d++)
        job.n_rows *= t->dim[d];
    return bl_plan_add(b, &job, &choice, t->ndim, t->dim);
}

bl_status bl_plan_recast(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose,
                         const void *context, struct bl_err *err)
{
    bl_plan_builder b = { .ckpt = ckpt, .choose = choose, .context = context, .err = err };
    bl_status rc = bl_plan_begin(&b);

    for (size_t i = 0; i < bl_ckpt_container(ckpt)->n_stored && rc == BL_OK; i++)
        rc = add(&b, i);
    return bl_plan_end(out, &b, rc);
}
