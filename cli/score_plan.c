/* score_plan.c - see score_plan.h. */
#include "cli/score_plan.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"

#include <inttypes.h>
#include <time.h>

/* The product that a run spends its time in: a tile of tokens with a tile of an expert's rows. */
enum { TOKENS = 256, ROWS = 128, COLS = 2048, CALLS = 16 };

static bl_status multiply(void *context, size_t i, int i_thread, struct bl_err *err)
{
    float *a = context, *b = a + (size_t)TOKENS * COLS, *c = b + (size_t)ROWS * COLS;

    (void)i;
    (void)err;
    c += (size_t)i_thread * TOKENS * ROWS;
    bl_sgemm_nt(TOKENS, ROWS, COLS, 1.0f, a, COLS, b, COLS, 0.0f, c, ROWS);
    return BL_OK;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Operations a second of this machine's sgemm; 0 when it cannot be measured. */
static double measure_flops(int n_threads)
{
    size_t n_calls = CALLS * (size_t)n_threads;
    size_t n_floats = (TOKENS + ROWS) * (size_t)COLS + (size_t)n_threads * TOKENS * ROWS;
    float *memory = bl_calloc(n_floats, sizeof(*memory));
    double begin, seconds = 0;

    if (!memory)
        return 0;
    for (int round = 0; round < 2; round++) { /* the first warms up */
        begin = now();
        if (bl_par_for(n_calls, n_threads, multiply, memory, NULL) != BL_OK)
            break;
        seconds = now() - begin;
    }
    bl_free(memory);
    return seconds > 0 ? 2.0 * TOKENS * ROWS * COLS * (double)n_calls / seconds : 0;
}

static void put_json(bl_text *out, const bl_score_plan *p, double flops)
{
    bl_text_printf(out,
                   "{ \"plan\": { \"tokens\": %" PRIu64 ", \"block_tokens\": %" PRIu64
                   ", \"memory_bytes\": %" PRIu64 ", \"scratch_bytes\": %" PRIu64
                   ", \"read_bytes\": %" PRIu64 ", \"flop\": %.4g, \"flop_per_second\": %.3g } }\n",
                   p->n_tokens, p->block_tokens, p->memory, p->scratch, p->read, p->n_flop, flops);
}

static void put_text(bl_text *out, const bl_score_plan *p, double flops)
{
    char bytes[32];

    bl_text_printf(out, "tokens through the network %12" PRIu64 "\n", p->n_tokens);
    if (p->block_tokens < p->n_tokens)
        bl_text_printf(out, "at a time                  %12" PRIu64 "\n", p->block_tokens);
    bl_text_printf(out, "memory, at most            %12s\n", bl_text_bytes(bytes, p->memory));
    if (p->scratch)
        bl_text_printf(out, "scratch files              %12s%s\n", bl_text_bytes(bytes, p->scratch),
                       p->room.scratch ? ", hidden states among them" : "");
    bl_text_printf(out, "weights read               %12s\n", bl_text_bytes(bytes, p->read));
    bl_text_printf(out, "operations                 %12.1f GFLOP\n", p->n_flop / 1e9);
    if (flops > 0)
        bl_text_printf(out,
                       "this machine's sgemm       %12.1f GFLOP/s: %.3g s if it did nothing else\n",
                       flops / 1e9, p->n_flop / flops);
}

void bl_cli_put_score_plan(bl_text *out, const bl_score_plan *plan, int n_threads, bool json)
{
    (json ? put_json : put_text)(out, plan, measure_flops(n_threads));
}
