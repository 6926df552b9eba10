/* cache_merge.c - the shards of several folders in one: each checked whole, then copied. */
#include "formats/logits/cache_writer.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/sink.h"
#include "base/size.h"
#include "formats/logits/cache_file.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_head.h"

#include <string.h>

enum { COPY_BYTES = 1 << 20 };

struct merge {
    const char *folder;
    const char *const *part;
    size_t n_parts;
    uint32_t n_shards;
    bl_cache_info info; /* of the first shard that was found */
    char *first;        /* its path; NULL: none yet */
    bool force;
    unsigned char *a, *b; /* [COPY_BYTES] */
};

/* Two files that should be the same one. */
static bl_status compare(const struct merge *m, bl_source *x, bl_source *y, struct bl_err *err)
{
    bl_status rc = BL_OK;
    bool equal = x->size == y->size;

    for (uint64_t at = 0; at < x->size && equal && rc == BL_OK;) {
        const size_t n = (size_t)bl_min_u64(COPY_BYTES, x->size - at);

        rc = bl_source_read(x, at, m->a, n, err);
        if (rc == BL_OK)
            rc = bl_source_read(y, at, m->b, n, err);
        if (rc == BL_OK)
            equal = memcmp(m->a, m->b, n) == 0;
        at += n;
    }
    if (rc == BL_OK && !equal)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: is there twice, and %s has other bytes", x->name,
                     y->name);
    return rc;
}

static bl_status copy(const struct merge *m, bl_source *from, const char *path, struct bl_err *err)
{
    bl_sink *sink = NULL;
    bl_status rc = bl_space_check(path, from->size, err);

    if (rc == BL_OK)
        rc = bl_sink_begin(&sink, path, m->force, err);
    for (uint64_t at = 0; at < from->size && rc == BL_OK;) {
        const size_t n = (size_t)bl_min_u64(COPY_BYTES, from->size - at);

        rc = bl_source_read(from, at, m->a, n, err);
        if (rc == BL_OK)
            rc = bl_sink_write(sink, m->a, n, err);
        at += n;
    }
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    return rc;
}

static bl_status check_shard(struct merge *m, bl_source *source, uint32_t i, struct bl_err *err)
{
    bl_cache_file file = { 0 };
    const char *difference = NULL;
    bl_status rc = bl_cache_file_open(&file, source, err);

    if (rc == BL_OK && !m->first) {
        m->info = file.header.info;
        m->first = bl_strdup(source->name);
        rc = m->first ? BL_OK : bl_fail_nomem(err, source->name);
    }
    if (rc == BL_OK)
        difference = bl_cache_info_difference(&file.header.info, &m->info);
    if (difference)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: is of another cache than %s: its %s differs",
                     source->name, m->first, difference);
    else if (rc == BL_OK && (file.header.i_shard != i || file.header.info.n_shards != m->n_shards))
        rc = bl_fail(err, BL_E_MISMATCH, "%s: says that it is shard %u of %u", source->name,
                     file.header.i_shard + 1, file.header.info.n_shards);
    if (rc == BL_OK)
        rc = bl_cache_file_check(&file, source, err);
    bl_cache_file_release(&file);
    return rc;
}

/* A file by name from folders; which of them: shard i, or the head. */
struct wanted {
    bool head;
    uint32_t i;
};

static char *path_of(const struct merge *m, const struct wanted *w, const char *folder)
{
    return w->head ? bl_cache_head_path(folder) : bl_cache_shard_path(folder, w->i, m->n_shards);
}

static bl_status check_file(struct merge *m, const struct wanted *w, const char *folder,
                            bl_source *source, struct bl_err *err)
{
    bl_cache_head head = { 0 };
    bl_status rc;

    if (!w->head)
        return check_shard(m, source, w->i, err);
    rc = bl_cache_head_open(&head, folder, &m->info, err);
    bl_cache_head_release(&head);
    return rc;
}

/* Find the file in the parts; *found is the first that has it, open. */
static bl_status find(bl_source **found, struct merge *m, const struct wanted *w,
                      struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t p = 0; p < m->n_parts && rc == BL_OK; p++) {
        char *path = path_of(m, w, m->part[p]);
        bl_source *source = NULL;

        if (!path)
            return bl_fail_nomem(err, m->part[p]);
        rc = bl_cache_open_if_there(&source, path, err);
        if (rc == BL_OK && source)
            rc = check_file(m, w, m->part[p], source, err);
        if (rc == BL_OK && source && *found)
            rc = compare(m, *found, source, err);
        if (rc == BL_OK && source && !*found) {
            *found = source;
            source = NULL;
        }
        bl_source_close(source);
        bl_free(path);
    }
    if (rc == BL_OK && !*found)
        rc = w->head ? bl_fail(err, BL_E_MISMATCH, "head.safetensors is in none of the parts")
                     : bl_fail(err, BL_E_MISMATCH, "shard %u of %u is in none of the parts",
                               w->i + 1, m->n_shards);
    return rc;
}

/* Look at the file, or (write) copy it too. One that is in the folder already must be the same. */
static bl_status take_file(struct merge *m, const struct wanted *w, bool write, struct bl_err *err)
{
    char *path = path_of(m, w, m->folder);
    bl_source *source = NULL, *there = NULL;
    bl_status rc = path ? find(&source, m, w, err) : bl_fail_nomem(err, m->folder);

    if (rc == BL_OK && write && !m->force)
        rc = bl_cache_open_if_there(&there, path, err);
    if (rc == BL_OK && write)
        rc = there ? compare(m, there, source, err) : copy(m, source, path, err);
    bl_source_close(there);
    bl_source_close(source);
    bl_free(path);
    return rc;
}

static bl_status take_all(struct merge *m, bool write, struct bl_err *err)
{
    const struct wanted head = { .head = true };
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < m->n_shards && rc == BL_OK; i++) {
        const struct wanted shard = { .i = i };

        rc = take_file(m, &shard, write, err);
    }
    if (rc == BL_OK && m->info.kind == BL_CACHE_HIDDEN)
        rc = take_file(m, &head, write, err);
    return rc;
}

static bl_status count_shards(struct merge *m, struct bl_err *err)
{
    for (size_t p = 0; p < m->n_parts; p++) {
        uint32_t n = 0;
        bl_status rc = bl_cache_folder_count(&n, m->part[p], err);

        if (rc != BL_OK)
            return rc;
        if (p > 0 && n != m->n_shards)
            return bl_fail(err, BL_E_MISMATCH, "%s: has shards of a cache in %u, %s of one in %u",
                           m->part[p], n, m->part[0], m->n_shards);
        m->n_shards = n;
    }
    return BL_OK;
}

bl_status bl_cache_merge(const char *folder, const char *const *part, size_t n_parts, bool force,
                         struct bl_err *err)
{
    struct merge m = { .folder = folder, .part = part, .n_parts = n_parts, .force = force };
    bl_status rc;

    if (n_parts == 0)
        return bl_fail(err, BL_E_USAGE, "%s: no parts of a cache to merge", folder);
    rc = count_shards(&m, err);
    m.a = bl_alloc(COPY_BYTES, 1);
    m.b = bl_alloc(COPY_BYTES, 1);
    if (rc == BL_OK && (!m.a || !m.b))
        rc = bl_fail_nomem(err, folder);
    if (rc == BL_OK)
        rc = take_all(&m, false, err);
    if (rc == BL_OK)
        rc = bl_cache_folder_make(folder, err);
    if (rc == BL_OK)
        rc = take_all(&m, true, err);
    bl_free(m.first);
    bl_free(m.a);
    bl_free(m.b);
    return rc;
}
