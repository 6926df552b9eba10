/* write_gguf.c - a plan into a GGUF file. */
#include "convert/write.h"

#include "base/alloc.h"
#include "convert/checkpoint.h"
#include "convert/write_split.h"
#include "formats/gguf/gguf_writer.h"
#include "formats/slice/pruning.h"
#include "formats/tokenizer/tokenizer_file.h"

#include <string.h>

static bl_status write_bytes(void *writer, const void *bytes, size_t n, struct bl_err *err)
{
    return bl_gguf_writer_write(writer, bytes, n, err);
}

static bl_status skip(void *writer, uint64_t n, struct bl_err *err)
{
    return bl_gguf_writer_skip(writer, n, err);
}

static bl_status checkpoint(void *writer, const void *state, size_t n, struct bl_err *err)
{
    return bl_gguf_writer_checkpoint(writer, state, n, err);
}

static const bl_keep *kept(const void *writer)
{
    return bl_gguf_writer_kept(writer);
}

static const bl_checkpoint_ops gguf_ops = { write_bytes, skip, checkpoint, kept };

/* What was pruned of the model, where the source says so. */
static bl_status put_pruning(bl_gguf_writer *w, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc = bl_pruning_text(&text, ckpt, err);

    if (rc == BL_OK && text.n > 0)
        bl_gguf_put_string(w, BL_PRUNING_KEY, text.bytes, text.n);
    bl_text_release(&text);
    return rc;
}

static bl_status put_metadata(bl_gguf_writer *w, const bl_ckpt *ckpt, const bl_plan *plan,
                              bl_gguf_file_type file_type, struct bl_err *err)
{
    bl_tokenizer_file *tokenizer = NULL;
    bl_status rc = bl_gguf_put_config(w, bl_ckpt_config(ckpt), file_type, plan->keeps_mtp, err);

    if (rc == BL_OK)
        rc = bl_ckpt_tokenizer_file(&tokenizer, ckpt, err);
    if (rc == BL_OK)
        rc = bl_gguf_put_tokenizer(w, tokenizer, bl_ckpt_config(ckpt), err);
    bl_tokenizer_file_free(tokenizer);
    return rc == BL_OK ? put_pruning(w, ckpt, err) : rc;
}

static void plan_tensors(bl_gguf_writer *w, const bl_plan *plan)
{
    for (size_t i = 0; i < plan->n_stored; i++)
        bl_gguf_plan_tensor(w, plan->stored[i].name, plan->stored[i].dtype, plan->stored[i].ndim,
                            plan->stored[i].dim);
}

/* Open the output: one that can be gone on with, where there is enough to go on from. */
static bl_status begin(bl_gguf_writer *w, const char *path, const bl_ckpt *ckpt,
                       const bl_plan *plan, const bl_write_options *options, struct bl_err *err)
{
    bl_keep_options keep = { .resume = options->resume };
    uint64_t n_bytes = 0;
    bool keeps = options->resume || plan->n_bytes > bl_checkpoint_interval(plan->n_bytes);
    bl_status rc = BL_OK;

    if (keeps)
        rc = bl_checkpoint_key(&keep.key, bl_ckpt_container(ckpt), plan, options->more, err);
    if (rc == BL_OK)
        rc = bl_gguf_writer_begin_kept(w, path, options->force, keeps ? &keep : NULL, err);
    if (rc == BL_OK)
        rc = bl_gguf_writer_file_bytes(&n_bytes, w, err);
    if (rc == BL_OK && !options->skip_space_check)
        rc = bl_checkpoint_space(path, n_bytes, kept(w), err);
    return rc;
}

/* The plan behind metadata that has been put (rc: how that went); takes the writer over. */
static bl_status write_plan(bl_gguf_writer *w, const char *path, const bl_ckpt *ckpt,
                            const bl_plan *plan, const bl_write_options *options, bl_status rc,
                            struct bl_err *err)
{
    if (rc == BL_OK && options->requantized_from)
        bl_gguf_put_string(w, "baleen." BL_REQUANTIZED_FROM, options->requantized_from,
                           strlen(options->requantized_from));
    if (rc == BL_OK && options->split_size > 0 && bl_count_split(plan, options->split_size) > 1)
        return bl_write_split(w, path, ckpt, plan, options, err);
    if (rc == BL_OK) {
        plan_tensors(w, plan);
        rc = begin(w, path, ckpt, plan, options, err);
    }
    if (rc == BL_OK) {
        bl_progress *progress =
            bl_progress_new(options->label, plan->n_source_bytes, options->show_progress);
        const bl_pipe_options pipe = { .n_threads = options->n_threads,
                                       .ckpt = ckpt,
                                       .sanity = options->sanity,
                                       .progress = progress };

        rc = bl_checkpoint_run(options->resumed, path, plan, w, &gguf_ops, &pipe, err);
        bl_progress_free(progress);
    }
    if (rc == BL_OK && options->strict)
        rc = bl_sanity_refuse(options->sanity, err);
    if (rc == BL_OK)
        return bl_gguf_writer_commit(&w, err);
    bl_gguf_writer_abort(&w);
    return rc;
}

bl_status bl_write_gguf(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                        bl_gguf_file_type file_type, const bl_write_options *options,
                        struct bl_err *err)
{
    bl_gguf_writer *w = NULL;
    bl_status rc = bl_gguf_writer_new(&w, err);

    if (rc == BL_OK)
        rc = put_metadata(w, ckpt, plan, file_type, err);
    return write_plan(w, path, ckpt, plan, options, rc, err);
}

bl_status bl_write_gguf_bytes(uint64_t *out, const bl_ckpt *ckpt, const bl_plan *plan,
                              bl_gguf_file_type file_type, struct bl_err *err)
{
    bl_gguf_writer *w = NULL;
    bl_status rc = bl_gguf_writer_new(&w, err);

    if (rc == BL_OK)
        rc = put_metadata(w, ckpt, plan, file_type, err);
    if (rc == BL_OK) {
        plan_tensors(w, plan);
        rc = bl_gguf_writer_file_bytes(out, w, err);
    }
    bl_gguf_writer_abort(&w);
    return rc;
}

bl_status bl_write_gguf_recast(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                               bl_gguf_file_type file_type, const bl_write_options *options,
                               struct bl_err *err)
{
    bl_gguf_writer *w = NULL;
    bl_status rc = bl_gguf_writer_new(&w, err);

    if (rc == BL_OK)
        bl_gguf_put_metadata_of(w, bl_ckpt_container(ckpt), file_type);
    return write_plan(w, path, ckpt, plan, options, rc, err);
}
