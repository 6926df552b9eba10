/*
 * test_hf_golden.c - names, types, shapes and bytes of tensors are those that the PyPI package
 * reads (tests/oracle/safetensors_listing.py).
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/hf/hf_dir.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One line of a listing. */
struct row {
    const char *file, *name, *dtype, *shape;
    uint64_t n_bytes, hash;
};

/* FNV-1a-64 of a tensor, read in pieces of an odd length. */
static uint64_t hash_tensor(const bl_container *c, size_t i)
{
    const uint64_t n = c->stored[i].n_bytes;
    uint64_t h = 0xcbf29ce484222325u;
    unsigned char piece[4097];

    for (uint64_t at = 0; at < n; at += sizeof(piece)) {
        size_t step = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);

        assert_int_equal(bl_container_read(c, i, at, piece, step, NULL), BL_OK);
        for (size_t b = 0; b < step; b++)
            h = (h ^ piece[b]) * 0x100000001b3u;
    }
    return h;
}

static void check_row(const bl_container *c, const struct row *row)
{
    char shape[256] = "";
    const bl_stored *t;
    size_t i, used = 0;

    if (!bl_container_find(&i, c, row->name))
        fail_msg("%s: no tensor '%s'", c->path, row->name);
    t = &c->stored[i];
    for (uint32_t d = 0; d < t->ndim; d++)
        used += (size_t)snprintf(shape + used, sizeof(shape) - used, "%s%" PRIu64, d ? "x" : "",
                                 t->dim[d]);
    assert_string_equal(c->shard_name[t->shard], row->file);
    assert_string_equal(bl_dtype_name(t->dtype), row->dtype);
    assert_string_equal(shape, row->shape);
    assert_true(t->n_bytes == row->n_bytes);
    assert_true(hash_tensor(c, i) == row->hash);
}

static struct row parse_row(char *line)
{
    struct row row;

    line[strcspn(line, "\n")] = '\0';
    row.file = strsep(&line, "\t");
    row.name = strsep(&line, "\t");
    row.dtype = strsep(&line, "\t");
    row.shape = strsep(&line, "\t");
    assert_non_null(line);
    row.n_bytes = strtoull(strsep(&line, "\t"), NULL, 10);
    assert_non_null(line);
    row.hash = strtoull(line, NULL, 16);
    return row;
}

static void reads_nano_r1_as_the_python_package_does(void **state)
{
    FILE *f = fopen("data/golden/nano-r1.tensors.tsv", "r");
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    char line[1024];
    size_t n = 0;

    (void)state;
    assert_non_null(f);
    if (bl_hf_open(&c, "data/nano-r1", &err) != BL_OK)
        fail_msg("%s", err.text);
    while (fgets(line, sizeof(line), f)) {
        const struct row row = parse_row(line);

        check_row(c, &row);
        n++;
    }
    assert_int_equal(n, 239);
    assert_int_equal(c->n_stored, n);
    bl_container_close(c);
    fclose(f);
}

static void reads_the_good_corpus_as_the_python_package_does(void **state)
{
    FILE *f = fopen("data/golden/corpus.tensors.tsv", "r");
    char line[1024], path[256];
    size_t n = 0;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        const struct row row = parse_row(line);
        struct bl_err err = { 0 };
        bl_container *c = NULL;

        snprintf(path, sizeof(path), "corpus/safetensors/%s", row.file);
        if (bl_hf_open(&c, path, &err) != BL_OK)
            fail_msg("%s", err.text);
        check_row(c, &row);
        bl_container_close(c);
        n++;
    }
    assert_int_equal(n, 44);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_nano_r1_as_the_python_package_does),
        cmocka_unit_test(reads_the_good_corpus_as_the_python_package_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
