/*
 * hf_writer.c - the plan is cut into shards before the first byte; then one safetensors writer
 * follows the other.
 */
#include "formats/hf/hf_writer.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/text.h"
#include "formats/dtype/dtype.h"
#include "formats/hf/hf_index.h"
#include "formats/json/json_writer.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/safetensors/safetensors_writer.h"

#include <inttypes.h>
#include <string.h>

struct shard {
    const char *name;
    size_t first, n; /* its tensors in the plan */
};

struct bl_hf_writer {
    bl_outdir *dir;
    char *path;
    const bl_stored *plan;
    size_t n_plan;
    uint64_t n_bytes; /* of all data */
    struct shard *shard;
    size_t n_shards;
    size_t current; /* the shard that file writes */
    bl_safetensors_writer *file;
    bl_map taken; /* names of files in the folder */
    bl_arena arena;
};

/*
 * Cut the plan greedily. Called twice: to count (w->shard NULL), then to fill. A tensor of no
 * bytes never opens a shard, so that every shard but a lone one has data.
 */
static bl_status cut_shards(bl_hf_writer *w, uint64_t shard_size, struct bl_err *err)
{
    uint64_t in_shard = 0;

    w->n_bytes = 0;
    w->n_shards = 1;
    for (size_t i = 0; i < w->n_plan; i++) {
        const bl_stored *t = &w->plan[i];
        uint64_t n_bytes, together;

        if (!bl_dtype_bytes(&n_bytes, t->dtype, t->ndim, t->dim) ||
            !bl_add_u64(&w->n_bytes, w->n_bytes, n_bytes))
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': the data passes 2^64 bytes", w->path,
                           t->name);
        together = in_shard + n_bytes; /* at most w->n_bytes */
        if (shard_size > 0 && in_shard > 0 && n_bytes > 0 && together > shard_size) {
            w->n_shards++;
            together = n_bytes;
        }
        in_shard = together;
        if (w->shard) {
            struct shard *s = &w->shard[w->n_shards - 1];

            if (s->n == 0)
                s->first = i;
            s->n++;
        }
    }
    return BL_OK;
}

bl_status bl_hf_count_shards(size_t *out, const bl_stored *plan, size_t n, uint64_t shard_size,
                             struct bl_err *err)
{
    char path[] = "output";
    bl_hf_writer w = { .plan = plan, .n_plan = n, .path = path };
    bl_status rc = cut_shards(&w, shard_size, err);

    *out = w.n_shards;
    return rc;
}

/* Keep a file name of the folder for this writer alone. */
static bl_status take_name(bl_hf_writer *w, const char *name, struct bl_err *err)
{
    const char *copy = bl_arena_strdup(&w->arena, name);
    bool twice = false;
    bl_status rc;

    if (!copy)
        return bl_fail_nomem(err, name);
    rc = bl_map_put(&w->taken, copy, strlen(copy), 0, &twice, err);
    if (rc == BL_OK && twice)
        rc = bl_fail(err, BL_E_FORMAT, "%s: two files would be called '%s'", w->path, name);
    return rc;
}

static bl_status plan_shards(bl_hf_writer *w, uint64_t shard_size, struct bl_err *err)
{
    bl_status rc = bl_safetensors_check_plan(w->path, w->plan, w->n_plan, err);

    if (rc == BL_OK)
        rc = cut_shards(w, shard_size, err);
    if (rc != BL_OK)
        return rc;
    w->shard = bl_arena_alloc(&w->arena, w->n_shards, sizeof(*w->shard));
    if (!w->shard)
        return bl_fail_nomem(err, w->path);
    rc = cut_shards(w, shard_size, err);
    if (rc == BL_OK)
        rc = take_name(w, BL_HF_INDEX_NAME, err);
    for (size_t k = 0; k < w->n_shards && rc == BL_OK; k++) {
        struct shard *s = &w->shard[k];

        s->name = w->n_shards == 1 ? BL_HF_SINGLE_NAME
                                   : bl_arena_format(&w->arena, "model-%05zu-of-%06zu.safetensors",
                                                     k + 1, w->n_shards);
        rc = s->name ? take_name(w, s->name, err) : bl_fail_nomem(err, w->path);
    }
    return rc;
}

static bl_status open_shard(bl_hf_writer *w, struct bl_err *err)
{
    const struct shard *s = &w->shard[w->current];
    bl_sink *sink = NULL;
    bl_status rc = bl_outdir_file(&sink, w->dir, s->name, err);

    if (rc == BL_OK)
        rc = bl_safetensors_writer_begin(&w->file, sink, s->name, w->plan + s->first, s->n, err);
    if (rc != BL_OK)
        bl_sink_abort(&sink);
    return rc;
}

bl_status bl_hf_writer_begin_kept(bl_hf_writer **out, const char *path, bool force,
                                  const bl_keep_options *keep, const bl_stored *plan, size_t n,
                                  uint64_t shard_size, struct bl_err *err)
{
    bl_hf_writer *w = bl_calloc(1, sizeof(*w));
    bl_status rc;

    if (!w)
        return bl_fail_nomem(err, path);
    w->plan = plan;
    w->n_plan = n;
    w->path = bl_strdup(path);
    rc = w->path ? plan_shards(w, shard_size, err) : bl_fail_nomem(err, path);
    if (rc == BL_OK)
        rc = bl_outdir_begin_kept(&w->dir, path, force, keep, err);
    if (rc == BL_OK)
        rc = open_shard(w, err);
    if (rc != BL_OK) {
        bl_hf_writer_abort(&w);
        return rc;
    }
    *out = w;
    return BL_OK;
}

bl_status bl_hf_writer_begin(bl_hf_writer **out, const char *path, bool force,
                             const bl_stored *plan, size_t n, uint64_t shard_size,
                             struct bl_err *err)
{
    return bl_hf_writer_begin_kept(out, path, force, NULL, plan, n, shard_size, err);
}

const bl_keep *bl_hf_writer_kept(const bl_hf_writer *w)
{
    return bl_outdir_kept(w->dir);
}

/* The current shard is complete: commit it and open the next, if there is one. */
static bl_status next_shard(bl_hf_writer *w, struct bl_err *err)
{
    bl_status rc = bl_safetensors_writer_commit(&w->file, err);

    if (rc != BL_OK)
        return rc;
    w->current++;
    return w->current < w->n_shards ? open_shard(w, err) : BL_OK;
}

/* Step over n bytes of data: writes those at `from`, or skips what is there (NULL). */
static bl_status advance(bl_hf_writer *w, const unsigned char *from, uint64_t n, struct bl_err *err)
{
    while (n > 0) {
        uint64_t left, step;
        bl_status rc;

        if (!w->file)
            return bl_fail(err, BL_E_IO, "%s: a write failed before", w->path);
        left = bl_safetensors_writer_left(w->file);
        if (left == 0 && w->current + 1 == w->n_shards)
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: %" PRIu64 " bytes more than the plan has room for", w->path, n);
        step = bl_min_u64(left, n);
        if (left == 0)
            rc = next_shard(w, err);
        else
            rc = from ? bl_safetensors_writer_write(w->file, from, (size_t)step, err)
                      : bl_safetensors_writer_skip(w->file, step, err);
        if (rc != BL_OK)
            return rc;
        if (from)
            from += step;
        n -= step;
    }
    return BL_OK;
}

bl_status bl_hf_writer_write(bl_hf_writer *w, const void *bytes, size_t n, struct bl_err *err)
{
    static const unsigned char nothing;

    return advance(w, n > 0 ? bytes : &nothing, n, err);
}

bl_status bl_hf_writer_skip(bl_hf_writer *w, uint64_t n, struct bl_err *err)
{
    return advance(w, NULL, n, err);
}

bl_status bl_hf_writer_checkpoint(bl_hf_writer *w, const void *state, size_t n, struct bl_err *err)
{
    if (!w->file)
        return bl_fail(err, BL_E_IO, "%s: a write failed before", w->path);
    return bl_safetensors_writer_checkpoint(w->file, state, n, err);
}

/* A name that stays inside the folder. Hidden files are allowed: they come from a checkpoint. */
static const char *side_name_fault(const char *name)
{
    const char *fault = bl_safetensors_name_fault(name);

    if (fault)
        return fault;
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return "is not a plain file name";
    return NULL;
}

static bl_status write_whole_file(bl_hf_writer *w, const char *name, const void *bytes, size_t n,
                                  struct bl_err *err)
{
    bl_sink *sink = NULL;
    bl_status rc = bl_outdir_file(&sink, w->dir, name, err);

    if (rc == BL_OK)
        rc = bl_sink_write(sink, bytes, n, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    return rc;
}

bl_status bl_hf_writer_side_file(bl_hf_writer *w, const char *name, const void *bytes, size_t n,
                                 struct bl_err *err)
{
    const char *fault = side_name_fault(name);
    bl_status rc;

    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: side file '%s': its name %s", w->path, name, fault);
    rc = take_name(w, name, err);
    return rc == BL_OK ? write_whole_file(w, name, bytes, n, err) : rc;
}

static bl_status write_index(bl_hf_writer *w, struct bl_err *err)
{
    bl_text text = { 0 };
    bl_json_writer json = { .text = &text };
    bl_status rc;

    bl_json_begin_object(&json);
    bl_json_put_key(&json, "metadata");
    bl_json_begin_object(&json);
    bl_json_pair_u64(&json, "total_size", w->n_bytes);
    bl_json_end_object(&json);
    bl_json_put_key(&json, "weight_map");
    bl_json_begin_object(&json);
    for (size_t k = 0; k < w->n_shards; k++) {
        for (size_t i = 0; i < w->shard[k].n; i++) {
            bl_json_put_key(&json, w->plan[w->shard[k].first + i].name);
            bl_json_put_string(&json, w->shard[k].name);
        }
    }
    bl_json_end_object(&json);
    bl_json_end_object(&json);
    bl_text_puts(&text, "\n");
    rc = bl_text_check(&text, err);
    if (rc == BL_OK)
        rc = write_whole_file(w, BL_HF_INDEX_NAME, text.bytes, text.n, err);
    bl_text_release(&text);
    return rc;
}

size_t bl_hf_writer_n_shards(const bl_hf_writer *w)
{
    return w->n_shards;
}

bl_status bl_hf_writer_commit(bl_hf_writer **handle, struct bl_err *err)
{
    bl_hf_writer *w = *handle;
    bl_status rc = BL_OK;

    while (rc == BL_OK && w->current < w->n_shards) {
        if (!w->file)
            rc = bl_fail(err, BL_E_IO, "%s: a write failed before", w->path);
        else
            rc = next_shard(w, err);
    }
    if (rc == BL_OK && w->n_shards > 1)
        rc = write_index(w, err);
    if (rc == BL_OK)
        rc = bl_outdir_commit(&w->dir, err);
    bl_hf_writer_abort(handle);
    return rc;
}

void bl_hf_writer_abort(bl_hf_writer **handle)
{
    bl_hf_writer *w = *handle;

    if (!w)
        return;
    bl_safetensors_writer_abort(&w->file);
    bl_outdir_abort(&w->dir);
    bl_map_release(&w->taken);
    bl_arena_release(&w->arena);
    bl_free(w->path);
    bl_free(w);
    *handle = NULL;
}
