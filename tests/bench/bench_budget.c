/*
 * bench_budget.c - what a bit budget gains, and whether its predictions hold (docs/budget.md).
 *
 *     bench_budget MODEL CALIB SCRATCH.gguf TOKENS each|grouped whole|single TEXT ...
 *
 * Sensitivities are measured on 4,096 tokens of CALIB, of every matrix by itself or in groups. Judged by
 * the mean KL to MODEL on the first TOKENS tokens of each TEXT:
 *
 *   whole   recipes and uniform types, and for each the budget at its bytes, by measured sensitivities
 *           and by priors
 *   single  one tensor in one type, all else F32
 *
 * with predicted KL beside it, and rank correlations. Columns are not weighted. Prints, never fails
 * on a number.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "convert/cast.h"
#include "convert/write.h"
#include "model/tokenizer/tokenizer.h"
#include "quantize/budget_plan.h"
#include "quantize/recipe.h"
#include "verify/perplexity.h"
#include "verify/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXTS = 4, N_THREADS = 1, PROBE_SEQS = 16, PROBE_CTX = 256, MAX_RESULTS = 1024 };

struct bench {
    bl_ckpt *ckpt;
    bl_plan floats; /* all F32 */
    const char *file;
    size_t n_tokens;
    int64_t bos;
    int n_texts;
    bl_tokens text[MAX_TEXTS];
    bl_sensitivity sensitivity;
    bl_allocation measured, prior;
};

/* Predicted and measured KL of many mixes. */
struct pairs {
    double predicted[MAX_RESULTS], prior[MAX_RESULTS], measured[MAX_RESULTS];
    size_t n;
};

static const bl_encoder *choose_f32(const void *context, const bl_choice *choice)
{
    (void)context, (void)choice;
    return bl_cast_encoder(BL_F32);
}

/* Write the mix that `choose` makes; its bytes, and its mean KL over all texts. */
static bl_status judge(double *kl, uint64_t *bytes, struct bench *b, bl_choose_fn choose,
                       const void *context, struct bl_err *err)
{
    const bl_write_options write = { .force = true, .n_threads = N_THREADS, .label = "bench" };
    const bl_ppl_options how = { .bos = b->bos,
                                 .max_tokens = b->n_tokens,
                                 .run = { .n_threads = N_THREADS } };
    bl_ckpt *test = NULL;
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_gguf(&plan, b->ckpt, choose, context, err);

    if (rc == BL_OK)
        rc = bl_write_gguf_bytes(bytes, b->ckpt, &plan, BL_GGUF_FILE_F32, err);
    if (rc == BL_OK)
        rc = bl_write_gguf(b->file, b->ckpt, &plan, BL_GGUF_FILE_F32, &write, err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&test, b->file, err);
    *kl = 0;
    for (int i = 0; i < b->n_texts && rc == BL_OK; i++) {
        bl_ppl_result r = { 0 };

        rc = bl_ppl_run(&r, b->ckpt, test, b->text[i].id, b->text[i].n, &how, err);
        *kl += r.kl_mean / b->n_texts;
        bl_ppl_release(&r);
    }
    bl_ckpt_close(test);
    bl_plan_release(&plan);
    return rc;
}

/* A recipe, or one type everywhere. */
struct mix {
    const char *name;
    const bl_recipe *recipe;
    bl_dtype type;
    const bl_config *config;
};

static const bl_encoder *choose_mix(const void *context, const bl_choice *choice)
{
    const struct mix *m = context;
    bl_dtype type = BL_F32;

    if (m->recipe)
        type = bl_recipe_type(m->recipe, m->config, true, choice);
    else if (bl_recipe_may_quantize(choice))
        type = bl_recipe_fallback(m->type, choice->n_cols);
    return bl_encoder_of(type, BL_METHOD_SEARCH);
}

/* One mix, and both budgets at its bytes. */
static bl_status compare_mix(struct pairs *p, struct bench *b, const struct mix *mix,
                             struct bl_err *err)
{
    double kl, by_measured, by_prior;
    uint64_t bytes, got;
    bl_status rc = judge(&kl, &bytes, b, choose_mix, mix, err);

    if (rc == BL_OK)
        rc = bl_allocation_solve(&b->measured, bytes, err);
    if (rc == BL_OK)
        rc = judge(&by_measured, &got, b, bl_allocation_choose, &b->measured, err);
    if (rc == BL_OK)
        rc = bl_allocation_solve(&b->prior, bytes, err);
    if (rc == BL_OK)
        rc = judge(&by_prior, &got, b, bl_allocation_choose, &b->prior, err);
    if (rc != BL_OK)
        return rc;
    printf("%-10s %10llu %6.3f %9.6f | %9.6f %9.6f %5.2f | %9.6f %5.2f\n", mix->name,
           (unsigned long long)bytes, 8.0 * (double)bytes / (double)b->floats.n_values, kl,
           b->measured.result.loss, by_measured, by_measured / kl, by_prior, by_prior / kl);
    fflush(stdout);
    p->predicted[p->n] = b->measured.result.loss;
    p->measured[p->n++] = by_measured;
    return BL_OK;
}

static bl_status run_whole(struct bench *b, struct bl_err *err)
{
    static const char *const recipes[] = { "q2_k",   "q3_k_s", "q3_k_m", "iq4_xs",
                                           "q4_k_s", "q4_k_m", "q5_k_m", "q6_k" };
    static const bl_dtype types[] = { BL_Q2_K, BL_Q3_K, BL_IQ4_XS, BL_Q4_K, BL_Q5_K, BL_Q6_K };
    const bl_config *c = bl_ckpt_config(b->ckpt);
    struct pairs p = { .n = 0 };
    bl_status rc = BL_OK;

    printf(
        "mix             bytes   bits        KL | predicted        KL ratio | by priors ratio\n");
    for (size_t i = 0; i < sizeof(recipes) / sizeof(*recipes) && rc == BL_OK; i++) {
        const struct mix mix = { recipes[i], bl_recipe_by_name(recipes[i]), BL_F32, c };

        rc = compare_mix(&p, b, &mix, err);
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(*types) && rc == BL_OK; i++) {
        const struct mix mix = { bl_dtype_name(types[i]), NULL, types[i], c };

        rc = compare_mix(&p, b, &mix, err);
    }
    printf("rank correlation of predicted and measured KL: %.3f (%zu budgets)\n",
           bl_rank_correlation(p.predicted, p.measured, p.n), p.n);
    return rc;
}

struct single {
    const char *name;
    bl_dtype type;
};

static const bl_encoder *choose_single(const void *context, const bl_choice *choice)
{
    const struct single *s = context;

    return strcmp(choice->name, s->name) == 0 ? bl_encoder_of(s->type, BL_METHOD_SEARCH)
                                              : bl_cast_encoder(BL_F32);
}

/* Every third type of each tensor, another third for each. */
static bl_status run_single(struct bench *b, struct bl_err *err)
{
    static struct pairs p;
    bl_status rc = BL_OK;

    printf("%-30s %-8s %10s %10s\n", "tensor", "type", "predicted", "KL");
    for (size_t k = 0; k < b->measured.n_items; k++) {
        const bl_budget_item *item = &b->measured.item[k];

        for (uint32_t q = (uint32_t)(k % 3); q < item->n_choices && rc == BL_OK; q += 3) {
            const bl_budget_choice *c = &item->choice[q];
            const struct single s = { b->measured.tensor[b->measured.tensor_of[k]].name, c->dtype };
            uint64_t bytes;

            if (c->dtype == BL_BF16 || c->dtype == BL_Q8_0 || p.n == MAX_RESULTS)
                continue;
            rc = judge(&p.measured[p.n], &bytes, b, choose_single, &s, err);
            p.predicted[p.n] = item->sensitivity * c->error;
            p.prior[p.n] = b->prior.item[k].sensitivity * c->error;
            printf("%-30s %-8s %10.6f %10.6f\n", s.name, bl_dtype_name(s.type), p.predicted[p.n],
                   p.measured[p.n]);
            fflush(stdout);
            p.n++;
        }
    }
    printf("rank correlation with measured KL: sensitivities %.3f, priors %.3f (%zu)\n",
           bl_rank_correlation(p.predicted, p.measured, p.n),
           bl_rank_correlation(p.prior, p.measured, p.n), p.n);
    return rc;
}

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

/* Sequences from all over the calibration text. */
static bl_status measure(struct bench *b, const bl_tokens *calib, bool grouped, struct bl_err *err)
{
    const bl_sensitivity_options how = { .reference = bl_encoder_of(BL_Q4_0, BL_METHOD_PLAIN),
                                         .grouped = grouped,
                                         .n_threads = N_THREADS };
    static int32_t probe[PROBE_SEQS][PROBE_CTX];

    if (calib->n < sizeof(probe) / sizeof(**probe))
        return bl_fail(err, BL_E_USAGE, "the calibration text is too short");
    for (size_t s = 0; s < PROBE_SEQS; s++) {
        memcpy(probe[s], calib->id + s * (calib->n / PROBE_SEQS), sizeof(probe[s]));
        probe[s][0] = (int32_t)b->bos;
    }
    return bl_sensitivity_measure(&b->sensitivity, b->ckpt, probe[0], PROBE_SEQS, PROBE_CTX, &how,
                                  err);
}

static bl_status allocate(struct bench *b, struct bl_err *err)
{
    bl_allocation_options how = { .method = BL_METHOD_SEARCH, .n_threads = N_THREADS };
    bl_status rc = bl_plan_gguf(&b->floats, b->ckpt, choose_f32, NULL, err);

    if (rc == BL_OK)
        rc = bl_allocation_init(&b->prior, b->ckpt, &b->floats, &how, err);
    how.sensitivity = &b->sensitivity;
    return rc == BL_OK ? bl_allocation_init(&b->measured, b->ckpt, &b->floats, &how, err) : rc;
}

static bl_status open_bench(struct bench *b, int argc, char **argv, struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_tokens calib = { 0 };
    bl_status rc = bl_ckpt_open(&b->ckpt, argv[1], err);

    if (rc == BL_OK)
        rc = bl_tokenizer_file_open(&file, argv[1], err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = tokenise(&calib, tokenizer, argv[2], err);
    for (int i = 7; i < argc && b->n_texts < MAX_TEXTS && rc == BL_OK; i++)
        rc = tokenise(&b->text[b->n_texts++], tokenizer, argv[i], err);
    if (rc == BL_OK) {
        b->bos = file->bos;
        b->file = argv[3];
        b->n_tokens = strtoul(argv[4], NULL, 10);
        rc = measure(b, &calib, strcmp(argv[5], "grouped") == 0, err);
    }
    if (rc == BL_OK)
        rc = allocate(b, err);
    bl_tokens_release(&calib);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}

static void close_bench(struct bench *b)
{
    bl_allocation_release(&b->measured);
    bl_allocation_release(&b->prior);
    bl_sensitivity_release(&b->sensitivity);
    bl_plan_release(&b->floats);
    for (int i = 0; i < b->n_texts; i++)
        bl_tokens_release(&b->text[i]);
    bl_ckpt_close(b->ckpt);
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    struct bl_err err = { 0 };
    bl_status rc;

    if (argc < 8) {
        fprintf(stderr, "bench_budget MODEL CALIB SCRATCH.gguf TOKENS each|grouped "
                        "whole|single TEXT ...\n");
        return 2;
    }
    rc = open_bench(&b, argc, argv, &err);
    if (rc == BL_OK)
        rc = strcmp(argv[6], "single") == 0 ? run_single(&b, &err) : run_whole(&b, &err);
    close_bench(&b);
    if (rc != BL_OK)
        fprintf(stderr, "bench_budget: %s\n", err.text);
    return rc != BL_OK;
}
