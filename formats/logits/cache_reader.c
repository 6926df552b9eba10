/* cache_reader.c - a folder of shards as one cache. See cache_reader.h. */
#include "formats/logits/cache_reader.h"

#include "base/alloc.h"
#include "formats/logits/cache_file.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_head.h"
#include "formats/logits/cache_values.h"

#include <assert.h>

struct bl_cache {
    char *path;
    bl_cache_info info;
    bl_cache_file *file; /* [info.n_shards] */
    char **file_path;    /* [info.n_shards] */
    uint32_t n_shards;   /* that there is room for */
    bl_cache_sizes sizes;
    bl_cache_head head; /* hidden */
};

static void add_sizes(bl_cache_sizes *s, const bl_cache_file *file)
{
    const bl_cache_layout *l = &file->layout;
    const uint64_t statistics = file->header.n_scored * BL_CACHE_STAT_BYTES;

    s->n_scored += file->header.n_scored;
    s->n_entries += file->header.n_entries;
    s->file += l->bytes;
    s->statistics += statistics;
    s->entries += file->header.data_bytes - statistics;
    s->tokens += l->index - l->tokens;
    s->tables += BL_CACHE_HEADER_BYTES + (l->bytes - l->index);
}

static bl_status open_shard(bl_cache *c, uint32_t i, struct bl_err *err)
{
    bl_cache_file *file = &c->file[i];
    bl_source *source = NULL;
    const char *difference;
    bl_status rc;

    c->file_path[i] = bl_cache_shard_path(c->path, i, c->n_shards);
    if (!c->file_path[i])
        return bl_fail_nomem(err, c->path);
    rc = bl_cache_open_if_there(&source, c->file_path[i], err);
    if (rc != BL_OK)
        return rc;
    if (!source)
        return bl_fail(err, BL_E_MISMATCH, "%s: shard %u of %u is missing", c->path, i + 1,
                       c->n_shards);
    rc = bl_cache_file_open(file, source, err);
    bl_source_close(source);
    if (rc != BL_OK)
        return rc;
    difference = bl_cache_info_difference(&file->header.info, &c->file[0].header.info);
    if (difference)
        return bl_fail(err, BL_E_MISMATCH, "%s: is of another cache than shard 1: its %s differs",
                       c->file_path[i], difference);
    if (file->header.i_shard != i || file->header.info.n_shards != c->n_shards)
        return bl_fail(err, BL_E_MISMATCH, "%s: says that it is shard %u of %u", c->file_path[i],
                       file->header.i_shard + 1, file->header.info.n_shards);
    add_sizes(&c->sizes, file);
    return BL_OK;
}

static bl_status open_all(bl_cache *c, const char *path, struct bl_err *err)
{
    bl_status rc;

    c->path = bl_strdup(path);
    if (!c->path)
        return bl_fail_nomem(err, path);
    rc = bl_cache_folder_count(&c->n_shards, path, err);
    if (rc != BL_OK)
        return rc;
    c->file = bl_calloc(c->n_shards, sizeof(*c->file));
    c->file_path = bl_calloc(c->n_shards, sizeof(*c->file_path));
    if (!c->file || !c->file_path)
        return bl_fail_nomem(err, path);
    for (uint32_t i = 0; i < c->n_shards && rc == BL_OK; i++)
        rc = open_shard(c, i, err);
    if (rc != BL_OK)
        return rc;
    c->info = c->file[0].header.info;
    if (c->info.kind == BL_CACHE_HIDDEN)
        rc = bl_cache_head_open(&c->head, path, &c->info, err);
    c->sizes.head = c->head.file_bytes;
    return rc;
}

bl_status bl_cache_open(bl_cache **out, const char *path, struct bl_err *err)
{
    bl_cache *c = bl_calloc(1, sizeof(*c));
    bl_status rc = c ? open_all(c, path, err) : bl_fail_nomem(err, path);

    if (rc == BL_OK)
        *out = c;
    else
        bl_cache_close(c);
    return rc;
}

void bl_cache_close(bl_cache *cache)
{
    if (!cache)
        return;
    for (uint32_t i = 0; i < cache->n_shards; i++) {
        if (cache->file)
            bl_cache_file_release(&cache->file[i]);
        if (cache->file_path)
            bl_free(cache->file_path[i]);
    }
    bl_cache_head_release(&cache->head);
    bl_free(cache->file);
    bl_free(cache->file_path);
    bl_free(cache->path);
    bl_free(cache);
}

const bl_cache_info *bl_cache_info_of(const bl_cache *cache)
{
    return &cache->info;
}

const char *bl_cache_path(const bl_cache *cache)
{
    return cache->path;
}

bl_cache_sizes bl_cache_sizes_of(const bl_cache *cache)
{
    return cache->sizes;
}

bl_status bl_cache_read(bl_cache_seq *out, const bl_cache *cache, uint32_t seq, struct bl_err *err)
{
    uint32_t low = 0, high = cache->n_shards;
    bl_source *source = NULL;
    bl_status rc;

    assert(seq < cache->info.n_seqs);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (cache->file[middle].layout.first_seq <= seq)
            low = middle;
        else
            high = middle;
    }
    rc = bl_source_open(&source, cache->file_path[low], err);
    if (rc == BL_OK)
        rc = bl_cache_file_read(out, &cache->file[low], source,
                                seq - cache->file[low].layout.first_seq, err);
    bl_source_close(source);
    return rc;
}

bl_status bl_cache_read_head(float *out, const bl_cache *cache, uint64_t row, uint64_t n,
                             struct bl_err *err)
{
    assert(cache->info.kind == BL_CACHE_HIDDEN);
    return bl_cache_head_read(out, &cache->head, row, n, err);
}
