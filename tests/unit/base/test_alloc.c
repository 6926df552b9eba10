/* The allocator's promises: checked products, a k-th call that fails, an honest count. */
#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void refuses_a_product_that_overflows(void **state)
{
    int64_t live = bl_alloc_live();
    void *p = bl_alloc(16, 1);

    (void)state;
    assert_null(bl_alloc(SIZE_MAX / 2 + 1, 2));
    assert_null(bl_calloc(SIZE_MAX, SIZE_MAX));
    assert_null(bl_realloc(p, SIZE_MAX / 8 + 1, 8));
    bl_free(p); /* still valid */
    assert_true(bl_alloc_live() == live);
}

/* Pointer differences inside such a block would overflow; sanitizers stop the program for it. */
static void refuses_more_than_a_pointer_difference_can_say(void **state)
{
    volatile size_t too_many = (size_t)PTRDIFF_MAX + 1;

    (void)state;
    assert_null(bl_alloc(too_many, 1));
    assert_null(bl_calloc(1, too_many));
    assert_null(bl_realloc(NULL, too_many, 1));
    assert_null(bl_strndup("", too_many));
}

static void gives_a_pointer_for_nothing(void **state)
{
    void *a = bl_alloc(0, 8), *b = bl_calloc(8, 0), *c = bl_realloc(NULL, 0, 1);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    c = bl_realloc(c, 0, 0);
    assert_non_null(c);
    bl_free(a);
    bl_free(b);
    bl_free(c);
    bl_free(NULL);
}

static void zeroes_what_it_says_it_zeroes(void **state)
{
    static const unsigned char zeros[1000];
    unsigned char *p;

    (void)state;
    for (int i = 0; i < 20; i++) { /* the second round gets the first one's used block */
        p = bl_calloc(10, 100);
        assert_memory_equal(p, zeros, 1000);
        memset(p, 0xa5, 1000);
        bl_free(p);
    }
}

static void fails_the_kth_call_and_only_that(void **state)
{
    int64_t live = bl_alloc_live();
    void *a, *b, *c, *d;

    (void)state;
    bl_alloc_fail_at(3);
    a = bl_alloc(1, 1);
    b = bl_calloc(1, 1);
    c = bl_strdup("three");
    d = bl_format("%d", 4);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(c);
    assert_non_null(d);
    assert_true(bl_alloc_live() == live + 3);

    bl_alloc_fail_at(1);
    assert_null(bl_realloc(a, 100, 1)); /* a stays */
    bl_alloc_fail_at(1);
    bl_alloc_fail_at(0);
    a = bl_realloc(a, 100, 1);
    assert_non_null(a);
    bl_free(a);
    bl_free(b);
    bl_free(d);
    assert_true(bl_alloc_live() == live);
}

static void counts_every_call(void **state)
{
    uint64_t before = bl_alloc_count();
    char *s = bl_strdup("x");

    (void)state;
    s = bl_realloc(s, 2, 1);
    bl_free(s);
    assert_int_equal(bl_alloc_count() - before, 2);
}

static void copies_strings_with_their_length(void **state)
{
    char *a = bl_strndup("name\0with NUL", 13), *b = bl_strdup(""), *c = bl_strndup("x", 0);
    char *d = bl_format("%s-%05d", "model", 7);

    (void)state;
    assert_memory_equal(a, "name\0with NUL", 14);
    assert_string_equal(b, "");
    assert_string_equal(c, "");
    assert_string_equal(d, "model-00007");
    bl_free(a);
    bl_free(b);
    bl_free(c);
    bl_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_a_product_that_overflows),
        cmocka_unit_test(refuses_more_than_a_pointer_difference_can_say),
        cmocka_unit_test(gives_a_pointer_for_nothing),
        cmocka_unit_test(zeroes_what_it_says_it_zeroes),
        cmocka_unit_test(fails_the_kth_call_and_only_that),
        cmocka_unit_test(counts_every_call),
        cmocka_unit_test(copies_strings_with_their_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
