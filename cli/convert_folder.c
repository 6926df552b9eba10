/* convert_folder.c - any checkpoint as a Hugging Face folder, cast to one type. */
#include "cli/convert_run.h"

#include "convert/cast.h"
#include "convert/plan.h"

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

bl_status bl_convert_to_folder(const bl_convert_options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_encoder *cast = bl_cast_encoder_by_name(o->dtype);
    double resumed = 0;
    const bl_write_options options = bl_convert_write_options(o, &resumed);
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_folder(&plan, ckpt, choose_for_folder, cast, err);

    if (rc == BL_OK && !o->common.dry_run)
        rc =
            bl_write_folder(o->output, ckpt, &plan,
                            &(bl_folder_text){ .torch_dtype = torch_name_of(cast) }, &options, err);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, o->output, err);
    bl_plan_release(&plan);
    return rc;
}
