/*
 * bench_encode.c - single-thread speed of the block encoders and of the FP8 decoder on a matrix of
 * 4096 x 7168, in MB of F32 (of codes for FP8) per second: best of five. Prints, never fails on a
 * time; tests/bench/encode_gguf_py.py times the Python gguf package on the same shape.
 */
#include "base/alloc.h"
#include "formats/block/fp8_block.h"
#include "formats/block/int4_group.h"
#include "formats/block/q4_0.h"
#include "formats/block/q8_0.h"
#include "quantize/encode_int4_group.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q8_0.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { ROWS = 4096, COLS = 7168, REPEATS = 5 };

struct buffers {
    float *x;         /* [ROWS][COLS] */
    uint8_t *encoded; /* room for the largest encoding */
    uint16_t scales[COLS / 128];
    float fp8_scales[COLS / 128];
};

typedef void (*row_fn)(struct buffers *b, size_t row);

static void q8_0(struct buffers *b, size_t row)
{
    bl_q8_0_encode(b->encoded + row * (COLS / 32 * 34), b->x + row * COLS, COLS);
}

static void q8_0_ref(struct buffers *b, size_t row)
{
    bl_q8_0_encode_ref(b->encoded + row * (COLS / 32 * 34), b->x + row * COLS, COLS);
}

static void q4_0(struct buffers *b, size_t row)
{
    bl_q4_0_encode(b->encoded + row * (COLS / 32 * 18), b->x + row * COLS, COLS);
}

static void q4_0_ref(struct buffers *b, size_t row)
{
    bl_q4_0_encode_ref(b->encoded + row * (COLS / 32 * 18), b->x + row * COLS, COLS);
}

static void int4(struct buffers *b, size_t row)
{
    bl_int4_group_encode(b->encoded + row * (COLS / 2), b->scales, b->x + row * COLS, COLS, 128);
}

static void int4_ref(struct buffers *b, size_t row)
{
    bl_int4_group_encode_ref(b->encoded + row * (COLS / 2), b->scales, b->x + row * COLS, COLS,
                             128);
}

/* Decoders write one row over and over: the cost of decoding, not of memory. */
static void decode_q8_0(struct buffers *b, size_t row)
{
    bl_q8_0_to_f32(b->x, b->encoded + row * (COLS / 32 * 34), COLS);
}

static void decode_q4_0(struct buffers *b, size_t row)
{
    bl_q4_0_to_f32(b->x, b->encoded + row * (COLS / 32 * 18), COLS);
}

static void decode_int4(struct buffers *b, size_t row)
{
    bl_int4_group_to_f32(b->x, b->encoded + row * (COLS / 2), b->scales, BL_BF16, COLS, 128);
}

static void decode_fp8(struct buffers *b, size_t row)
{
    bl_fp8_block_to_f32(b->x, b->encoded + row * COLS, b->fp8_scales, COLS, 128);
}

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void measure(const char *name, row_fn function, size_t bytes_per_value, struct buffers *b)
{
    double best = 1e9;

    for (int k = 0; k < REPEATS; k++) {
        double start = seconds_now(), elapsed;

        for (size_t row = 0; row < ROWS; row++)
            function(b, row);
        elapsed = seconds_now() - start;
        best = elapsed < best ? elapsed : best;
    }
    printf("%-16s %8.0f MB/s  %7.0f Mvalues/s\n", name,
           (double)ROWS * COLS * (double)bytes_per_value / best * 1e-6,
           (double)ROWS * COLS / best * 1e-6);
}

int main(void)
{
    struct buffers b = { .x = bl_alloc((size_t)ROWS * COLS, sizeof(float)),
                         .encoded = bl_alloc((size_t)ROWS * COLS, 2) };
    uint32_t state = 1;

    if (!b.x || !b.encoded)
        return 1;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        state = state * 1664525u + 1013904223u;
        b.x[i] = (float)(int32_t)state * 0x1p-36f;
    }
    for (size_t i = 0; i < COLS / 128; i++)
        b.fp8_scales[i] = 1e-4f * (float)(i + 1);
    measure("q8_0", q8_0, 4, &b);
    measure("q8_0 ref", q8_0_ref, 4, &b);
    measure("q4_0", q4_0, 4, &b);
    measure("q4_0 ref", q4_0_ref, 4, &b);
    measure("int4", int4, 4, &b);
    measure("int4 ref", int4_ref, 4, &b);
    measure("decode q8_0", decode_q8_0, 4, &b);
    measure("decode q4_0", decode_q4_0, 4, &b);
    measure("decode int4", decode_int4, 4, &b);
    measure("decode fp8 block", decode_fp8, 1, &b);
    bl_free(b.x);
    bl_free(b.encoded);
    return 0;
}
