/*
 * Charts by what is in the file: tags that close, texts that stay texts, points where the frame
 * says they belong, gaps, and numbers that no axis holds.
 */
#include "tests/unit/occurrences.h"
#include "verify/chart.h"

#include "base/alloc.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEEPEST = 16 };

/* The last of the tags that are open was opened with this name. */
static bool closes(const char *open, const char *name)
{
    size_t n = strcspn(name, ">");

    return strncmp(open, name, n) == 0 && !isalnum((unsigned char)open[n]);
}

/* The end of a tag that begins behind its '<': names, and values in quotes. */
static const char *end_of_tag(const char *tag)
{
    tag += strspn(tag, "abcdefghijklmnopqrstuvwxyz");
    while (*tag == ' ') {
        tag += 1 + strspn(tag + 1, "abcdefghijklmnopqrstuvwxyzB-");
        assert_memory_equal(tag, "=\"", 2);
        tag += 2 + strcspn(tag + 2, "\"<");
        assert_int_equal(*tag++, '"');
    }
    return tag;
}

/* A document of one element, every tag closed, every & a reference. */
static void expect_well_formed(const char *xml)
{
    const char *open[DEEPEST];
    size_t depth = 0;

    assert_memory_equal(xml, "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 40);
    for (const char *c = xml; *c; c++) {
        if (*c == '&')
            assert_true(c[strcspn(c, "; <")] == ';');
        assert_true(*c == '\n' || (unsigned char)*c >= ' ');
        if (*c != '<')
            continue;
        if (c[1] == '/') {
            assert_true(depth > 0 && closes(open[--depth], c + 2));
            assert_true(depth > 0 || strcmp(c, "</svg>\n") == 0);
            continue;
        }
        assert_true(depth < DEEPEST);
        open[depth++] = c + 1;
        c = end_of_tag(c + 1);
        if (*c == '/') {
            depth--;
            c++;
        }
        assert_int_equal(*c, '>');
    }
    assert_int_equal(depth, 0);
}

static char *drawn(const bl_chart *chart)
{
    bl_text out = { 0 };

    bl_chart_write(&out, chart);
    assert_int_equal(bl_text_check(&out, NULL), BL_OK);
    expect_well_formed(out.bytes);
    assert_null(strstr(out.bytes, "nan"));
    assert_null(strstr(out.bytes, "inf"));
    return out.bytes;
}

/* The plot's rectangle. */
typedef struct box {
    double x, y, width, height;
} box;

static double value_of(const char *tag, const char *name)
{
    tag = strstr(tag, name);
    assert_non_null(tag);
    return strtod(tag + strlen(name), NULL);
}

static box box_of(const char *page)
{
    const char *tag = strstr(page, "<rect class=\"plot\"");

    assert_non_null(tag);
    return (box){ value_of(tag, " x=\""), value_of(tag, " y=\""), value_of(tag, " width=\""),
                  value_of(tag, " height=\"") };
}

/* A line of n points at the shares of the plot's width (from the left) and height (from below). */
static void expect_line(const char *page, const char *pens, const double share[][2])
{
    box b = box_of(page);
    char *c;

    page = strstr(page, "<path class=\"line\"");
    assert_non_null(page);
    page = strstr(page, " d=\"") + 4;
    for (size_t i = 0; i < strlen(pens); i++) {
        assert_int_equal(*page, pens[i]);
        assert_true(fabs(strtod(page + 1, &c) - b.x - b.width * share[i][0]) < 0.011);
        assert_true(fabs(strtod(c, &c) - b.y - b.height * (1 - share[i][1])) < 0.011);
        page = c;
    }
    assert_int_equal(*page, '"');
}

static void points_lie_where_the_axes_say(void **state)
{
    const double x[] = { 0, 2.5e9, 5e9, 10e9 }, y[] = { -20, 0, 30, 80 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 4 };
    const bl_chart chart = { .x_scale = 1e-9, .series = &s, .n_series = 1 };
    char *page = drawn(&chart);

    (void)state;
    expect_line(page, "MLLL",
                (const double[][2]){ { 0, 0 }, { 0.25, 0.2 }, { 0.5, 0.5 }, { 1, 1 } });
    for (int tick = -20; tick <= 80; tick += 20) {
        char label[32];

        snprintf(label, sizeof(label), ">%d</text>", tick);
        assert_true(count(page, label) >= 1);
    }
    assert_int_equal(count(page, ">8</text>"), 1); /* x as it is scaled */
    assert_int_equal(count(page, "<title>a: 2.5, 0</title>"), 1);
    bl_free(page);
}

static void decades_are_equally_far_apart(void **state)
{
    const double x[] = { 0, 1, 2, 3 }, y[] = { 0.01, 0.1, 1, 10 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 4 };
    const bl_chart chart = { .y_decades = true, .series = &s, .n_series = 1 };
    char *page = drawn(&chart);

    (void)state;
    expect_line(page, "MLLL",
                (const double[][2]){ { 0, 0 }, { 1 / 3., 1 / 3. }, { 2 / 3., 2 / 3. }, { 1, 1 } });
    assert_int_equal(count(page, ">0.01</text>"), 1);
    assert_int_equal(count(page, ">0.05</text>"), 1);
    assert_int_equal(count(page, ">10</text>"), 1);
    bl_free(page);
}

static void far_decades_are_powers(void **state)
{
    const double x[] = { 0, 1 }, y[] = { 1e-7, 1 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 2 };
    const bl_chart chart = { .y_decades = true, .series = &s, .n_series = 1 };
    char *page = drawn(&chart);

    (void)state;
    expect_line(page, "ML", (const double[][2]){ { 0, 0 }, { 1, 1 } });
    assert_int_equal(count(page, ">10<tspan dy=\"-5\" font-size=\"10\">-7</tspan></text>"), 1);
    bl_free(page);
}

static void what_has_no_place_is_a_gap(void **state)
{
    const double x[] = { 0, 1, 2, 3, 4, 5 };
    const double y[] = { 1, 10, (double)NAN, 1, 0, 10 };
    bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 6 };
    bl_chart chart = { .y_decades = true, .series = &s, .n_series = 1 };
    char *page = drawn(&chart);

    (void)state;
    expect_line(page, "MLMM", (const double[][2]){ { 0, 0 }, { 0.2, 1 }, { 0.6, 0 }, { 1, 1 } });
    assert_int_equal(count(page, "<title>a: "), 4);
    bl_free(page);
    chart.y_decades = false; /* where zero has a place */
    page = drawn(&chart);
    expect_line(page, "MLMLL",
                (const double[][2]){ { 0, 0.1 }, { 0.2, 1 }, { 0.6, 0.1 }, { 0.8, 0 }, { 1, 1 } });
    bl_free(page);
}

static void a_series_of_many_points_is_a_line_alone(void **state)
{
    double x[BL_CHART_MARKS + 1], y[BL_CHART_MARKS + 1];
    bl_chart_series series = { .name = "many", .x = x, .y = y };
    const bl_chart chart = { .series = &series, .n_series = 1 };

    (void)state;
    for (size_t i = 0; i <= BL_CHART_MARKS; i++)
        x[i] = y[i] = (double)i;
    for (size_t extra = 0; extra < 2; extra++) {
        bl_text page = { 0 };

        series.n = BL_CHART_MARKS + extra;
        bl_chart_write(&page, &chart);
        assert_int_equal(count(page.bytes, "<title>many: "), extra ? 0 : BL_CHART_MARKS);
        bl_text_release(&page);
    }
}

static void error_bars_widen_the_axis(void **state)
{
    const double x[] = { 0, 1, 2, 3 }, y[] = { 50, 50, 50, 50 };
    const double error[] = { 50, 0, (double)NAN, -1 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .error = error, .n = 4 };
    const bl_chart chart = { .series = &s, .n_series = 1 };
    char *page = drawn(&chart), want[96];
    box b = box_of(page);

    (void)state;
    assert_int_equal(count(page, "class=\"error\""), 1);
    snprintf(want, sizeof(want), "M%.2f %.2fV%.2fm-4 0h8M%.2f %.2fh8", b.x, b.y + b.height, b.y,
             b.x - 4, b.y + b.height);
    assert_int_equal(count(page, want), 1);
    assert_int_equal(count(page, "<title>a: 0, 50 \xc2\xb1 50</title>"), 1);
    bl_free(page);
}

static void a_bar_below_zero_is_cut_on_a_decades_axis(void **state)
{
    const double x[] = { 1 }, y[] = { 1 }, error[] = { 1 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .error = error, .n = 1 };
    const bl_chart chart = { .y_decades = true, .series = &s, .n_series = 1 };
    char *page = drawn(&chart), want[64];
    box b = box_of(page);

    (void)state; /* 0.1 to 2, no line across the lower end */
    expect_line(page, "M", (const double[][2]){ { 0.5, 1 / (1 + log10(2)) } });
    snprintf(want, sizeof(want), "M%.2f %.2fV%.2fm-4 0h8\"/>", b.x + b.width / 2, b.y + b.height,
             b.y);
    assert_int_equal(count(page, want), 1);
    bl_free(page);
}

static void texts_are_never_markup(void **state)
{
    const double x[] = { 1, 2 }, y[] = { 1, 2 };
    const bl_chart_series s = { .name = "<b>\"a\" & 'b'</b>\x01\xff", .x = x, .y = y, .n = 2 };
    const bl_chart chart = { .title = "</title><script>&amp;",
                             .x_title = "a < b",
                             .y_title = "a > b & \"c\"",
                             .series = &s,
                             .n_series = 1 };
    char *page = drawn(&chart);

    (void)state;
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "<script"));
    assert_int_equal(count(page, "&lt;/title&gt;&lt;script&gt;&amp;amp;"), 2);
    assert_int_equal(count(page, ">a &lt; b</text>"), 1);
    assert_int_equal(count(page, ">a &gt; b &amp; &quot;c&quot;</text>"), 1);
    assert_int_equal(count(page, "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;"
                                 "\xef\xbf\xbd\xef\xbf\xbd"),
                     3); /* two points and the legend */
    bl_free(page);
}

static void twelve_series_look_different(void **state)
{
    const double x[] = { 1, 2 }, y[] = { 1, 2 };
    bl_chart_series s[BL_CHART_LOOKS];
    const bl_chart chart = { .series = s, .n_series = BL_CHART_LOOKS };
    char *page, *look[BL_CHART_LOOKS], *c;

    (void)state;
    for (size_t i = 0; i < BL_CHART_LOOKS; i++)
        s[i] = (bl_chart_series){ .name = "a", .x = x, .y = y, .n = 2, .dashed = i == 1 };
    page = c = drawn(&chart);
    for (size_t i = 0; i < BL_CHART_LOOKS; i++) { /* what is drawn around each sample's middle */
        c = strstr(c, "<g class=\"legend\"");
        assert_non_null(c);
        c = strchr(strstr(c, "<path fill=") + 1, 'm');
        look[i] = c;
        for (size_t before = 0; before < i; before++)
            assert_true(strncmp(look[before], look[i], strcspn(c, "z")) != 0);
    }
    assert_int_equal(count(page, "stroke-dasharray=\"7 5\""), 2); /* the series and its sample */
    assert_int_equal(count(page, "<path fill=\"#fff\" stroke=\"#D55E00\""), 3);
    bl_free(page);
}

static void nothing_to_draw_is_a_chart_too(void **state)
{
    const double none[] = { (double)NAN, (double)INFINITY, -(double)INFINITY };
    const double x[] = { 1, 2, 3 };
    const bl_chart_series s[] = { { .name = "no number", .x = x, .y = none, .n = 3 },
                                  { .name = "nowhere", .x = none, .y = x, .error = x, .n = 3 },
                                  { .name = "no point" } };

    (void)state;
    for (int decades = 0; decades < 2; decades++)
        for (size_t n = 0; n <= 3; n += 3) {
            const bl_chart chart = { .y_decades = decades, .series = s, .n_series = n };
            char *page = drawn(&chart);

            assert_int_equal(count(page, "class=\"series\""), n);
            assert_int_equal(count(page, "class=\"line\" d=\"\""), n);
            assert_true(count(page, "</text>") >= 4);
            bl_free(page);
        }
}

static void values_that_are_all_equal_lie_in_the_middle(void **state)
{
    static const double values[] = { 0, 1, -7, 0.3, 1e-200, 1e99, -1e-99 };
    const double x[] = { 4, 4 };

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        for (int decades = 0; decades < 2; decades++) {
            const double y[] = { values[i], values[i] };
            const bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 2 };
            const bl_chart chart = { .y_decades = decades, .series = &s, .n_series = 1 };
            char *page = drawn(&chart);

            if (values[i] == 1)
                expect_line(page, "ML", (const double[][2]){ { 0.5, 0.5 }, { 0.5, 0.5 } });
            bl_free(page);
        }
}

static void numbers_of_any_size_are_drawn(void **state)
{
    static const double v[] = { 0,     1,      -1,     DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324,
                                1e100, -1e100, 1e-100, 1e-99,   12345678, 1e15,    1e15 + 1 };
    enum { N = sizeof(v) / sizeof(*v) };

    (void)state;
    for (size_t a = 0; a < N; a++)
        for (size_t b = 0; b < N; b++)
            for (int decades = 0; decades < 2; decades++) {
                const double x[] = { v[a], v[b] }, y[] = { v[b], v[a] };
                const bl_chart_series s = { .name = "a", .x = x, .y = y, .error = x, .n = 2 };
                const bl_chart chart = {
                    .y_decades = decades, .x_scale = v[b], .series = &s, .n_series = 1
                };
                char *page = drawn(&chart);

                assert_true(strlen(page) < 20000);
                bl_free(page);
            }
}

static void long_texts_have_room(void **state)
{
    const double x[] = { 1, 2 }, y[] = { 1, 2 };
    char name[301] = { 0 };
    const bl_chart_series s[] = { { .name = name, .x = x, .y = y, .n = 2 },
                                  { .name = "b", .x = x, .y = y, .n = 2 } };
    const bl_chart chart = { .y_title = name, .series = s, .n_series = 2 };
    char *page;

    (void)state;
    memset(name, 'w', sizeof(name) - 1);
    page = drawn(&chart);
    assert_true(value_of(page, " width=\"") > 300 * 13 * 0.55);
    assert_true(value_of(page, " height=\"") > 300 * 13 * 0.55);
    bl_free(page);
}

static void the_same_chart_gives_the_same_bytes(void **state)
{
    const double x[] = { 1, 2, 4 }, y[] = { 0.3, 0.1, 0.02 }, error[] = { 0.1, 0.05, 0.03 };
    const bl_chart_series s[] = { { .name = "a", .x = x, .y = y, .error = error, .n = 3 },
                                  { .name = "b", .x = x, .y = error, .n = 3, .dashed = true } };
    const bl_chart chart = { .title = "t", .y_decades = true, .series = s, .n_series = 2 };
    char *first = drawn(&chart), *second = drawn(&chart);

    (void)state;
    assert_string_equal(first, second);
    bl_free(first);
    bl_free(second);
}

static void a_lack_of_memory_is_told_at_the_end(void **state)
{
    const double x[] = { 1, 2 }, y[] = { 1, 2 };
    const bl_chart_series s = { .name = "a", .x = x, .y = y, .n = 2 };
    const bl_chart chart = { .series = &s, .n_series = 1 };

    (void)state;
    for (uint64_t k = 1; k <= 3; k++) {
        bl_text out = { 0 };

        bl_alloc_fail_at(k);
        bl_chart_write(&out, &chart);
        bl_alloc_fail_at(0);
        assert_int_equal(bl_text_check(&out, NULL), BL_E_NOMEM);
        bl_text_release(&out);
    }
    assert_int_equal(bl_alloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_lie_where_the_axes_say),
        cmocka_unit_test(decades_are_equally_far_apart),
        cmocka_unit_test(far_decades_are_powers),
        cmocka_unit_test(what_has_no_place_is_a_gap),
        cmocka_unit_test(a_series_of_many_points_is_a_line_alone),
        cmocka_unit_test(error_bars_widen_the_axis),
        cmocka_unit_test(a_bar_below_zero_is_cut_on_a_decades_axis),
        cmocka_unit_test(texts_are_never_markup),
        cmocka_unit_test(twelve_series_look_different),
        cmocka_unit_test(nothing_to_draw_is_a_chart_too),
        cmocka_unit_test(values_that_are_all_equal_lie_in_the_middle),
        cmocka_unit_test(numbers_of_any_size_are_drawn),
        cmocka_unit_test(long_texts_have_room),
        cmocka_unit_test(the_same_chart_gives_the_same_bytes),
        cmocka_unit_test(a_lack_of_memory_is_told_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
