/*
 * cmd_quantize.c - fewer bits a weight, straight from the source in one pass.
 */
#include "cli/cli.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/ckpt/ckpt.h"
#include "quantize/policy.h"

#include <string.h>

struct options {
    bl_common common;
    const char *output, *type_name, *method_name;
    uint64_t shard_size;
    bl_policy policy;
};

static bl_status write_int4_folder(const struct options *o, const bl_ckpt *ckpt,
                                   const bl_plan *plan, const bl_write_options *options,
                                   struct bl_err *err)
{
    bl_text quantization = { 0 };
    bl_status rc = bl_policy_quantization_config(&quantization, bl_ckpt_config(ckpt), err);

    if (rc == BL_OK)
        rc = bl_write_folder(o->output, ckpt, plan, quantization.bytes, "bfloat16", options, err);
    bl_text_release(&quantization);
    return rc;
}

/* Errors on errors: what is already coarser than 8 bits is not taken as a source. */
static bl_status refuse_lossy_source(const bl_ckpt *ckpt, struct bl_err *err)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);

        if (!bl_dtype_traits_of(t->dtype)->in_safetensors || t->dtype == BL_I32)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: tensor '%s' is already quantized (%s); quantize the original",
                           bl_ckpt_path(ckpt), t->name, t->type_name);
    }
    return BL_OK;
}

static bl_status run(const struct options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_write_options options = { .force = o->common.force,
                                       .show_progress = o->common.progress,
                                       .n_threads = (int)o->common.n_threads,
                                       .label = "quantize",
                                       .shard_size = o->shard_size };
    const bl_policy *policy = &o->policy;
    bl_plan plan = { 0 };
    bl_status rc = refuse_lossy_source(ckpt, err);

    if (rc == BL_OK)
        rc = policy->type->to_folder ? bl_plan_folder(&plan, ckpt, bl_policy_choose, policy, err)
                                     : bl_plan_gguf(&plan, ckpt, bl_policy_choose, policy, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = bl_plan_want_loss(&plan, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = policy->type->to_folder
                 ? write_int4_folder(o, ckpt, &plan, &options, err)
                 : bl_write_gguf(o->output, ckpt, &plan, policy->type->file_type, &options, err);
    if (rc == BL_OK)
        rc = (o->common.json ? bl_cli_print_plan_json : bl_cli_print_plan)(&plan, o->output, err);
    bl_plan_release(&plan);
    return rc;
}

static bl_status check_options(struct options *o, const char *input, struct bl_err *err)
{
    bool is_gguf, is_file;

    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (o->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    if (!o->type_name)
        return bl_fail(err, BL_E_USAGE, "--type is missing: q8_0, q4_0 or int4");
    o->policy.type = bl_quantize_type_by_name(o->type_name);
    if (!o->policy.type)
        return bl_fail(err, BL_E_USAGE, "--type is q8_0, q4_0 or int4, not '%s'", o->type_name);
    if (!bl_method_by_name(&o->policy.method, o->method_name))
        return bl_fail(err, BL_E_USAGE, "--method is plain or search, not '%s'", o->method_name);
    is_gguf = bl_cli_has_suffix(o->output, ".gguf");
    is_file = is_gguf || bl_cli_has_suffix(o->output, ".bln");
    if (o->policy.type->to_folder && is_file)
        return bl_fail(err, BL_E_USAGE, "--type %s makes a folder, not '%s'", o->type_name,
                       o->output);
    if (!o->policy.type->to_folder && !is_gguf)
        return bl_fail(err, BL_E_USAGE, "--type %s makes a .gguf file, not '%s'", o->type_name,
                       o->output);
    return bl_cli_check_output(o->output, input, err);
}

int bl_cmd_quantize(const bl_command *command, int argc, char **argv)
{
    struct options o = { .method_name = "search", .shard_size = 5000000000u };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "OUT", "x.gguf, or a folder for int4" },
        { "--type", 0, BL_OPTION_STRING, &o.type_name, "TYPE", "q8_0, q4_0 or int4" },
        { "--method", 0, BL_OPTION_STRING, &o.method_name, "METHOD",
          "plain, or search: scales of the smallest error (default)" },
        { "--shard-size", 0, BL_OPTION_SIZE, &o.shard_size, "SIZE",
          "data of one shard of a folder (default 5GB)" },
        BL_OPTION_THREADS(o.common),
        BL_OPTION_FORCE(o.common),
        BL_OPTION_JSON(o.common),
        BL_OPTION_DRY_RUN(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = check_options(&o, path, &err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, path, &err);
    if (rc == BL_OK)
        rc = run(&o, ckpt, &err);
    bl_ckpt_close(ckpt);
    return bl_cli_finish(command, rc, &err);
}
