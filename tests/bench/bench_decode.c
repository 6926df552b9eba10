/*
 * bench_decode.c - single-thread speed of the decoder of every block encoding, on random blocks that
 * stay in the cache: best of nine. Prints, never fails on a time.
 */
#include "formats/dtype/dtype.h"

#include <stdio.h>
#include <time.h>

enum { COLS = 7168, REPEATS = 9, ROUNDS = 4, N_BYTES = 1 << 19 };

static unsigned char blocks[N_BYTES];
static float values[COLS];

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void measure(const bl_dtype_traits *t)
{
    const size_t row_bytes = COLS / t->block_len * t->block_bytes, n_rows = N_BYTES / row_bytes;
    double best = 1e9;

    for (int k = 0; k < REPEATS; k++) {
        double start = seconds_now(), elapsed;

        for (size_t row = 0; row < ROUNDS * n_rows; row++)
            t->to_f32(values, blocks + row % n_rows * row_bytes, COLS);
        elapsed = (seconds_now() - start) / (double)(ROUNDS * n_rows);
        best = elapsed < best ? elapsed : best;
    }
    printf("%-8s %7.2f GB/s of F32  %7.2f GB/s of blocks\n", t->name,
           COLS * sizeof(float) / best * 1e-9, (double)row_bytes / best * 1e-9);
}

int main(void)
{
    unsigned state = 1;

    for (size_t i = 0; i < N_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        blocks[i] = (unsigned char)(state >> 24) & 0xbf; /* no scale is infinite or NaN */
    }
    for (int d = 0; d < BL_DTYPE_COUNT; d++) {
        const bl_dtype_traits *t = bl_dtype_traits_of((bl_dtype)d);

        if (t->block_len > 1 && !t->in_safetensors)
            measure(t);
    }
    return 0;
}
