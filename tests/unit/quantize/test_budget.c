/* test_budget.c - the allocation against every possible one, on small instances. */
#include "base/alloc.h"
#include "quantize/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_ITEMS = 6, N_CHOICES = 4 };

static uint64_t seed;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* Types of falling error and, mostly, rising bytes: hulls with choices above them. */
static void make_items(bl_budget_item *item, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        item[i] = (bl_budget_item){ .sensitivity = 1 + next_random(50), .n_choices = N_CHOICES };
        for (uint32_t q = 0; q < N_CHOICES; q++)
            item[i].choice[q] = (bl_budget_choice){ .bytes = 10 + 20 * q + next_random(25),
                                                    .error = 1.0 / (1 + q * 3 + next_random(5)) };
    }
}

static uint64_t least_bytes(const bl_budget_item *item, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t least = UINT64_MAX;

        for (uint32_t q = 0; q < item[i].n_choices; q++)
            least = item[i].choice[q].bytes < least ? item[i].choice[q].bytes : least;
        sum += least;
    }
    return sum;
}

/* The least loss of all N_CHOICES^n assignments that fit. */
static double best_of_all(const bl_budget_item *item, size_t n, uint64_t bytes)
{
    double best = 1e300;
    uint64_t n_ways = 1;

    for (size_t i = 0; i < n; i++)
        n_ways *= N_CHOICES;
    for (uint64_t way = 0; way < n_ways; way++) {
        uint64_t sum = 0, rest = way;
        double loss = 0;

        for (size_t i = 0; i < n; i++, rest /= N_CHOICES) {
            const bl_budget_choice *c = &item[i].choice[rest % N_CHOICES];

            sum += c->bytes;
            loss += item[i].sensitivity * c->error;
        }
        best = sum <= bytes && loss < best ? loss : best;
    }
    return best;
}

static void the_choice_is_between_the_bound_and_a_little_above_the_best(void **state)
{
    double sum_best = 0, sum_have = 0;

    (void)state;
    seed = 1;
    for (int round = 0; round < 60; round++) {
        bl_budget_item item[N_ITEMS];
        bl_budget_result r;
        uint64_t bytes, sum = 0;
        double best, loss = 0;

        make_items(item, N_ITEMS);
        bytes = least_bytes(item, N_ITEMS) + next_random(400);
        best = best_of_all(item, N_ITEMS, bytes);
        assert_int_equal(bl_budget_solve(&r, item, N_ITEMS, bytes, NULL), BL_OK);
        for (size_t i = 0; i < N_ITEMS; i++) {
            sum += item[i].choice[item[i].chosen].bytes;
            loss += item[i].sensitivity * item[i].choice[item[i].chosen].error;
        }
        assert_int_equal(sum, r.bytes);
        assert_true(sum <= bytes);
        assert_true(loss == r.loss);
        assert_true(r.bound <= best * (1 + 1e-12));
        assert_true(best <= r.loss * (1 + 1e-12));
        sum_best += best;
        sum_have += r.loss;
    }
    assert_true(sum_have < 1.03 * sum_best);
}

static void enough_bytes_give_everything_its_least_error(void **state)
{
    bl_budget_item item[N_ITEMS];
    bl_budget_result r;

    (void)state;
    seed = 2;
    make_items(item, N_ITEMS);
    assert_int_equal(bl_budget_solve(&r, item, N_ITEMS, UINT64_MAX, NULL), BL_OK);
    assert_true(r.loss == best_of_all(item, N_ITEMS, UINT64_MAX));
    assert_true(r.bound <= r.loss * (1 + 1e-12) && r.bound > r.loss * (1 - 1e-9));
}

static void bits_go_where_the_sensitivity_is(void **state)
{
    bl_budget_item item[2];
    bl_budget_result r;

    (void)state;
    for (int i = 0; i < 2; i++)
        item[i] = (bl_budget_item){ .sensitivity = i == 0 ? 1 : 9,
                                    .n_choices = 2,
                                    .choice = { { BL_Q4_0, 45, 0.01 }, { BL_Q8_0, 85, 0.0001 } } };
    assert_int_equal(bl_budget_solve(&r, item, 2, 130, NULL), BL_OK);
    assert_int_equal(item[0].choice[item[0].chosen].dtype, BL_Q4_0);
    assert_int_equal(item[1].choice[item[1].chosen].dtype, BL_Q8_0);
    item[0].sensitivity = 10;
    assert_int_equal(bl_budget_solve(&r, item, 2, 130, NULL), BL_OK);
    assert_int_equal(item[0].choice[item[0].chosen].dtype, BL_Q8_0);
    item[0].sensitivity = item[1].sensitivity = 0;
    assert_int_equal(bl_budget_solve(&r, item, 2, 200, NULL), BL_OK);
    assert_int_equal(r.bytes, 90);
}

static void too_few_bytes_are_refused_with_how_many_are_needed(void **state)
{
    bl_budget_item item[N_ITEMS];
    bl_budget_result r;
    struct bl_err err = { 0 };
    char need[32];
    uint64_t least;

    (void)state;
    seed = 3;
    make_items(item, N_ITEMS);
    least = least_bytes(item, N_ITEMS);
    snprintf(need, sizeof(need), "need %d bytes", (int)least);
    assert_int_equal(bl_budget_solve(&r, item, N_ITEMS, least, NULL), BL_OK);
    assert_int_equal(bl_budget_solve(&r, item, N_ITEMS, least - 1, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, need));
    bl_alloc_fail_at(1);
    assert_int_equal(bl_budget_solve(&r, item, N_ITEMS, least, &err), BL_E_NOMEM);
    bl_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_is_between_the_bound_and_a_little_above_the_best),
        cmocka_unit_test(enough_bytes_give_everything_its_least_error),
        cmocka_unit_test(bits_go_where_the_sensitivity_is),
        cmocka_unit_test(too_few_bytes_are_refused_with_how_many_are_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
