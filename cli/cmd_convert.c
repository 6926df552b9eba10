/*
 * cmd_convert.c - the same model in another kind of file. What the output is follows from its
 * name: x.bln, x.gguf, anything else a Hugging Face folder.
 */
#include "cli/cli.h"
#include "convert/archive.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/ckpt/ckpt.h"

#include <string.h>
#include <sys/stat.h>

struct options {
    bl_common common;
    const char *output, *dtype;
    uint64_t shard_size;
};

/* Norms, biases and routers stay F32 in GGUF, as llama.cpp wants them; F32 stays F32 in a folder. */
static const bl_encoder *choose_for_gguf(const void *cast, const bl_choice *choice)
{
    const bl_role role = choice->row ? choice->row->role : BL_ROLE_OTHER;

    if (choice->ndim == 1 || bl_role_is_exact(role))
        return bl_cast_encoder(BL_F32);
    return cast;
}

static const bl_encoder *choose_for_folder(const void *cast, const bl_choice *choice)
{
    return choice->source->dtype == BL_F32 ? bl_cast_encoder(BL_F32) : cast;
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

static const char *torch_name_of(const bl_encoder *cast)
{
    if (cast->dtype == BL_F32)
        return "float32";
    return cast->dtype == BL_F16 ? "float16" : "bfloat16";
}

static bl_write_options write_options(const struct options *o)
{
    return (bl_write_options){ .force = o->common.force,
                               .show_progress = o->common.progress,
                               .n_threads = (int)o->common.n_threads,
                               .label = "convert",
                               .shard_size = o->shard_size };
}

static bl_status convert_to_gguf(const struct options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bool keep = o->dtype && strcmp(o->dtype, "keep") == 0;
    const bool recast = strcmp(bl_ckpt_container(ckpt)->kind, "gguf") == 0;
    const bl_write_options options = write_options(o);
    const bl_encoder *cast = bl_cast_encoder_by_name(o->dtype ? o->dtype : "bf16");
    bl_plan plan = { 0 };
    bl_status rc = BL_OK;

    if (keep && recast)
        return bl_fail(err, BL_E_USAGE, "--dtype keep of a .gguf is a copy of the file");
    if (keep) {
        rc = check_keep(ckpt, err);
        cast = bl_cast_encoder(kept_dtype(ckpt));
    }
    if (rc == BL_OK)
        rc = (recast ? bl_plan_recast
                     : bl_plan_gguf)(&plan, ckpt, keep ? choose_kept : choose_for_gguf, cast, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = (recast ? bl_write_gguf_recast : bl_write_gguf)(o->output, ckpt, &plan,
                                                             file_type_of(cast), &options, err);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, o->output, err);
    bl_plan_release(&plan);
    return rc;
}

static bl_status convert_to_folder(const struct options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_encoder *cast = bl_cast_encoder_by_name(o->dtype);
    const bl_write_options options = write_options(o);
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_folder(&plan, ckpt, choose_for_folder, cast, err);

    if (rc == BL_OK && !o->common.dry_run)
        rc =
            bl_write_folder(o->output, ckpt, &plan,
                            &(bl_folder_text){ .torch_dtype = torch_name_of(cast) }, &options, err);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, o->output, err);
    bl_plan_release(&plan);
    return rc;
}

/* What the archive costs beside what it holds. */
static bl_status print_sizes(const char *output, const bl_container *container, bool store,
                             struct bl_err *err)
{
    const uint64_t source = bl_archive_bytes(container);
    bl_text out = { 0 };
    char a[32], b[32];
    struct stat st;
    bl_status rc;

    bl_text_put_name(&out, output);
    if (!store)
        bl_text_printf(&out, ": %zu tensors, %s, and %zu side files, byte for byte\n",
                       container->n_stored, bl_text_bytes(a, source), container->n_side_files);
    else if (stat(output, &st) == 0)
        bl_text_printf(&out, ": %zu tensors, %s, in %s (%.2f %%)\n", container->n_stored,
                       bl_text_bytes(a, source), bl_text_bytes(b, (uint64_t)st.st_size),
                       100.0 * (double)st.st_size / (double)(source ? source : 1));
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

/* Folder to .bln, or .bln to folder. */
static bl_status copy_archive(const struct options *o, const bl_ckpt *ckpt, bool store,
                              struct bl_err *err)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    bl_archive_options options = { .n_threads = (int)o->common.n_threads,
                                   .force = o->common.force };
    bl_status rc;

    if (o->common.dry_run)
        return bl_fail(err, BL_E_USAGE, "--dry-run is for outputs with another encoding");
    options.progress = bl_progress_new("convert", bl_archive_bytes(container), o->common.progress);
    rc = (store ? bl_archive_store : bl_archive_restore)(container, o->output, &options, err);
    bl_progress_free(options.progress);
    return rc == BL_OK ? print_sizes(o->output, container, store, err) : rc;
}

static bl_status run(const struct options *o, const bl_ckpt *ckpt, struct bl_err *err)
{
    const char *kind = bl_ckpt_container(ckpt)->kind;

    if (bl_cli_has_suffix(o->output, ".gguf"))
        return convert_to_gguf(o, ckpt, err);
    if (bl_cli_has_suffix(o->output, ".bln")) {
        if (o->dtype)
            return bl_fail(err, BL_E_USAGE,
                           "a .bln keeps every byte: --dtype is for other outputs");
        if (strcmp(kind, "safetensors") != 0)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: a .bln is made from a Hugging Face folder, this is %s",
                           bl_ckpt_path(ckpt), kind);
        return copy_archive(o, ckpt, true, err);
    }
    if (!o->dtype && strcmp(kind, "bln") == 0)
        return copy_archive(o, ckpt, false, err);
    if (!o->dtype)
        return bl_fail(err, BL_E_USAGE,
                       "a folder from %s needs --dtype f32, bf16 or f16 (without it, a folder is "
                       "made from a .bln)",
                       kind);
    return convert_to_folder(o, ckpt, err);
}

static bl_status check_options(const struct options *o, const char *input, struct bl_err *err)
{
    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (o->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    if (o->dtype && strcmp(o->dtype, "keep") == 0) {
        if (!bl_cli_has_suffix(o->output, ".gguf"))
            return bl_fail(err, BL_E_USAGE, "--dtype keep is for .gguf (a .bln keeps every byte)");
    } else if (o->dtype && !bl_cast_encoder_by_name(o->dtype)) {
        return bl_fail(err, BL_E_USAGE, "--dtype is f32, bf16 or f16, not '%s'", o->dtype);
    }
    return bl_cli_check_output(o->output, input, err);
}

int bl_cmd_convert(const bl_command *command, int argc, char **argv)
{
    struct options o = { .shard_size = 5000000000u };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "OUT", "x.bln, x.gguf or a folder" },
        { "--dtype", 0, BL_OPTION_STRING, &o.dtype, "TYPE",
          "f32, bf16 or f16 (default for .gguf: bf16), or keep for .gguf" },
        { "--shard-size", 0, BL_OPTION_SIZE, &o.shard_size, "SIZE",
          "data of one shard of a folder (default 5GB)" },
        BL_OPTION_THREADS(o.common),
        BL_OPTION_FORCE(o.common),
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
