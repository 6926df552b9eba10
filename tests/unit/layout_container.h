/*
 * layout_container.h - a checkpoint folder in one run of bytes, as tests/corpus/layouts and the fuzz
 * target keep it: three numbers of bytes (u32, little-endian), config.json,
 * quant_model_description.json (0 bytes: there is none), one safetensors file.
 */
#ifndef BL_TESTS_LAYOUT_CONTAINER_H
#define BL_TESTS_LAYOUT_CONTAINER_H

#include "base/alloc.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/ckpt/ckpt.h"
#include "formats/hfquant/hfquant.h"
#include "formats/safetensors/safetensors_reader.h"

#include <string.h>

struct layout_container {
    bl_container base;
    bl_source *source;
    bl_safetensors st;
    const char *side[2]; /* config.json, the description */
    size_t n_side[2];
};

static bl_status layout_read(const bl_container *c, size_t i, uint64_t offset, void *out, size_t n,
                             struct bl_err *err)
{
    const struct layout_container *l = (const struct layout_container *)c;

    if (!bl_range_fits(offset, n, l->st.stored[i].n_bytes))
        __builtin_trap(); /* the container's contract */
    return bl_source_read(l->source, l->st.stored[i].offset + offset, out, n, err);
}

static bl_status layout_side_file(const bl_container *c, const char *name, char **out,
                                  size_t *n_bytes, struct bl_err *err)
{
    const struct layout_container *l = (const struct layout_container *)c;
    const int k = strcmp(name, "config.json") == 0           ? 0
                  : strcmp(name, BL_ASCEND_DESCRIPTION) == 0 ? 1
                                                             : -1;

    *out = NULL;
    *n_bytes = 0;
    if (k < 0 || l->n_side[k] == 0)
        return BL_OK;
    *out = bl_strndup(l->side[k], l->n_side[k]);
    if (!*out)
        return bl_fail_nomem(err, name);
    *n_bytes = l->n_side[k];
    return BL_OK;
}

static void layout_close(bl_container *c)
{
    struct layout_container *l = (struct layout_container *)c;

    bl_safetensors_release(&l->st);
    bl_source_close(l->source);
    bl_free(l->base.path);
    bl_free(l);
}

static void layout_prefetch(const bl_container *c, size_t i, uint64_t offset, uint64_t n)
{
    (void)c, (void)i, (void)offset, (void)n;
}

static const struct bl_container_ops layout_ops = { layout_read, layout_side_file, layout_close,
                                                    layout_prefetch, NULL };

/* Open n bytes, which must stay, as the checkpoint "input". BL_E_USAGE when they are too few. */
static inline bl_status layout_open(bl_ckpt **out, const char *bytes, size_t n, struct bl_err *err)
{
    static const char *const shard[] = { "model.safetensors" };
    struct layout_container *l;
    uint32_t size[3] = { 0 };
    bl_status rc;

    if (n >= sizeof(size))
        memcpy(size, bytes, sizeof(size));
    if (n < sizeof(size) || (uint64_t)size[0] + size[1] + size[2] != n - sizeof(size))
        return bl_fail(err, BL_E_USAGE, "input: not a folder in one file");
    bytes += sizeof(size);
    l = bl_calloc(1, sizeof(*l));
    if (!l)
        return bl_fail_nomem(err, "input");
    l->base.ops = &layout_ops;
    l->base.kind = "safetensors";
    l->base.path = bl_strdup("input");
    l->side[0] = bytes;
    l->side[1] = bytes + size[0];
    l->n_side[0] = size[0];
    l->n_side[1] = size[1];
    rc = l->base.path
             ? bl_source_memory(&l->source, "input", bytes + size[0] + size[1], size[2], err)
             : bl_fail_nomem(err, "input");
    if (rc == BL_OK)
        rc = bl_safetensors_read(&l->st, l->source, err);
    if (rc != BL_OK) {
        layout_close(&l->base);
        return rc;
    }
    l->base.stored = l->st.stored;
    l->base.n_stored = l->st.n_stored;
    l->base.n_shards = 1;
    l->base.shard_name = shard;
    return bl_ckpt_of(out, &l->base, err);
}

#endif
