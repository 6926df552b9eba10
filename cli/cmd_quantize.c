/*
 * cmd_quantize.c - fewer bits a weight, straight from the source in one pass.
 */
#include "cli/quantize_run.h"
#include "quantize/requantize.h"

#include <string.h>

bl_status bl_quantize_open_stats(bl_stats **out, const bl_quantize_options *o, const bl_ckpt *ckpt,
                                 struct bl_err *err)
{
    bool other_precision = false;
    bl_stats *stats = NULL;
    bl_status rc = o->stats_path ? bl_stats_open(&stats, o->stats_path, err) : BL_OK;

    if (rc == BL_OK && stats)
        rc = bl_stats_check(&other_precision, stats, ckpt, err);
    if (rc != BL_OK) {
        bl_stats_close(stats);
        return rc;
    }
    if (other_precision)
        bl_cli_warn(o->command, &o->common, "%s: measured on this model in another precision",
                    o->stats_path);
    *out = stats;
    return BL_OK;
}

static bl_status print_json(const bl_quantize_options *o, const bl_plan *plan,
                            const bl_cli_gptq *gptq, const bl_needs *needs, struct bl_err *err)
{
    bl_text out = { 0 };
    bl_json_writer w = { .text = &out };
    bl_status rc = BL_OK;

    bl_json_begin_object(&w);
    bl_cli_put_plan_json(&w, plan, o->output);
    if (o->common.dry_run)
        rc = bl_cli_put_needs_json(&w, needs, o->output, err);
    if (gptq->run)
        bl_cli_gptq_put_json(&w, gptq);
    bl_json_end_object(&w);
    bl_text_puts(&out, "\n");
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

bl_status bl_quantize_finish(const bl_quantize_options *o, const bl_plan *plan, bl_cli_gptq *gptq,
                             const bl_needs *needs, struct bl_err *err)
{
    bl_status rc = o->common.json ? print_json(o, plan, gptq, needs, err)
                                  : bl_cli_print_plan(plan, o->output, err);

    if (rc == BL_OK && o->common.dry_run && !o->common.json && !o->gptq.wanted)
        rc = bl_cli_print_needs(needs, o->output, &o->common, err);

    if (rc == BL_OK && gptq->run && !o->common.json && !o->common.dry_run)
        rc = bl_cli_gptq_print(gptq, err);
    if (rc == BL_OK && gptq->run && !o->common.dry_run)
        rc = bl_gptq_end(gptq->run, err);
    return rc;
}

static bl_status run(const bl_quantize_options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_text from = { 0 };
    bl_status rc = bl_requantize_check(&from, ckpt, o->requantize, err);

    if (rc == BL_OK)
        rc = (o->to_folder ? bl_quantize_to_folder : bl_quantize_to_gguf)(o, ckpt, from.bytes, err);
    bl_text_release(&from);
    return rc;
}

static bl_status check_recipe(bl_quantize_options *o, struct bl_err *err)
{
    bl_text names = { 0 };
    const bl_recipe *recipe;
    bl_status rc;

    o->recipe = bl_recipe_by_name(o->type_name);
    if (o->recipe)
        return BL_OK;
    for (size_t i = 0; (recipe = bl_recipe_at(i)); i++)
        bl_text_printf(&names, "%s ", recipe->name);
    rc = bl_text_check(&names, err);
    if (rc == BL_OK)
        rc = bl_fail(err, BL_E_USAGE,
                     "--type is one of %sfor GGUF, or fp8, int8, int4 for a folder, not '%s'",
                     names.bytes, o->type_name);
    bl_text_release(&names);
    return rc;
}

/* A type, or a size that decides the types. */
static bl_status check_budget(const bl_quantize_options *o, struct bl_err *err)
{
    const int n = (o->size > 0) + (o->fit > 0) + (o->bits_per_weight > 0);

    if (n + (o->type_name != NULL) != 1)
        return bl_fail(err, BL_E_USAGE,
                       n + (o->type_name != NULL) == 0
                           ? "one of --type, --size, --bpw and --fit is needed"
                           : "--type, --size, --bpw and --fit: one of them");
    if (o->ctx > UINT32_MAX)
        return bl_fail(err, BL_E_USAGE, "--ctx is a number of tokens");
    return BL_OK;
}

/* A layout or a type of one asks for a folder, the rest for a GGUF file. */
static bl_status check_type(bl_quantize_options *o, struct bl_err *err)
{
    const char *type = o->type_name;
    bl_status rc;

    o->to_folder = o->wanted.layout || (type && bl_layout_has_type(type));
    if (o->to_folder) {
        if (bl_quantize_has_budget(o) || o->tensors.n > 0)
            return bl_fail(err, BL_E_USAGE, "--size, --bpw, --fit and --tensor are for GGUF");
        o->wanted.type = type;
        o->wanted.method = o->method;
        return bl_layout_resolve(&o->layout, &o->wanted, err);
    }
    if (o->wanted.group_size > 0 || o->wanted.asymmetric)
        return bl_fail(err, BL_E_USAGE, "--group-size and --asymmetric are for folders of int4");
    rc = check_budget(o, err);
    return rc == BL_OK && type ? check_recipe(o, err) : rc;
}

static bl_status check_options(bl_quantize_options *o, const char *input, struct bl_err *err)
{
    bool is_gguf, is_file;
    bl_status rc;

    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (o->mtp && strcmp(o->mtp, "keep") != 0 && strcmp(o->mtp, "drop") != 0)
        return bl_fail(err, BL_E_USAGE, "--mtp is keep or drop, not '%s'", o->mtp);
    if (o->common.strict && o->common.resume)
        return bl_fail(err, BL_E_USAGE, "--strict looks at a whole source: not with --resume");
    if (o->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    o->gptq.wanted = strcmp(o->method_name, "gptq") == 0; /* on the search's scales */
    if (!bl_method_by_name(&o->method, o->gptq.wanted ? "search" : o->method_name))
        return bl_fail(err, BL_E_USAGE, "--method is plain, search or gptq, not '%s'",
                       o->method_name);
    o->gptq.ctx = o->ctx > 0 && o->fit == 0 ? o->ctx : 512;
    o->ctx = o->ctx > 0 ? o->ctx : 4096;
    rc = bl_cli_gptq_check(&o->gptq, err);
    if (rc == BL_OK)
        rc = check_type(o, err);
    if (rc != BL_OK)
        return rc;
    if (o->split_size > 0 && o->to_folder)
        return bl_fail(err, BL_E_USAGE, "--split is for .gguf; a folder has --shard-size");
    if (o->mtp && o->to_folder)
        return bl_fail(err, BL_E_USAGE,
                       "--mtp is for .gguf; of a folder, convert --mtp drop makes one without");
    is_gguf = bl_cli_has_suffix(o->output, ".gguf");
    is_file = is_gguf || bl_cli_has_suffix(o->output, ".bln");
    if (o->to_folder && is_file)
        return bl_fail(err, BL_E_USAGE, "%s %s makes a folder, not '%s'",
                       o->type_name ? "--type" : "--layout",
                       o->type_name ? o->type_name : o->wanted.layout, o->output);
    if (!o->to_folder && !is_gguf)
        return bl_fail(err, BL_E_USAGE, "%s %s makes a .gguf file, not '%s'",
                       o->type_name ? "--type" : "a", o->type_name ? o->type_name : "size",
                       o->output);
    return bl_cli_check_output(o->output, input, err);
}

int bl_cmd_quantize(const bl_command *command, int argc, char **argv)
{
    bl_quantize_options o = { .method_name = "search",
                              .shard_size = 5000000000u,
                              .command = command };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "OUT", "x.gguf, or a folder" },
        { "--type", 0, BL_OPTION_STRING, &o.type_name, "TYPE",
          "q4_k_m, iq4_xs ...; for a folder fp8, int8, int4" },
        { "--size", 0, BL_OPTION_SIZE, &o.size, "SIZE", "types such that the file has this size" },
        { "--bpw", 0, BL_OPTION_F64, &o.bits_per_weight, "X", "or so many bits a weight" },
        { "--fit", 0, BL_OPTION_SIZE, &o.fit, "SIZE", "or runs in this memory, at --ctx tokens" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N",
          "context for --fit (default 4096); gptq: tokens of a sequence (default 512)" },
        { "--tensor", 0, BL_OPTION_LIST, &o.tensors, "PATTERN=TYPE",
          "the type of the tensors with such a name; may be repeated" },
        { "--stats", 0, BL_OPTION_STRING, &o.stats_path, "FILE",
          "what calibrate measured, or an imatrix.gguf" },
        { "--layout", 0, BL_OPTION_STRING, &o.wanted.layout, "LAYOUT",
          "of a folder: fp8, fp8-ue8m0, compressed-tensors, ascend, gptq, awq" },
        { "--group-size", 0, BL_OPTION_U64, &o.wanted.group_size, "N",
          "of int4: 32, 64 or 128 (default)" },
        { "--asymmetric", 0, BL_OPTION_FLAG, &o.wanted.asymmetric, NULL, "int4 with zero points" },
        { "--requantize", 0, BL_OPTION_FLAG, &o.requantize, NULL,
          "take a source that is quantized already" },
        { "--split", 0, BL_OPTION_SIZE, &o.split_size, "SIZE",
          "x.gguf as x-00001-of-0000N.gguf, so much data in each" },
        { "--mtp", 0, BL_OPTION_STRING, &o.mtp, "keep|drop",
          "the MTP layers of .gguf (default: dropped; folders keep them)" },
        { "--method", 0, BL_OPTION_STRING, &o.method_name, "METHOD",
          "plain; search: scales of the smallest error (default); gptq: codes, too" },
        BL_OPTION_GPTQ(o.gptq),
        { "--shard-size", 0, BL_OPTION_SIZE, &o.shard_size, "SIZE",
          "data of one shard of a folder (default 5GB)" },
        BL_OPTION_THREADS(o.common),
        BL_OPTION_FORCE(o.common),
        BL_OPTION_RESUME(o.common),
        BL_OPTION_STRICT(o.common),
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
