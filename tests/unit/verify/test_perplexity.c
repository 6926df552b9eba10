/*
 * Perplexity against golden/perplexity.json (transformers, the rule written out in Python), and
 * the statistics of two models against their definitions over whole rows of logits.
 */
#include "base/source.h"
#include "formats/json/json.h"
#include "formats/tokenizer/tokenizer_file.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/model/golden_run.h"
#include "verify/perplexity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    bl_ckpt *ckpt;
    bl_tokens tokens; /* of wiki.eval.txt, BOS first */
    int64_t bos;
};

static bl_status read_text(char **out, size_t *n, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_source_read_all(out, n, source, 1 << 26, err);
    bl_source_close(source);
    return rc;
}

static bl_status tokenise(struct fixture *f, const char *model, const char *path,
                          struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_tokenizer_file_open(&file, model, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = read_text(&text, &n, path, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_encode(&f->tokens, tokenizer, text, n, file->add_bos ? BL_ENCODE_BOS : 0,
                                 err);
    if (rc == BL_OK)
        f->bos = file->add_bos ? file->bos : -1;
    bl_free(text);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}

static int open_fixture(void **state)
{
    struct fixture *f = bl_calloc(1, sizeof(*f));
    struct bl_err err = { 0 };

    if (bl_ckpt_open(&f->ckpt, "data/nano-r1", &err) != BL_OK ||
        tokenise(f, "data/nano-r1", "data/text/wiki.eval.txt", &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    bl_ckpt_close(f->ckpt);
    bl_tokens_release(&f->tokens);
    bl_free(f);
    return 0;
}

static double number(const bl_json_value *v)
{
    double d = (double)NAN;

    (void)bl_json_f64(&d, v);
    return d;
}

static void perplexity_and_its_running_values_are_golden(void **state)
{
    const struct fixture *f = *state;
    const bl_ppl_options options = { .bos = f->bos, .run.n_threads = 2 };
    const bl_json_value *want, *running;
    bl_ppl_result r = { 0 };
    bl_json *json = NULL;
    char *text = NULL;
    size_t n = 0;

    assert_int_equal(f->tokens.n / 512, 121);
    assert_int_equal(bl_ppl_run(&r, f->ckpt, NULL, f->tokens.id, f->tokens.n, &options, NULL),
                     BL_OK);
    assert_int_equal(read_text(&text, &n, "data/golden/perplexity.json", NULL), BL_OK);
    assert_int_equal(bl_json_parse(&json, "perplexity.json", text, n, 0, NULL), BL_OK);
    want = bl_json_get(bl_json_get(bl_json_root(json), "nano-r1"), "wiki.eval.txt");
    assert_int_equal(r.n_chunks, (int)number(bl_json_get(want, "chunks")));
    assert_int_equal(r.n_scored, 121 * 255);
    print_message("  perplexity %.6f +- %.3f, golden %.6f\n", r.model[0].perplexity,
                  r.model[0].error, number(bl_json_get(want, "perplexity")));
    assert_true(fabs(r.model[0].perplexity / number(bl_json_get(want, "perplexity")) - 1) < 1e-4);
    assert_true(fabs(r.model[0].mean_nll - number(bl_json_get(want, "mean_nll"))) < 1e-4);
    running = bl_json_first(bl_json_get(want, "running"));
    for (size_t i = 0; i < 8; i++, running = bl_json_next(running))
        assert_true(fabs(r.model[0].running[i] / number(running) - 1) < 1e-4);
    assert_true(fabs(r.model[0].running[120] / r.model[0].perplexity - 1) < 1e-12);
    bl_ppl_release(&r);
    bl_json_free(json);
    bl_free(text);
}

static bl_ppl_result run(const struct fixture *f, const bl_ckpt *test, bl_ppl_options options)
{
    bl_ppl_result r = { 0 };

    options.bos = f->bos;
    assert_int_equal(bl_ppl_run(&r, f->ckpt, test, f->tokens.id, f->tokens.n, &options, NULL),
                     BL_OK);
    return r;
}

static void threads_do_not_change_a_bit(void **state)
{
    const struct fixture *f = *state;
    bl_ppl_result a = run(f, NULL, (bl_ppl_options){ .max_tokens = 3000, .run.n_threads = 1 });
    bl_ppl_result b = run(f, NULL, (bl_ppl_options){ .max_tokens = 3000, .run.n_threads = 3 });

    assert_int_equal(a.n_chunks, 5);
    assert_memory_equal(a.model[0].nll, b.model[0].nll, a.n_scored * sizeof(double));
    assert_true(a.model[0].perplexity == b.model[0].perplexity);
    bl_ppl_release(&a);
    bl_ppl_release(&b);
}

static void a_model_against_itself_has_lost_nothing(void **state)
{
    const struct fixture *f = *state;
    bl_ppl_result r = run(f, f->ckpt, (bl_ppl_options){ .max_tokens = 1024, .run.n_threads = 2 });

    assert_int_equal(r.n_models, 2);
    assert_true(r.kl_mean == 0 && r.kl_max == 0 && r.kl_median == 0);
    assert_true(r.same_top == 1 && r.rms_dp == 0 && r.ln_ratio == 0 && r.ln_ratio_error == 0);
    assert_true(r.model[0].perplexity == r.model[1].perplexity);
    bl_ppl_release(&r);
}

static double log_sum_exp(const float *z, size_t n)
{
    double top = (double)z[0], sum = 0;

    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)z[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

/* The same tokens through golden_run.h: whole rows of logits, definitions in double. */
static void compare_with_definitions(const struct fixture *f, const bl_ppl_result *r,
                                     const bl_router_policy *policy)
{
    bl_network network;
    const bl_weights weights = { .ckpt = f->ckpt, .network = &network, .n_threads = 2 };
    size_t vocab = bl_ckpt_config(f->ckpt)->vocab_size, i = 0, same = 0;
    float *base = NULL, *test = NULL;
    int32_t tokens[128];
    double kl_sum = 0;

    assert_int_equal(bl_network_init(&network, bl_ckpt_config(f->ckpt), NULL), BL_OK);
    memcpy(tokens, f->tokens.id, sizeof(tokens));
    tokens[0] = tokens[64] = (int32_t)f->bos;
    assert_int_equal(golden_forward(&base, tokens, 2, 64, &weights, NULL, NULL), BL_OK);
    assert_int_equal(golden_forward(&test, tokens, 2, 64, &weights, policy, NULL), BL_OK);
    for (size_t t = 0; t < 127; t++) {
        const float *p = base + t * vocab, *q = test + t * vocab;
        double lse_p = log_sum_exp(p, vocab), lse_q = log_sum_exp(q, vocab), kl = 0;
        size_t top_p = 0, top_q = 0;

        if (t % 64 < 32 || t % 64 == 63)
            continue;
        for (size_t e = 0; e < vocab; e++) {
            kl += exp((double)p[e] - lse_p) * ((double)p[e] - lse_p - (double)q[e] + lse_q);
            top_p = p[e] > p[top_p] ? e : top_p;
            top_q = q[e] > q[top_q] ? e : top_q;
        }
        same += top_p == top_q;
        kl_sum += kl;
        assert_true(fabs(r->kl[i] - kl) < 1e-5);
        assert_true(fabs(r->model[0].nll[i] - (lse_p - (double)p[tokens[t + 1]])) < 1e-5);
        assert_true(fabs(r->model[1].nll[i] - (lse_q - (double)q[tokens[t + 1]])) < 1e-5);
        i++;
    }
    assert_int_equal(i, r->n_scored);
    assert_true(fabs(r->kl_mean - kl_sum / (double)i) < 1e-6);
    assert_true(r->same_top == (double)same / (double)i);
    bl_free(base);
    bl_free(test);
}

static void two_models_are_compared_by_definition(void **state)
{
    const struct fixture *f = *state;
    const bl_router_policy policy[3] = { { 0 },
                                         { .experts_per_token = 1 },
                                         { .experts_per_token = 1 } };
    bl_ppl_result r =
        run(f, f->ckpt,
            (bl_ppl_options){ .ctx = 64, .max_tokens = 129, .run.n_threads = 2, .policy = policy });
    double sum = 0, squares = 0, fourth = 0, largest = 0, below = 0, spread;

    assert_int_equal(r.n_chunks, 2);
    assert_int_equal(r.n_scored, 2 * 31);
    compare_with_definitions(f, &r, policy + 1);
    for (size_t i = 0; i < r.n_scored; i++) {
        double dp = exp(-r.model[1].nll[i]) - exp(-r.model[0].nll[i]);

        sum += r.model[1].nll[i] - r.model[0].nll[i];
        squares += dp * dp;
        fourth += dp * dp * dp * dp;
        largest = fmax(largest, r.kl[i]);
        below += r.kl[i] < r.kl_p90;
    }
    assert_true(r.kl_mean > 1e-3 && r.kl_max == largest);
    assert_true(below == 55 || below == 56); /* of 62: rank 0.9 * 61 = 54.9 */
    assert_true(fabs(r.ln_ratio - sum / 62) < 1e-12);
    assert_true(fabs(r.ln_ratio - log(r.model[1].perplexity / r.model[0].perplexity)) < 1e-12);
    assert_true(fabs(r.rms_dp - sqrt(squares / 62)) < 1e-12);
    /* variance of dp^2 by moments, and the delta method: se(sqrt(m)) = se(m) / (2 sqrt(m)) */
    spread = sqrt((fourth - squares * squares / 62) / 61 / 62);
    assert_true(r.rms_dp_error > 0);
    assert_true(fabs(r.rms_dp_error / (spread / (2 * sqrt(squares / 62))) - 1) < 1e-9);
    assert_true((double)r.n_same_top / 62 == r.same_top);
    for (size_t i = 0; i < r.n_scored; i++)
        assert_int_equal(r.place[i], i / 31 * 64 + 33 + i % 31);
    assert_true(r.ln_ratio_error > 0 && r.kl_error > 0 && r.model[0].error > 0);
    bl_ppl_release(&r);
}

/* nll of tokens [first, n) of a window, by whole rows of logits. */
static void expect_window(const struct fixture *f, const double *nll, size_t begin, size_t n,
                          size_t first)
{
    bl_network network;
    const bl_weights weights = { .ckpt = f->ckpt, .network = &network, .n_threads = 2 };
    size_t vocab = bl_ckpt_config(f->ckpt)->vocab_size;
    const int32_t *tokens = f->tokens.id + begin;
    float *z = NULL;

    assert_int_equal(bl_network_init(&network, bl_ckpt_config(f->ckpt), NULL), BL_OK);
    assert_int_equal(golden_forward(&z, tokens, 1, (uint32_t)n, &weights, NULL, NULL), BL_OK);
    for (size_t t = first; t < n; t++) {
        const float *row = z + (t - 1) * vocab;

        assert_true(fabs(*nll++ - (log_sum_exp(row, vocab) - (double)row[tokens[t]])) < 1e-5);
    }
    bl_free(z);
}

static void windows_score_every_token_once_with_what_precedes_it(void **state)
{
    const struct fixture *f = *state;
    bl_ppl_result r =
        run(f, NULL,
            (bl_ppl_options){ .ctx = 64, .stride = 32, .max_tokens = 100, .run.n_threads = 2 });

    assert_int_equal(r.n_chunks, 3); /* [0, 64), [32, 96), [64, 100) */
    assert_int_equal(r.n_scored, 99);
    expect_window(f, r.model[0].nll, 0, 64, 1);
    expect_window(f, r.model[0].nll + 63, 32, 64, 32);
    expect_window(f, r.model[0].nll + 95, 64, 36, 32);
    for (size_t i = 0; i < r.n_scored; i++)
        assert_int_equal(r.place[i], i + 1);
    bl_ppl_release(&r);
    r = run(f, NULL,
            (bl_ppl_options){ .ctx = 64, .stride = 64, .max_tokens = 100, .run.n_threads = 2 });
    assert_int_equal(r.n_scored, 63 + 35); /* the first token of the second window has no past */
    expect_window(f, r.model[0].nll + 63, 64, 36, 1);
    bl_ppl_release(&r);
}

static void a_text_shorter_than_two_contexts_is_refused(void **state)
{
    const struct fixture *f = *state;
    const bl_ppl_options options = { .bos = f->bos, .run.n_threads = 1 };
    bl_ppl_result r = { 0 };
    struct bl_err err = { 0 };

    assert_int_equal(bl_ppl_run(&r, f->ckpt, NULL, f->tokens.id, 1023, &options, &err), BL_E_USAGE);
    assert_string_equal(err.text,
                        "the text has 1023 tokens: perplexity needs at least two contexts, 1024");
}

static void memory_that_fails_is_a_status(void **state)
{
    const struct fixture *f = *state;
    const bl_ppl_options options = { .bos = f->bos, .run.n_threads = 1, .ctx = 4, .max_tokens = 8 };
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_ppl_result r = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_ppl_run(&r, f->ckpt, f->ckpt, f->tokens.id, f->tokens.n, &options, NULL);
        bl_alloc_fail_at(0);
        bl_ppl_release(&r);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perplexity_and_its_running_values_are_golden),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(a_model_against_itself_has_lost_nothing),
        cmocka_unit_test(two_models_are_compared_by_definition),
        cmocka_unit_test(windows_score_every_token_once_with_what_precedes_it),
        cmocka_unit_test(a_text_shorter_than_two_contexts_is_refused),
        cmocka_unit_test(memory_that_fails_is_a_status),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
