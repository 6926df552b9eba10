/*
 * layout_folders.h - nano-r1 driven into folder layouts by the tests of quantize/layout.h: write
 * one, open it again, compare what is stored.
 */
#ifndef BL_TESTS_LAYOUT_FOLDERS_H
#define BL_TESTS_LAYOUT_FOLDERS_H

#include "base/alloc.h"
#include "base/source.h"
#include "formats/ckpt/ckpt.h"
#include "quantize/layout.h"
#include "quantize/requantize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

/* The source, absolute: the tests work in a folder of their own. */
static char model[PATH_MAX];

/* CMocka group setup. */
static inline int enter(void **state)
{
    return realpath("data/nano-r1", model) ? scratch_enter(state) : -1;
}

static inline bl_status write_layout(const char *path, const char *source,
                                     const bl_layout_options *wanted, bool requantize,
                                     struct bl_err *err)
{
    bl_write_options options = { .n_threads = 1, .label = "test", .shard_size = 3000000 };
    bl_folder_layout layout;
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_text from = { 0 };
    bl_status rc = bl_layout_resolve(&layout, wanted, err);

    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, source, err);
    if (rc == BL_OK)
        rc = bl_requantize_check(&from, ckpt, requantize, err);
    options.requantized_from = from.bytes;
    if (rc == BL_OK)
        rc = bl_layout_plan(&plan, ckpt, &layout, err);
    if (rc == BL_OK)
        rc = bl_layout_write(path, ckpt, &plan, &layout, &options, err);
    bl_text_release(&from);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static inline void make(const char *path, const char *source, const bl_layout_options *wanted)
{
    struct bl_err err = { 0 };

    if (write_layout(path, source, wanted, false, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static inline bl_ckpt *open_model(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static inline char *read_file(const char *path)
{
    struct bl_err err = { 0 };
    char *text = NULL;

    if (bl_source_read_file(&text, NULL, path, 1 << 26, &err) != BL_OK)
        fail_msg("%s", err.text);
    return text;
}

static inline float *values_of(const bl_ckpt *ckpt, const bl_tensor *t)
{
    struct bl_err err = { 0 };
    float *x;

    if (!t) {
        fail_msg("a tensor is missing in %s", bl_ckpt_container(ckpt)->path);
        return NULL;
    }
    x = bl_alloc((size_t)t->n_values, sizeof(*x));
    assert_non_null(x);
    if (bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, x, &err) != BL_OK)
        fail_msg("%s", err.text);
    return x;
}

/* The stored tensor of this name, whole. */
static inline void *stored_bytes(size_t *n, const bl_container *c, const char *name)
{
    struct bl_err err = { 0 };
    size_t i;
    void *bytes;

    if (!bl_container_find(&i, c, name))
        fail_msg("%s is missing", name);
    *n = (size_t)c->stored[i].n_bytes;
    bytes = bl_alloc(*n, 1);
    assert_non_null(bytes);
    assert_int_equal(bl_container_read(c, i, 0, bytes, *n, &err), BL_OK);
    return bytes;
}

static inline void check_same_data(const bl_container *a, const bl_container *b)
{
    assert_int_equal(a->n_stored, b->n_stored);
    for (size_t i = 0; i < a->n_stored; i++) {
        size_t n_x, n_y;
        void *x = stored_bytes(&n_x, a, a->stored[i].name);
        void *y = stored_bytes(&n_y, b, a->stored[i].name);

        assert_int_equal(n_x, n_y);
        assert_memory_equal(x, y, n_x);
        bl_free(x);
        bl_free(y);
    }
}

static inline void says_words(const char *path, const char *const *words)
{
    char *text = read_file(path);

    for (; *words; words++)
        if (!strstr(text, *words))
            fail_msg("%s does not say %s", path, *words);
    bl_free(text);
}

#endif
