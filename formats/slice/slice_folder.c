/*
 * slice_folder.c - the view of a Hugging Face folder (or of a .bln): shards keep their names as far as
 * they still hold a tensor, with headers and an index of their own.
 */
#include "formats/slice/slice_table.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/bln/bln_reader.h"
#include "formats/hf/hf_dir.h"
#include "formats/hf/hf_index.h"
#include "formats/hfquant/hfquant.h"
#include "formats/json/json_writer.h"
#include "formats/safetensors/safetensors_writer.h"

#include <string.h>

struct folder {
    bl_container base;
    bl_slice_table table;
    bl_text config; /* config.json */
    size_t *first;  /* [n_shards + 1] number of the first tensor of each shard */
    const char **shard_name;
};

static bl_status read_data(const bl_container *container, size_t i, uint64_t offset, void *out,
                           size_t n, struct bl_err *err)
{
    return bl_slice_read(&((const struct folder *)container)->table, i, offset, out, n, err);
}

static void prefetch_data(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    bl_slice_prefetch(&((const struct folder *)container)->table, i, offset, n);
}

/* The header of a shard as a writer of safetensors would make it. */
static bl_status plan_header(bl_text *out, const struct folder *f, size_t shard, struct bl_err *err)
{
    const size_t first = f->first[shard];
    uint64_t n_data;

    return bl_safetensors_plan_header(out, &n_data, f->shard_name[shard], f->table.stored + first,
                                      f->first[shard + 1] - first, err);
}

static bl_status give_text(char **out, size_t *n_bytes, const bl_text *text, struct bl_err *err)
{
    *out = bl_strndup(text->bytes ? text->bytes : "", text->n);
    if (!*out)
        return bl_fail_nomem(err, "a side file");
    if (n_bytes)
        *n_bytes = text->n;
    return BL_OK;
}

static bl_status read_header(const bl_container *container, size_t shard, char **out,
                             size_t *n_bytes, struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc = plan_header(&text, (const struct folder *)container, shard, err);

    if (rc == BL_OK)
        rc = give_text(out, n_bytes, &text, err);
    bl_text_release(&text);
    return rc;
}

static void write_index(bl_text *out, const struct folder *f)
{
    bl_json_writer json = { .text = out };
    uint64_t total = 0;

    for (size_t i = 0; i < f->table.n; i++)
        total += f->table.stored[i].n_bytes;
    bl_json_begin_object(&json);
    bl_json_put_key(&json, "metadata");
    bl_json_begin_object(&json);
    bl_json_pair_u64(&json, "total_size", total);
    bl_json_end_object(&json);
    bl_json_put_key(&json, "weight_map");
    bl_json_begin_object(&json);
    for (size_t i = 0; i < f->table.n; i++)
        bl_json_pair_string(&json, f->table.stored[i].name,
                            f->shard_name[f->table.stored[i].shard]);
    bl_json_end_object(&json);
    bl_json_end_object(&json);
    bl_text_puts(out, "\n");
}

/* The names of weights in a file that describes each of them. */
static bl_status rename_keys(bl_text *out, const struct folder *f, const char *name,
                             struct bl_err *err)
{
    char *text = NULL;
    bl_json *json = NULL;
    size_t n = 0;
    bl_status rc = bl_container_side_file(f->table.source, name, &text, &n, err);

    if (rc == BL_OK)
        rc = bl_json_parse(&json, name, text, n, 0, err);
    if (rc == BL_OK)
        rc = bl_slice_json(out, bl_json_root(json), &f->table, err);
    bl_json_free(json);
    bl_free(text);
    return rc;
}

static bl_status read_side_file(const bl_container *container, const char *name, char **out,
                                size_t *n_bytes, struct bl_err *err)
{
    const struct folder *f = (const struct folder *)container;
    bl_text text = { 0 };
    bool known = false;
    bl_status rc;

    for (size_t i = 0; i < container->n_side_files; i++)
        known = known || strcmp(container->side_file_name[i], name) == 0;
    if (known && strcmp(name, BL_HF_CONFIG_NAME) == 0)
        return give_text(out, n_bytes, &f->config, err);
    if (known && strcmp(name, BL_HF_INDEX_NAME) == 0) {
        write_index(&text, f);
        rc = bl_text_check(&text, err);
    } else if (known && strcmp(name, BL_ASCEND_DESCRIPTION) == 0) {
        rc = rename_keys(&text, f, name, err);
    } else {
        return bl_container_side_file(f->table.source, name, out, n_bytes, err);
    }
    if (rc == BL_OK)
        rc = give_text(out, n_bytes, &text, err);
    bl_text_release(&text);
    return rc;
}

static void close_folder(bl_container *container)
{
    struct folder *f = (struct folder *)container;

    bl_slice_table_release(&f->table);
    bl_text_release(&f->config);
    bl_free(f->first);
    bl_free(f->shard_name);
    bl_free(f->base.path);
    bl_free(f);
}

static const struct bl_container_ops ops = { .read = read_data,
                                             .side_file = read_side_file,
                                             .close = close_folder,
                                             .prefetch = prefetch_data,
                                             .shard_header = read_header };

static bool is_bln(const bl_container *source)
{
    return strcmp(source->kind, BL_BLN_KIND) == 0;
}

/* The shards of the folder: a .bln, whose own files are others, knows them. */
static size_t count_shards(const bl_container *source)
{
    return is_bln(source) ? bl_bln_n_shards(source) : source->n_shards;
}

static const char *shard_name(const bl_container *source, size_t shard)
{
    return is_bln(source) ? bl_bln_shard_name(source, shard) : source->shard_name[shard];
}

/* Whether stored tensor i of the source lies in the shard, or in one before it. */
static bool is_within(const bl_container *source, size_t shard, size_t i)
{
    size_t first, n;

    if (!is_bln(source))
        return source->stored[i].shard <= shard;
    bl_bln_shard_tensors(&first, &n, source, shard);
    return i < first + n;
}

/* Tensors in the shards of the source that still hold one. */
static bl_status set_shards(struct folder *f, struct bl_err *err)
{
    const bl_container *source = f->table.source;
    const size_t n_source = count_shards(source);
    size_t n = 0, i = 0;

    f->first = bl_calloc(n_source + 1, sizeof(*f->first));
    f->shard_name = bl_calloc(n_source, sizeof(*f->shard_name));
    if (!f->first || !f->shard_name)
        return bl_fail_nomem(err, "a slice");
    for (size_t k = 0; k < n_source; k++) {
        const size_t first = i;

        for (; i < f->table.n && is_within(source, k, f->table.part[i].source); i++)
            f->table.stored[i].shard = (uint32_t)n;
        if (i == first)
            continue;
        f->first[n] = first;
        f->shard_name[n++] = shard_name(source, k);
    }
    f->first[n] = f->table.n;
    f->base.n_shards = n;
    f->base.shard_name = f->shard_name;
    return BL_OK;
}

/* Where each tensor would lie in its shard. */
static bl_status set_offsets(struct folder *f, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t k = 0; k < f->base.n_shards && rc == BL_OK; k++) {
        bl_text header = { 0 };
        uint64_t at;

        rc = plan_header(&header, f, k, err);
        at = header.n;
        bl_text_release(&header);
        for (size_t i = f->first[k]; i < f->first[k + 1]; i++) {
            f->table.stored[i].offset = at;
            at += f->table.stored[i].n_bytes; /* at most what the source's have */
        }
        f->base.n_file_bytes += at;
    }
    return rc;
}

bl_status bl_slice_folder(bl_container **out, const bl_ckpt *source, const bl_slice *slice,
                          bl_slice_table *table, struct bl_err *err)
{
    const bl_container *from = bl_ckpt_container(source);
    struct folder *f = bl_calloc(1, sizeof(*f));
    bl_status rc;

    if (!f) {
        bl_slice_table_release(table);
        return bl_fail_nomem(err, "a slice");
    }
    f->table = *table;
    *table = (bl_slice_table){ 0 };
    f->base = (bl_container){ .ops = &ops,
                              .kind = "safetensors",
                              .path = bl_strdup(from->path),
                              .n_stored = f->table.n,
                              .stored = f->table.stored,
                              .n_side_files = from->n_side_files,
                              .side_file_name = from->side_file_name };
    rc = f->base.path ? bl_slice_config(&f->config, source, slice, &f->table, err)
                      : bl_fail_nomem(err, "a slice");
    if (rc == BL_OK)
        rc = set_shards(f, err);
    if (rc == BL_OK)
        rc = set_offsets(f, err);
    if (rc != BL_OK) {
        close_folder(&f->base);
        return rc;
    }
    *out = &f->base;
    return BL_OK;
}
