/* write_folder.c - a plan into a Hugging Face folder. */
#include "convert/write.h"

#include "base/alloc.h"
#include "base/text.h"
#include "convert/pipeline.h"
#include "formats/hf/hf_index.h"
#include "formats/hf/hf_writer.h"
#include "formats/json/json.h"

#include <stdio.h>
#include <string.h>

static bl_status write_bytes(void *context, const void *bytes, size_t n, struct bl_err *err)
{
    return bl_hf_writer_write(context, bytes, n, err);
}

static bl_status write_config(bl_hf_writer *w, const bl_ckpt *ckpt, const char *quantization,
                              const char *torch_dtype, struct bl_err *err)
{
    char *source = NULL;
    bl_text once = { 0 }, twice = { 0 };
    size_t n;
    char dtype[32];
    bl_json *json = NULL;
    bl_status rc = bl_ckpt_side_file(ckpt, "config.json", &source, &n, err);

    if (rc != BL_OK)
        return rc;
    if (!source)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: a folder needs a config.json, and none is here to carry over",
                       bl_ckpt_path(ckpt));
    rc = bl_json_parse(&json, "config.json", source, n, 0, err);
    if (rc == BL_OK) {
        /* transformers 5 spells it dtype */
        const char *key = bl_json_get(bl_json_root(json), "dtype") ? "dtype" : "torch_dtype";

        snprintf(dtype, sizeof(dtype), "\"%s\"", torch_dtype);
        bl_json_set_member(&once, source, n, "quantization_config", quantization);
        rc = bl_text_check(&once, err);
        if (rc == BL_OK)
            bl_json_set_member(&twice, once.bytes, once.n, key, dtype);
        if (rc == BL_OK)
            rc = bl_text_check(&twice, err);
    }
    if (rc == BL_OK)
        rc = bl_hf_writer_side_file(w, "config.json", twice.bytes, twice.n, err);
    bl_json_free(json);
    bl_text_release(&once);
    bl_text_release(&twice);
    bl_free(source);
    return rc;
}

static bool is_written_anew(const char *name)
{
    size_t n = strlen(name);

    return strcmp(name, "config.json") == 0 || strcmp(name, BL_HF_INDEX_NAME) == 0 ||
           (n > 12 && strcmp(name + n - 12, ".safetensors") == 0);
}

static bl_status copy_side_files(bl_hf_writer *w, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(ckpt);
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_side_files && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n;

        if (is_written_anew(c->side_file_name[i]))
            continue;
        rc = bl_ckpt_side_file(ckpt, c->side_file_name[i], &bytes, &n, err);
        if (rc == BL_OK && bytes)
            rc = bl_hf_writer_side_file(w, c->side_file_name[i], bytes, n, err);
        bl_free(bytes);
    }
    return rc;
}

bl_status bl_write_folder(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                          const char *quantization, const char *torch_dtype,
                          const bl_write_options *options, struct bl_err *err)
{
    bl_hf_writer *w = NULL;
    bl_status rc = bl_hf_writer_begin(&w, path, options->force, plan->stored, plan->n_stored,
                                      options->shard_size, err);

    /* First what is known to fail at once. */
    if (rc == BL_OK)
        rc = write_config(w, ckpt, quantization, torch_dtype, err);
    if (rc == BL_OK) {
        const bl_pipe_end end = { write_bytes, w };
        bl_progress *progress =
            bl_progress_new(options->label, plan->n_source_bytes, options->show_progress);

        rc = bl_pipeline_run(plan, end, options->n_threads, progress, err);
        bl_progress_free(progress);
    }
    if (rc == BL_OK)
        rc = copy_side_files(w, ckpt, err);
    if (rc == BL_OK)
        return bl_hf_writer_commit(&w, err);
    bl_hf_writer_abort(&w);
    return rc;
}
