/* write_folder.c - a plan into a Hugging Face folder. */
#include "convert/write.h"

#include "base/alloc.h"
#include "base/text.h"
#include "convert/checkpoint.h"
#include "formats/arch/config_write.h"
#include "formats/hf/hf_index.h"
#include "formats/hf/hf_writer.h"
#include "formats/json/json.h"
#include "formats/json/json_writer.h"
#include "formats/slice/pruning.h"
#include "formats/tokenizer/tokenizer_write.h"

#include <inttypes.h>
#include <string.h>

static bl_status write_bytes(void *writer, const void *bytes, size_t n, struct bl_err *err)
{
    return bl_hf_writer_write(writer, bytes, n, err);
}

static bl_status skip(void *writer, uint64_t n, struct bl_err *err)
{
    return bl_hf_writer_skip(writer, n, err);
}

static bl_status checkpoint(void *writer, const void *state, size_t n, struct bl_err *err)
{
    return bl_hf_writer_checkpoint(writer, state, n, err);
}

static const bl_keep *kept(const void *writer)
{
    return bl_hf_writer_kept(writer);
}

static const bl_checkpoint_ops folder_ops = { write_bytes, skip, checkpoint, kept };

/* Change one member of the object in *text; the text is replaced. */
static bl_status set_string(bl_text *text, const char *key, const char *value, struct bl_err *err)
{
    bl_text quoted = { 0 };
    bl_json_writer w = { .text = &quoted, .after_key = true };
    bl_status rc;

    bl_json_put_string(&w, value);
    rc = bl_text_check(&quoted, err);
    if (rc == BL_OK)
        rc = bl_json_edit_member(text, key, quoted.bytes, err);
    bl_text_release(&quoted);
    return rc;
}

/* config.json as it will be, out of what the source has. */
static bl_status edit_config(bl_text *config, const bl_folder_text *text,
                             const bl_write_options *options, struct bl_err *err)
{
    bl_json *json = NULL;
    bl_status rc = bl_json_parse(&json, "config.json", config->bytes, config->n, 0, err);
    /* transformers 5 spells it dtype */
    const char *key =
        rc == BL_OK && bl_json_get(bl_json_root(json), "dtype") ? "dtype" : "torch_dtype";

    bl_json_free(json);
    if (rc == BL_OK && !text->keeps_quantization)
        rc = bl_json_edit_member(config, "quantization_config", text->quantization, err);
    if (rc == BL_OK && text->torch_dtype)
        rc = set_string(config, key, text->torch_dtype, err);
    if (rc == BL_OK && text->drops_mtp)
        rc = bl_json_edit_member(config, "num_nextn_predict_layers", "0", err);
    if (rc == BL_OK && options->requantized_from)
        rc = set_string(config, BL_REQUANTIZED_FROM, options->requantized_from, err);
    return rc;
}

/* The config.json of a source that has none (GGUF). */
static bl_status make_config(bl_text *config, const bl_ckpt *ckpt, const char *torch_dtype,
                             struct bl_err *err)
{
    bl_text pruning = { 0 };
    bl_status rc = bl_config_write(config, bl_ckpt_config(ckpt), torch_dtype, err);

    if (rc != BL_OK)
        bl_err_prefix(err, "%s", bl_ckpt_path(ckpt));
    if (rc == BL_OK)
        rc = bl_pruning_text(&pruning, ckpt, err);
    if (rc == BL_OK && pruning.n > 0)
        rc = bl_json_edit_member(config, BL_PRUNING_MEMBER, pruning.bytes, err);
    bl_text_release(&pruning);
    return rc;
}

static bl_status write_config(bl_hf_writer *w, const bl_ckpt *ckpt, const bl_folder_text *text,
                              const bl_write_options *options, struct bl_err *err)
{
    char *source = NULL;
    bl_text config = { 0 };
    size_t n;
    bl_status rc = bl_ckpt_side_file(ckpt, "config.json", &source, &n, err);

    if (rc != BL_OK)
        return rc;
    if (source) {
        bl_text_add(&config, source, n);
        bl_free(source);
        rc = bl_text_check(&config, err);
    } else {
        rc = make_config(&config, ckpt, text->torch_dtype, err);
    }
    if (rc == BL_OK)
        rc = edit_config(&config, text, options, err);
    if (rc == BL_OK)
        rc = bl_hf_writer_side_file(w, "config.json", config.bytes, config.n, err);
    bl_text_release(&config);
    return rc;
}

/* Files that say how the source's weights are stored: ours are stored otherwise. */
static bool is_written_anew(const char *name, bool copies)
{
    static const char *const anew[] = { "config.json",          BL_HF_INDEX_NAME,
                                        BL_ASCEND_DESCRIPTION,  "hf_quant_config.json",
                                        "quantize_config.json", "quant_config.json",
                                        "recipe.yaml" };
    size_t n = strlen(name);

    for (size_t i = 0; i < (copies ? 2 : sizeof(anew) / sizeof(*anew)); i++)
        if (strcmp(name, anew[i]) == 0)
            return true;
    return (n > 12 && strcmp(name + n - 12, ".safetensors") == 0) ||
           (n > 23 && strcmp(name + n - 23, ".safetensors.index.json") == 0);
}

static bl_status copy_side_files(bl_hf_writer *w, const bl_ckpt *ckpt, bool copies,
                                 struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(ckpt);
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_side_files && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n;

        if (is_written_anew(c->side_file_name[i], copies))
            continue;
        rc = bl_ckpt_side_file(ckpt, c->side_file_name[i], &bytes, &n, err);
        if (rc == BL_OK && bytes)
            rc = bl_hf_writer_side_file(w, c->side_file_name[i], bytes, n, err);
        bl_free(bytes);
    }
    return rc;
}

static bl_status put_text(bl_hf_writer *w, const char *name, bl_text *text, bl_status rc,
                          struct bl_err *err)
{
    if (rc == BL_OK)
        rc = bl_hf_writer_side_file(w, name, text->bytes, text->n, err);
    bl_text_release(text);
    return rc;
}

/* The files beside the weights of a source that has none (GGUF): what its metadata say. */
static bl_status make_side_files(bl_hf_writer *w, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_config *config = bl_ckpt_config(ckpt);
    bl_tokenizer_file *tokenizer = NULL;
    bl_text text = { 0 };
    bl_status rc = bl_generation_config_write(&text, config, err);

    rc = put_text(w, "generation_config.json", &text, rc, err);
    if (rc == BL_OK)
        rc = bl_ckpt_tokenizer_file(&tokenizer, ckpt, err);
    if (rc == BL_E_UNSUPPORTED) /* a tokenizer of another kind: the weights are good without it */
        return BL_OK;
    if (rc == BL_OK)
        rc = put_text(w, "tokenizer.json", &text, bl_tokenizer_write_json(&text, tokenizer, err),
                      err);
    if (rc == BL_OK)
        rc = put_text(
            w, "tokenizer_config.json", &text,
            bl_tokenizer_write_config(&text, tokenizer, config->max_position_embeddings, err), err);
    bl_tokenizer_file_free(tokenizer);
    return rc;
}

/* Open the output: one that can be gone on with, where there is enough to go on from. */
static bl_status begin(bl_hf_writer **out, const char *path, const bl_ckpt *ckpt,
                       const bl_plan *plan, const bl_write_options *options, struct bl_err *err)
{
    bl_keep_options keep = { .resume = options->resume };
    bool keeps = options->resume || plan->n_bytes > bl_checkpoint_interval(plan->n_bytes);
    char *more = bl_format("%s shard size %" PRIu64, options->more ? options->more : "",
                           options->shard_size);
    bl_status rc = more ? BL_OK : bl_fail_nomem(err, path);

    if (rc == BL_OK && keeps)
        rc = bl_checkpoint_key(&keep.key, bl_ckpt_container(ckpt), plan, more, err);
    bl_free(more);
    if (rc == BL_OK)
        rc = bl_hf_writer_begin_kept(out, path, options->force, keeps ? &keep : NULL, plan->stored,
                                     plan->n_stored, options->shard_size, err);
    if (rc == BL_OK && !options->skip_space_check)
        rc = bl_checkpoint_space(path, plan->n_bytes, kept(*out), err);
    return rc;
}

bl_status bl_write_folder(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                          const bl_folder_text *text, const bl_write_options *options,
                          struct bl_err *err)
{
    bl_hf_writer *w = NULL;
    bl_status rc = begin(&w, path, ckpt, plan, options, err);

    /* First what is known to fail at once. */
    if (rc == BL_OK)
        rc = write_config(w, ckpt, text, options, err);
    if (rc == BL_OK && text->side_name)
        rc = bl_hf_writer_side_file(w, text->side_name, text->side_text, strlen(text->side_text),
                                    err);
    if (rc == BL_OK) {
        bl_progress *progress =
            bl_progress_new(options->label, plan->n_source_bytes, options->show_progress);
        const bl_pipe_options pipe = { .n_threads = options->n_threads,
                                       .ckpt = ckpt,
                                       .sanity = options->sanity,
                                       .progress = progress };

        rc = bl_checkpoint_run(options->resumed, path, plan, w, &folder_ops, &pipe, err);
        bl_progress_free(progress);
    }
    if (rc == BL_OK)
        rc = bl_ckpt_container(ckpt)->n_side_files > 0 ? copy_side_files(w, ckpt, text->copies, err)
                                                       : make_side_files(w, ckpt, err);
    if (rc == BL_OK && options->strict)
        rc = bl_sanity_refuse(options->sanity, err);
    if (rc == BL_OK)
        return bl_hf_writer_commit(&w, err);
    bl_hf_writer_abort(&w);
    return rc;
}
