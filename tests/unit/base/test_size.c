/* Arithmetic on numbers from a file: the last value that fits, and the first that does not. */
#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void adds_up_to_the_largest_number(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_true(bl_add_u64(&out, UINT64_MAX - 1, 1));
    assert_true(out == UINT64_MAX);
    out = 7;
    assert_false(bl_add_u64(&out, UINT64_MAX, 1));
    assert_int_equal(out, 7);
}

static void multiplies_up_to_the_largest_number(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_true(bl_mul_u64(&out, UINT64_C(0xffffffff), UINT64_C(0x100000001)));
    assert_true(out == UINT64_MAX);
    out = 7;
    assert_false(bl_mul_u64(&out, UINT64_C(1) << 32, UINT64_C(1) << 32));
    assert_int_equal(out, 7);
    assert_true(bl_mul_u64(&out, 0, UINT64_MAX));
    assert_int_equal(out, 0);
}

static void rounds_up_and_notices_the_overflow(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_true(bl_round_up_u64(&out, 0, 32));
    assert_int_equal(out, 0);
    assert_true(bl_round_up_u64(&out, 33, 32));
    assert_int_equal(out, 64);
    assert_true(bl_round_up_u64(&out, UINT64_MAX, 1));
    assert_true(out == UINT64_MAX);
    out = 7;
    assert_false(bl_round_up_u64(&out, UINT64_MAX - 1, 32));
    assert_int_equal(out, 7);
}

static void ranges_fit_or_do_not_without_wrapping(void **state)
{
    (void)state;
    assert_true(bl_range_fits(0, 10, 10));
    assert_true(bl_range_fits(10, 0, 10));
    assert_false(bl_range_fits(11, 0, 10));
    assert_false(bl_range_fits(1, 10, 10));
    assert_false(bl_range_fits(5, UINT64_MAX - 2, 10)); /* the sum would wrap to 2 */
    assert_false(bl_range_fits(UINT64_MAX, UINT64_MAX, 10));
}

static void divides_rounding_up(void **state)
{
    (void)state;
    assert_int_equal(bl_ceil_div_u64(0, 128), 0);
    assert_int_equal(bl_ceil_div_u64(1, 128), 1);
    assert_int_equal(bl_ceil_div_u64(128, 128), 1);
    assert_int_equal(bl_ceil_div_u64(129, 128), 2);
    assert_true(bl_ceil_div_u64(UINT64_MAX, 2) == UINT64_C(1) << 63);
    assert_int_equal(bl_min_u64(2, 3), 2);
    assert_int_equal(bl_max_u64(2, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_up_to_the_largest_number),
        cmocka_unit_test(multiplies_up_to_the_largest_number),
        cmocka_unit_test(rounds_up_and_notices_the_overflow),
        cmocka_unit_test(ranges_fit_or_do_not_without_wrapping),
        cmocka_unit_test(divides_rounding_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
