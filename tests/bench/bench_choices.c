/*
 * bench_choices.c - what disabling experts does to multiple-choice items and to perplexity, side by
 * side (docs/quality.md).
 *
 *     bench_choices MODEL ITEMS CALIB TOKENS TEXT ...
 *
 * Masks a quarter and a half of the experts of every layer through the router's policy: those least
 * used on CALIB (sums of the router's weights), and three random sets. A row a mask: change of
 * ln(perplexity) and same top token on the first TOKENS tokens of each TEXT, then what the items
 * say. Prints, never fails on a number.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "model/embed.h"
#include "model/layer.h"
#include "verify/choices.h"
#include "verify/perplexity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXTS = 4, N_RANDOM = 3, N_THREADS = 2, CALIB_TOKENS = 32768, CALIB_CTX = 512 };

struct bench {
    bl_ckpt *ckpt;
    bl_choice_items items;
    bl_choice_sequences sequences;
    int n_texts;
    bl_tokens text[MAX_TEXTS];
    size_t n_tokens;
    int64_t bos;
    double *usage;   /* [n_layers][n_experts] */
    bool *disabled;  /* [n_layers][n_experts] */
    uint32_t *order; /* [n_experts] */
    uint64_t random; /* state of the generator */
};

static bl_status tokenise(bl_tokens *out, const bl_tokenizer *tokenizer, const char *path,
                          struct bl_err *err)
{
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_source_read_file(&text, &n, path, 1 << 28, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_encode(out, tokenizer, text, n, BL_ENCODE_BOS, err);
    bl_free(text);
    return rc;
}

static bl_status count_usage(void *context, const bl_activation *a, struct bl_err *err)
{
    struct bench *b = context;
    double *usage = b->usage + (size_t)a->layer * bl_ckpt_config(b->ckpt)->n_experts;

    (void)err;
    for (size_t t = 0; t < a->n_rows; t++)
        for (size_t k = 0; k < a->n_cols; k++)
            if (a->choice[t * a->n_cols + k] != BL_ROUTER_NONE)
                usage[a->choice[t * a->n_cols + k]] += (double)a->value[t * a->ld + k];
    return BL_OK;
}

static bl_status measure_usage(struct bench *b, const bl_tokens *calib, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(b->ckpt);
    const bl_taps taps = { count_usage, b, 1U << BL_TAP_ROUTER_CHOICE };
    size_t n = calib->n < CALIB_TOKENS ? calib->n : CALIB_TOKENS;
    bl_network network;
    bl_weights weights = { .ckpt = b->ckpt, .network = &network, .n_threads = N_THREADS };
    bl_state state = { 0 };
    bl_status rc = bl_network_init(&network, c, err);

    if (rc == BL_OK)
        rc = bl_state_init(&state, calib->id, (uint32_t)(n / CALIB_CTX), CALIB_CTX, c->hidden_size,
                           NULL, err);
    if (rc == BL_OK)
        rc = bl_embed(&state, &weights, err);
    for (uint32_t layer = 0; layer < c->n_layers && rc == BL_OK; layer++)
        rc = bl_layer_step(&state, layer, &weights, NULL, &taps, err);
    bl_state_release(&state);
    return rc;
}

static bl_status open_bench(struct bench *b, int argc, char **argv, struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_tokens calib = { 0 };
    size_t n = 0;
    bl_status rc = bl_ckpt_open(&b->ckpt, argv[1], err);

    if (rc == BL_OK)
        rc = bl_tokenizer_file_open(&file, argv[1], err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = bl_choice_items_open(&b->items, argv[2], err);
    if (rc == BL_OK)
        rc = bl_choice_sequences_make(&b->sequences, &b->items, tokenizer, true, 512,
                                      bl_ckpt_config(b->ckpt)->vocab_size, err);
    if (rc == BL_OK)
        rc = tokenise(&calib, tokenizer, argv[3], err);
    b->n_tokens = strtoul(argv[4], NULL, 10);
    for (int i = 5; i < argc && b->n_texts < MAX_TEXTS && rc == BL_OK; i++)
        rc = tokenise(&b->text[b->n_texts++], tokenizer, argv[i], err);
    if (rc == BL_OK) {
        b->bos = file->bos;
        n = (size_t)bl_ckpt_config(b->ckpt)->n_layers * bl_ckpt_config(b->ckpt)->n_experts;
        b->usage = bl_calloc(n, sizeof(*b->usage));
        b->disabled = bl_calloc(n, sizeof(*b->disabled));
        b->order = bl_calloc(bl_ckpt_config(b->ckpt)->n_experts, sizeof(*b->order));
        rc = b->usage && b->disabled && b->order ? measure_usage(b, &calib, err)
                                                 : bl_fail_nomem(err, "masks");
    }
    bl_tokens_release(&calib);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < b->n_texts; i++)
        bl_tokens_release(&b->text[i]);
    bl_choice_sequences_release(&b->sequences);
    bl_choice_items_release(&b->items);
    bl_ckpt_close(b->ckpt);
    bl_free(b->usage);
    bl_free(b->disabled);
    bl_free(b->order);
}

/* Numerical Recipes' 64-bit congruential generator, its high half. */
static uint32_t next_random(struct bench *b)
{
    b->random = b->random * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(b->random >> 32);
}

/* Disable n experts of each layer: the least used (seed 0), or a random set. */
static void mask(struct bench *b, uint32_t n, uint64_t seed)
{
    const bl_config *c = bl_ckpt_config(b->ckpt);
    uint32_t n_experts = c->n_experts;

    b->random = seed;
    for (uint32_t layer = 0; layer < c->n_layers; layer++) {
        const double *usage = b->usage + (size_t)layer * n_experts;
        bool *disabled = b->disabled + (size_t)layer * n_experts;

        for (uint32_t e = 0; e < n_experts; e++) {
            b->order[e] = e;
            disabled[e] = false;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t best = seed ? i + next_random(b) % (n_experts - i) : i, swap;

            for (uint32_t k = i; k < n_experts && !seed; k++)
                best = usage[b->order[k]] < usage[b->order[best]] ? k : best;
            swap = b->order[i];
            b->order[i] = b->order[best];
            b->order[best] = swap;
            disabled[b->order[i]] = true;
        }
    }
}

static bl_status print_texts(const struct bench *b, const bl_router_policy *policy,
                             struct bl_err *err)
{
    const bl_ppl_options options = {
        .max_tokens = b->n_tokens, .bos = b->bos, .run.n_threads = N_THREADS, .policy = policy
    };
    bl_status rc = BL_OK;

    for (int i = 0; i < b->n_texts && rc == BL_OK; i++) {
        bl_ppl_result r = { 0 };

        rc = bl_ppl_run(&r, b->ckpt, b->ckpt, b->text[i].id, b->text[i].n, &options, err);
        if (rc == BL_OK)
            printf("  %+.4f +-%.4f %4.1f%%", r.ln_ratio, r.ln_ratio_error, 100 * r.same_top);
        bl_ppl_release(&r);
    }
    return rc;
}

static void print_choices(const bl_choices_result *r)
{
    size_t n = r->items->n_items;
    bl_share change = bl_share_change(r->gained, r->lost, n);

    printf("  %4.1f%% -> %4.1f%% (%+.1f to %+.1f) p %.4f same %4.1f%% margin %+.3f +-%.3f KL %.4f",
           100.0 * (double)r->model[0].all.sum / (double)n,
           100.0 * (double)r->model[1].all.sum / (double)n, 100 * change.low, 100 * change.high,
           bl_mcnemar(r->gained, r->lost), 100.0 * (double)r->same / (double)n, r->margin_change,
           r->margin_change_error, r->kl_mean);
    for (size_t g = 0; g < r->items->n_groups; g++)
        printf(" %s %zu>%zu/%zu", r->items->group[g], r->model[0].group[g].sum,
               r->model[1].group[g].sum, r->model[1].group[g].n);
    printf("\n");
}

static bl_status row(struct bench *b, const char *name, bl_router_policy *policy,
                     struct bl_err *err)
{
    const bl_choices_options options = { .run.n_threads = N_THREADS, .policy = policy };
    const bl_config *c = bl_ckpt_config(b->ckpt);
    bl_choices_result r = { 0 };
    bl_status rc;

    for (uint32_t layer = 0; layer < c->n_layers; layer++)
        policy[layer] =
            (bl_router_policy){ .disabled = b->disabled + (size_t)layer * c->n_experts };
    printf("%-16s", name);
    rc = print_texts(b, policy, err);
    if (rc == BL_OK)
        rc = bl_choices_run(&r, &b->items, &b->sequences, b->ckpt, b->ckpt, &options, err);
    if (rc == BL_OK)
        print_choices(&r);
    fflush(stdout);
    bl_choices_release(&r);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    struct bl_err err = { 0 };
    bl_router_policy *policy = NULL;
    bl_status rc;

    if (argc < 6) {
        puts("bench_choices MODEL ITEMS CALIB TOKENS TEXT ...");
        return 0;
    }
    rc = open_bench(&b, argc, argv, &err);
    if (rc == BL_OK) {
        policy = bl_calloc(bl_ckpt_config(b.ckpt)->n_layers, sizeof(*policy));
        rc = policy ? BL_OK : bl_fail_nomem(&err, "policy");
    }
    for (uint32_t part = 4; part >= 2 && rc == BL_OK; part -= 2)
        for (uint64_t seed = 0; seed <= N_RANDOM && rc == BL_OK; seed++) {
            char name[32];

            if (seed)
                snprintf(name, sizeof(name), "1/%u random %d", part, (int)seed);
            else
                snprintf(name, sizeof(name), "1/%u least used", part);
            mask(&b, bl_ckpt_config(b.ckpt)->n_experts / part, seed);
            rc = row(&b, name, policy, &err);
        }
    if (rc != BL_OK)
        fprintf(stderr, "bench_choices: %s\n", err.text);
    bl_free(policy);
    close_bench(&b);
    return rc == BL_OK ? 0 : 1;
}
