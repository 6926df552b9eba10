/*
 * container.c - the thin part of container.h: what every kind of container shares is checked
 * here, once, before its own functions run.
 */
#include "formats/ckpt/container.h"

#include "base/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bl_status bl_container_read(const bl_container *container, size_t i, uint64_t offset, void *out,
                            size_t n, struct bl_err *err)
{
    const bl_stored *t;

    assert(i < container->n_stored);
    t = &container->stored[i];
    if (!bl_range_fits(offset, n, t->n_bytes))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': %zu bytes at byte %" PRIu64 " lie past its end (%" PRIu64
                       " bytes)",
                       container->path, t->name, n, offset, t->n_bytes);
    return n == 0 ? BL_OK : container->ops->read(container, i, offset, out, n, err);
}

void bl_container_prefetch(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    uint64_t size = container->stored[i].n_bytes;

    if (container->ops->prefetch && offset < size)
        container->ops->prefetch(container, i, offset, bl_min_u64(n, size - offset));
}

bool bl_container_find(size_t *out, const bl_container *container, const char *name)
{
    for (size_t i = 0; i < container->n_stored; i++) {
        if (strcmp(container->stored[i].name, name) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

bl_status bl_container_side_file(const bl_container *container, const char *name, char **out,
                                 size_t *n_bytes, struct bl_err *err)
{
    return container->ops->side_file(container, name, out, n_bytes, err);
}

bl_status bl_container_shard_header(const bl_container *container, size_t shard, char **out,
                                    size_t *n_bytes, struct bl_err *err)
{
    if (!container->ops->shard_header)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: not a folder of safetensors shards",
                       container->path);
    return container->ops->shard_header(container, shard, out, n_bytes, err);
}

void bl_container_close(bl_container *container)
{
    if (container)
        container->ops->close(container);
}

bl_status bl_container_fail(struct bl_err *err, bl_status status, const bl_container *container,
                            size_t i, const char *format, ...)
{
    const bl_stored *t = &container->stored[i];
    const char *shard = container->shard_name[t->shard];
    size_t n_path = strlen(container->path), n_shard = strlen(shard);
    bool is_file = n_path >= n_shard && strcmp(container->path + n_path - n_shard, shard) == 0;
    char sentence[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    return bl_fail(err, status, "%s%s%s: tensor '%s': %s", container->path, is_file ? "" : "/",
                   is_file ? "" : shard, t->name, sentence);
}
