/*
 * bench_search.c - what the searching encoders cost and gain, one thread: nanoseconds a weight (time
 * of this thread, best of three) of plain and of search with importance, and the weighted error of
 * search over that of plain, on 128 rows of 7168 values like those of a trained matrix. Arguments:
 * names of the types to measure. Prints, never fails on a time.
 *
 * Beside llama.cpp's library, on the same rows with the same importance (GGML: its build folder):
 *
 *     cc -std=c17 -O3 -D_GNU_SOURCE -DBL_GGML -I . tests/bench/bench_search.c -o bench_search_ggml \
 *        build/libbl_quantize.a build/libbl_verify.a build/libbl_convert.a build/libbl_model.a \
 *        build/libbl_formats.a build/libbl_base.a GGML/src/libggml-base.a -lstdc++ -fopenmp -lm \
 *        -lcjson -lopenblas -lpcre2-8 -lcrypto -lutf8proc -lxxhash -lzstd -lz
 */
#include "base/alloc.h"
#include "quantize/quant.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROWS = 128, COLS = 7168, REPEATS = 3, ROW_BYTES = 2 * COLS };

#ifdef BL_GGML
size_t ggml_quantize_chunk(int type, const float *src, void *dst, int64_t start, int64_t nrows,
                           int64_t n_per_row, const float *imatrix);
#endif

typedef enum who { PLAIN, SEARCH, PEER } who;

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

/* Sum of importance times squared error of what is in the blocks. */
static double weighted_error(struct matrix *m, const bl_quant *t)
{
    double sum = 0;

    for (size_t row = 0; row < ROWS; row++) {
        bl_dtype_traits_of(t->dtype)->to_f32(m->back, m->blocks + row * ROW_BYTES, COLS);
        for (size_t j = 0; j < COLS; j++) {
            double off = (double)m->x[row * COLS + j] - (double)m->back[j];

            sum += (double)m->importance[j] * off * off;
        }
    }
    return sum;
}

static void encode_row(struct matrix *m, const bl_quant *t, size_t row, who by)
{
    const bl_encode_rows rows = { m->x + row * COLS, 1, COLS, m->importance };
    void *out[BL_JOB_MAX_PARTS] = { m->blocks + row * ROW_BYTES };

#ifdef BL_GGML
    if (by == PEER) {
        ggml_quantize_chunk(bl_dtype_traits_of(t->dtype)->ggml_type, rows.value, out[0], 0, 1, COLS,
                            m->importance);
        return;
    }
#endif
    t->encoder[by == PLAIN ? BL_METHOD_PLAIN : BL_METHOD_SEARCH].encode(out, &rows);
}

/* Nanoseconds a weight. */
static double measure(struct matrix *m, const bl_quant *t, who by)
{
    double best = 1e9;

    for (int k = 0; k < REPEATS; k++) {
        double start = seconds_now(), elapsed;

        for (size_t row = 0; row < ROWS; row++)
            encode_row(m, t, row, by);
        elapsed = seconds_now() - start;
        best = elapsed < best ? elapsed : best;
    }
    return best / ROWS / COLS * 1e9;
}

static void measure_type(struct matrix *m, const bl_quant *t)
{
    const double plain_ns = measure(m, t, PLAIN), plain_error = weighted_error(m, t);
    const double search_ns = measure(m, t, SEARCH), search_error = weighted_error(m, t);

    printf("%-8s %10.2f %10.2f %14.3f", t->name, plain_ns, search_ns, search_error / plain_error);
#ifdef BL_GGML
    const double peer_ns = measure(m, t, PEER), peer_error = weighted_error(m, t);

    printf(" %10.2f %14.3f", peer_ns, search_error / peer_error);
#endif
    printf("\n");
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
    printf("%-8s %10s %10s %14s", "type", "plain ns", "search ns", "error / plain");
#ifdef BL_GGML
    printf(" %10s %14s", "ggml ns", "error / ggml");
#endif
    printf("\n");
    for (size_t i = 0; i < bl_quant_count(); i++)
        if (is_wanted(bl_quant_at(i)->name, argc, argv))
            measure_type(m, bl_quant_at(i));
    bl_free(m);
    return 0;
}
