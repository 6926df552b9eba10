/*
 * cmd_convert.c - the same model in another kind of file. What the output is follows from its
 * name: x.bln, x.gguf, anything else a Hugging Face folder.
 */
#include "cli/convert_run.h"

#include "convert/cast.h"

#include <string.h>

uint64_t bl_convert_shard_size(const bl_convert_options *o)
{
    return o->shard_size != BL_NO_SHARD_SIZE ? o->shard_size : 5000000000u;
}

bl_write_options bl_convert_write_options(const bl_convert_options *o, double *resumed,
                                          bl_sanity *sanity)
{
    return (bl_write_options){ .force = o->common.force,
                               .resume = o->common.resume,
                               .resumed = resumed,
                               .skip_space_check = o->common.no_space_check,
                               .strict = o->common.strict,
                               .sanity = sanity,
                               .show_progress = o->common.progress,
                               .n_threads = (int)o->common.n_threads,
                               .label = o->command->name,
                               .more = o->more,
                               .split_size = o->split_size,
                               .shard_size = bl_convert_shard_size(o) };
}

bl_status bl_convert_run(const bl_convert_options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const char *kind = bl_ckpt_container(ckpt)->kind;

    if (bl_cli_has_suffix(o->output, ".gguf"))
        return bl_convert_to_gguf(o, ckpt, err);
    if (bl_cli_has_suffix(o->output, ".bln")) {
        if (o->dtype)
            return bl_fail(err, BL_E_USAGE,
                           "a .bln keeps every byte: --dtype is for other outputs");
        if (o->mtp)
            return bl_fail(err, BL_E_USAGE, "a .bln keeps every byte: --mtp is for other outputs");
        if (strcmp(kind, "safetensors") != 0)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: a .bln is made from a Hugging Face folder, this is %s",
                           bl_ckpt_path(ckpt), kind);
        return bl_convert_archive(o, ckpt, true, err);
    }
    if (!o->dtype && !o->mtp && o->shard_size == BL_NO_SHARD_SIZE && strcmp(kind, "bln") == 0)
        return bl_convert_archive(o, ckpt, false, err);
    return bl_convert_to_folder(o, ckpt, err);
}

static bl_status check_options(const bl_convert_options *o, const char *input, struct bl_err *err)
{
    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (o->sha256 && !bl_cli_has_suffix(o->output, ".bln"))
        return bl_fail(err, BL_E_USAGE, "--sha256 is for .bln");
    if (o->split_size > 0 && !bl_cli_has_suffix(o->output, ".gguf") &&
        !bl_cli_has_suffix(o->output, ".bln"))
        return bl_fail(err, BL_E_USAGE, "--split is for files; a folder has --shard-size");
    if (o->common.strict && o->common.resume)
        return bl_fail(err, BL_E_USAGE, "--strict looks at a whole source: not with --resume");
    if (o->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    if (o->mtp && strcmp(o->mtp, "keep") != 0 && strcmp(o->mtp, "drop") != 0)
        return bl_fail(err, BL_E_USAGE, "--mtp is keep or drop, not '%s'", o->mtp);
    if (strcmp(o->codec, "zstd") != 0 && strcmp(o->codec, "zlib") != 0)
        return bl_fail(err, BL_E_USAGE, "--codec is zstd or zlib, not '%s'", o->codec);
    if (o->dtype && strcmp(o->dtype, "keep") == 0) {
        if (bl_cli_has_suffix(o->output, ".bln"))
            return bl_fail(err, BL_E_USAGE,
                           "a .bln keeps every byte: --dtype is for other outputs");
    } else if (o->dtype && !bl_cast_encoder_by_name(o->dtype)) {
        return bl_fail(err, BL_E_USAGE, "--dtype is f32, bf16 or f16, not '%s'", o->dtype);
    }
    return bl_cli_check_output(o->output, input, err);
}

int bl_cmd_convert(const bl_command *command, int argc, char **argv)
{
    bl_convert_options o = { .command = command, .shard_size = BL_NO_SHARD_SIZE, .codec = "zstd" };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "OUT", "x.bln, x.gguf or a folder" },
        { "--dtype", 0, BL_OPTION_STRING, &o.dtype, "TYPE",
          "f32, bf16, f16, or keep (default: bf16 for .gguf, keep for a folder)" },
        { "--shard-size", 0, BL_OPTION_SIZE, &o.shard_size, "SIZE",
          "data of one shard of a folder (default 5GB)" },
        { "--memory", 0, BL_OPTION_SIZE, &o.memory, "SIZE",
          "may be used; fewer threads if need be (64MB do for most)" },
        { "--split", 0, BL_OPTION_SIZE, &o.split_size, "SIZE",
          "x.gguf as x-00001-of-0000N.gguf, x.bln with x.bln.001 ..., so much in each" },
        { "--mtp", 0, BL_OPTION_STRING, &o.mtp, "keep|drop",
          "the MTP layers (default: dropped from .gguf, kept elsewhere)" },
        { "--sha256", 0, BL_OPTION_FLAG, &o.sha256, NULL,
          "keep the SHA-256 of every source file in a .bln" },
        { "--codec", 0, BL_OPTION_STRING, &o.codec, "CODEC",
          "of a .bln: zstd, or zlib for readers that have nothing else (default zstd)" },
        BL_OPTION_THREADS(o.common),
        BL_OPTION_FORCE(o.common),
        BL_OPTION_RESUME(o.common),
        BL_OPTION_STRICT(o.common),
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
        rc = bl_convert_run(&o, ckpt, &err);
    bl_ckpt_close(ckpt);
    return bl_cli_finish(command, rc, &err);
}
