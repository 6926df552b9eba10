/*
 * bench_search.c - what the searching encoders cost and gain, one thread: nanoseconds a weight (time
 * of this thread, best of three) of plain and of search with importance, and the weighted error of
 * search over that of plain, on 128 rows of 7168 values like those of a trained matrix. Arguments:
 * names of the types to measure. Prints, never fails on a time; for the peer time
 * `llama-quantize --pure --imatrix` on a model of known size.
 */
#include "base/alloc.h"
#include "formats/block/q2_k.h"
#include "formats/block/q4_1.h"
#include "formats/block/q4_k.h"
#include "formats/block/q5_1.h"
#include "formats/block/q5_k.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_int4_zero.h"
#include "quantize/encode_q2_k.h"
#include "quantize/encode_q4_1.h"
#include "quantize/encode_q4_k.h"
#include "quantize/encode_q5_1.h"
#include "quantize/encode_q5_k.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROWS = 128, COLS = 7168, REPEATS = 3, ROW_BYTES = COLS };

struct type {
    const char *name;
    void (*encode)(void *out, const float *x, size_t n);
    void (*search)(void *out, const float *row, const float *importance, size_t n_cols);
    void (*decode)(float *out, const void *in, size_t n);
};

/* A row of int4: codes, then scales, then zero points. */
enum { GROUP = 128, SCALES_AT = COLS / 2, ZEROS_AT = SCALES_AT + COLS / GROUP * 2 };

static bl_int4_zero_row int4_row(void *out)
{
    unsigned char *to = out;

    return (bl_int4_zero_row){ to, (uint16_t *)out + SCALES_AT / 2, to + ZEROS_AT };
}

static void int4_encode(void *out, const float *x, size_t n)
{
    bl_int4_zero_row to = int4_row(out);

    bl_int4_zero_encode(&to, x, n, GROUP, 0);
}

static void int4_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_int4_zero_row to = int4_row(out);

    bl_int4_zero_search(&to, row, importance, n_cols, GROUP, 0);
}

static void int4_decode(float *out, const void *in, size_t n)
{
    const unsigned char *p = in;

    for (size_t i = 0; i < n; i++) {
        size_t group = i / GROUP;
        int steps = (p[i / 2] >> (i % 2 * 4) & 15) - p[ZEROS_AT + group];

        out[i] = (float)steps * bl_f32_from_bf16(bl_load_u16(p + SCALES_AT + group * 2));
    }
}

static const struct type types[] = {
    { "q4_k", bl_q4_k_encode, bl_q4_k_search, bl_q4_k_to_f32 },
    { "q5_k", bl_q5_k_encode, bl_q5_k_search, bl_q5_k_to_f32 },
    { "q2_k", bl_q2_k_encode, bl_q2_k_search, bl_q2_k_to_f32 },
    { "q4_1", bl_q4_1_encode, bl_q4_1_search, bl_q4_1_to_f32 },
    { "q5_1", bl_q5_1_encode, bl_q5_1_search, bl_q5_1_to_f32 },
    { "int4_zero_g128", int4_encode, int4_search, int4_decode },
};

struct matrix {
    float x[ROWS * COLS];
    float importance[COLS]; /* a few columns matter much */
    float back[COLS];
    unsigned char blocks[ROWS * ROW_BYTES];
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float next_uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

/* Near to normal, one value in 200 far outside; importance over three powers of ten. */
static void fill(struct matrix *m)
{
    uint64_t state = 1;

    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        float sum = 0.0f;

        for (int k = 0; k < 6; k++)
            sum += next_uniform(&state);
        m->x[i] = sum * (next_uniform(&state) > 0.99f ? 0.1f : 0.02f);
    }
    for (size_t j = 0; j < COLS; j++) {
        float u = next_uniform(&state);

        m->importance[j] = 0.05f + u * u * u * u * u * u * 20.0f;
    }
}

static double weighted_error(struct matrix *m, const struct type *t)
{
    double sum = 0;

    for (size_t row = 0; row < ROWS; row++) {
        t->decode(m->back, m->blocks + row * ROW_BYTES, COLS);
        for (size_t j = 0; j < COLS; j++) {
            double off = (double)m->x[row * COLS + j] - (double)m->back[j];

            sum += (double)m->importance[j] * off * off;
        }
    }
    return sum;
}

/* Nanoseconds a weight. */
static double measure(struct matrix *m, const struct type *t, int search)
{
    double best = 1e9;

    for (int k = 0; k < REPEATS; k++) {
        double start = seconds_now(), elapsed;

        for (size_t row = 0; row < ROWS; row++) {
            unsigned char *to = m->blocks + row * ROW_BYTES;

            if (search)
                t->search(to, m->x + row * COLS, m->importance, COLS);
            else
                t->encode(to, m->x + row * COLS, COLS);
        }
        elapsed = seconds_now() - start;
        best = elapsed < best ? elapsed : best;
    }
    return best / ROWS / COLS * 1e9;
}

static int is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return argc < 2;
}

int main(int argc, char **argv)
{
    struct matrix *m = bl_calloc(1, sizeof(*m));

    if (!m)
        return 1;
    fill(m);
    printf("%-16s %10s %10s %14s\n", "type", "plain ns", "search ns", "error / plain");
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        const struct type *t = types + i;
        double plain_ns, search_ns, plain_error;

        if (!is_wanted(t->name, argc, argv))
            continue;
        plain_ns = measure(m, t, 0);
        plain_error = weighted_error(m, t);
        search_ns = measure(m, t, 1);
        printf("%-16s %10.2f %10.2f %14.3f\n", t->name, plain_ns, search_ns,
               weighted_error(m, t) / plain_error);
    }
    bl_free(m);
    return 0;
}
