/* The growing string: what was appended, in order; a failure is remembered until asked for. */
#include "base/alloc.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void appends_in_order_and_terminates(void **state)
{
    bl_text text = { 0 };
    char expected[6000];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        bl_text_printf(&text, "%d,", i);
        n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%d,", i);
    }
    bl_text_puts(&text, "end");
    bl_text_add(&text, "\0x", 2);
    memcpy(expected + n, "end\0x", 6);
    assert_int_equal(bl_text_check(&text, NULL), BL_OK);
    assert_int_equal(text.n, n + 5);
    assert_memory_equal(text.bytes, expected, n + 6);
    bl_text_release(&text);
    assert_null(text.bytes);
}

static void appending_nothing_gives_the_empty_string(void **state)
{
    bl_text text = { 0 };

    (void)state;
    bl_text_add(&text, NULL, 0);
    assert_int_equal(bl_text_check(&text, NULL), BL_OK);
    assert_string_equal(text.bytes, "");
    bl_text_release(&text);
    bl_text_release(&text);
}

static void remembers_a_failure_until_it_is_asked_for(void **state)
{
    int64_t live = bl_alloc_live();

    (void)state;
    for (uint64_t k = 1;; k++) {
        bl_text text = { 0 };
        struct bl_err err = { 0 };
        bl_status rc;

        bl_alloc_fail_at(k);
        for (int i = 0; i < 500; i++)
            bl_text_printf(&text, "line %d\n", i);
        bl_alloc_fail_at(0);
        rc = bl_text_check(&text, &err);
        bl_text_release(&text);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_NOMEM);
    }
}

static void a_length_that_overflows_is_a_failure(void **state)
{
    bl_text text = { 0 };

    (void)state;
    bl_text_puts(&text, "x");
    bl_text_add(&text, "y", SIZE_MAX - 1);
    assert_int_equal(bl_text_check(&text, NULL), BL_E_NOMEM);
    bl_text_puts(&text, "z");
    assert_string_equal(text.bytes, "x");
    bl_text_release(&text);
}

static void bytes_are_written_in_their_unit(void **state)
{
    char buffer[32];

    (void)state;
    assert_string_equal(bl_text_bytes(buffer, 0), "0 bytes");
    assert_string_equal(bl_text_bytes(buffer, 999), "999 bytes");
    assert_string_equal(bl_text_bytes(buffer, 1234), "1.23 kB");
    assert_string_equal(bl_text_bytes(buffer, 688586727753), "688.59 GB");
    assert_string_equal(bl_text_bytes(buffer, 1234567000000000), "1234.57 TB");
}

static void hexadecimal_digits_have_values_and_nothing_else_has(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        assert_int_equal(bl_hex_digit("0123456789abcdef"[i]), i);
        assert_int_equal(bl_hex_digit("0123456789ABCDEF"[i]), i);
    }
    for (const char *c = "/:@G`g \xff"; *c; c++)
        assert_int_equal(bl_hex_digit(*c), -1);
    assert_int_equal(bl_hex_digit('\0'), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order_and_terminates),
        cmocka_unit_test(appending_nothing_gives_the_empty_string),
        cmocka_unit_test(remembers_a_failure_until_it_is_asked_for),
        cmocka_unit_test(a_length_that_overflows_is_a_failure),
        cmocka_unit_test(bytes_are_written_in_their_unit),
        cmocka_unit_test(hexadecimal_digits_have_values_and_nothing_else_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
