/* UTF-8: lengths at the edges of the standard's table, and what is hidden from a terminal. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void decodes_the_first_and_last_of_each_length(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        uint32_t c;
    } cases[] = {
        { "\x01", 1, 1 },
        { "\x7f", 1, 0x7f },
        { "\xc2\x80", 2, 0x80 },
        { "\xdf\xbf", 2, 0x7ff },
        { "\xe0\xa0\x80", 3, 0x800 },
        { "\xef\xbf\xbf", 3, 0xffff },
        { "\xf0\x90\x80\x80", 4, 0x10000 },
        { "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint32_t c = 0;

        assert_int_equal(bl_utf8_decode(&c, cases[i].text, BL_UTF8_MAX), cases[i].n);
        assert_int_equal(c, cases[i].c);
    }
}

static void refuses_what_is_not_utf8(void **state)
{
    static const char *const cases[] = { "\x80",
                                         "\xc1\xbf",
                                         "\xe0\x9f\xbf",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xf8\x88\x80\x80\x80",
                                         "\xe2\x82",
                                         "\xff" };
    uint32_t c;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(bl_utf8_decode(&c, cases[i], BL_UTF8_MAX), 0);
}

static void hides_what_acts_on_a_terminal(void **state)
{
    char text[] = "a\x1b[31m\n\xc2\x9b \xe2\x80\xae \xff\xc3\xa9 \xe9\xaf\xa8";

    (void)state;
    bl_utf8_make_printable(text);
    assert_string_equal(text, "a?[31m??? ??? ?\xc3\xa9 \xe9\xaf\xa8");
}

static void reads_no_further_than_it_may(void **state)
{
    static const char text[] = { (char)0xf0, (char)0x9f, (char)0x98, (char)0x80 };
    uint32_t c = 7;

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++)
        assert_int_equal(bl_utf8_decode(&c, text, n), 0);
    assert_int_equal(c, 7);
    assert_int_equal(bl_utf8_decode(&c, text, sizeof(text)), 4);
    assert_int_equal(c, 0x1f600);
}

static void a_path_is_named_by_its_last_component(void **state)
{
    char name[8];

    (void)state;
    bl_utf8_path_name(name, sizeof(name), "/models/r1//");
    assert_string_equal(name, "r1");
    bl_utf8_path_name(name, sizeof(name), "a/long-name");
    assert_string_equal(name, "long-na");
    bl_utf8_path_name(name, sizeof(name), "x\n");
    assert_string_equal(name, "x?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_no_further_than_it_may),
        cmocka_unit_test(decodes_the_first_and_last_of_each_length),
        cmocka_unit_test(refuses_what_is_not_utf8),
        cmocka_unit_test(hides_what_acts_on_a_terminal),
        cmocka_unit_test(a_path_is_named_by_its_last_component),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
