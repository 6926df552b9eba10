/*
 * plan_gguf.c - canonical tensors to GGUF tensors, by the family's table and formats/view.
 *
 * Each GGUF tensor is a matrix whose rows can be read: a canonical tensor as it is, the experts
 * of a layer one after the other, one half of kv_b, rotary pairs interleaved.
 */
#include "convert/plan.h"

#include "base/size.h"
#include "convert/plan_build.h"
#include "formats/arch/rope.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* Where the rows of one GGUF tensor come from; lies in the plan's arena. */
struct origin {
    const bl_ckpt *ckpt;
    const bl_tensor **tensor; /* one, or an expert each */
    uint64_t rows_each;       /* STACK: rows of one expert */
    bl_kv_b kv_b;
    uint64_t head_dim;
};

static bl_status read_same(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                           float *out, struct bl_err *err)
{
    const struct origin *o = context;

    (void)tensor;
    return bl_ckpt_read_rows(o->ckpt, o->tensor[0], row, n_rows, out, err);
}

static bl_status read_stack(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                            float *out, struct bl_err *err)
{
    const struct origin *o = context;
    bl_status rc = BL_OK;

    (void)tensor;
    while (n_rows > 0 && rc == BL_OK) {
        const bl_tensor *t = o->tensor[row / o->rows_each];
        uint64_t first = row % o->rows_each, n = bl_min_u64(n_rows, o->rows_each - first);

        rc = bl_ckpt_read_rows(o->ckpt, t, first, n, out, err);
        out += n * t->n_cols;
        row += n;
        n_rows -= n;
    }
    return rc;
}

/* The canonical matrix that a view reads from. */
static bl_rows canonical_rows(const struct origin *o)
{
    return (bl_rows){ read_same, o, NULL, o->tensor[0]->n_cols };
}

static bl_status read_k_b(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                          float *out, struct bl_err *err)
{
    const struct origin *o = context;
    const bl_rows kv_b = canonical_rows(o);

    (void)tensor;
    return bl_view_k_b(&kv_b, o->kv_b, row, n_rows, out, err);
}

static bl_status read_v_b(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                          float *out, struct bl_err *err)
{
    const struct origin *o = context;
    const bl_rows kv_b = canonical_rows(o);

    (void)tensor;
    return bl_view_v_b(&kv_b, o->kv_b, row, n_rows, out, err);
}

static bl_status read_rope_pairs(const void *context, const void *tensor, uint64_t row,
                                 uint64_t n_rows, float *out, struct bl_err *err)
{
    const struct origin *o = context;
    const bl_rows from = canonical_rows(o);

    (void)tensor;
    return bl_view_rope_pairs(&from, o->head_dim, true, row, n_rows, out, err);
}

static bl_status read_bias_pairs(const void *context, const void *tensor, uint64_t row,
                                 uint64_t n_rows, float *out, struct bl_err *err)
{
    const struct origin *o = context;
    const bl_rows from = canonical_rows(o);

    (void)tensor;
    (void)row;
    return n_rows > 0 ? bl_view_rope_pairs_of_bias(&from, o->head_dim, true, out, err) : BL_OK;
}

/* The canonical tensors of one table row in one layer: one, or all experts. */
static bl_status find_origin(struct origin **out, bl_plan_builder *b, const bl_arch_row *row,
                             uint32_t layer)
{
    const bl_config *c = bl_ckpt_config(b->ckpt);
    const uint32_t n = row->layout == BL_LAYOUT_STACK ? c->n_experts : 1;
    struct origin *o = bl_arena_alloc(&b->memory->arena, 1, sizeof(*o));
    uint64_t rows = bl_arch_dim(c, row->rows), cols = bl_arch_dim(c, row->cols);

    if (o)
        o->tensor = bl_arena_alloc(&b->memory->arena, n, sizeof(*o->tensor));
    if (!o || !o->tensor)
        return bl_fail_nomem(b->err, "plan");
    o->ckpt = b->ckpt;
    o->kv_b = (bl_kv_b){ c->qk_nope_head_dim, c->v_head_dim, c->kv_lora_rank };
    o->head_dim = c->head_dim;
    o->rows_each = rows;
    if (row->cols == BL_DIM_1) {
        cols = rows;
        rows = 1;
    }
    for (uint32_t e = 0; e < n; e++) {
        char name[NAME_BYTES];
        bl_status rc;

        if (!bl_arch_expand(name, sizeof(name), row->name, layer, e))
            return bl_fail(b->err, BL_E_UNSUPPORTED, "a tensor name is too long");
        rc = bl_ckpt_expect(&o->tensor[e], b->ckpt, name, rows, cols, b->err);
        if (rc != BL_OK)
            return rc;
    }
    *out = o;
    return BL_OK;
}

/* A job for one GGUF tensor; the shape is outermost first. */
static bl_status add(bl_plan_builder *b, const bl_arch_row *row, const struct origin *o,
                     const char *name,
                     bl_status (*read)(const void *, const void *, uint64_t, uint64_t, float *,
                                       struct bl_err *),
                     bl_job_view view, uint32_t ndim, const uint64_t *dim, uint64_t row_unit)
{
    const uint32_t n_sources = row->layout == BL_LAYOUT_STACK ? (uint32_t)dim[0] : 1;
    bl_job job = { .rows = { read, o, NULL, dim[ndim - 1] },
                   .n_rows = 1,
                   .row_unit = row_unit,
                   .view = view,
                   .source = o->tensor };
    bl_choice choice = { name, row, ndim, dim[ndim - 1], o->tensor[0] };

    for (uint32_t d = 0; d + 1 < ndim; d++)
        job.n_rows *= dim[d];
    job.rows_each = ndim == 3 ? dim[1] : job.n_rows;
    for (uint32_t e = 0; e < n_sources; e++)
        job.source_bytes += o->tensor[e]->n_bytes;
    return bl_plan_add(b, &job, &choice, ndim, dim);
}

static bl_status add_kv_b(bl_plan_builder *b, const bl_arch_row *row, const struct origin *o,
                          uint32_t layer)
{
    const uint64_t heads = bl_ckpt_config(b->ckpt)->n_heads;
    const bl_kv_b s = o->kv_b;
    const uint64_t k_dim[3] = { heads, s.lora, s.nope }, v_dim[3] = { heads, s.v, s.lora };
    char buffer[NAME_BYTES];
    const char *name[3];
    bl_status rc;

    if (!bl_arch_kv_b_names(name, buffer, sizeof(buffer), row, layer))
        return bl_fail(b->err, BL_E_UNSUPPORTED, "a tensor name is too long");
    rc = add(b, row, o, name[0], read_k_b, BL_VIEW_K_B, 3, k_dim, s.lora);
    return rc == BL_OK ? add(b, row, o, name[1], read_v_b, BL_VIEW_V_B, 3, v_dim, s.v) : rc;
}

static bl_status add_row(bl_plan_builder *b, const bl_arch_row *row, uint32_t layer)
{
    const bl_config *c = bl_ckpt_config(b->ckpt);
    uint64_t dim[3] = { c->n_experts, bl_arch_dim(c, row->rows), bl_arch_dim(c, row->cols) };
    struct origin *o = NULL;
    char name[NAME_BYTES];
    bl_status rc = find_origin(&o, b, row, layer);

    if (rc != BL_OK)
        return rc;
    if (row->layout == BL_LAYOUT_KV_B)
        return add_kv_b(b, row, o, layer);
    if (!bl_arch_expand(name, sizeof(name), row->gguf, layer, 0))
        return bl_fail(b->err, BL_E_UNSUPPORTED, "a tensor name is too long");
    if (row->layout == BL_LAYOUT_STACK)
        return add(b, row, o, name, read_stack, BL_VIEW_ROWS, 3, dim, 1);
    if (row->cols == BL_DIM_1)
        return add(b, row, o, name,
                   row->layout == BL_LAYOUT_ROPE_PAIRS ? read_bias_pairs : read_same, BL_VIEW_ROWS,
                   1, dim + 1, 1);
    return add(b, row, o, name, row->layout == BL_LAYOUT_ROPE_PAIRS ? read_rope_pairs : read_same,
               BL_VIEW_ROWS, 2, dim + 1, o->tensor[0]->row_unit);
}

static bl_status read_divisors(const void *context, const void *tensor, uint64_t row,
                               uint64_t n_rows, float *out, struct bl_err *err)
{
    const bl_config *c = context;

    (void)tensor;
    (void)row;
    (void)err;
    for (uint32_t i = 0; i < c->head_dim / 2 && n_rows > 0; i++)
        out[i] = (float)bl_rope_divisor(c, i, c->head_dim);
    return BL_OK;
}

/* The parameters of a scaling by wavelength as GGUF has them: a divisor for each frequency. */
static bl_status add_divisors(bl_plan_builder *b)
{
    const bl_config *c = bl_ckpt_config(b->ckpt);
    const uint64_t dim[1] = { c->head_dim / 2 };
    const bl_job job = {
        .rows = { read_divisors, c, NULL, dim[0] }, .n_rows = 1, .row_unit = 1, .view = BL_VIEW_NONE
    };
    const bl_choice choice = { BL_ROPE_TENSOR, NULL, 1, dim[0], NULL };

    if (!c->arch->rope_divisors)
        return bl_fail(b->err, BL_E_UNSUPPORTED,
                       "%s: GGUF has no llama3 rotary scaling for this family",
                       bl_ckpt_path(b->ckpt));
    return bl_plan_add(b, &job, &choice, 1, dim);
}

/* Whatever the family's table does not know would be lost: say so instead. */
static bl_status refuse_unknown(const bl_ckpt *ckpt, struct bl_err *err)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        int32_t layer, expert;

        if (!bl_arch_match(bl_ckpt_config(ckpt)->arch, t->name, &layer, &expert))
            return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s' has no place in a GGUF file",
                           bl_ckpt_path(ckpt), t->name);
    }
    return BL_OK;
}

bl_status bl_plan_gguf(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose, const void *context,
                       struct bl_err *err)
{
    return bl_plan_gguf_with(out, ckpt, false, choose, context, err);
}

bl_status bl_plan_gguf_with(bl_plan *out, const bl_ckpt *ckpt, bool keep_mtp, bl_choose_fn choose,
                            const void *context, struct bl_err *err)
{
    bl_plan_builder b = { .ckpt = ckpt, .choose = choose, .context = context, .err = err };
    const bl_config *c = bl_ckpt_config(ckpt);
    const uint32_t n_layers = c->n_layers + (keep_mtp ? c->n_mtp_layers : 0);
    bl_status rc;

    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_USAGE, "%s: no configuration, so no GGUF can be made of it",
                       bl_ckpt_path(ckpt));
    rc = refuse_unknown(ckpt, err);
    if (rc == BL_OK)
        rc = bl_plan_begin(&b);
    for (size_t i = 0; i < c->arch->n_rows && rc == BL_OK; i++)
        if (c->arch->row[i].where == BL_ONCE && bl_arch_row_applies(&c->arch->row[i], c, 0))
            rc = add_row(&b, &c->arch->row[i], 0);
    if (rc == BL_OK && (c->rope_scaling == BL_ROPE_LLAMA3 || c->rope_scaling == BL_ROPE_DIVISORS))
        rc = add_divisors(&b);
    b.plan.keeps_mtp = n_layers > c->n_layers;
    for (uint32_t layer = 0; layer < n_layers && rc == BL_OK; layer++)
        for (size_t i = 0; i < c->arch->n_rows && rc == BL_OK; i++)
            if (c->arch->row[i].where != BL_ONCE && bl_arch_row_applies(&c->arch->row[i], c, layer))
                rc = add_row(&b, &c->arch->row[i], layer);
    return bl_plan_end(out, &b, rc);
}
