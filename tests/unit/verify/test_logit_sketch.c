/*
 * Sparse records against the plain definitions over whole rows in double: what they keep, that the
 * KL divergence estimated from them has no bias over many seeds (each record of a file has its own),
 * and that its error bar is the one it has.
 */
#include "base/alloc.h"
#include "verify/logit_compare.h"
#include "verify/logit_sketch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 129280, N_SEEDS = 100, N_FEW = 10, SLICE = 1024, N_TOP = 12, N_SAMPLES = 16 };

static float base[VOCAB], test[VOCAB];
static int32_t target[N_SEEDS];

/* Uniform on (-1, 1): splitmix64. */
static float uniform(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (float)((x ^ x >> 31) >> 40) * 0x1p-23f - 1;
}

/* Nearly normal: four uniforms of variance 1/3. */
static void fill_normal(float *x, size_t n, float sigma, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float sum = uniform(&seed) + uniform(&seed) + uniform(&seed) + uniform(&seed);

        x[i] = sigma * sum * 0.8660254f;
    }
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

static double exact_kl(size_t n)
{
    double lse_p = log_sum_exp(base, n), lse_q = log_sum_exp(test, n), kl = 0;

    for (size_t i = 0; i < n; i++)
        kl += exp((double)base[i] - lse_p) * ((double)base[i] - lse_p - (double)test[i] + lse_q);
    return kl;
}

typedef bl_status (*add_fn)(void *, size_t, size_t, uint64_t, uint64_t, const float *const *,
                            struct bl_err *);

/* The same row for every token. */
static void feed(add_fn add, void *context, const float *z, size_t vocab, size_t slice,
                 size_t n_tokens)
{
    for (size_t row = 0; row < vocab; row += slice) {
        const float *const part = z + row;
        size_t n = slice < vocab - row ? slice : vocab - row;

        for (size_t t = 0; t < n_tokens; t++)
            assert_int_equal(add(context, t, 1, row, n, &part, NULL), BL_OK);
    }
}

static void make_records(bl_logits_sparse *out, size_t vocab, size_t slice, size_t n_tokens)
{
    bl_logit_sketch sketch;

    assert_int_equal(bl_logit_sketch_init(&sketch, N_TOP, N_SAMPLES, 0, target, n_tokens, NULL),
                     BL_OK);
    feed(bl_logit_sketch_add, &sketch, base, vocab, slice, n_tokens);
    for (size_t t = 0; t < n_tokens; t++)
        bl_logit_sketch_record(&out[t], &sketch, t);
    bl_logit_sketch_release(&sketch);
}

/* As a file keeps them. */
static void through_bytes(bl_logits_sparse *record, uint32_t vocab, size_t n)
{
    const bl_logits_info info = {
        .kind = BL_LOGITS_SPARSE, .vocab_size = vocab, .n_top = N_TOP, .n_samples = N_SAMPLES
    };
    unsigned char bytes[12 + 6 * (N_TOP + N_SAMPLES)];

    for (size_t i = 0; i < n; i++) {
        bl_logits_pack_sparse(bytes, &record[i], &info);
        assert_null(bl_logits_unpack_sparse(&record[i], bytes, &info));
    }
}

static void compare_all(bl_logit_verdict *out, const bl_logits_sparse *record, size_t vocab,
                        size_t slice, size_t n_tokens)
{
    bl_logit_compare compare;

    assert_int_equal(bl_logit_compare_init(&compare, record, target, n_tokens, NULL), BL_OK);
    feed(bl_logit_compare_add, &compare, test, vocab, slice, n_tokens);
    for (size_t t = 0; t < n_tokens; t++)
        out[t] = bl_logit_compare_verdict(&compare, t);
    bl_logit_compare_release(&compare);
}

static bl_logits_sparse record[N_SEEDS];
static bl_logit_verdict verdict[N_SEEDS];

/* Many seeds of one pair of rows: no bias beyond chance, and variances that are the real ones. */
static void check_estimates(const char *name)
{
    double kl = exact_kl(VOCAB), mean = 0, variance = 0, said = 0, off;

    make_records(record, VOCAB, SLICE, N_SEEDS);
    through_bytes(record, VOCAB, N_SEEDS);
    compare_all(verdict, record, VOCAB, SLICE, N_SEEDS);
    for (size_t i = 0; i < N_SEEDS; i++) {
        mean += verdict[i].kl / N_SEEDS;
        said += verdict[i].kl_variance / N_SEEDS;
    }
    for (size_t i = 0; i < N_SEEDS; i++)
        variance += (verdict[i].kl - mean) * (verdict[i].kl - mean) / (N_SEEDS - 1);
    off = (mean - kl) / sqrt(variance / N_SEEDS);
    print_message("  %-28s KL %.6f, mean of estimates off by %+.6f = %+.2f standard errors; "
                  "sd %.6f, said %.6f\n",
                  name, kl, mean - kl, off, sqrt(variance), sqrt(said));
    assert_true(fabs(off) < 3.5 || fabs(mean - kl) < 1e-6);
    assert_true(sqrt(said / variance) > 0.75 && sqrt(said / variance) < 1.33);
}

static void make_flat(void)
{
    fill_normal(base, VOCAB, 1, 1);
}

/* A few likely tokens and a long tail, as a model that is nearly sure. */
static void make_peaked(void)
{
    fill_normal(base, VOCAB, 1.5f, 1);
    for (size_t i = 0; i < VOCAB; i++)
        base[i] -= 1.2f * logf((float)(i * 7919 % VOCAB) + 1); /* Zipf, in another order */
    base[77000] += 7;
}

static void make_test(float sigma)
{
    fill_normal(test, VOCAB, sigma, 2);
    for (size_t i = 0; i < VOCAB; i++)
        test[i] += base[i];
}

static void estimates_have_no_bias_and_the_error_they_say(void **state)
{
    static const float sigma[] = { 0.1f, 1 };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(sigma) / sizeof(*sigma); i++) {
        char name[64];

        i % 2 ? make_flat() : make_peaked();
        make_test(sigma[i / 2]);
        snprintf(name, sizeof(name), "%s, noise %g", i % 2 ? "flat" : "peaked",
                 (double)sigma[i / 2]);
        check_estimates(name);
    }
}

/* The tested model is sure of a token that the reference hardly knows and no sample has. */
static void one_wrong_token_does_not_spoil_the_estimate(void **state)
{
    double kl;

    (void)state;
    make_flat();
    make_test(0.1f);
    base[60001] = -9;
    test[60001] = 12; /* q = 0.4 */
    kl = exact_kl(VOCAB);
    make_records(record, VOCAB, SLICE, N_FEW);
    compare_all(verdict, record, VOCAB, SLICE, N_FEW);
    for (size_t i = 0; i < N_FEW; i++)
        assert_true(fabs(verdict[i].kl - kl) < 0.03);
    print_message("  KL %.6f, first estimate %.6f +- %.6f\n", kl, verdict[0].kl,
                  sqrt(verdict[0].kl_variance));
    assert_false(verdict[0].same_top);
}

static void a_model_against_its_own_record_has_lost_nothing(void **state)
{
    (void)state;
    make_peaked();
    memcpy(test, base, sizeof(test));
    make_records(record, VOCAB, SLICE, N_FEW);
    through_bytes(record, VOCAB, N_FEW);
    compare_all(verdict, record, VOCAB, SLICE, N_FEW);
    for (size_t i = 0; i < N_FEW; i++) {
        assert_true(fabs(verdict[i].kl) < 1e-8);
        assert_true(fabs(verdict[i].nll - verdict[i].nll_base) < 2e-6);
        assert_true(verdict[i].same_top);
    }
}

static void the_exact_numbers_are_those_of_whole_rows(void **state)
{
    double lse_p, lse_q;
    uint32_t top_p = 0, top_q = 0;

    (void)state;
    make_peaked();
    make_test(0.5f);
    lse_p = log_sum_exp(base, VOCAB);
    lse_q = log_sum_exp(test, VOCAB);
    for (uint32_t v = 0; v < VOCAB; v++) {
        top_p = base[v] > base[top_p] ? v : top_p;
        top_q = test[v] > test[top_q] ? v : top_q;
    }
    make_records(record, VOCAB, SLICE, N_FEW);
    compare_all(verdict, record, VOCAB, SLICE, N_FEW);
    for (size_t i = 0; i < N_FEW; i++) {
        const double p = (double)base[target[i]], q = (double)test[target[i]];

        assert_true(fabs(verdict[i].nll_base - (lse_p - p)) < 3e-6);
        assert_true(fabs(verdict[i].nll - (lse_q - q)) < 3e-6);
        assert_int_equal(verdict[i].same_top, top_q == top_p);
    }
}

/* Top and sample of a small vocabulary by sorting, for slices of every kind. */
static void slices_give_the_record_of_whole_rows(void **state)
{
    enum { N = 700, T = 5 };
    static const size_t slices[] = { 1, 13, 512, 699 };
    bl_logits_sparse whole[T], part[T];
    double tail = 0, lse;

    (void)state;
    fill_normal(base, N, 2, 3);
    base[40] = base[41] = base[5] = 9; /* equal: the lower id is first */
    make_records(whole, N, N, T);
    lse = log_sum_exp(base, N);
    assert_true(whole[0].id[0] == 5 && whole[0].id[1] == 40 && whole[0].id[2] == 41);
    for (uint32_t v = 0; v < N; v++) {
        bool kept = false;

        for (uint32_t i = 0; i < whole[0].n_top; i++)
            kept = kept || whole[0].id[i] == v;
        assert_true(kept || base[v] <= base[whole[0].id[N_TOP - 1]]);
        tail += kept ? 0 : exp((double)base[v] - lse);
    }
    assert_true(fabs((double)whole[0].tail - tail) < 1e-6);
    assert_true(whole[0].ln_threshold > -20 && whole[0].ln_threshold < 0);
    for (uint32_t i = N_TOP + 1; i < N_TOP + N_SAMPLES; i++)
        assert_true(whole[0].id[i - 1] < whole[0].id[i]);
    assert_memory_not_equal(whole[0].id + N_TOP, whole[1].id + N_TOP, N_SAMPLES * sizeof(uint32_t));
    for (size_t s = 0; s < sizeof(slices) / sizeof(*slices); s++) {
        make_records(part, N, slices[s], T);
        for (size_t t = 0; t < T; t++) {
            assert_memory_equal(part[t].id, whole[t].id, (N_TOP + N_SAMPLES) * sizeof(uint32_t));
            assert_true(fabsf(part[t].ln_threshold - whole[t].ln_threshold) < 1e-6f);
        }
    }
}

/* The whole tail is in the sample, or there is none: the divergence is exact. */
static void small_vocabularies_are_kept_whole(void **state)
{
    static const size_t vocabs[] = { 1, 2, 11, 12, 13, 20, 27, 28, 29 };

    (void)state;
    for (size_t i = 0; i < sizeof(vocabs) / sizeof(*vocabs); i++) {
        const size_t n = vocabs[i];

        fill_normal(base, n, 2, 5);
        fill_normal(test, n, 2, 6);
        make_records(record, n, 7, 3);
        through_bytes(record, (uint32_t)n, 3);
        compare_all(verdict, record, n, 5, 3);
        for (size_t t = 0; t < 3 && n <= N_TOP + N_SAMPLES; t++) {
            assert_true(fabs(verdict[t].kl - exact_kl(n)) < 1e-5);
            assert_true(verdict[t].kl_variance == 0);
        }
    }
}

static void an_allocation_that_fails_is_said(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            const int64_t live = bl_alloc_live();
            bl_logit_sketch sketch = { 0 };
            bl_logit_compare compare = { 0 };

            bl_alloc_fail_at(k);
            rc = what ? bl_logit_sketch_init(&sketch, N_TOP, N_SAMPLES, 0, target, 4, NULL)
                      : bl_logit_compare_init(&compare, record, target, 4, NULL);
            bl_alloc_fail_at(0);
            bl_logit_sketch_release(&sketch);
            bl_logit_compare_release(&compare);
            assert_int_equal(bl_alloc_live(), live);
        }
    }
}

static int make_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SEEDS; i++)
        target[i] = i == 0 ? 77000 : (int32_t)(i * 1013 % VOCAB);
    target[1] = 0;
    target[2] = VOCAB - 1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_have_no_bias_and_the_error_they_say),
        cmocka_unit_test(one_wrong_token_does_not_spoil_the_estimate),
        cmocka_unit_test(a_model_against_its_own_record_has_lost_nothing),
        cmocka_unit_test(the_exact_numbers_are_those_of_whole_rows),
        cmocka_unit_test(slices_give_the_record_of_whole_rows),
        cmocka_unit_test(small_vocabularies_are_kept_whole),
        cmocka_unit_test(an_allocation_that_fails_is_said),
    };

    return cmocka_run_group_tests(tests, make_targets, NULL);
}
