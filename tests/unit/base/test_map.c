/* The name table at size, with keys that share a prefix, with keys that collide. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N_KEYS = 100000, KEY_BYTES = 48 };

static char keys[N_KEYS][KEY_BYTES];

static size_t make_key(char *out, size_t i)
{
    return (size_t)snprintf(out, KEY_BYTES, "model.layers.%zu.mlp.experts.%zu.w", i / 256, i % 256);
}

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KEYS; i++)
        make_key(keys[i], i);
    return 0;
}

static void finds_each_of_100000_names_and_no_other(void **state)
{
    bl_map map = { 0 };
    char other[KEY_BYTES];
    uint32_t value = 0;
    bool was_there = true;

    (void)state;
    for (uint32_t i = 0; i < N_KEYS; i++) {
        assert_int_equal(bl_map_put(&map, keys[i], strlen(keys[i]), i, &was_there, NULL), BL_OK);
        assert_false(was_there);
    }
    assert_int_equal(map.n_used, N_KEYS);
    for (uint32_t i = 0; i < N_KEYS; i++) {
        assert_true(bl_map_get(&value, &map, keys[i], strlen(keys[i])));
        assert_int_equal(value, i);
        assert_false(bl_map_get(&value, &map, keys[i], strlen(keys[i]) - 1));
    }
    for (size_t i = N_KEYS; i < 2 * N_KEYS; i++)
        assert_false(bl_map_get(&value, &map, other, make_key(other, i)));
    bl_map_release(&map);
    assert_false(bl_map_get(&value, &map, keys[0], strlen(keys[0])));
}

static void says_when_a_name_is_already_there_and_keeps_its_value(void **state)
{
    bl_map map = { 0 };
    uint32_t value = 0;
    bool was_there;

    (void)state;
    assert_int_equal(bl_map_put(&map, "a", 1, 1, NULL, NULL), BL_OK);
    assert_int_equal(bl_map_put(&map, "a", 1, 2, &was_there, NULL), BL_OK);
    assert_true(was_there);
    assert_true(bl_map_get(&value, &map, "a", 1));
    assert_int_equal(value, 1);
    assert_int_equal(map.n_used, 1);
    bl_map_release(&map);
}

static void takes_the_empty_name_and_names_with_nul(void **state)
{
    bl_map map = { 0 };
    uint32_t value = 0;
    bool was_there;

    (void)state;
    assert_int_equal(bl_map_put(&map, "", 0, 1, NULL, NULL), BL_OK);
    assert_int_equal(bl_map_put(&map, "a\0b", 3, 2, NULL, NULL), BL_OK);
    assert_int_equal(bl_map_put(&map, "a\0c", 3, 3, &was_there, NULL), BL_OK);
    assert_false(was_there);
    assert_int_equal(bl_map_put(&map, "", 0, 9, &was_there, NULL), BL_OK);
    assert_true(was_there);
    assert_true(bl_map_get(&value, &map, "", 0));
    assert_int_equal(value, 1);
    assert_true(bl_map_get(&value, &map, "a\0b", 3));
    assert_int_equal(value, 2);
    assert_false(bl_map_get(&value, &map, "a", 1));
    bl_map_release(&map);
}

/*
 * A hostile header can carry names whose plain XXH3 agrees in the bits that choose the slot: in a
 * table that trusts the plain hash they form one run, and n names cost n^2 / 2 comparisons.
 */
static void names_made_to_collide_cost_no_more_than_others(void **state)
{
    enum { N = 8192, SLOTS = 16384 };
    static uint64_t collide[N], plain[N];
    clock_t start, cost[2];
    uint64_t candidate = 0;
    uint32_t value = 0;

    (void)state;
    for (size_t i = 0; i < N; candidate++)
        if ((bl_hash64(&candidate, sizeof(candidate)) & (SLOTS - 1)) < 4)
            collide[i++] = candidate;
    for (size_t i = 0; i < N; i++)
        plain[i] = i;
    for (int round = 0; round < 2; round++) {
        const uint64_t *key = round ? collide : plain;
        bl_map map = { 0 };

        start = clock();
        for (uint32_t i = 0; i < N; i++)
            assert_int_equal(bl_map_put(&map, (const char *)&key[i], sizeof(key[i]), i, NULL, NULL),
                             BL_OK);
        for (uint32_t i = 0; i < N; i++) {
            assert_true(bl_map_get(&value, &map, (const char *)&key[i], sizeof(key[i])));
            assert_int_equal(value, i);
        }
        cost[round] = clock() - start;
        assert_int_equal(map.n_slots, SLOTS);
        bl_map_release(&map);
    }
    assert_true(cost[1] < 20 * cost[0] + CLOCKS_PER_SEC / 50);
}

static void survives_a_failed_allocation_at_every_growth(void **state)
{
    int64_t live = bl_alloc_live();

    (void)state;
    for (uint64_t k = 1;; k++) {
        bl_map map = { 0 };
        struct bl_err err = { 0 };
        bl_status rc = BL_OK;
        uint32_t n = 0, value = 0;

        bl_alloc_fail_at(k);
        for (; n < 1000 && rc == BL_OK; n += rc == BL_OK)
            rc = bl_map_put(&map, keys[n], strlen(keys[n]), n, NULL, &err);
        bl_alloc_fail_at(0);
        for (uint32_t i = 0; i < n; i++) { /* what was in before the failure still is */
            assert_true(bl_map_get(&value, &map, keys[i], strlen(keys[i])));
            assert_int_equal(value, i);
        }
        bl_map_release(&map);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_NOMEM);
        assert_string_equal(err.text, "out of memory: name table");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_each_of_100000_names_and_no_other),
        cmocka_unit_test(says_when_a_name_is_already_there_and_keeps_its_value),
        cmocka_unit_test(takes_the_empty_name_and_names_with_nul),
        cmocka_unit_test(names_made_to_collide_cost_no_more_than_others),
        cmocka_unit_test(survives_a_failed_allocation_at_every_growth),
    };

    return cmocka_run_group_tests(tests, make_keys, NULL);
}
