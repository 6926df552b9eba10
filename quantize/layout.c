/* layout.c - which layout is meant, and which matrices it takes. */
#include "quantize/layout.h"

#include "convert/cast.h"
#include "quantize/layout_encoders.h"

#include <string.h>

/* Layouts and types as users name them; of two rows that fit, the first is meant. */
static const struct meaning {
    const char *layout, *type;
    bl_folder_format format;
} meanings[] = {
    { "fp8", "fp8", BL_FOLDER_FP8 },
    { "fp8-ue8m0", "fp8", BL_FOLDER_FP8_UE8M0 },
    { "compressed-tensors", "int4", BL_FOLDER_CT_INT4 },
    { "compressed-tensors", "int8", BL_FOLDER_CT_INT8 },
    { "ascend", "int8", BL_FOLDER_ASCEND },
    { "gptq", "int4", BL_FOLDER_GPTQ },
    { "awq", "int4", BL_FOLDER_AWQ },
};

enum { N_MEANINGS = sizeof(meanings) / sizeof(*meanings), MOST_GROUPS = 4096 };

bool bl_layout_has_type(const char *type)
{
    for (size_t i = 0; i < N_MEANINGS; i++)
        if (strcmp(meanings[i].type, type) == 0)
            return true;
    return false;
}

static bool is_int4(bl_folder_format format)
{
    return format == BL_FOLDER_CT_INT4 || format == BL_FOLDER_GPTQ || format == BL_FOLDER_AWQ;
}

static bl_status find_format(bl_folder_format *out, const bl_layout_options *o, struct bl_err *err)
{
    bool known = false;

    for (size_t i = 0; i < N_MEANINGS; i++) {
        const struct meaning *m = &meanings[i];
        const bool same = !o->layout || strcmp(m->layout, o->layout) == 0;

        known |= same;
        if (!same || (o->type && strcmp(m->type, o->type) != 0))
            continue;
        *out = m->format;
        return BL_OK;
    }
    if (!known)
        return bl_fail(err, BL_E_USAGE,
                       "--layout is fp8, fp8-ue8m0, compressed-tensors, ascend, gptq or awq, not "
                       "'%s'",
                       o->layout);
    return bl_fail(err, BL_E_USAGE,
                   "--layout %s does not hold --type %s (fp8: fp8; compressed-tensors: int4, int8; "
                   "ascend: int8; gptq, awq: int4)",
                   o->layout ? o->layout : "", o->type);
}

static const bl_encoder *find_encoder(const bl_folder_layout *l, bl_method method)
{
    switch (l->format) {
    case BL_FOLDER_FP8:
        return &bl_encoder_fp8;
    case BL_FOLDER_FP8_UE8M0:
        return &bl_encoder_fp8_ue8m0;
    case BL_FOLDER_CT_INT8:
    case BL_FOLDER_ASCEND:
        return bl_encoder_int8(l->format, method);
    case BL_FOLDER_CT_INT4:
    case BL_FOLDER_GPTQ:
    case BL_FOLDER_AWQ:
        break;
    }
    return bl_encoder_int4(l->format, l->asymmetric, method, l->group_size);
}

bl_status bl_layout_resolve(bl_folder_layout *out, const bl_layout_options *o, struct bl_err *err)
{
    bl_folder_layout l = { .torch_dtype = "bfloat16" };
    bl_status rc = find_format(&l.format, o, err);

    if (rc != BL_OK)
        return rc;
    if (!is_int4(l.format) && (o->group_size > 0 || o->asymmetric))
        return bl_fail(err, BL_E_USAGE, "--group-size and --asymmetric are for int4");
    if (o->group_size != 0 && o->group_size != 32 && o->group_size != 64 && o->group_size != 128)
        return bl_fail(err, BL_E_USAGE, "--group-size is 32, 64 or 128");
    if (is_int4(l.format)) {
        l.group_size = o->group_size ? (uint32_t)o->group_size : 128;
        l.asymmetric = o->asymmetric || l.format == BL_FOLDER_AWQ;
    }
    if (l.format == BL_FOLDER_GPTQ || l.format == BL_FOLDER_AWQ)
        l.torch_dtype = "float16"; /* of their scales */
    l.encoder = find_encoder(&l, o->method);
    *out = l;
    return BL_OK;
}

/* Matrices of these roles may be quantized. */
static bool is_linear(bl_role role)
{
    return role == BL_ROLE_ATTENTION || role == BL_ROLE_DENSE_MLP || role == BL_ROLE_EXPERT ||
           role == BL_ROLE_SHARED_EXPERT;
}

bool bl_layout_takes(const bl_folder_layout *l, const bl_arch_row *row, const bl_config *config)
{
    const uint64_t rows = bl_arch_dim(config, row->rows), cols = bl_arch_dim(config, row->cols);

    if (row->cols == BL_DIM_1 || !is_linear(row->role) || cols == 0 ||
        cols % l->encoder->multiple != 0)
        return false;
    if (l->format == BL_FOLDER_ASCEND && row->layout == BL_LAYOUT_KV_B)
        return false; /* its runtime takes that matrix apart and absorbs it */
    if ((l->format == BL_FOLDER_GPTQ || l->format == BL_FOLDER_AWQ) && rows % 8 != 0)
        return false; /* eight rows share a word */
    return !is_int4(l->format) || cols / l->group_size <= MOST_GROUPS;
}

static bool is_fp8(bl_folder_format format)
{
    return format == BL_FOLDER_FP8 || format == BL_FOLDER_FP8_UE8M0;
}

bool bl_layout_keeps(const bl_folder_layout *l, const bl_ckpt *ckpt)
{
    const bl_quantization *q = &bl_ckpt_config(ckpt)->quantization;

    return is_fp8(l->format) && q->storage == BL_STORAGE_FP8_BLOCK && q->block_rows == 128 &&
           q->block_cols == 128 && (l->format == BL_FOLDER_FP8 || q->power_of_two);
}

/* What bl_plan_folder() asks with. */
struct choosing {
    const bl_folder_layout *layout;
    const bl_ckpt *ckpt;
};

/* FP8 of FP8: the encoder that keeps what is stored. */
static const bl_encoder *choose_fp8(const struct choosing *c, const bl_tensor *source)
{
    const bl_parts *parts = bl_ckpt_parts(c->ckpt, source);
    const bl_container *container = bl_ckpt_container(c->ckpt);

    if (parts && bl_encoder_fp8_e8m0_stored.in_parts->keeps(container, parts))
        return &bl_encoder_fp8_e8m0_stored;
    return bl_layout_keeps(c->layout, c->ckpt) ? &bl_encoder_fp8 : c->layout->encoder;
}

static const bl_encoder *choose(const void *context, const bl_choice *choice)
{
    const struct choosing *c = context;
    const bl_folder_layout *l = c->layout;
    const bl_encoder *same = bl_cast_encoder(choice->source->dtype);
    const bl_config *config = bl_ckpt_config(c->ckpt);

    if (!choice->row || choice->ndim != 2 || !bl_layout_takes(l, choice->row, config) ||
        (same && bl_layout_keeps(l, c->ckpt))) /* plain there, as its configuration says */
        return same ? same : bl_cast_encoder(BL_BF16);
    return is_fp8(l->format) ? choose_fp8(c, choice->source) : l->encoder;
}

bl_status bl_layout_plan(bl_plan *out, const bl_ckpt *ckpt, const bl_folder_layout *layout,
                         struct bl_err *err)
{
    const struct choosing context = { layout, ckpt };

    return bl_plan_folder(out, ckpt, choose, &context, err);
}
