/*
 * spoiled.h - copies of nano-r1 with something wrong in them, made in the scratch folder.
 */
#ifndef BL_TESTS_SPOILED_H
#define BL_TESTS_SPOILED_H

#include "base/alloc.h"
#include "formats/ckpt/ckpt.h"
#include "tests/unit/scratch.h"

#include <limits.h>

static char spoiled_source[PATH_MAX];

/* CMocka group setup: remember where nano-r1 is, then go to a scratch folder. */
static inline int spoiled_enter(void **state)
{
    return realpath("data/nano-r1", spoiled_source) ? scratch_enter(state) : -1;
}

static inline char *spoiled_read(size_t *n, const char *path)
{
    FILE *f = fopen(path, "rb");
    long size;
    char *bytes;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        abort();
    rewind(f);
    bytes = malloc((size_t)size + 1);
    if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size)
        abort();
    fclose(f);
    bytes[size] = '\0';
    *n = (size_t)size;
    return bytes;
}

/* Replace every `from` by `to`, which is as long, in n bytes; `from` may be NULL. */
static inline void spoiled_replace(char *bytes, size_t n, const char *from, const char *to)
{
    size_t length = from ? strlen(from) : 0;

    for (size_t i = 0; from && i + length <= n; i++)
        if (memcmp(bytes + i, from, length) == 0)
            memcpy(bytes + i, to, length);
}

/* A copy of nano-r1 in `folder` with every `from` replaced by `to` in all its files. */
static inline void spoiled_copy(const char *folder, const char *from, const char *to)
{
    static const char *const names[] = { "config.json", "model.safetensors.index.json",
                                         "model-00001-of-000003.safetensors",
                                         "model-00002-of-000003.safetensors",
                                         "model-00003-of-000003.safetensors" };

    mkdir(folder, 0777);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[2 * PATH_MAX];
        char *bytes;
        size_t n;

        snprintf(path, sizeof(path), "%s/%s", spoiled_source, names[i]);
        bytes = spoiled_read(&n, path);
        spoiled_replace(bytes, n, from, to);
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        scratch_write(path, bytes, n);
        free(bytes);
    }
}

static inline bl_ckpt *spoiled_open(const char *folder)
{
    bl_ckpt *ckpt = NULL;
    struct bl_err err = { 0 };

    if (bl_ckpt_open(&ckpt, folder, &err) != BL_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return ckpt;
}

/* n bytes at byte `at` of a stored tensor of the copy. */
static inline void spoiled_patch(const char *folder, const char *stored, size_t at,
                                 const void *bytes, size_t n)
{
    bl_ckpt *ckpt = spoiled_open(folder);
    const bl_container *c = bl_ckpt_container(ckpt);
    char path[PATH_MAX];
    size_t i;
    FILE *f;

    if (!bl_container_find(&i, c, stored))
        abort();
    snprintf(path, sizeof(path), "%s/%s", folder, c->shard_name[c->stored[i].shard]);
    f = fopen(path, "r+b");
    if (!f || fseek(f, (long)(c->stored[i].offset + at), SEEK_SET) != 0 ||
        fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        abort();
    bl_ckpt_close(ckpt);
}

/* The F32 values of a stored tensor times `factor`. */
static inline void spoiled_scale(const char *folder, const char *stored, float factor)
{
    bl_ckpt *ckpt = spoiled_open(folder);
    const bl_container *c = bl_ckpt_container(ckpt);
    float *values;
    size_t i, n;

    if (!bl_container_find(&i, c, stored))
        abort();
    n = (size_t)c->stored[i].n_bytes;
    values = malloc(n);
    if (!values || bl_container_read(c, i, 0, values, n, NULL) != BL_OK)
        abort();
    for (size_t k = 0; k < n / sizeof(*values); k++)
        values[k] *= factor;
    bl_ckpt_close(ckpt);
    spoiled_patch(folder, stored, 0, values, n);
    free(values);
}

#endif
