/*
 * convert_folder.c - any checkpoint as a Hugging Face folder: its tensors as they lie, in other shards;
 * or every one decoded and cast to one type.
 */
#include "cli/convert_run.h"

#include "cli/dry_run.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "formats/hf/hf_writer.h"

#include <string.h>

/* F32 stays F32. */
static const bl_encoder *choose_for_folder(const void *cast, const bl_choice *choice)
{
    return choice->source->dtype == BL_F32 ? bl_cast_encoder(BL_F32) : cast;
}

static const char *torch_name_of(const bl_encoder *cast)
{
    if (cast->dtype == BL_F32)
        return "float32";
    return cast->dtype == BL_F16 ? "float16" : "bfloat16";
}

/* What a GGUF file becomes by itself: the type of its matrices where a folder has it, else BF16. */
static const bl_encoder *cast_of_gguf(const bl_ckpt *ckpt)
{
    const bl_encoder *cast = NULL;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        const bl_encoder *its = bl_cast_encoder(t->dtype);

        if (t->ndim < 2 || bl_role_is_exact(t->role))
            continue;
        if (!its || (cast && its != cast))
            return bl_cast_encoder(BL_BF16);
        cast = its;
    }
    return cast ? cast : bl_cast_encoder(BL_BF16);
}

static bl_status print_needs(const bl_convert_options *o, const bl_ckpt *ckpt, const bl_plan *plan,
                             struct bl_err *err)
{
    bl_needs needs = { .disk_bytes = plan->n_bytes };
    bl_status rc = bl_needs_of_plan(&needs, plan, ckpt, (int)o->common.n_threads, err);

    if (rc == BL_OK)
        rc = bl_hf_count_shards(&needs.n_files, plan->stored, plan->n_stored,
                                bl_convert_shard_size(o), err);
    needs.n_files += bl_ckpt_container(ckpt)->n_side_files;
    return rc == BL_OK ? bl_cli_print_needs(&needs, o->output, &o->common, err) : rc;
}

/* The plan, and what the folder says of it; *cast NULL: a copy. */
static bl_status make_plan(bl_plan *plan, bl_folder_text *text, const bl_convert_options *o,
                           const bl_ckpt *ckpt, struct bl_err *err)
{
    const bool is_gguf = strcmp(bl_ckpt_container(ckpt)->kind, "gguf") == 0;
    const bool drop_mtp = o->mtp && strcmp(o->mtp, "drop") == 0;
    const bl_encoder *cast = o->dtype ? bl_cast_encoder_by_name(o->dtype) : NULL;
    bl_status rc;

    if (!cast && is_gguf)
        cast = cast_of_gguf(ckpt);
    text->drops_mtp = drop_mtp && bl_ckpt_config(ckpt)->n_mtp_layers > 0;
    if (!cast && o->common.strict)
        return bl_fail(err, BL_E_USAGE,
                       "--strict: a copy is not looked at; give --dtype, or 'baleen verify' it");
    if (!cast) {
        text->keeps_quantization = true;
        text->copies = true;
        return bl_plan_copy(plan, ckpt, drop_mtp, err);
    }
    text->torch_dtype = torch_name_of(cast);
    rc = bl_plan_folder(plan, ckpt, choose_for_folder, cast, err);
    if (rc == BL_OK && drop_mtp)
        bl_plan_drop_mtp(plan);
    return rc;
}

bl_status bl_convert_to_folder(const bl_convert_options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    double resumed = 0;
    bl_sanity *sanity = NULL;
    bl_write_options options;
    bl_folder_text text = { 0 };
    bl_plan plan = { 0 };
    bl_status rc = make_plan(&plan, &text, o, ckpt, err);

    if (rc == BL_OK)
        rc = bl_cli_sanity_of(&sanity, ckpt, err);
    options = bl_convert_write_options(o, &resumed, sanity);
    if (rc == BL_OK)
        rc = bl_cli_fit_memory(&options.n_threads, o->memory, &plan, NULL, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = bl_write_folder(o->output, ckpt, &plan, &text, &options, err);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    bl_cli_say_findings(o->command, &o->common, sanity);
    bl_sanity_free(sanity);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, o->output, err);
    if (rc == BL_OK && o->common.dry_run)
        rc = print_needs(o, ckpt, &plan, err);
    bl_plan_release(&plan);
    return rc;
}
