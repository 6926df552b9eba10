/*
 * bench_linear.c - GFLOP/s of bl_linear_run on matrices of a checkpoint: read, decode, multiply.
 *
 *     bench_linear MODEL N_TOKENS N_THREADS NAME ...
 *
 * Best of three for each tensor NAME. Prints, never fails on a time; tests/bench/sgemm.py times plain
 * OpenBLAS on a product of the same size.
 */
#include "base/alloc.h"
#include "formats/ckpt/ckpt.h"
#include "model/linear.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REPEATS = 3 };

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bl_status measure(const bl_weights *weights, const bl_tensor *w, size_t n_tokens,
                         struct bl_err *err)
{
    float *x = bl_alloc(n_tokens, (size_t)w->n_cols * sizeof(*x));
    float *y = bl_alloc(n_tokens, (size_t)w->n_rows * sizeof(*y));
    bl_linear l = { .y = y,
                    .ldy = (size_t)w->n_rows,
                    .x = x,
                    .ldx = (size_t)w->n_cols,
                    .n_tokens = n_tokens,
                    .weight = w,
                    .n_rows = w->n_rows };
    double flop = 2.0 * (double)n_tokens * (double)w->n_rows * (double)w->n_cols, best = 1e9;
    bl_status rc = x && y ? BL_OK : bl_fail_nomem(err, w->name);

    for (size_t i = 0; x && i < n_tokens * w->n_cols; i++)
        x[i] = (float)(i % 1009) * 0x1p-10f - 0.5f;
    for (int k = 0; k < REPEATS && rc == BL_OK; k++) {
        double start = seconds_now(), elapsed;

        rc = bl_linear_run(&l, weights, err);
        elapsed = seconds_now() - start;
        best = elapsed < best ? elapsed : best;
    }
    if (rc == BL_OK)
        printf("%6" PRIu64 " x %6" PRIu64 " x %5zu tokens %8.3f s %8.1f GFLOP/s  %s\n", w->n_rows,
               w->n_cols, n_tokens, best, flop / best * 1e-9, w->name);
    bl_free(x);
    bl_free(y);
    return rc;
}

int main(int argc, char **argv)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_network network;
    bl_status rc;

    if (argc < 5) {
        fprintf(stderr, "usage: bench_linear MODEL N_TOKENS N_THREADS NAME ...\n");
        return 2;
    }
    rc = bl_ckpt_open(&ckpt, argv[1], &err);
    if (rc == BL_OK)
        rc = bl_network_init(&network, bl_ckpt_config(ckpt), &err);
    for (int i = 4; i < argc && rc == BL_OK; i++) {
        bl_weights weights = { .ckpt = ckpt,
                               .network = &network,
                               .n_threads = (int)strtol(argv[3], NULL, 10) };
        const bl_tensor *w = bl_ckpt_find(ckpt, argv[i]);

        rc = w ? measure(&weights, w, strtoul(argv[2], NULL, 10), &err)
               : bl_fail(&err, BL_E_USAGE, "no tensor '%s'", argv[i]);
    }
    bl_ckpt_close(ckpt);
    if (rc != BL_OK)
        fprintf(stderr, "bench_linear: %s\n", err.text);
    return rc != BL_OK;
}
