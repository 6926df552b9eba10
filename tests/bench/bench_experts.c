/*
 * bench_experts.c - the loop over a layer's experts (read, decode, multiply, add) beside the machine's
 * own sgemm on products of the same shapes, whose matrices lie in memory already.
 *
 *     bench_experts MODEL LAYER N_TOKENS N_THREADS
 *
 * N_TOKENS random tokens, in sequences of 512, come through the layers below. Prints how many tokens the
 * experts got and both rates; never fails on a time.
 */
#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "model/embed.h"
#include "model/layer.h"
#include "model/moe.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SEQUENCE = 512 };

struct bench {
    bl_network network;
    bl_weights weights;
    bl_state state;
    uint32_t layer;
    size_t *n;      /* [n_experts] tokens of each */
    float **memory; /* [n_threads] of sgemm's matrices */
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* SplitMix64. */
static uint64_t random_bits(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bl_status count(void *context, const bl_activation *a, struct bl_err *err)
{
    struct bench *b = context;

    (void)err;
    for (size_t i = 0; i < a->n_rows * a->n_cols; i++)
        if (a->choice[i] != BL_ROUTER_NONE)
            b->n[a->choice[i]]++;
    return BL_OK;
}

static bl_status route(void *context, bl_block *block, struct bl_err *err)
{
    return bl_moe_route(context, block, err);
}

static bl_status run_experts(double *seconds, struct bench *b, struct bl_err *err)
{
    const bl_taps taps = { .fn = count, .context = b, .wanted = 1u << BL_TAP_ROUTER_CHOICE };
    bl_moe *moe = NULL;
    double start = 0;
    bl_status rc = bl_moe_begin(&moe, &b->state, b->layer, &b->weights, NULL, &taps, err);

    if (rc == BL_OK)
        rc = bl_blocks_for(&b->state, route, moe, err);
    start = seconds_now();
    if (rc == BL_OK)
        rc = bl_moe_experts(moe, err);
    *seconds = seconds_now() - start;
    bl_moe_end(moe);
    return rc;
}

/* Gate, up and down of one expert by one thread, the whole matrices at once. */
static bl_status multiply(void *context, size_t e, int i_thread, struct bl_err *err)
{
    const struct bench *b = context;
    size_t n = b->n[e], h = b->network.config->hidden_size;
    size_t w = b->network.config->moe_intermediate_size;
    float *matrix = b->memory[i_thread], *x = matrix + h * w, *y = x + b->state.n_tokens * h;

    (void)err;
    if (n == 0)
        return BL_OK;
    bl_sgemm_nt(n, w, h, 1.0f, x, h, matrix, h, 0.0f, y, w);
    bl_sgemm_nt(n, w, h, 1.0f, x, h, matrix, h, 0.0f, y, w);
    bl_sgemm_nt(n, h, w, 1.0f, y, w, matrix, w, 0.0f, x, h);
    return BL_OK;
}

static bl_status run_sgemm(double *seconds, struct bench *b, struct bl_err *err)
{
    size_t h = b->network.config->hidden_size, w = b->network.config->moe_intermediate_size;
    size_t n_threads = (size_t)b->weights.n_threads, n = h * w + b->state.n_tokens * (h + w);
    double start;
    bl_status rc = BL_OK;

    b->memory = bl_calloc(n_threads, sizeof(*b->memory));
    for (size_t t = 0; b->memory && t < n_threads && rc == BL_OK; t++) {
        b->memory[t] = bl_alloc(n, sizeof(float));
        rc = b->memory[t] ? BL_OK : bl_fail_nomem(err, "sgemm");
        for (size_t i = 0; b->memory[t] && i < n; i++)
            b->memory[t][i] = (float)(random_bits(i) >> 40) * 0x1p-30f;
    }
    start = seconds_now();
    if (rc == BL_OK)
        rc = bl_par_for(b->network.config->n_experts, b->weights.n_threads, multiply, b, err);
    *seconds = seconds_now() - start;
    for (size_t t = 0; b->memory && t < n_threads; t++)
        bl_free(b->memory[t]);
    bl_free(b->memory);
    return rc;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

/* Random tokens through all layers below. */
static bl_status begin(struct bench *b, uint32_t n_tokens, struct bl_err *err)
{
    const bl_config *c = b->network.config;
    uint32_t n_positions = n_tokens % SEQUENCE == 0 ? SEQUENCE : n_tokens;
    int32_t *tokens = bl_calloc(n_tokens, sizeof(*tokens));
    bl_status rc = tokens ? BL_OK : bl_fail_nomem(err, "tokens");

    for (uint32_t t = 0; rc == BL_OK && t < n_tokens; t++)
        tokens[t] = (int32_t)(random_bits(t) % c->vocab_size);
    if (rc == BL_OK)
        rc = bl_state_init(&b->state, tokens, n_tokens / n_positions, n_positions, c->hidden_size,
                           NULL, err);
    bl_free(tokens);
    if (rc == BL_OK)
        rc = bl_embed(&b->state, &b->weights, err);
    for (uint32_t layer = 0; layer < b->layer && rc == BL_OK; layer++)
        rc = bl_layer_step(&b->state, layer, &b->weights, NULL, NULL, err);
    return rc;
}

static bl_status run(struct bench *b, uint32_t n_tokens, struct bl_err *err)
{
    const bl_config *c = b->network.config;
    double ours = 0, theirs = 0, flop = 0;
    unsigned chosen = 0;
    bl_status rc = begin(b, n_tokens, err);

    b->n = bl_calloc(c->n_experts, sizeof(*b->n));
    if (!b->n)
        return bl_fail_nomem(err, "experts");
    if (rc == BL_OK)
        rc = run_experts(&ours, b, err);
    if (rc == BL_OK)
        rc = run_sgemm(&theirs, b, err);
    for (size_t e = 0; e < c->n_experts; e++) {
        chosen += b->n[e] > 0;
        flop += 6.0 * (double)b->n[e] * c->hidden_size * c->moe_intermediate_size;
    }
    qsort(b->n, c->n_experts, sizeof(*b->n), compare_sizes);
    if (rc == BL_OK)
        printf("layer %u, %u tokens, %u of %u experts chosen, by %zu to %zu tokens, median %zu\n"
               "experts %8.2f s %8.1f GFLOP/s\nsgemm   %8.2f s %8.1f GFLOP/s  ratio %.2f\n",
               b->layer, n_tokens, chosen, c->n_experts, b->n[0], b->n[c->n_experts - 1],
               b->n[c->n_experts / 2], ours, flop / ours * 1e-9, theirs, flop / theirs * 1e-9,
               theirs / ours);
    bl_free(b->n);
    bl_state_release(&b->state);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_status rc;

    if (argc != 5) {
        fprintf(stderr, "usage: bench_experts MODEL LAYER N_TOKENS N_THREADS\n");
        return 2;
    }
    rc = bl_ckpt_open(&ckpt, argv[1], &err);
    if (rc == BL_OK)
        rc = bl_network_init(&b.network, bl_ckpt_config(ckpt), &err);
    b.layer = (uint32_t)strtoul(argv[2], NULL, 10);
    if (rc == BL_OK && (b.layer >= b.network.config->n_layers ||
                        !bl_config_layer_is_moe(b.network.config, b.layer)))
        rc = bl_fail(&err, BL_E_USAGE, "layer %u has no experts", b.layer);
    b.weights = (bl_weights){ .ckpt = ckpt,
                              .network = &b.network,
                              .n_threads = (int)strtol(argv[4], NULL, 10) };
    if (rc == BL_OK)
        rc = run(&b, (uint32_t)strtoul(argv[3], NULL, 10), &err);
    if (rc != BL_OK)
        fprintf(stderr, "bench_experts: %s\n", err.text);
    bl_ckpt_close(ckpt);
    return rc == BL_OK ? 0 : 1;
}
