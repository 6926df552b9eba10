/*
 * The page on comparisons that no small checkpoint gives: one tensor, hundreds, infinite errors,
 * names that are markup, sums that are not numbers,
 * items that change sides. cli_report holds whole runs to their JSON.
 */
#include "tests/unit/occurrences.h"
#include "base/alloc.h"
#include "verify/html.h"
#include "verify/report.h"
#include "verify/svg.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TENSORS = 400 };

struct made {
    bl_tensor tensor[MAX_TENSORS];
    bl_compared compared[MAX_TENSORS];
    char name[MAX_TENSORS][64];
};

static int open_model(void **state)
{
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, "data/toy-llama", NULL) != BL_OK)
        return -1;
    *state = ckpt;
    return 0;
}

static int close_model(void **state)
{
    bl_ckpt_close(*state);
    return 0;
}

static void add_tensor(struct made *m, bl_comparison *c, bl_role role, int32_t layer, double error)
{
    size_t i = c->n_compared++;

    assert_true(i < MAX_TENSORS);
    snprintf(m->name[i], sizeof(m->name[i]), "layer.%d.<b>&\"%zu\"", layer, i);
    m->tensor[i] = (bl_tensor){ .name = m->name[i],
                                .type_name = "F32",
                                .n_values = 10 + i,
                                .role = role,
                                .layer = layer,
                                .expert = -1 };
    m->compared[i] = (bl_compared){ .ref = &m->tensor[i],
                                    .test = &m->tensor[i],
                                    .metrics = { .rel_rms = error,
                                                 .cosine = 1,
                                                 .sqnr_db = -20 * log10(error),
                                                 .identical = error == 0 } };
    c->n_identical += error == 0;
}

static char *page_of(const bl_ckpt *ckpt, struct made *m, bl_comparison *c)
{
    bl_verify_report r = {
        .model = ckpt, .reference = ckpt, .has_comparison = true, .comparison = *c
    };
    bl_text out = { 0 };

    r.comparison.compared = m->compared;
    assert_int_equal(bl_verify_report_html(&out, &r, NULL), BL_OK);
    assert_null(strstr(out.bytes, "nan"));
    assert_null(strstr(out.bytes, "inf"));
    assert_null(strstr(out.bytes, "<b>"));
    return out.bytes;
}

static void a_tensor_outside_the_layers_is_a_row_and_no_plot(void **state)
{
    static struct made m;
    bl_comparison c = { .all = { .rel_rms = 0.25, .sqnr_db = 12 } };
    char *page;

    add_tensor(&m, &c, BL_ROLE_HEAD, -1, 0.25);
    page = page_of(*state, &m, &c);
    assert_int_equal(count(page, "<svg"), 0);
    assert_int_equal(count(page, "<td>output head</td>"), 1);
    assert_int_equal(count(page, "layer.-1.&lt;b&gt;&amp;&quot;0&quot;"), 1);
    bl_free(page);
}

static void a_single_layer_has_a_plot(void **state)
{
    static struct made m;
    bl_comparison c = { 0 };
    char *page;

    add_tensor(&m, &c, BL_ROLE_ATTENTION, 0, 0.125);
    page = page_of(*state, &m, &c);
    assert_int_equal(count(page, "<svg"), 1);
    assert_int_equal(count(page, "class=\"dot test\""), 1);
    assert_int_equal(count(page, "layer 0: 0.125000 (1 tensor, 0.125000 to 0.125000)"), 1);
    bl_free(page);
}

static void errors_of_a_layer_are_weighted_by_values(void **state)
{
    static struct made m;
    bl_comparison c = { 0 };
    char *page, want[96];

    add_tensor(&m, &c, BL_ROLE_EXPERT, 3, 0.1);
    add_tensor(&m, &c, BL_ROLE_EXPERT, 3, 0.3);
    m.tensor[0].n_values = 300;
    m.tensor[1].n_values = 100;
    snprintf(want, sizeof(want), "layer 3: %.6f (2 tensors, 0.100000 to 0.300000)", sqrt(0.03));
    page = page_of(*state, &m, &c);
    assert_int_equal(count(page, want), 2); /* the dot and the bar */
    bl_free(page);
}

static void hundreds_of_tensors_are_a_plot_a_role_and_the_worst(void **state)
{
    static struct made m;
    bl_comparison c = { 0 };
    char *page;

    for (int i = 0; i < 300; i++)
        add_tensor(&m, &c, (bl_role)(BL_ROLE_NORM + i % 5), i / 5, 0.5 / (1 + i));
    page = page_of(*state, &m, &c);
    assert_int_equal(count(page, "<svg"), 5);
    assert_int_equal(count(page, "class=\"dot test\""), 300);
    assert_int_equal(count(page, "<td class=\"name\"><code>"), 20);
    bl_free(page);
}

static void infinite_errors_are_named_and_not_drawn(void **state)
{
    static struct made m;
    bl_comparison c = { .all = { .rel_rms = (double)INFINITY, .sqnr_db = -(double)INFINITY } };
    char *page;

    add_tensor(&m, &c, BL_ROLE_NORM, 0, (double)INFINITY);
    add_tensor(&m, &c, BL_ROLE_NORM, 1, 0.5);
    add_tensor(&m, &c, BL_ROLE_ROUTER, 1, (double)INFINITY);
    page = page_of(*state, &m, &c);
    assert_int_equal(count(page, "<svg"), 1);
    assert_int_equal(count(page, "class=\"dot test\""), 1);
    assert_true(count(page, "&#8734;") > 3);
    bl_free(page);
}

/* 22 items, of which the first model gets none and the second, when there is one, all. */
static void make_choices(bl_choices_result *out, bl_choice_items *items, size_t n_models)
{
    bl_text text = { 0 };

    for (int i = 0; i < 22; i++)
        bl_text_printf(&text,
                       "{\"id\": \"<b>%d\", \"group\": \"<b>&\", \"prompt\": \"<b>\", "
                       "\"choices\": [\"<b>no\", \"<b>yes\"], \"answer\": 1}\n",
                       i);
    assert_int_equal(bl_choice_items_parse(items, "<b>.jsonl", text.bytes, text.n, NULL), BL_OK);
    bl_text_release(&text);
    assert_int_equal(bl_choices_init(out, items, n_models, NULL), BL_OK);
    for (size_t i = 0; i < items->n_items; i++) {
        out->model[0].log_likelihood[2 * i + 1] = -1;
        if (n_models == 2)
            out->model[1].log_likelihood[2 * i] = -1;
    }
    assert_int_equal(bl_choices_judge(out, NULL), BL_OK);
}

static char *page_of_choices(const bl_ckpt *ckpt, size_t n_models)
{
    bl_verify_report r = { .model = ckpt, .has_choices = true };
    bl_choice_items items;
    bl_text out = { 0 };

    make_choices(&r.choices, &items, n_models);
    assert_int_equal(bl_verify_report_html(&out, &r, NULL), BL_OK);
    assert_null(strstr(out.bytes, "<b>"));
    bl_choices_release(&r.choices);
    bl_choice_items_release(&items);
    return out.bytes;
}

static void items_that_changed_sides_are_shown(void **state)
{
    char *page = page_of_choices(*state, 2);

    assert_int_equal(count(page, "<li>gained: "), 20);
    assert_int_equal(count(page, "<p>and 2 more</p>"), 1);
    assert_int_equal(count(page, "<mark>&lt;b&gt;yes</mark>"), 20);
    assert_int_equal(count(page, "taken instead: <mark>&lt;b&gt;no</mark>"), 20);
    assert_int_equal(count(page, "<td class=\"name\">&lt;b&gt;&amp;</td>"), 1);
    bl_free(page);
}

static void items_of_one_model_change_no_sides(void **state)
{
    char *page = page_of_choices(*state, 1);

    assert_int_equal(count(page, "Multiple-choice items"), 1);
    assert_int_equal(count(page, "changed sides"), 0);
    assert_int_equal(count(page, "reference"), 0);
    bl_free(page);
}

static void layers_lie_by_the_power_of_ten_of_their_error(void **state)
{
    bl_layer_error layer[3] = { { (double)INFINITY, (double)INFINITY, true },
                                { 1e-4, 1e-8, false },
                                { 0, 0, false } };
    bl_verify_report r = { .model = *state, .has_activations = true };
    bl_text out = { 0 };

    r.activations = (bl_activations){ .n_tokens = 8, .n_layers = 3, .layer = layer };
    assert_int_equal(bl_verify_report_html(&out, &r, NULL), BL_OK);
    /* the axis is -8 to 0: -4 is in the middle, nothing at all at the bottom, a gap first */
    assert_int_equal(count(out.bytes, "\"line ref\" d=\"M500.00 500.00L833.33 1000.00\""), 1);
    assert_int_equal(count(out.bytes, "\"dot test\""), 2);
    assert_int_equal(count(out.bytes, "<td class=\"no\">wrong</td>"), 1);
    bl_text_release(&out);
}

static void memory_that_fails_is_a_status(void **state)
{
    static struct made m;
    static double running[2] = { 3, 2 }, nll[4] = { 1, 2, 3, 4 }, kl[4] = { 0, -1e-9, 0.5, 200 };
    static size_t place[4] = { 1, 2, 3, 4 };
    bl_comparison c = { .compared = m.compared };
    bl_verify_report r = { .model = *state, .text = "t", .has_comparison = true, .has_ppl = true };
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    add_tensor(&m, &c, BL_ROLE_ATTENTION, 0, 0.125);
    r.comparison = c;
    r.ppl = (bl_ppl_result){ .ctx = 4, .n_chunks = 2, .n_scored = 4, .n_models = 2, .kl = kl };
    r.ppl.place = place;
    for (size_t i = 0; i < 2; i++)
        r.ppl.model[i] = (bl_ppl_score){ .nll = nll, .running = running, .perplexity = 2 };
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_text out = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_verify_report_html(&out, &r, NULL);
        bl_alloc_fail_at(0);
        bl_text_release(&out);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

static void text_is_escaped_and_nothing_acts(void **state)
{
    static const char hostile[] = "a<b>&\"'\n\t\x01\xff\xe2\x80\xae\xef\xbf\xbf\xc3\xa9\xc3";
    bl_text out = { 0 };

    (void)state;
    bl_html_add(&out, hostile, sizeof(hostile) - 1);
    assert_string_equal(out.bytes, "a&lt;b&gt;&amp;&quot;&#39;\xe2\x86\xb5\xe2\x87\xa5"
                                   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9"
                                   "\xef\xbf\xbd");
    bl_text_release(&out);
    bl_html_add(&out, "a\0b", 3); /* a NUL is no character of XML */
    assert_string_equal(out.bytes, "a\xef\xbf\xbd"
                                   "b");
    bl_text_release(&out);
}

static void expect_axis(bl_axis a, double low, double high, double first, double last, size_t n)
{
    assert_true(fabs(a.low - low) < 1e-9 && fabs(a.high - high) < 1e-9);
    assert_int_equal(a.n_ticks, n);
    assert_true(fabs(a.tick[0] - first) < 1e-9 && fabs(a.tick[n - 1] - last) < 1e-9);
}

static void axes_have_round_steps(void **state)
{
    (void)state;
    expect_axis(bl_axis_linear(0, 0.089, 3), 0, 0.1, 0, 0.1, 3);
    expect_axis(bl_axis_linear(46.2, 53.3, 4), 46, 54, 46, 54, 5);
    expect_axis(bl_axis_linear(7, 7, 4), 6.6, 7.4, 6.6, 7.4, 5);
    expect_axis(bl_axis_linear(0, 0, 4), -1, 1, -1, 1, 5);
    expect_axis(bl_axis_whole(-0.5, 60.5, 6), -0.5, 60.5, 0, 60, 4);
    expect_axis(bl_axis_whole(-0.5, 2.5, 6), -0.5, 2.5, 0, 2, 3);
    expect_axis(bl_axis_whole(1, 1, 6), 0.5, 1.5, 1, 1, 1);
    expect_axis(bl_axis_decades(-6, 0), -6, 0, -6, 0, 7);
}

static void lines_have_gaps_and_an_end_to_their_points(void **state)
{
    const bl_plot plot = { bl_axis_whole(0, 10, 5), bl_axis_linear(0, 10, 5) };
    const double y[5] = { 0, 10, (double)NAN, 5, 99 };
    static double many[5000];
    bl_text out = { 0 };

    (void)state;
    bl_plot_line(&out, &plot, "test", 0, y, 5);
    assert_string_equal(out.bytes, "<path class=\"line test\" d=\"M0.00 1000.00L100.00 0.00"
                                   "M300.00 500.00L400.00 0.00\"/>\n");
    bl_text_release(&out);
    bl_plot_line(&out, &plot, "test", 0, many, 5000);
    assert_in_range(count(out.bytes, "L"), 500, 1000);
    bl_text_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_outside_the_layers_is_a_row_and_no_plot),
        cmocka_unit_test(a_single_layer_has_a_plot),
        cmocka_unit_test(errors_of_a_layer_are_weighted_by_values),
        cmocka_unit_test(hundreds_of_tensors_are_a_plot_a_role_and_the_worst),
        cmocka_unit_test(infinite_errors_are_named_and_not_drawn),
        cmocka_unit_test(items_that_changed_sides_are_shown),
        cmocka_unit_test(items_of_one_model_change_no_sides),
        cmocka_unit_test(layers_lie_by_the_power_of_ten_of_their_error),
        cmocka_unit_test(memory_that_fails_is_a_status),
        cmocka_unit_test(text_is_escaped_and_nothing_acts),
        cmocka_unit_test(axes_have_round_steps),
        cmocka_unit_test(lines_have_gaps_and_an_end_to_their_points),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
