/*
 * Kept logits of every kind against the two models in one run: the same ckpt with fewer experts
 * is the tested model. Whatever differs from what the file is about is refused.
 */
#include "base/sink.h"
#include "formats/ckpt/fingerprint.h"
#include "formats/logits/logits_sparse.h"
#include "formats/logits/logits_writer.h"
#include "tests/unit/verify/spoiled.h"
#include "verify/perplexity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_TOKENS = 256, CTX = 32 };

static bl_ckpt *ckpt;
static int32_t tokens[N_TOKENS];
static const bl_router_policy policy[3] = { { 0 },
                                            { .experts_per_token = 1 },
                                            { .experts_per_token = 1 } };

static int enter(void **state)
{
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((i * i * 31 + i * 7) % 2048);
    if (spoiled_enter(state) != 0)
        return -1;
    ckpt = spoiled_open(spoiled_source);
    return 0;
}

static int leave(void **state)
{
    bl_ckpt_close(ckpt);
    return scratch_leave(state);
}

static bl_ppl_options make_options(void)
{
    return (bl_ppl_options){ .ctx = CTX, .bos = 0, .run.n_threads = 1 };
}

static bl_status save(const char *path, bl_kept_kind kind, size_t group, bl_ppl_options options,
                      size_t n_tokens, struct bl_err *err)
{
    bl_ppl_result r = { 0 };
    bl_status rc = bl_kept_save(&options.kept, path, kind, false, ckpt, err);

    if (rc != BL_OK)
        return rc;
    bl_kept_set_group(options.kept, group);
    rc = bl_ppl_run(&r, ckpt, NULL, tokens, n_tokens, &options, err);
    if (rc == BL_OK)
        rc = bl_kept_commit(options.kept, err);
    bl_kept_free(options.kept);
    bl_ppl_release(&r);
    return rc;
}

static bl_status compare(bl_ppl_result *r, const char *path, size_t group, bl_ppl_options options,
                         size_t n_tokens, struct bl_err *err)
{
    bl_status rc = bl_kept_open(&options.kept, path, err);

    if (rc != BL_OK)
        return rc;
    bl_kept_set_group(options.kept, group);
    rc = bl_ppl_run(r, ckpt, NULL, tokens, n_tokens, &options, err);
    bl_kept_free(options.kept);
    return rc;
}

/* Both models at once, which is exact. */
static bl_ppl_result run_pair(bl_ppl_options options)
{
    bl_ppl_result r = { 0 };

    options.policy = policy;
    assert_int_equal(bl_ppl_run(&r, ckpt, ckpt, tokens, N_TOKENS, &options, NULL), BL_OK);
    return r;
}

struct limits {
    double nll_base, kl; /* of a token */
};

/* Save with one number of tokens at a time, compare with another. */
static void check_kind(bl_kept_kind kind, bl_ppl_options options, struct limits limits)
{
    bl_ppl_result want = run_pair(options), got = { 0 };
    double off = 0;

    assert_int_equal(save("x", kind, 40, options, N_TOKENS, NULL), BL_OK);
    options.policy = policy;
    assert_int_equal(compare(&got, "x", 17, options, N_TOKENS, NULL), BL_OK);
    assert_int_equal(got.n_models, 2);
    assert_int_equal(got.n_scored, want.n_scored);
    for (size_t i = 0; i < got.n_scored; i++) {
        if (kind != BL_KEPT_GGML || want.model[0].nll[i] < 15) /* llama.cpp stops at 16 */
            assert_true(fabs(got.model[0].nll[i] - want.model[0].nll[i]) < limits.nll_base);
        assert_true(fabs(got.model[1].nll[i] - want.model[1].nll[i]) < 1e-5);
        off = fmax(off, fabs(got.kl[i] - want.kl[i]));
    }
    print_message("  %-9s KL %.6f, exact %.6f, sampling error %.6f; one token off by %.6f\n",
                  bl_kept_kind_name(kind), got.kl_mean, want.kl_mean, got.kl_sampling_error, off);
    assert_true(off < limits.kl);
    assert_true(want.kl_mean > 1e-3);
    assert_true(fabs(got.same_top - want.same_top) < 0.011);
    assert_true(kind == BL_KEPT_GGML || fabs(got.ln_ratio - want.ln_ratio) < 1e-3);
    if (kind == BL_KEPT_SPARSE)
        assert_true(got.kl_sampling_error > 0 &&
                    fabs(got.kl_mean - want.kl_mean) < 3 * got.kl_sampling_error);
    else
        assert_true(got.kl_sampling_error == 0);
    bl_ppl_release(&want);
    bl_ppl_release(&got);
    scratch_remove("x");
}

static void every_kind_gives_the_numbers_of_both_models_at_once(void **state)
{
    (void)state;
    check_kind(BL_KEPT_SPARSE, make_options(), (struct limits){ 1e-5, 0.2 });
    check_kind(BL_KEPT_HIDDEN, make_options(), (struct limits){ 0.05, 0.01 });
    check_kind(BL_KEPT_GGML, make_options(), (struct limits){ 2e-4, 2e-3 });
}

static void windows_are_kept_too(void **state)
{
    bl_ppl_options options = make_options();
    struct bl_err err = { 0 };

    (void)state;
    options.stride = 12;
    check_kind(BL_KEPT_SPARSE, options, (struct limits){ 1e-5, 0.2 });
    check_kind(BL_KEPT_HIDDEN, options, (struct limits){ 0.05, 0.01 });
    assert_int_equal(save("x", BL_KEPT_GGML, 0, options, N_TOKENS, &err), BL_E_USAGE);
    assert_int_equal(scratch_n_entries("."), 0);
}

static void a_file_gives_its_text_back(void **state)
{
    static const uint32_t strides[] = { 0, 12, CTX };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bl_ppl_options options = make_options();
        size_t n = 250; /* chunks leave a part out, windows end short */
        bl_kept *kept = NULL;
        bl_kept_rule rule;
        int32_t *token = NULL;

        options.stride = strides[i];
        assert_int_equal(save("x", BL_KEPT_SPARSE, 0, options, n, NULL), BL_OK);
        assert_int_equal(bl_kept_open(&kept, "x", NULL), BL_OK);
        rule = bl_kept_rule_of(kept);
        assert_int_equal(rule.n_tokens, strides[i] ? 250 : 224);
        assert_int_equal(rule.ctx, CTX);
        assert_int_equal(rule.stride, strides[i]);
        assert_int_equal(rule.bos, strides[i] ? -1 : 0);
        assert_int_equal(bl_kept_tokens(&token, kept, NULL), BL_OK);
        for (size_t t = 0; t < rule.n_tokens; t++)
            assert_int_equal(token[t], !strides[i] && t % CTX == 0 ? 0 : tokens[t]);
        bl_free(token);
        bl_kept_free(kept);
        scratch_remove("x");
    }
}

/* Compare what was kept with other options, and see the sentence. */
static void refuse(bl_ppl_options options, size_t n_tokens, const char *said)
{
    bl_ppl_result r = { 0 };
    struct bl_err err = { 0 };

    assert_int_equal(compare(&r, "x", 0, options, n_tokens, &err), BL_E_MISMATCH);
    assert_memory_equal(err.text, "x", 1);
    if (!strstr(err.text, said))
        fail_msg("'%s' does not say '%s'", err.text, said);
}

static void what_the_file_is_not_about_is_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < BL_KEPT_N_KINDS; kind++) {
        bl_ppl_options o = make_options();

        assert_int_equal(save("x", (bl_kept_kind)kind, 0, o, N_TOKENS, NULL), BL_OK);
        o.ctx = 16;
        refuse(o, N_TOKENS, "use --ctx 32");
        o = make_options();
        o.stride = 8;
        refuse(o, N_TOKENS, "leave out --stride");
        o = make_options();
        refuse(o, N_TOKENS - CTX, "is about 8 sequences of 32 tokens, the text has 7");
        tokens[77] ^= 1;
        refuse(o, N_TOKENS, "token 13 of sequence 2 is ");
        tokens[77] ^= 1;
        o.bos = 5;
        if (kind != BL_KEPT_GGML) /* it does not say */
            refuse(o, N_TOKENS, "begin with token 0, here with 5");
        scratch_remove("x");
    }
}

static void another_vocabulary_is_refused(void **state)
{
    const bl_logits_seq seq = { 0, 0, 1 };
    const int32_t text[4] = { 0 };
    const bl_logits_info info = { .kind = BL_LOGITS_SPARSE,
                                  .vocab_size = 2049,
                                  .n_seqs = 1,
                                  .n_positions = 4,
                                  .n_scored = 1,
                                  .n_top = 1,
                                  .n_samples = 1 };
    const bl_logits_sparse record = { .n_top = 1, .n_samples = 1, .id = { 1, 2 } };
    bl_logits_writer *w = NULL;
    unsigned char bytes[24];

    (void)state;
    bl_logits_pack_sparse(bytes, &record, &info);
    assert_int_equal(bl_logits_begin(&w, "x", false, &info, text, &seq, NULL), BL_OK);
    assert_int_equal(bl_logits_put(w, bytes, 1, NULL), BL_OK);
    assert_int_equal(bl_logits_commit(&w, NULL), BL_OK);
    refuse(make_options(), N_TOKENS, "is about a vocabulary of 2049, ");
}

static void a_file_does_not_depend_on_threads(void **state)
{
    (void)state;
    for (int kind = 0; kind < BL_KEPT_N_KINDS; kind++) {
        bl_ppl_options options = make_options();
        char *a, *b;
        size_t n_a, n_b;

        assert_int_equal(save("a", (bl_kept_kind)kind, 0, options, N_TOKENS, NULL), BL_OK);
        options.run.n_threads = 3;
        assert_int_equal(save("b", (bl_kept_kind)kind, 128, options, N_TOKENS, NULL), BL_OK);
        a = spoiled_read(&n_a, "a");
        b = spoiled_read(&n_b, "b");
        assert_int_equal(n_a, n_b);
        assert_memory_equal(a, b, n_a);
        free(a);
        free(b);
        scratch_remove("a");
        scratch_remove("b");
    }
}

/* Ever larger steps: most allocations are those of the network, which has its own sweep. */
static void failures_leave_nothing(void **state)
{
    bl_ppl_options options = { .ctx = 4, .bos = 0, .run.n_threads = 1 };

    (void)state;
    for (int what = 0; what < 2 * BL_KEPT_N_KINDS; what++) {
        const bl_kept_kind kind = (bl_kept_kind)(what % BL_KEPT_N_KINDS);
        const bool allocations = what < BL_KEPT_N_KINDS;
        bl_status rc = BL_E_IO;

        for (uint64_t k = 1; rc != BL_OK; k += 1 + (allocations ? k / 3 : 0)) {
            const int64_t live = bl_alloc_live();

            allocations ? bl_alloc_fail_at(k) : bl_sink_fail_at(k);
            rc = save("x", kind, 2, options, 8, NULL);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_int_equal(bl_alloc_live(), live);
            assert_int_equal(scratch_n_entries("."), rc == BL_OK);
        }
        rc = BL_E_IO;
        for (uint64_t k = 1; rc != BL_OK && allocations; k += 1 + k / 3) {
            const int64_t live = bl_alloc_live();
            bl_ppl_result r = { 0 };

            bl_alloc_fail_at(k);
            rc = compare(&r, "x", 2, options, 8, NULL);
            bl_alloc_fail_at(0);
            bl_ppl_release(&r);
            assert_int_equal(bl_alloc_live(), live);
        }
        scratch_remove("x");
    }
}

/* The value is that of tests/oracle/fingerprint.py. */
static void a_model_is_told_from_another(void **state)
{
    bl_hash128 own, other;
    bl_ckpt *spoiled;

    (void)state;
    assert_int_equal(bl_container_fingerprint(&own, bl_ckpt_container(ckpt), NULL), BL_OK);
    assert_true(own.high == 0x3474a5e25489e154 && own.low == 0xddbc8cff62baf911);
    spoiled_copy("other", NULL, NULL);
    spoiled_patch("other", "model.layers.1.mlp.experts.3.up_proj.weight", 5, "\x01", 1);
    spoiled = spoiled_open("other");
    assert_int_equal(bl_container_fingerprint(&other, bl_ckpt_container(spoiled), NULL), BL_OK);
    assert_true(own.low != other.low && own.high != other.high);
    bl_ckpt_close(spoiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_kind_gives_the_numbers_of_both_models_at_once,
                                  scratch_clear),
        cmocka_unit_test_teardown(windows_are_kept_too, scratch_clear),
        cmocka_unit_test_teardown(a_file_gives_its_text_back, scratch_clear),
        cmocka_unit_test_teardown(what_the_file_is_not_about_is_refused, scratch_clear),
        cmocka_unit_test_teardown(another_vocabulary_is_refused, scratch_clear),
        cmocka_unit_test_teardown(a_file_does_not_depend_on_threads, scratch_clear),
        cmocka_unit_test_teardown(failures_leave_nothing, scratch_clear),
        cmocka_unit_test_teardown(a_model_is_told_from_another, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
