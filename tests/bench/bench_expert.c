/*
 * bench_expert.c - one expert out of an archive, on one thread: the time to open it, and to read and check
 * the three matrices and their scales. `strace -e trace=pread64` beside it shows the bytes that are read.
 *
 *     bench_expert X.bln model.layers.0.mlp.experts.7.
 *
 * Best and median of nine. Prints, never fails on a time.
 */
#include "base/alloc.h"
#include "formats/bln/bln_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 9 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void stop(const char *what)
{
    fprintf(stderr, "bench_expert: %s\n", what);
    exit(1);
}

/* Read every tensor whose name begins so; the bytes of all. */
static size_t read_expert(const bl_container *c, bl_bln_scratch *scratch, const char *prefix,
                          unsigned char *out, size_t size)
{
    struct bl_err err = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < c->n_stored; i++) {
        size_t n_bytes = (size_t)c->stored[i].n_bytes;

        if (strncmp(c->stored[i].name, prefix, strlen(prefix)) != 0)
            continue;
        if (n_bytes > size - n)
            stop("that is more than an expert");
        if (bl_bln_read(c, scratch, i, 0, out + n, n_bytes, &err) != BL_OK)
            stop(err.text);
        n += n_bytes;
    }
    return n;
}

int main(int argc, char **argv)
{
    const size_t size = (size_t)128 << 20;
    unsigned char *out = malloc(size);
    double opening[REPEATS], reading[REPEATS];
    size_t n = 0;

    if (argc != 3 || !out)
        stop("usage: bench_expert X.bln PREFIX");
    memset(out, 1, size); /* pages are given now */
    for (int k = 0; k < REPEATS; k++) {
        bl_container *c = NULL;
        bl_bln_scratch *scratch = NULL;
        struct bl_err err = { 0 };
        double t = now();

        if (bl_bln_open(&c, argv[1], &err) != BL_OK || bl_bln_scratch_new(&scratch, &err) != BL_OK)
            stop(err.text);
        opening[k] = now() - t;
        t = now();
        n = read_expert(c, scratch, argv[2], out, size);
        reading[k] = now() - t;
        bl_bln_scratch_free(scratch);
        bl_container_close(c);
    }
    qsort(opening, REPEATS, sizeof(*opening), by_value);
    qsort(reading, REPEATS, sizeof(*reading), by_value);
    printf("%zu bytes; open %.1f ms (best %.1f), read %.1f ms (best %.1f)\n", n,
           1e3 * opening[REPEATS / 2], 1e3 * opening[0], 1e3 * reading[REPEATS / 2],
           1e3 * reading[0]);
    free(out);
    return 0;
}
