/*
 * bench_gptq.c - GPTQ of full-shape experts: gate and up [2048][7168], down [7168][2048], with what
 * each phase of it takes, and what all experts of a 671B model would.
 *
 *     bench_gptq [N_EXPERTS [N_TOKENS [N_THREADS [shared]]]]        32 4096 2
 *
 * Synthetic weights and inputs, taken in as a forward pass would hand them out; int4 groups of 128
 * by the weighted search. "shared": one H a layer for gate and up. Prints; never fails on a time.
 */
#include "base/alloc.h"
#include "base/memory.h"
#include "quantize/gptq_collect.h"
#include "quantize/layout_encoders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HIDDEN = 7168, WIDTH = 2048, CHOSEN = 8, ALL_EXPERTS = 256, ALL_LAYERS = 58, NAME = 64 };

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* In (-1, 1): the top bits of an odd multiple. */
static float noise(uint64_t i)
{
    return (float)(int32_t)((i * 0x9e3779b97f4a7c15u ^ i << 31) >> 32) * 0x1p-31f;
}

static bl_status read_weights(const void *context, const void *tensor, uint64_t row,
                              uint64_t n_rows, float *out, struct bl_err *err)
{
    const bl_rows *rows = tensor;

    (void)context;
    (void)err;
    for (uint64_t i = 0; i < n_rows * rows->n_cols; i++)
        out[i] = 0.02f * noise(row * rows->n_cols + i + 1);
    return BL_OK;
}

/* Inputs with a common direction, and columns of unequal size. */
static float *make_inputs(size_t n, size_t n_cols)
{
    float *x = bl_alloc(n, n_cols * sizeof(*x));

    for (size_t t = 0; x && t < n; t++) {
        float common = noise(t * 7919 + 13);

        for (size_t j = 0; j < n_cols; j++)
            x[t * n_cols + j] =
                (noise(t * n_cols + j) + common) * (j % 97 == 0 ? 8.0f : 1.0f + (float)(j % 5));
    }
    return x;
}

struct bench {
    size_t n_experts, n_tokens;
    int n_threads;
    bool shared;
    bl_tensor *tensor; /* [3][n_experts] */
    char (*name)[NAME];
    const bl_tensor **source;
    bl_job job[3];
    double gather; /* seconds in the taps that are neither factors nor tiles */
    uint64_t n_done, n_accepted;
    double search_error, gptq_error;
};

static bl_status take(void *context, const bl_gptq_outcome *o,
                      unsigned char *const part[BL_JOB_MAX_PARTS], struct bl_err *err)
{
    struct bench *b = context;

    (void)part;
    (void)err;
    b->n_done++;
    b->n_accepted += o->verdict.accepted;
    b->search_error += o->verdict.search_error;
    b->gptq_error += o->verdict.gptq_error;
    return BL_OK;
}

/* Stacked gate, up and down of one layer. */
static bool make_plan(bl_plan *plan, struct bench *b)
{
    static const char *const of[] = { "gate", "up", "down" };
    const bl_encoder *encoder = bl_encoder_int4(BL_FOLDER_CT_INT4, false, BL_METHOD_SEARCH, 128);
    const size_t n = b->n_experts;

    b->tensor = bl_calloc(3 * n, sizeof(*b->tensor));
    b->name = bl_calloc(3 * n, sizeof(*b->name));
    b->source = bl_calloc(3 * n, sizeof(*b->source));
    if (!b->tensor || !b->name || !b->source)
        return false;
    for (size_t k = 0; k < 3; k++) {
        bl_job *job = &b->job[k];
        const uint64_t rows = k < 2 ? WIDTH : HIDDEN, cols = k < 2 ? HIDDEN : WIDTH;

        *job = (bl_job){ .rows = { read_weights, b, &job->rows, cols },
                         .n_rows = n * rows,
                         .view = BL_VIEW_ROWS,
                         .source = b->source + k * n,
                         .rows_each = rows,
                         .role = BL_ROLE_EXPERT,
                         .encoder = encoder,
                         .n_parts = 2,
                         .unit_bytes = { cols / 2, cols / 128 * 2 } };
        job->part[0].name = of[k];
        for (size_t e = 0; e < n; e++) {
            bl_tensor *t = &b->tensor[k * n + e];

            snprintf(b->name[k * n + e], NAME, "model.layers.0.mlp.experts.%zu.%s_proj.weight", e,
                     of[k]);
            *t = (bl_tensor){ .name = b->name[k * n + e], .expert = (int32_t)e };
            b->source[k * n + e] = t;
        }
    }
    *plan = (bl_plan){ .job = b->job, .n_jobs = 3 };
    return true;
}

static bl_status hand_out(struct bench *b, const bl_taps *taps, bl_tap tap, int32_t expert,
                          const float *x, size_t n_cols, struct bl_err *err)
{
    const bl_activation a = { .tap = tap,
                              .expert = expert,
                              .n_rows = b->n_tokens,
                              .n_cols = n_cols,
                              .ld = n_cols,
                              .value = x };

    return taps->fn(taps->context, &a, err);
}

static bl_status run(struct bench *b, bl_gptq_collect *c, double *layer, struct bl_err *err)
{
    float *input = make_inputs(b->n_tokens, HIDDEN), *inner = make_inputs(b->n_tokens, WIDTH);
    const bl_taps taps = bl_gptq_collect_taps(c);
    double begin = seconds_now();
    bl_status rc = input && inner ? BL_OK : bl_fail_nomem(err, "inputs");

    if (rc == BL_OK)
        rc = hand_out(b, &taps, BL_TAP_FFN_INPUT, -1, input, HIDDEN, err);
    *layer = seconds_now() - begin;
    begin = seconds_now();
    for (int32_t e = 0; e < (int32_t)b->n_experts && rc == BL_OK; e++) {
        rc = hand_out(b, &taps, BL_TAP_EXPERT_INPUT, e, input, HIDDEN, err);
        if (rc == BL_OK)
            rc = hand_out(b, &taps, BL_TAP_FFN_INNER, e, inner, WIDTH, err);
    }
    if (rc == BL_OK)
        rc = bl_gptq_collect_end(c, err);
    b->gather = seconds_now() - begin;
    bl_free(input);
    bl_free(inner);
    return rc;
}

static void print_phase(const char *what, double seconds, double flop)
{
    printf("  %-34s %8.2f s %8.1f GFLOP/s\n", what, seconds,
           seconds > 0 ? flop / seconds / 1e9 : 0);
}

static void print(const struct bench *b, double layer, double factors, double tiles)
{
    const double n = (double)b->n_experts, h = HIDDEN, w = WIDTH, t = (double)b->n_tokens;
    const double held = t / 10 < BL_HESSIAN_HELD ? t / 10 : BL_HESSIAN_HELD;
    const double sums = n * t * ((b->shared ? 0 : h * h) + w * w);
    const double factor = (b->shared ? 0 : n * h * h * h / 3) + n * w * w * w / 3;
    const double loop = n * (2 * w * h * h + h * w * w + 2 * 2 * held * 3 * w * h);
    const double gather = b->gather - factors - tiles;
    const double layer_tokens = t * ALL_EXPERTS / CHOSEN;
    const double layer_all = layer / t * layer_tokens;
    double core_seconds = (b->gather / n * ALL_EXPERTS + layer_all) * ALL_LAYERS * b->n_threads;

    printf("%zu experts, %zu tokens each, %d threads%s\n", b->n_experts, b->n_tokens, b->n_threads,
           b->shared ? ", one H a layer for gate and up" : "");
    print_phase("H of the layer's tokens, so many", layer, t * h * h);
    print_phase("H of the experts' tokens", gather, sums);
    print_phase("factors", factors, factor);
    print_phase("rows: search, feedback, judging", tiles, loop);
    printf("  matrices %llu, by GPTQ %llu; error on held-out tokens %.3f of the search's\n",
           (unsigned long long)b->n_done, (unsigned long long)b->n_accepted,
           b->search_error > 0 ? b->gptq_error / b->search_error : 0);
    printf("  peak memory %.2f GiB\n", (double)bl_memory_peak() / (1 << 30));
    printf("  %d layers of %d experts, %.0f tokens in all, without the forward pass:", ALL_LAYERS,
           ALL_EXPERTS, layer_tokens);
    for (int cores = 2; cores <= 64; cores = cores == 2 ? 16 : cores * 4)
        printf(" %.1f h on %d cores%s", core_seconds / cores / 3600, cores,
               cores < 64 ? "," : "\n");
}

int main(int argc, char **argv)
{
    struct bench b = { .n_experts = argc > 1 ? strtoul(argv[1], NULL, 10) : 32,
                       .n_tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096,
                       .n_threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2,
                       .shared = argc > 4 };
    bl_gptq_how how = { .n_threads = b.n_threads, .batch_experts = 8, .shared_hessian = b.shared };
    struct bl_err err = { 0 };
    bl_gptq_collect *c = NULL;
    bl_gptq_items items = { 0 };
    bl_plan plan = { 0 };
    double layer = 0, factors = 0, tiles = 0;
    bl_status rc;

    bl_memory_return_freed();
    rc = make_plan(&plan, &b) ? bl_gptq_items_make(&items, &plan, 1, &err)
                              : bl_fail_nomem(&err, "a plan");
    if (rc == BL_OK)
        printf("by the formula %.2f GiB\n",
               (double)bl_gptq_collect_bytes(&items, &how) / (1 << 30));
    if (rc == BL_OK)
        rc = bl_gptq_collect_begin(&c, &items, 0, &how, take, &b, &err);
    if (rc == BL_OK)
        rc = run(&b, c, &layer, &err);
    if (rc == BL_OK) {
        bl_gptq_collect_times(&factors, &tiles, c);
        print(&b, layer, factors, tiles);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    bl_gptq_collect_free(c);
    bl_gptq_items_release(&items);
    bl_free(b.tensor);
    bl_free(b.name);
    bl_free(b.source);
    return rc == BL_OK ? 0 : 1;
}
