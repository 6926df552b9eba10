/* What an error sentence must survive: names from files, long names, context put in front. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

static void returns_the_status_and_writes_the_sentence(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_fail(&err, BL_E_FORMAT, "a.st: %d bytes", 3), BL_E_FORMAT);
    assert_int_equal(err.status, BL_E_FORMAT);
    assert_string_equal(err.text, "a.st: 3 bytes");
    assert_int_equal(bl_fail(NULL, BL_E_IO, "nobody asks"), BL_E_IO);
}

static void keeps_context_in_front_of_the_sentence(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    bl_fail(&err, BL_E_MISMATCH, "wrong checksum");
    bl_err_prefix(&err, "tensor '%s'", "w");
    bl_err_prefix(&err, "a.st");
    assert_int_equal(err.status, BL_E_MISMATCH);
    assert_string_equal(err.text, "a.st: tensor 'w': wrong checksum");
    bl_err_prefix(NULL, "nobody asks");
}

static void names_the_reason_of_the_system(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_fail_errno(&err, ENOSPC, "x: cannot write"), BL_E_IO);
    assert_string_equal(err.text, "x: cannot write: No space left on device");
}

static void says_what_the_memory_was_for(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_fail_nomem(&err, "name table"), BL_E_NOMEM);
    assert_string_equal(err.text, "out of memory: name table");
}

static void replaces_control_characters_and_bad_utf8(void **state)
{
    static const struct {
        const char *name, *shown;
    } rows[] = {
        { "a\033[2Jb", "a?[2Jb" },        /* escape sequence */
        { "a\nb\tc\rd\x7f", "a?b?c?d?" }, /* line breaks would forge a second message */
        { "a\xc2\x9b"
          "2Jb",
          "a??2Jb" }, /* U+009B is CSI to some terminals */
        { "a\xe2\x80\xae"
          "b",
          "a???b" }, /* U+202E turns the text round */
        { "a\x80"
          "b\xff",
          "a?b?" },                                           /* not UTF-8 */
        { "a\xe2\x82", "a??" },                               /* cut short */
        { "\xc0\xaf \xed\xa0\x80", "?? ???" },                /* overlong, surrogate */
        { "\xf4\x90\x80\x80", "????" },                       /* past U+10FFFF */
        { "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8b", /* kept as it is */
          "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8b" },
    };
    struct bl_err err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        bl_fail(&err, BL_E_FORMAT, "%s", rows[i].name);
        assert_string_equal(err.text, rows[i].shown);
    }
}

static void keeps_both_ends_of_a_sentence_that_is_too_long(void **state)
{
    struct bl_err err = { 0 };
    char name[3000];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    bl_fail(&err, BL_E_FORMAT, "a.st: tensor '%s': its shape overflows", name);
    assert_true(strlen(err.text) < sizeof(err.text));
    assert_true(strncmp(err.text, "a.st: tensor 'nnn", 17) == 0);
    assert_non_null(strstr(err.text, "nnn': its shape overflows"));
    assert_non_null(strstr(err.text, "..."));

    bl_fail_errno(&err, ENOENT, "%s: cannot open", name);
    assert_non_null(strstr(err.text, "nnn: cannot open: No such file or directory"));

    bl_fail(&err, BL_E_FORMAT, "wrong checksum");
    bl_err_prefix(&err, "%s", name);
    assert_non_null(strstr(err.text, "nnn: wrong checksum"));
}

static void does_not_cut_a_character_in_half(void **state)
{
    struct bl_err err = { 0 };
    char name[3001];

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        for (size_t i = 0; i + 3 < sizeof(name); i += 3)
            memcpy(name + i, "\xe2\x82\xac", 3);
        name[sizeof(name) - 1] = '\0';
        bl_fail(&err, BL_E_FORMAT, "%.*s%s%.*s", (int)shift, "ab", name, (int)shift, "cd");
        bl_fail(&err, BL_E_FORMAT, "%s", err.text); /* shows half a character as '?' */
        assert_null(strchr(err.text, '?'));
    }
}

static void takes_its_own_text_as_an_argument(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    bl_fail(&err, BL_E_IO, "inner sentence");
    bl_fail(&err, BL_E_FORMAT, "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner sentence");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_the_status_and_writes_the_sentence),
        cmocka_unit_test(keeps_context_in_front_of_the_sentence),
        cmocka_unit_test(names_the_reason_of_the_system),
        cmocka_unit_test(says_what_the_memory_was_for),
        cmocka_unit_test(replaces_control_characters_and_bad_utf8),
        cmocka_unit_test(keeps_both_ends_of_a_sentence_that_is_too_long),
        cmocka_unit_test(does_not_cut_a_character_in_half),
        cmocka_unit_test(takes_its_own_text_as_an_argument),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
