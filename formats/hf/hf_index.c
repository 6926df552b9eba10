/* hf_index.c - the shard index, read strictly. */
#include "formats/hf/hf_index.h"

#include "base/map.h"
#include "formats/json/json.h"
#include "formats/safetensors/safetensors_reader.h"

#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), n_tail = strlen(tail);

    return n >= n_tail && memcmp(s + n - n_tail, tail, n_tail) == 0;
}

const char *bl_hf_shard_name_fault(const char *name)
{
    const char *fault = bl_safetensors_name_fault(name); /* empty, control characters */

    if (fault)
        return fault;
    if (*name == '.' || strpbrk(name, "/\\"))
        return "is not a plain file name";
    return ends_with(name, ".safetensors") ? NULL : "does not end in .safetensors";
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* While the weight_map is read. Everything lies in the arena that the index takes over. */
struct reading {
    const char *file; /* for sentences */
    bl_arena arena;
    const char **tensor_name;
    uint32_t *tensor_shard;
    size_t n_tensors;
    const char **shard_name; /* in order of first appearance, then sorted */
    size_t n_shards;
    bl_map number; /* shard name -> place in shard_name */
};

/* The number of a shard, in order of first appearance; a new one is added. */
static bl_status number_shard(uint32_t *out, struct reading *r, const char *file_name,
                              struct bl_err *err)
{
    size_t n = strlen(file_name);
    char *copy;

    if (bl_map_get(out, &r->number, file_name, n))
        return BL_OK;
    copy = bl_arena_strndup(&r->arena, file_name, n);
    if (!copy)
        return bl_fail_nomem(err, r->file);
    *out = (uint32_t)r->n_shards;
    r->shard_name[r->n_shards++] = copy;
    return bl_map_put(&r->number, copy, n, *out, NULL, err);
}

static bl_status read_entry(struct reading *r, const bl_json_value *entry, struct bl_err *err)
{
    const char *tensor = bl_json_key(entry), *file_name = bl_json_string(entry);
    const char *fault = bl_safetensors_name_fault(tensor);
    size_t i = r->n_tensors;

    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its name %s", r->file, tensor, fault);
    if (!file_name)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its file name is not a string", r->file,
                       tensor);
    fault = bl_hf_shard_name_fault(file_name);
    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': file name '%s' %s", r->file, tensor,
                       file_name, fault);
    r->tensor_name[i] = bl_arena_strdup(&r->arena, tensor);
    if (!r->tensor_name[i])
        return bl_fail_nomem(err, r->file);
    r->n_tensors++;
    return number_shard(&r->tensor_shard[i], r, file_name, err);
}

/* Shards go by name from here on, whatever the order of the entries. */
static bl_status sort_shards(struct reading *r, struct bl_err *err)
{
    const char **first = bl_arena_alloc(&r->arena, r->n_shards, sizeof(*first));

    if (!first)
        return bl_fail_nomem(err, r->file);
    memcpy(first, r->shard_name, r->n_shards * sizeof(*first));
    qsort(r->shard_name, r->n_shards, sizeof(*r->shard_name), compare_names);
    for (size_t i = 0; i < r->n_tensors; i++) {
        const char **at = bsearch(&first[r->tensor_shard[i]], r->shard_name, r->n_shards,
                                  sizeof(*at), compare_names);

        r->tensor_shard[i] = (uint32_t)(at - r->shard_name);
    }
    return BL_OK;
}

static bl_status read_weight_map(struct reading *r, const bl_json_value *weight_map,
                                 struct bl_err *err)
{
    size_t n = bl_json_size(weight_map);

    r->tensor_name = bl_arena_alloc(&r->arena, n, sizeof(*r->tensor_name));
    r->tensor_shard = bl_arena_alloc(&r->arena, n, sizeof(*r->tensor_shard));
    r->shard_name = bl_arena_alloc(&r->arena, n, sizeof(*r->shard_name));
    if (!r->tensor_name || !r->tensor_shard || !r->shard_name)
        return bl_fail_nomem(err, r->file);
    for (const bl_json_value *m = bl_json_first(weight_map); m; m = bl_json_next(m)) {
        bl_status rc = read_entry(r, m, err);

        if (rc != BL_OK)
            return rc;
    }
    return sort_shards(r, err);
}

/* metadata is only looked at for its type. */
static bl_status read_root(struct reading *r, const bl_json_value *root, struct bl_err *err)
{
    const bl_json_value *metadata = bl_json_get(root, "metadata");
    const bl_json_value *weight_map = bl_json_get(root, "weight_map");

    if (metadata && bl_json_type_of(metadata) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: metadata is not an object", r->file);
    if (!weight_map || bl_json_type_of(weight_map) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: no weight_map: not an index of shards", r->file);
    if (!bl_json_first(weight_map))
        return bl_fail(err, BL_E_FORMAT, "%s: weight_map names no tensor", r->file);
    return read_weight_map(r, weight_map, err);
}

bl_status bl_hf_index_parse(bl_hf_index *out, const char *name, const char *text, size_t n,
                            struct bl_err *err)
{
    struct reading r = { .file = name };
    bl_json *json = NULL;
    bl_status rc = bl_json_parse(&json, name, text, n, 0, err);

    if (rc == BL_OK)
        rc = read_root(&r, bl_json_root(json), err);
    bl_json_free(json);
    bl_map_release(&r.number);
    if (rc != BL_OK) {
        bl_arena_release(&r.arena);
        return rc;
    }
    *out = (bl_hf_index){ .n_tensors = r.n_tensors,
                          .tensor_name = r.tensor_name,
                          .tensor_shard = r.tensor_shard,
                          .n_shards = r.n_shards,
                          .shard_name = r.shard_name,
                          .arena = r.arena };
    return BL_OK;
}

void bl_hf_index_release(bl_hf_index *index)
{
    bl_arena_release(&index->arena);
    *index = (bl_hf_index){ 0 };
}
