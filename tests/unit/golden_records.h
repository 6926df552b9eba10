/*
 * golden_records.h - read the vectors of tests/oracle/make_block_vectors.py: a run of records, each
 * a name (24 bytes, zero padded), a number of bytes (u64) and the bytes. For tests: a missing file
 * or record fails the running test.
 */
#ifndef BL_TESTS_GOLDEN_RECORDS_H
#define BL_TESTS_GOLDEN_RECORDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/source.h"

#include <stdio.h>
#include <string.h>

struct golden {
    char *bytes;
    size_t n;
};

static inline struct golden golden_open(const char *path)
{
    struct golden g = { 0 };
    struct bl_err err = { 0 };
    bl_source *source = NULL;

    if (bl_source_open(&source, path, &err) != BL_OK ||
        bl_source_read_all(&g.bytes, &g.n, source, 1 << 24, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_source_close(source);
    return g;
}

/* A copy of a record, aligned, to be freed with bl_free(); its number of elements of size bytes. */
static inline void *golden_record(size_t *n_out, const struct golden *g, const char *name,
                                  size_t size)
{
    *n_out = 0;
    for (size_t at = 0; at + 32 <= g->n;) {
        uint64_t n_bytes;

        memcpy(&n_bytes, g->bytes + at + 24, sizeof(n_bytes));
        assert_true(n_bytes <= g->n - at - 32);
        if (strncmp(g->bytes + at, name, 24) == 0) {
            void *copy = bl_alloc((size_t)n_bytes, 1);

            assert_non_null(copy);
            assert_int_equal(n_bytes % size, 0);
            memcpy(copy, g->bytes + at + 32, (size_t)n_bytes);
            *n_out = (size_t)n_bytes / size;
            return copy;
        }
        at += 32 + (size_t)n_bytes;
    }
    fail_msg("no golden record %s", name);
    return NULL;
}

static inline void golden_close(struct golden *g)
{
    bl_free(g->bytes);
    g->bytes = NULL;
}

#endif
