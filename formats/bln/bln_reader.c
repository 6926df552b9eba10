/* bln_reader.c - from a checked index to the container that everybody reads. */
#include "formats/bln/bln_reader.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/bln/bln_file.h"
#include "formats/bln/bln_name.h"

#include <inttypes.h>
#include <string.h>

static const bl_bln_file *file_of(const bl_container *container)
{
    return (const bl_bln_file *)container;
}

bl_status bl_bln_read(const bl_container *container, bl_bln_scratch *scratch, size_t i,
                      uint64_t offset, void *out, size_t n, struct bl_err *err)
{
    const bl_bln_file *file = file_of(container);
    bl_bln_entry entry = bl_bln_index_entry(&file->index, file->tensor_entry[i]);

    return bl_bln_read_entry(file, scratch, &entry, offset, out, n, err);
}

static bl_status read_tensor(const bl_container *container, size_t i, uint64_t offset, void *out,
                             size_t n, struct bl_err *err)
{
    bl_bln_scratch scratch = { 0 };
    bl_status rc = bl_bln_read(container, &scratch, i, offset, out, n, err);

    bl_bln_scratch_release(&scratch);
    return rc;
}

/* Chunks of an entry follow each other in the file. */
static void prefetch_tensor(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    const bl_bln_file *file = file_of(container);
    bl_bln_entry entry = bl_bln_index_entry(&file->index, file->tensor_entry[i]);
    uint32_t unit = bl_bln_index_chunk(&file->index, entry.first_chunk).n_decoded;
    bl_bln_chunk first =
        bl_bln_index_chunk(&file->index, entry.first_chunk + (uint32_t)(offset / unit));
    bl_bln_chunk last =
        bl_bln_index_chunk(&file->index, entry.first_chunk + (uint32_t)((offset + n - 1) / unit));

    if (first.part == last.part) /* rarely it is not, and then nobody asks */
        bl_source_prefetch(file->part ? file->part[first.part] : file->source, first.offset,
                           last.offset + last.n_stored - first.offset);
}

bl_status bl_bln_scratch_new(bl_bln_scratch **out, struct bl_err *err)
{
    *out = bl_calloc(1, sizeof(**out));
    return *out ? BL_OK : bl_fail_nomem(err, "decoder");
}

void bl_bln_scratch_free(bl_bln_scratch *scratch)
{
    if (!scratch)
        return;
    bl_bln_scratch_release(scratch);
    bl_free(scratch);
}

/* A whole entry as a NUL-terminated block. */
static bl_status read_all(const bl_bln_file *file, uint32_t i_entry, char **out, size_t *n_bytes,
                          struct bl_err *err)
{
    bl_bln_entry entry = bl_bln_index_entry(&file->index, i_entry);
    bl_bln_scratch scratch = { 0 };
    uint64_t size;
    char *bytes;
    bl_status rc;

    bytes = bl_add_u64(&size, entry.n_bytes, 1) ? bl_alloc((size_t)size, 1) : NULL;
    if (!bytes)
        return bl_fail_nomem(err, bl_bln_index_name(&file->index, &entry));
    rc = bl_bln_read_entry(file, &scratch, &entry, 0, (unsigned char *)bytes, (size_t)entry.n_bytes,
                           err);
    bl_bln_scratch_release(&scratch);
    if (rc != BL_OK) {
        bl_free(bytes);
        return rc;
    }
    bytes[entry.n_bytes] = '\0';
    *out = bytes;
    if (n_bytes)
        *n_bytes = (size_t)entry.n_bytes;
    return BL_OK;
}

/* Binary search: side files are sorted. False when there is none of that name. */
static bool find_side_file(uint32_t *i_entry, const bl_bln_file *file, const char *name)
{
    size_t low = 0, high = file->base.n_side_files;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->base.side_file_name[middle]);

        if (order == 0) {
            *i_entry = file->side_file_entry[middle];
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static bl_status read_side_file(const bl_container *container, const char *name, char **out,
                                size_t *n_bytes, struct bl_err *err)
{
    const bl_bln_file *file = file_of(container);
    uint32_t i_entry;

    *out = NULL;
    if (n_bytes)
        *n_bytes = 0;
    return find_side_file(&i_entry, file, name) ? read_all(file, i_entry, out, n_bytes, err)
                                                : BL_OK;
}

static void close_file(bl_container *container)
{
    bl_bln_file *file = (bl_bln_file *)container;

    for (uint32_t k = 1; file->part && k < file->index.n_parts; k++)
        bl_source_close(file->part[k]);
    bl_free(file->part);
    bl_bln_index_release(&file->index);
    bl_arena_release(&file->arena);
    bl_source_close(file->source);
    bl_free(file);
}

static const struct bl_container_ops bln_ops = { .read = read_tensor,
                                                 .side_file = read_side_file,
                                                 .close = close_file,
                                                 .prefetch = prefetch_tensor };

/* A tensor as containers show it. */
static bl_stored stored_of(const bl_bln_index *index, const bl_bln_entry *entry)
{
    bl_stored stored = { .name = bl_bln_index_name(index, entry),
                         .ndim = entry->ndim,
                         .n_bytes = entry->n_bytes };

    (void)bl_bln_dtype_from_number(&stored.dtype, entry->dtype); /* checked when it was loaded */
    memcpy(stored.dim, entry->dim, sizeof(stored.dim));
    if (entry->n_chunks > 0) {
        bl_bln_chunk first = bl_bln_index_chunk(index, entry->first_chunk);

        stored.offset = first.offset;
        stored.shard = first.part;
    }
    return stored;
}

/* Sort entries by kind into the tables of the container. */
static void fill_tables(bl_bln_file *file, bl_stored *stored, const char **side_file_name)
{
    size_t n_tensors = 0, n_shards = 0, n_side_files = 0;

    for (uint32_t i = 0; i < file->index.entries.n; i++) {
        bl_bln_entry entry = bl_bln_index_entry(&file->index, i);

        if (entry.kind == BL_BLN_SHARD_HEADER) {
            file->shard_entry[n_shards++] = i;
        } else if (entry.kind == BL_BLN_SIDE_FILE) {
            side_file_name[n_side_files] = bl_bln_index_name(&file->index, &entry);
            file->side_file_entry[n_side_files++] = i;
        } else {
            stored[n_tensors] = stored_of(&file->index, &entry);
            file->tensor_entry[n_tensors++] = i;
        }
    }
}

static bl_status build_tables(bl_bln_file *file, struct bl_err *err)
{
    const bl_bln_index *index = &file->index;
    const char *slash = strrchr(file->source->name, '/');
    bl_arena *arena = &file->arena;
    bl_stored *stored = bl_arena_alloc(arena, index->n_tensors, sizeof(*stored));
    const char **shard_name = bl_arena_alloc(arena, index->n_parts, sizeof(*shard_name));
    const char **side_name = bl_arena_alloc(arena, index->n_side_files, sizeof(*side_name));

    file->tensor_entry = bl_arena_alloc(arena, index->n_tensors, sizeof(uint32_t));
    file->shard_entry = bl_arena_alloc(arena, index->n_shards, sizeof(uint32_t));
    file->side_file_entry = bl_arena_alloc(arena, index->n_side_files, sizeof(uint32_t));
    if (!stored || !shard_name || !side_name || !file->tensor_entry || !file->shard_entry ||
        !file->side_file_entry)
        return bl_fail_nomem(err, file->source->name);
    fill_tables(file, stored, side_name);
    shard_name[0] = slash ? slash + 1 : file->source->name;
    for (uint32_t k = 1; k < index->n_parts; k++) {
        shard_name[k] = bl_arena_format(arena, "%s.%03" PRIu32, shard_name[0], k);
        if (!shard_name[k])
            return bl_fail_nomem(err, file->source->name);
    }
    file->base = (bl_container){ .ops = &bln_ops,
                                 .kind = BL_BLN_KIND,
                                 .path = file->source->name,
                                 .n_stored = index->n_tensors,
                                 .stored = stored,
                                 .n_shards = index->n_parts,
                                 .shard_name = shard_name,
                                 .n_file_bytes = file->source->size,
                                 .n_side_files = index->n_side_files,
                                 .side_file_name = side_name };
    return BL_OK;
}

/* The files with the payload, beside the one with the index. */
static bl_status open_parts(bl_bln_file *file, struct bl_err *err)
{
    bl_status rc = BL_OK;

    file->part = bl_calloc(file->index.n_parts, sizeof(bl_source *));
    if (!file->part)
        return bl_fail_nomem(err, file->source->name);
    file->part[0] = file->source;
    for (uint32_t k = 1; k < file->index.n_parts && rc == BL_OK; k++) {
        char *path = bl_bln_part_name(file->source->name, k);

        if (!path)
            return bl_fail_nomem(err, file->source->name);
        if (!bl_source_exists(path))
            rc = bl_fail(err, BL_E_FORMAT, "%s: is missing: part %u of the %u of %s", path, k,
                         file->index.n_parts - 1, file->source->name);
        else
            rc = bl_source_open(&file->part[k], path, err);
        bl_free(path);
        if (rc == BL_OK)
            rc = bl_bln_check_part(file->part[k], &file->index, k, err);
        if (rc == BL_OK)
            file->base.n_file_bytes += file->part[k]->size;
    }
    return rc;
}

bl_status bl_bln_open_source(bl_container **out, bl_source *source, struct bl_err *err)
{
    bl_bln_file *file = bl_calloc(1, sizeof(*file));
    bl_status rc;

    if (!file) {
        rc = bl_fail_nomem(err, source->name);
        bl_source_close(source);
        return rc;
    }
    file->source = source;
    rc = bl_bln_index_load(&file->index, source, err);
    if (rc == BL_OK)
        rc = build_tables(file, err);
    if (rc == BL_OK && file->index.n_parts > 1)
        rc = open_parts(file, err);
    if (rc != BL_OK) {
        close_file(&file->base);
        return rc;
    }
    *out = &file->base;
    return BL_OK;
}

bl_status bl_bln_open(bl_container **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? bl_bln_open_source(out, source, err) : rc;
}

size_t bl_bln_n_shards(const bl_container *container)
{
    return file_of(container)->index.n_shards;
}

static bl_bln_entry shard_entry(const bl_container *container, size_t shard)
{
    const bl_bln_file *file = file_of(container);

    return bl_bln_index_entry(&file->index, file->shard_entry[shard]);
}

const char *bl_bln_shard_name(const bl_container *container, size_t shard)
{
    bl_bln_entry entry = shard_entry(container, shard);

    return bl_bln_index_name(&file_of(container)->index, &entry);
}

/* Between two headers lie tensors only, so numbers of tensors follow from numbers of entries. */
void bl_bln_shard_tensors(size_t *first, size_t *n, const bl_container *container, size_t shard)
{
    const bl_bln_file *file = file_of(container);
    size_t n_entries = (size_t)file->index.n_shards + file->index.n_tensors;
    size_t end = shard + 1 < file->index.n_shards ? file->shard_entry[shard + 1] : n_entries;

    *first = file->shard_entry[shard] - shard;
    *n = end - file->shard_entry[shard] - 1;
}

bl_status bl_bln_shard_header(const bl_container *container, size_t shard, char **out,
                              size_t *n_bytes, struct bl_err *err)
{
    return read_all(file_of(container), file_of(container)->shard_entry[shard], out, n_bytes, err);
}

uint64_t bl_bln_shard_header_bytes(const bl_container *container, size_t shard)
{
    return shard_entry(container, shard).n_bytes;
}

uint64_t bl_bln_side_file_bytes(const bl_container *container, const char *name)
{
    const bl_bln_file *file = file_of(container);
    uint32_t i_entry;

    return find_side_file(&i_entry, file, name) ? bl_bln_index_entry(&file->index, i_entry).n_bytes
                                                : 0;
}

static const char *info_text(const bl_container *container, uint32_t key, size_t *n)
{
    uint32_t n_value = 0;
    const unsigned char *value = bl_bln_index_info(&file_of(container)->index, key, 0, &n_value);

    *n = n_value;
    return (const char *)value;
}

const char *bl_bln_tool(const bl_container *container, size_t *n)
{
    return info_text(container, BL_BLN_INFO_TOOL, n);
}

const char *bl_bln_recipe(const bl_container *container, size_t *n)
{
    return info_text(container, BL_BLN_INFO_RECIPE, n);
}

bool bl_bln_source_sha256(uint8_t out[32], const char **name, const bl_container *container,
                          size_t i)
{
    const bl_bln_file *file = file_of(container);
    const bl_bln_index *index = &file->index;
    uint32_t i_entry =
        i < index->n_shards ? file->shard_entry[i] : file->side_file_entry[i - index->n_shards];
    bl_bln_entry entry = bl_bln_index_entry(index, i_entry);
    const unsigned char *value;
    uint32_t n;

    *name = bl_bln_index_name(index, &entry);
    /* they stand in the order of the entries, one for each file */
    value = bl_bln_index_info(index, BL_BLN_INFO_SHA256, i, &n);
    if (!value || n != BL_BLN_SHA256_BYTES || bl_get_u32(value) != i_entry)
        return false;
    memcpy(out, value + 4, 32);
    return true;
}

uint64_t bl_bln_read_unit(const bl_container *container, size_t i)
{
    const bl_bln_file *file = file_of(container);
    bl_bln_entry entry = bl_bln_index_entry(&file->index, file->tensor_entry[i]);

    return entry.n_chunks == 0 ? 1 : bl_bln_index_chunk(&file->index, entry.first_chunk).n_decoded;
}
