/*
 * cmd_quantize.c - fewer bits a weight, straight from the source in one pass.
 */
#include "cli/cli.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/ckpt/ckpt.h"
#include "quantize/layout.h"
#include "quantize/policy.h"
#include "quantize/requantize.h"

#include <string.h>

struct options {
    bl_common common;
    const char *output, *type_name, *method_name;
    uint64_t shard_size;
    bl_policy policy;
    bl_layout_options wanted; /* of a folder */
    bool to_folder, requantize;
    bl_folder_layout layout;
};

static bl_status run(const struct options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_write_options options = { .force = o->common.force,
                                 .show_progress = o->common.progress,
                                 .n_threads = (int)o->common.n_threads,
                                 .label = "quantize",
                                 .shard_size = o->shard_size };
    const bl_policy *policy = &o->policy;
    bl_plan plan = { 0 };
    bl_text from = { 0 };
    bl_status rc = bl_requantize_check(&from, ckpt, o->requantize, err);

    options.requantized_from = from.bytes;
    if (rc == BL_OK)
        rc = o->to_folder ? bl_layout_plan(&plan, ckpt, &o->layout, err)
                          : bl_plan_gguf(&plan, ckpt, bl_policy_choose, policy, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = bl_plan_want_loss(&plan, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = o->to_folder
                 ? bl_layout_write(o->output, ckpt, &plan, &o->layout, &options, err)
                 : bl_write_gguf(o->output, ckpt, &plan, policy->type->file_type, &options, err);
    if (rc == BL_OK)
        rc = (o->common.json ? bl_cli_print_plan_json : bl_cli_print_plan)(&plan, o->output, err);
    bl_plan_release(&plan);
    bl_text_release(&from);
    return rc;
}

/* A layout or a type of one asks for a folder, other types for a GGUF file. */
static bl_status check_type(struct options *o, struct bl_err *err)
{
    const char *type = o->type_name;

    o->to_folder = o->wanted.layout || (type && bl_layout_has_type(type));
    if (!type && !o->to_folder)
        return bl_fail(err, BL_E_USAGE,
                       "--type is missing: q8_0, q4_0, or fp8, int8, int4 for a folder");
    if (o->to_folder) {
        o->wanted.type = type;
        o->wanted.method = o->policy.method;
        return bl_layout_resolve(&o->layout, &o->wanted, err);
    }
    if (o->wanted.group_size > 0 || o->wanted.asymmetric)
        return bl_fail(err, BL_E_USAGE, "--group-size and --asymmetric are for folders of int4");
    o->policy.type = bl_quantize_type_by_name(type);
    return o->policy.type
               ? BL_OK
               : bl_fail(err, BL_E_USAGE,
                         "--type is q8_0 or q4_0, or fp8, int8, int4 for a folder, not '%s'", type);
}

static bl_status check_options(struct options *o, const char *input, struct bl_err *err)
{
    bool is_gguf, is_file;
    bl_status rc;

    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (o->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    if (!bl_method_by_name(&o->policy.method, o->method_name))
        return bl_fail(err, BL_E_USAGE, "--method is plain or search, not '%s'", o->method_name);
    rc = check_type(o, err);
    if (rc != BL_OK)
        return rc;
    is_gguf = bl_cli_has_suffix(o->output, ".gguf");
    is_file = is_gguf || bl_cli_has_suffix(o->output, ".bln");
    if (o->to_folder && is_file)
        return bl_fail(err, BL_E_USAGE, "%s %s makes a folder, not '%s'",
                       o->type_name ? "--type" : "--layout",
                       o->type_name ? o->type_name : o->wanted.layout, o->output);
    if (!o->to_folder && !is_gguf)
        return bl_fail(err, BL_E_USAGE, "--type %s makes a .gguf file, not '%s'", o->type_name,
                       o->output);
    return bl_cli_check_output(o->output, input, err);
}

int bl_cmd_quantize(const bl_command *command, int argc, char **argv)
{
    struct options o = { .method_name = "search", .shard_size = 5000000000u };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "OUT", "x.gguf, or a folder" },
        { "--type", 0, BL_OPTION_STRING, &o.type_name, "TYPE",
          "q8_0, q4_0; for a folder fp8, int8, int4" },
        { "--layout", 0, BL_OPTION_STRING, &o.wanted.layout, "LAYOUT",
          "of a folder: fp8, fp8-ue8m0, compressed-tensors, ascend, gptq, awq" },
        { "--group-size", 0, BL_OPTION_U64, &o.wanted.group_size, "N",
          "of int4: 32, 64 or 128 (default)" },
        { "--asymmetric", 0, BL_OPTION_FLAG, &o.wanted.asymmetric, NULL, "int4 with zero points" },
        { "--requantize", 0, BL_OPTION_FLAG, &o.requantize, NULL,
          "take a source that is quantized already" },
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
