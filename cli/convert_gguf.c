/* convert_gguf.c - any checkpoint as a GGUF file: cast to one type, or each tensor in its own. */
#include "cli/convert_run.h"

#include "cli/dry_run.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write_split.h"

#include <string.h>

/* Norms, biases and routers stay F32 in GGUF, as llama.cpp wants them; F32 stays F32 in a folder. */
static const bl_encoder *choose_for_gguf(const void *cast, const bl_choice *choice)
{
    const bl_role role = choice->row ? choice->row->role : BL_ROLE_OTHER;

    if (choice->ndim == 1 || bl_role_is_exact(role))
        return bl_cast_encoder(BL_F32);
    return cast;
}

/* --dtype keep: every tensor in the type of its source. */
static const bl_encoder *choose_kept(const void *context, const bl_choice *choice)
{
    const bl_encoder *same = choice->source ? bl_cast_encoder(choice->source->dtype) : NULL;

    (void)context;
    return choose_for_gguf(same ? same : bl_cast_encoder(BL_F32), choice);
}

/* GGUF has F32, F16 and BF16; what else a folder stores it cannot keep. Names the choices. */
static bl_status check_keep(const bl_ckpt *ckpt, struct bl_err *err)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);

        if (bl_cast_encoder(t->dtype))
            continue;
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: tensor '%s' is %s, which GGUF cannot keep: --dtype bf16, f16 or f32 "
                       "decode it, 'baleen quantize' gives it one of GGUF's types, and a .bln or "
                       "'baleen quantize --layout fp8' keeps FP8",
                       bl_ckpt_path(ckpt), t->name, t->type_name);
    }
    return BL_OK;
}

/* The type that most weights have: of the first matrix. */
static bl_dtype kept_dtype(const bl_ckpt *ckpt)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        if (bl_ckpt_tensor(ckpt, i)->ndim == 2)
            return bl_ckpt_tensor(ckpt, i)->dtype;
    return BL_F32;
}

static bl_gguf_file_type file_type_of(const bl_encoder *cast)
{
    if (cast->dtype == BL_F32)
        return BL_GGUF_FILE_F32;
    return cast->dtype == BL_F16 ? BL_GGUF_FILE_F16 : BL_GGUF_FILE_BF16;
}

static bl_status print_needs(const bl_convert_options *o, const bl_ckpt *ckpt, const bl_plan *plan,
                             bl_gguf_file_type file_type, struct bl_err *err)
{
    bl_needs needs = { .n_files = o->split_size > 0 ? bl_count_split(plan, o->split_size) : 1 };
    bl_status rc = bl_needs_of_plan(&needs, plan, ckpt, (int)o->common.n_threads, err);

    if (rc == BL_OK)
        rc = bl_write_gguf_bytes(&needs.disk_bytes, ckpt, plan, file_type, err);
    return rc == BL_OK ? bl_cli_print_needs(&needs, o->output, &o->common, err) : rc;
}

bl_status bl_convert_to_gguf(const bl_convert_options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bool keep = o->dtype && strcmp(o->dtype, "keep") == 0;
    const bool recast = strcmp(bl_ckpt_container(ckpt)->kind, "gguf") == 0;
    double resumed = 0;
    bl_sanity *sanity = NULL;
    bl_write_options options;
    const bl_encoder *cast = bl_cast_encoder_by_name(o->dtype && !keep ? o->dtype : "bf16");
    bl_gguf_file_type file_type = keep && recast ? BL_GGUF_FILE_SAME : file_type_of(cast);
    bl_plan plan = { 0 };
    bl_status rc = BL_OK;

    if (recast && o->mtp)
        return bl_fail(err, BL_E_USAGE, "a .gguf of a .gguf keeps every tensor: no --mtp");
    if (keep && recast && o->common.strict)
        return bl_fail(err, BL_E_USAGE,
                       "--strict: a copy is not looked at; give --dtype, or 'baleen verify' it");
    if (keep && !recast) {
        rc = check_keep(ckpt, err);
        cast = bl_cast_encoder(kept_dtype(ckpt));
        file_type = file_type_of(cast);
    }
    if (rc == BL_OK && keep && recast)
        rc = bl_plan_copy(&plan, ckpt, false, err);
    else if (rc == BL_OK && recast)
        rc = bl_plan_recast(&plan, ckpt, choose_for_gguf, cast, err);
    else if (rc == BL_OK)
        rc = bl_plan_gguf_with(&plan, ckpt, o->mtp && strcmp(o->mtp, "keep") == 0,
                               keep ? choose_kept : choose_for_gguf, cast, err);
    if (rc == BL_OK)
        rc = bl_cli_sanity_of(&sanity, ckpt, err);
    options = bl_convert_write_options(o, &resumed, sanity);
    if (rc == BL_OK)
        rc = bl_cli_fit_memory(&options.n_threads, o->memory, &plan, NULL, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = (recast ? bl_write_gguf_recast : bl_write_gguf)(o->output, ckpt, &plan, file_type,
                                                             &options, err);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    bl_cli_say_findings(o->command, &o->common, sanity);
    bl_sanity_free(sanity);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, o->output, err);
    if (rc == BL_OK && o->common.dry_run)
        rc = print_needs(o, ckpt, &plan, file_type, err);
    bl_plan_release(&plan);
    return rc;
}
