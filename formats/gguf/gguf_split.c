/* gguf_split.c - parts opened one after the other, their tables end to end. */
#include "formats/gguf/gguf_split.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/source.h"
#include "formats/gguf/gguf_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUFFIX_BYTES = sizeof("-00001-of-00003.gguf") - 1 };

struct split {
    bl_container base;
    bl_container **part;
    size_t *first; /* number of the first tensor of each part */
    size_t n_parts;
    const char **name; /* of the parts, borrowed from them */
    bl_stored *stored;
    char *path; /* of the first part */
};

char *bl_gguf_part_name(const char *path, uint32_t i, uint32_t n)
{
    size_t length = strlen(path);

    if (length > 5 && strcmp(path + length - 5, ".gguf") == 0)
        length -= 5;
    return bl_format("%.*s-%05" PRIu32 "-of-%05" PRIu32 ".gguf", (int)length, path, i + 1, n);
}

/* Where the suffix "-00001-of-00003.gguf" of n parts begins; NULL when the name does not end so. */
static const char *find_suffix(const char *path, uint16_t n)
{
    size_t length = strlen(path);
    const char *suffix = path + length - SUFFIX_BYTES;
    char end[SUFFIX_BYTES + 1];

    if (length < SUFFIX_BYTES || suffix[0] != '-' || strspn(suffix + 1, "0123456789") != 5)
        return NULL;
    (void)snprintf(end, sizeof(end), "-of-%05u.gguf", (unsigned)n);
    return strcmp(suffix + 6, end) == 0 ? suffix : NULL;
}

static bl_status read_part(const bl_container *container, size_t i, uint64_t offset, void *out,
                           size_t n, struct bl_err *err)
{
    const struct split *s = (const struct split *)container;
    uint32_t k = s->stored[i].shard;

    return bl_container_read(s->part[k], i - s->first[k], offset, out, n, err);
}

static void prefetch_part(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    const struct split *s = (const struct split *)container;
    uint32_t k = s->stored[i].shard;

    bl_container_prefetch(s->part[k], i - s->first[k], offset, n);
}

static bl_status no_side_file(const bl_container *container, const char *name, char **out,
                              size_t *n_bytes, struct bl_err *err)
{
    const struct split *s = (const struct split *)container;

    return bl_container_side_file(s->part[0], name, out, n_bytes, err);
}

static void close_split(bl_container *container)
{
    struct split *s = (struct split *)container;

    for (size_t k = 0; k < s->n_parts; k++)
        bl_container_close(s->part[k]);
    bl_free(s->part);
    bl_free(s->first);
    bl_free(s->name);
    bl_free(s->stored);
    bl_free(s->path);
    bl_free(s);
}

static const struct bl_container_ops ops = {
    .read = read_part, .side_file = no_side_file, .close = close_split, .prefetch = prefetch_part
};

const bl_gguf_meta *bl_gguf_split_meta(const bl_container *container)
{
    return container->ops == &ops ? bl_gguf_meta_of(((const struct split *)container)->part[0])
                                  : NULL;
}

/* A key of a part, which must be there and be this number. */
static bl_status expect(const bl_container *part, const char *key, int64_t want, struct bl_err *err)
{
    const bl_gguf_kv *kv = bl_gguf_find(bl_gguf_meta_of(part), key);
    uint16_t small = 0;
    int32_t large = 0;
    bl_status rc;

    if (!kv)
        return bl_fail(err, BL_E_FORMAT, "%s: '%s' is missing: not a part of a split model",
                       part->path, key);
    rc =
        kv->type == BL_GGUF_I32 ? bl_gguf_kv_i32(&large, kv, err) : bl_gguf_kv_u16(&small, kv, err);
    if (rc == BL_OK && (kv->type == BL_GGUF_I32 ? large : small) != want)
        rc = bl_fail(err, BL_E_FORMAT,
                     "%s: '%s' is %d, and should be %" PRId64
                     ": a part of another model, or renamed",
                     part->path, key, kv->type == BL_GGUF_I32 ? large : small, want);
    return rc;
}

static bl_status open_parts(struct split *s, bl_container *part, const char *suffix,
                            struct bl_err *err)
{
    size_t n_stem = (size_t)(suffix - part->path);
    size_t own = (size_t)strtoul(suffix + 1, NULL, 10) - 1;
    bl_status rc = BL_OK;

    if (own >= s->n_parts)
        return bl_fail(err, BL_E_FORMAT, "%s: part %zu of %zu", part->path, own + 1, s->n_parts);
    s->part[own] = part;
    for (size_t k = 0; k < s->n_parts && rc == BL_OK; k++) {
        char *path =
            bl_format("%.*s-%05zu-of-%05zu.gguf", (int)n_stem, part->path, k + 1, s->n_parts);

        if (!path)
            return bl_fail_nomem(err, part->path);
        if (k != own && !bl_source_exists(path))
            rc = bl_fail(err, BL_E_FORMAT, "%s: is missing: part %zu of the %zu of a split model",
                         path, k + 1, s->n_parts);
        else if (k != own)
            rc = bl_gguf_open_part(&s->part[k], path, err);
        bl_free(path);
        if (rc == BL_OK)
            rc = expect(s->part[k], "split.no", (int64_t)k, err);
        if (rc == BL_OK)
            rc = expect(s->part[k], "split.count", (int64_t)s->n_parts, err);
    }
    return rc;
}

/* The tables end to end, every name once. */
static bl_status join(struct split *s, struct bl_err *err)
{
    size_t n = 0;
    bl_map names = { 0 };
    bl_status rc = BL_OK;

    for (size_t k = 0; k < s->n_parts; k++) {
        s->first[k] = n;
        s->name[k] = s->part[k]->shard_name[0];
        n += s->part[k]->n_stored;
        s->base.n_file_bytes += s->part[k]->n_file_bytes;
    }
    s->stored = bl_calloc(n ? n : 1, sizeof(*s->stored));
    if (!s->stored)
        return bl_fail_nomem(err, s->path);
    for (size_t k = 0; k < s->n_parts && rc == BL_OK; k++)
        for (size_t i = 0; i < s->part[k]->n_stored && rc == BL_OK; i++) {
            const bl_stored *t = &s->part[k]->stored[i];
            bool was_there = false;

            s->stored[s->first[k] + i] = *t;
            s->stored[s->first[k] + i].shard = (uint32_t)k;
            rc = bl_map_put(&names, t->name, strlen(t->name), 0, &was_there, err);
            if (rc == BL_OK && was_there)
                rc = bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is in an earlier part too",
                             s->part[k]->path, t->name);
        }
    bl_map_release(&names);
    s->base.n_stored = n;
    return rc == BL_OK ? expect(s->part[0], "split.tensors.count", (int64_t)n, err) : rc;
}

static bl_status build(struct split *s, bl_container *part, struct bl_err *err)
{
    const char *suffix = find_suffix(part->path, (uint16_t)s->n_parts);
    bl_status rc;

    s->part = bl_calloc(s->n_parts, sizeof(bl_container *));
    s->first = bl_calloc(s->n_parts, sizeof(*s->first));
    s->name = bl_calloc(s->n_parts, sizeof(const char *));
    if (!s->part || !s->first || !s->name || !suffix) {
        rc = suffix ? bl_fail_nomem(err, part->path)
                    : bl_fail(err, BL_E_FORMAT,
                              "%s: one of %zu parts of a model, but not called so "
                              "(NAME-00001-of-%05zu.gguf): the others cannot be found",
                              part->path, s->n_parts, s->n_parts);
        bl_container_close(part);
        return rc;
    }
    rc = open_parts(s, part, suffix, err);
    if (rc != BL_OK && s->part[0] != part) { /* whoever holds it, it is closed once */
        bool held = false;

        for (size_t k = 0; k < s->n_parts; k++)
            held = held || s->part[k] == part;
        if (!held)
            bl_container_close(part);
    }
    if (rc == BL_OK) {
        s->path = bl_strdup(s->part[0]->path);
        rc = s->path ? join(s, err) : bl_fail_nomem(err, s->part[0]->path);
    }
    return rc;
}

bl_status bl_gguf_open_split(bl_container **out, bl_container *part, uint16_t n_parts,
                             struct bl_err *err)
{
    struct split *s = bl_calloc(1, sizeof(*s));
    bl_status rc;

    if (!s) {
        rc = bl_fail_nomem(err, part->path);
        bl_container_close(part);
        return rc;
    }
    s->n_parts = n_parts;
    s->base.ops = &ops;
    rc = build(s, part, err);
    if (rc != BL_OK) {
        if (!s->part)
            s->n_parts = 0;
        close_split(&s->base);
        return rc;
    }
    s->base.kind = "gguf";
    s->base.path = s->path;
    s->base.stored = s->stored;
    s->base.n_shards = s->n_parts;
    s->base.shard_name = s->name;
    *out = &s->base;
    return BL_OK;
}
