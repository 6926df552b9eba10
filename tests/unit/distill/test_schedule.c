/* test_schedule.c - the corners of each schedule. */
#include "distill/train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_rate(const bl_schedule *s, uint64_t step, double wanted)
{
    const double got = bl_schedule_lr(s, step);

    if (!(fabs(got - wanted) < 1e-12))
        fail_msg("step %u: %.17g, not %.17g", (unsigned)step, got, wanted);
}

static void warm_up_arrives_with_its_last_step(void **state)
{
    (void)state;
    for (int kind = BL_SCHEDULE_COSINE; kind <= BL_SCHEDULE_CONSTANT; kind++) {
        const bl_schedule s = { (bl_schedule_kind)kind, 1, 0.1, 100, 4, 0.2 };

        assert_rate(&s, 0, 0.25);
        assert_rate(&s, 3, 1);
        assert_rate(&s, 4, 1);
    }
}

static void a_cosine_goes_half_way_in_half_the_time_and_never_below_its_floor(void **state)
{
    const bl_schedule s = { BL_SCHEDULE_COSINE, 1, 0.1, 104, 4, 0 };

    (void)state;
    assert_rate(&s, 54, 0.55);
    assert_true(bl_schedule_lr(&s, 103) > 0.1 && bl_schedule_lr(&s, 103) < 0.101);
    assert_rate(&s, 1000, bl_schedule_lr(&s, 103));
}

static void wsd_is_level_and_then_a_line(void **state)
{
    const bl_schedule s = { BL_SCHEDULE_WSD, 1, 0, 100, 10, 0.2 };

    (void)state;
    assert_rate(&s, 79, 1);
    assert_rate(&s, 80, 1); /* 20 of 20 are left */
    assert_rate(&s, 90, 0.5);
    assert_rate(&s, 99, 0.05);
}

static void wsd_without_a_decay_and_constant_stay(void **state)
{
    const bl_schedule wsd = { BL_SCHEDULE_WSD, 2, 0, 10, 0, 0 };
    const bl_schedule constant = { BL_SCHEDULE_CONSTANT, 2, 0, 10, 0, 0.5 };

    (void)state;
    for (uint64_t step = 0; step < 12; step++) {
        assert_rate(&wsd, step, 2);
        assert_rate(&constant, step, 2);
    }
}

static void one_step_and_only_warm_up_are_schedules(void **state)
{
    const bl_schedule one = { BL_SCHEDULE_COSINE, 1, 0.1, 1, 0, 0 };
    const bl_schedule warm = { BL_SCHEDULE_COSINE, 1, 0.1, 5, 5, 0 };
    const bl_schedule longer = { BL_SCHEDULE_WSD, 1, 0.1, 5, 50, 1 };

    (void)state;
    assert_rate(&one, 0, 1);
    assert_rate(&warm, 4, 1);
    assert_rate(&longer, 4, 0.1);
}

static void names_are_read_as_they_are_written(void **state)
{
    bl_schedule_kind kind;

    (void)state;
    for (int k = BL_SCHEDULE_COSINE; k <= BL_SCHEDULE_CONSTANT; k++) {
        assert_true(bl_schedule_kind_by_name(&kind, bl_schedule_kind_name((bl_schedule_kind)k)));
        assert_int_equal(kind, k);
    }
    assert_false(bl_schedule_kind_by_name(&kind, "linear"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_arrives_with_its_last_step),
        cmocka_unit_test(a_cosine_goes_half_way_in_half_the_time_and_never_below_its_floor),
        cmocka_unit_test(wsd_is_level_and_then_a_line),
        cmocka_unit_test(wsd_without_a_decay_and_constant_stay),
        cmocka_unit_test(one_step_and_only_warm_up_are_schedules),
        cmocka_unit_test(names_are_read_as_they_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
