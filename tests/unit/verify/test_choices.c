/*
 * Multiple-choice items: what is scored of them, log-likelihoods against golden/choices.json
 * (transformers on the dequantized weights, one unpadded sequence a choice), and the statistics of
 * hand-made log-likelihoods.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/json/json.h"
#include "verify/choices.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    bl_ckpt *ckpt;
    bl_tokenizer *tokenizer;
    bl_choice_items items; /* domain.jsonl */
};

static int open_fixture(void **state)
{
    struct fixture *f = bl_calloc(1, sizeof(*f));
    bl_tokenizer_file *file = NULL;
    struct bl_err err = { 0 };

    if (bl_ckpt_open(&f->ckpt, "data/nano-r1", &err) != BL_OK ||
        bl_tokenizer_file_open(&file, "data/nano-r1", &err) != BL_OK ||
        bl_tokenizer_new(&f->tokenizer, file, &err) != BL_OK ||
        bl_choice_items_open(&f->items, "data/choices/domain.jsonl", &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    bl_tokenizer_file_free(file);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    bl_choice_items_release(&f->items);
    bl_tokenizer_free(f->tokenizer);
    bl_ckpt_close(f->ckpt);
    bl_free(f);
    return 0;
}

static bl_choice_items parse(const char *text)
{
    bl_choice_items items = { 0 };
    struct bl_err err = { 0 };

    if (bl_choice_items_parse(&items, "items", text, strlen(text), &err) != BL_OK)
        fail_msg("%s", err.text);
    return items;
}

/* Items [from, to) of another list, which keeps the texts. */
static bl_choice_items some(bl_choice_item *item, const bl_choice_items *all, size_t from,
                            size_t to)
{
    bl_choice_items items = { .name = "some", .item = item, .n_items = to - from };

    for (size_t i = from; i < to; i++) {
        item[i - from] = all->item[i];
        item[i - from].first = items.n_choices;
        item[i - from].group = -1;
        items.n_choices += all->item[i].n_choices;
    }
    return items;
}

static bl_status make(bl_choice_sequences *out, const struct fixture *f,
                      const bl_choice_items *items, bool add_bos, uint32_t ctx, struct bl_err *err)
{
    return bl_choice_sequences_make(out, items, f->tokenizer, add_bos, ctx,
                                    bl_ckpt_config(f->ckpt)->vocab_size, err);
}

/* nano-r1, or it and itself under a policy, on these items. */
static bl_choices_result run(const struct fixture *f, const bl_choice_items *items,
                             const bl_ckpt *test, const bl_router_policy *policy, int n_threads)
{
    const bl_choices_options options = { .run.n_threads = n_threads, .policy = policy };
    bl_choice_sequences q = { 0 };
    bl_choices_result r = { 0 };

    assert_int_equal(make(&q, f, items, true, 512, NULL), BL_OK);
    assert_int_equal(bl_choices_run(&r, items, &q, f->ckpt, test, &options, NULL), BL_OK);
    bl_choice_sequences_release(&q);
    return r;
}

static void log_likelihoods_are_golden(void **state)
{
    const struct fixture *f = *state;
    bl_choices_result r = run(f, &f->items, NULL, NULL, 2);
    bl_source *source = NULL;
    bl_json *json = NULL;
    char *text = NULL;
    double worst = 0;
    size_t n = 0;

    assert_int_equal(bl_source_open(&source, "data/golden/choices.json", NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&text, &n, source, 1 << 20, NULL), BL_OK);
    assert_int_equal(bl_json_parse(&json, "choices.json", text, n, 0, NULL), BL_OK);
    assert_int_equal(bl_json_size(bl_json_root(json)), f->items.n_items);
    for (size_t i = 0; i < f->items.n_items; i++) {
        const bl_choice_item *item = &f->items.item[i];
        const bl_json_value *v = bl_json_get(bl_json_root(json), item->id);

        assert_int_equal(bl_json_size(v), item->n_choices);
        v = bl_json_first(v);
        for (uint32_t c = 0; c < item->n_choices; c++, v = bl_json_next(v)) {
            double want = 0;

            assert_true(bl_json_f64(&want, v));
            worst = fmax(worst, fabs(r.model[0].log_likelihood[item->first + c] - want));
        }
    }
    print_message("  largest difference %.1e, accuracy %zu of %zu, by chance %.1f\n", worst,
                  r.model[0].all.sum, r.model[0].all.n, r.chance * (double)r.model[0].all.n);
    assert_true(worst < 1e-4);
    /* the model knows its domain: far above chance even at the low end of the interval */
    assert_true(bl_share_of(r.model[0].all.sum, r.model[0].all.n).low > r.chance);
    bl_choices_release(&r);
    bl_json_free(json);
    bl_free(text);
    bl_source_close(source);
}

static void neither_company_nor_threads_change_a_score(void **state)
{
    const struct fixture *f = *state;
    bl_choice_item item[6], single;
    const bl_choice_items items = some(item, &f->items, 6, 12); /* prose, then code */
    bl_choices_result all = run(f, &items, NULL, NULL, 2);
    bl_choices_result again = run(f, &items, NULL, NULL, 1);

    assert_memory_equal(all.model[0].log_likelihood, again.model[0].log_likelihood,
                        items.n_choices * sizeof(double));
    for (size_t i = 0; i < items.n_items; i += 5) {
        const bl_choice_items one = some(&single, &items, i, i + 1);
        bl_choices_result alone = run(f, &one, NULL, NULL, 1);

        for (uint32_t c = 0; c < single.n_choices; c++)
            assert_true(fabs(alone.model[0].log_likelihood[c] -
                             all.model[0].log_likelihood[item[i].first + c]) < 1e-4);
        bl_choices_release(&alone);
    }
    bl_choices_release(&all);
    bl_choices_release(&again);
}

/* Two sequences, the first of them padded. */
static void single_tokens_share_one_sequence(void **state)
{
    const struct fixture *f = *state;
    bl_choice_items items =
        parse("{\"prompt\": \" of the\", \"choices\": [\" in\", \" first\"], \"answer\": 1}\n"
              "{\"prompt\": \" It\", \"choices\": [\" was\", \" was the first\", \" of\"],"
              " \"answer\": 1}\n");
    bl_choice_sequences q = { 0 };
    bl_tokens whole = { 0 };

    assert_int_equal(
        bl_tokenizer_encode(&whole, f->tokenizer, " It was the first", 17, BL_ENCODE_BOS, NULL),
        BL_OK);
    assert_int_equal(whole.n, 5); /* else the choice of words below is no good */
    assert_int_equal(make(&q, f, &items, true, 512, NULL), BL_OK);
    assert_int_equal(q.n_seqs, 2);
    assert_int_equal(q.n_positions, 4);
    assert_int_equal(q.n_scored, 2 + 1 + 3 + 1);
    assert_memory_equal(q.token + 4, whole.id, 4 * sizeof(*whole.id));
    for (size_t i = 0; i < 2; i++) { /* both behind " the" */
        assert_int_equal(q.place[i], 2);
        assert_int_equal(q.choice[i], i);
    }
    for (size_t i = 2; i < 5; i++) { /* three behind " It" */
        assert_int_equal(q.place[i], 5);
        assert_int_equal(q.choice[i], i);
    }
    assert_int_equal(q.target[2], whole.id[2]);
    assert_int_equal(q.place[5], 6);
    assert_int_equal(q.place[6], 7);
    assert_int_equal(q.choice[6], 3);
    assert_int_equal(q.target[6], whole.id[4]);
    bl_choice_sequences_release(&q);
    bl_choice_items_release(&items);
    bl_tokens_release(&whole);
}

/* " It wa" + "s" is the token " was": its place is behind " It", for the other choice, too. */
static void a_token_across_the_boundary_is_the_choices(void **state)
{
    const struct fixture *f = *state;
    bl_choice_items items =
        parse("{\"prompt\": \" It wa\", \"choices\": [\"s\", \" in\"], \"answer\": 0}");
    bl_choice_sequences q = { 0 };
    bl_tokens was = { 0 }, wa = { 0 };

    assert_int_equal(bl_tokenizer_encode(&was, f->tokenizer, " It was", 7, BL_ENCODE_BOS, NULL),
                     BL_OK);
    assert_int_equal(bl_tokenizer_encode(&wa, f->tokenizer, " It wa in", 9, BL_ENCODE_BOS, NULL),
                     BL_OK);
    assert_int_equal(was.n, 3);
    assert_int_equal(make(&q, f, &items, true, 512, NULL), BL_OK);
    assert_int_equal(q.n_seqs, 1);
    assert_int_equal(q.n_scored, 1 + wa.n - 2);
    assert_int_equal(q.place[0], 1);
    assert_int_equal(q.place[1], 1);
    assert_int_equal(q.target[0], was.id[2]);
    assert_int_equal(q.target[1], wa.id[2]);
    bl_choice_sequences_release(&q);
    bl_choice_items_release(&items);
    bl_tokens_release(&was);
    bl_tokens_release(&wa);
}

static void refuse(const struct fixture *f, const char *text, bool add_bos, uint32_t ctx,
                   const char *said)
{
    bl_choice_items items = parse(text);
    bl_choice_sequences q = { 0 };
    struct bl_err err = { 0 };

    assert_int_equal(make(&q, f, &items, add_bos, ctx, &err), BL_E_USAGE);
    assert_string_equal(err.text, said);
    assert_null(q.token);
    bl_choice_items_release(&items);
}

static void items_that_cannot_be_scored_are_refused_by_line(void **state)
{
    const struct fixture *f = *state;
    static const char empty[] = "\n{\"prompt\": \"\", \"choices\": [\" in\", \" of\"], "
                                "\"answer\": 0}";
    bl_choice_items items = parse(empty);
    bl_choice_sequences q = { 0 };

    assert_int_equal(make(&q, f, &items, true, 2, NULL), BL_OK); /* BOS predicts them */
    assert_int_equal(q.n_seqs, 1);
    bl_choice_sequences_release(&q);
    bl_choice_items_release(&items);
    refuse(f, empty, false, 2,
           "items:2: no token of the prompt is left to predict the choices from");
    refuse(f, empty, true, 1, "items:2: prompt and choice 0 are 2 tokens, more than --ctx 1");
    refuse(f, "{\"prompt\": \" It\", \"choices\": [\" was\", \" was the first\"], \"answer\": 0}",
           true, 4, "items:1: prompt and choice 1 are 5 tokens, more than --ctx 4");
}

static void the_same_model_has_lost_nothing(void **state)
{
    const struct fixture *f = *state;
    bl_choice_item item[8];
    const bl_choice_items items = some(item, &f->items, 40, 48);
    bl_choices_result r = run(f, &items, f->ckpt, NULL, 2);

    assert_int_equal(r.n_models, 2);
    assert_int_equal(r.same, items.n_items);
    assert_true(r.gained + r.lost + r.gained_per_byte + r.lost_per_byte == 0);
    assert_true(r.margin_change == 0 && r.abs_margin_change == 0 && r.kl_mean == 0);
    bl_choices_release(&r);
}

static void experts_that_are_disabled_change_the_second_model_alone(void **state)
{
    const struct fixture *f = *state;
    const bool disabled[8] = { true, false, true, false, true, false, true, false };
    const bl_router_policy policy[3] = { { 0 },
                                         { .disabled = disabled },
                                         { .disabled = disabled } };
    bl_choice_item item[24];
    const bl_choice_items items = some(item, &f->items, 35, 59); /* short ones */
    bl_choices_result one = run(f, &items, NULL, NULL, 2);
    bl_choices_result two = run(f, &items, f->ckpt, policy, 2);
    bl_choices_result pruned = run(f, &items, NULL, policy, 2);
    size_t n_bytes = items.n_choices * sizeof(double);

    assert_memory_equal(two.model[0].log_likelihood, one.model[0].log_likelihood, n_bytes);
    assert_memory_equal(two.model[1].log_likelihood, pruned.model[0].log_likelihood, n_bytes);
    assert_true(two.abs_margin_change > 0.1 && two.kl_mean > 0.01);
    assert_true(two.same < items.n_items);
    assert_int_equal(two.model[1].all.sum + two.lost, two.model[0].all.sum + two.gained);
    bl_choices_release(&one);
    bl_choices_release(&two);
    bl_choices_release(&pruned);
}

/* Three items with log-likelihoods by hand, in both models. */
static void decisions_follow_their_definitions(void **state)
{
    bl_choice_items items = parse(
        "{\"group\": \"g\", \"prompt\": \"\", \"choices\": [\"a\", \"bbbb\"], \"answer\": 0}\n"
        "{\"prompt\": \"\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": 1}\n"
        "{\"group\": \"g\", \"prompt\": \"\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n");
    const double base[] = { -1, -2, -3, -3, -4, -2, -1 };
    const double test[] = { -1.5, -1.25, -3, -2, -4, -2, -2 };
    const double change[] = { -1.25, 1, -1 }; /* margins 1 -> -0.25, 0 -> 1, 1 -> 0 */
    bl_choices_result r = { 0 };
    double e = exp(1), kl[3];

    (void)state;
    assert_int_equal(bl_choices_init(&r, &items, 2, NULL), BL_OK);
    memcpy(r.model[0].log_likelihood, base, sizeof(base));
    memcpy(r.model[1].log_likelihood, test, sizeof(test));
    assert_int_equal(bl_choices_judge(&r, NULL), BL_OK);
    assert_int_equal(r.model[0].pick[0].sum, 0);
    assert_int_equal(r.model[0].pick[0].per_byte, 1); /* -2 / 4 bytes */
    assert_int_equal(r.model[1].pick[0].sum, 1);
    assert_int_equal(r.model[0].pick[1].sum, 0); /* a tie: the lowest index, here a wrong one */
    assert_true(r.model[0].pick[1].margin == 0);
    assert_int_equal(r.model[1].pick[2].sum, 0);
    assert_true(r.model[1].pick[0].margin == -0.25);
    assert_int_equal(r.model[0].all.n, 3);
    assert_int_equal(r.model[0].all.sum, 2);
    assert_int_equal(r.model[0].all.per_byte, 1);
    assert_int_equal(r.model[1].all.sum, 1);
    assert_int_equal(r.model[0].group[0].n, 2);
    assert_int_equal(r.model[0].group[0].sum, 2);
    assert_int_equal(r.model[1].group[0].sum, 0);
    assert_int_equal(r.gained, 1);
    assert_int_equal(r.lost, 2);
    assert_int_equal(r.gained_per_byte, 1);
    assert_int_equal(r.lost_per_byte, 1);
    assert_int_equal(r.same, 0);
    assert_true(fabs(r.chance - (0.5 + 1.0 / 3 + 0.5) / 3) < 1e-15);
    assert_true(fabs(r.margin_change - (change[0] + change[1] + change[2]) / 3) < 1e-15);
    assert_true(fabs(r.abs_margin_change - 3.25 / 3) < 1e-15);
    kl[0] = e / (1 + e) * (1 - log(1 + e) - (-0.25 - log(1 + exp(-0.25)))) +
            1 / (1 + e) * (-log(1 + e) + log(1 + exp(-0.25)));
    kl[1] = (0 - log(2 + exp(-1))) * 2 / (2 + exp(-1)) - log(2 + exp(-1)) * exp(-1) / (2 + exp(-1));
    kl[1] += exp(-1) / (2 + exp(-1)) * -1; /* sum p ln p, then - sum p ln q */
    kl[1] -= (1 * -1 + 1 * 0 + exp(-1) * -2) / (2 + exp(-1)) - log(1 + exp(-1) + exp(-2));
    kl[2] = e / (1 + e) * (1 - log(1 + e)) - log(1 + e) / (1 + e) + log(2);
    assert_true(fabs(r.kl_mean - (kl[0] + kl[1] + kl[2]) / 3) < 1e-12);
    bl_choices_release(&r);
    bl_choice_items_release(&items);
}

static void memory_that_fails_is_a_status(void **state)
{
    const struct fixture *f = *state;
    const bl_choices_options options = { .run.n_threads = 1 };
    bl_choice_items items = parse(
        "{\"group\": \"g\", \"prompt\": \" It\", \"choices\": [\" was\", \" of\"], \"answer\": 0}");
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_choice_sequences q = { 0 };
        bl_choices_result r = { 0 };

        bl_alloc_fail_at(k);
        rc = make(&q, f, &items, true, 512, NULL);
        if (rc == BL_OK)
            rc = bl_choices_run(&r, &items, &q, f->ckpt, f->ckpt, &options, NULL);
        bl_alloc_fail_at(0);
        bl_choices_release(&r);
        bl_choice_sequences_release(&q);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
    bl_choice_items_release(&items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_likelihoods_are_golden),
        cmocka_unit_test(neither_company_nor_threads_change_a_score),
        cmocka_unit_test(single_tokens_share_one_sequence),
        cmocka_unit_test(a_token_across_the_boundary_is_the_choices),
        cmocka_unit_test(items_that_cannot_be_scored_are_refused_by_line),
        cmocka_unit_test(the_same_model_has_lost_nothing),
        cmocka_unit_test(experts_that_are_disabled_change_the_second_model_alone),
        cmocka_unit_test(decisions_follow_their_definitions),
        cmocka_unit_test(memory_that_fails_is_a_status),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
