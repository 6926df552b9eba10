/*
 * test_range_code.c - symbols come back, for as many bits as they are worth; what is no stream is seen.
 */
#include "base/alloc.h"
#include "formats/logits/range_code.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct symbol {
    uint64_t start, size;
    unsigned bits;
};

enum { N = 20000 };
static struct symbol symbol[N];

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 20;
}

/* Of every precision, at every place, narrow and wide ones. */
static double make_symbols(uint64_t state)
{
    double bits = 0;

    for (size_t i = 0; i < N; i++) {
        const unsigned b = (unsigned)(next(&state) % (BL_RANGE_MAX_BITS + 1));
        const uint64_t total = (uint64_t)1 << b, start = next(&state) % total;
        const uint64_t most = total - start;
        const uint64_t size = next(&state) % 3 == 0 ? 1 + next(&state) % most : most;

        symbol[i] = (struct symbol){ start, next(&state) % 8 == 0 ? 1 : size, b };
        bits += b - log2((double)symbol[i].size);
    }
    return bits;
}

static void put_symbols(bl_range_encoder *e)
{
    bl_range_begin(e);
    for (size_t i = 0; i < N; i++)
        bl_range_put(e, symbol[i].start, symbol[i].size, symbol[i].bits);
    assert_true(bl_range_end(e));
}

/* How many come back before one does not. */
static size_t get_symbols(bl_range_decoder *d)
{
    for (size_t i = 0; i < N; i++) {
        const uint64_t at = bl_range_peek(d, symbol[i].bits);

        if (d->bad || at < symbol[i].start || at - symbol[i].start >= symbol[i].size)
            return i;
        bl_range_take(d, symbol[i].start, symbol[i].size);
    }
    return N;
}

static void symbols_come_back_for_what_they_are_worth(void **state)
{
    bl_range_encoder e = { 0 };
    bl_range_decoder d;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        const double bits = make_symbols(seed);

        put_symbols(&e);
        assert_true(8 * (double)e.n < bits + 16);
        assert_true(8 * (double)e.n >= bits);
        bl_range_open(&d, e.bytes, e.n);
        assert_int_equal(get_symbols(&d), N);
        assert_true(bl_range_done(&d));
    }
    bl_free(e.bytes);
}

static void carries_walk_back_through_many_bytes(void **state)
{
    bl_range_encoder e = { 0 };
    bl_range_decoder d;

    (void)state;
    for (size_t i = 0; i < N; i++) /* the last part again and again: bytes of 255 */
        symbol[i] = (struct symbol){ 255, 1, 8 };
    symbol[N - 2] = (struct symbol){ UINT32_MAX, 1, 32 };
    symbol[N - 1] = (struct symbol){ 1, UINT32_MAX, 32 };
    put_symbols(&e);
    bl_range_open(&d, e.bytes, e.n);
    assert_int_equal(get_symbols(&d), N);
    assert_true(bl_range_done(&d));
    bl_free(e.bytes);
}

static void streams_of_another_length_are_not_done(void **state)
{
    bl_range_encoder e = { 0 };
    bl_range_decoder d;

    (void)state;
    (void)make_symbols(7);
    put_symbols(&e);
    bl_range_open(&d, e.bytes, e.n - 1);
    assert_true(get_symbols(&d) < N || !bl_range_done(&d));
    bl_range_open(&d, e.bytes, e.n - 40);
    assert_true(get_symbols(&d) < N);
    bl_range_put(&e, 0, 1, 8); /* more room than was filled */
    bl_range_open(&d, e.bytes, e.n + 1);
    assert_int_equal(get_symbols(&d), N);
    assert_false(bl_range_done(&d));
    bl_free(e.bytes);
}

static void any_bytes_can_be_read(void **state)
{
    unsigned char bytes[64];
    bl_range_decoder d;
    uint64_t seed = 1;

    (void)state;
    memset(bytes, 255, sizeof(bytes));
    bl_range_open(&d, bytes, sizeof(bytes));
    for (int i = 0; i < 1000; i++) {
        const uint64_t at = bl_range_peek(&d, 24);

        assert_true(at < 1 << 24);
        bl_range_take(&d, at, 1 + next(&seed) % ((1 << 24) - at));
    }
    assert_false(bl_range_done(&d));
}

static void memory_that_ends_is_remembered(void **state)
{
    bl_range_encoder e = { 0 };

    (void)state;
    bl_range_begin(&e);
    bl_alloc_fail_at(1);
    for (int i = 0; i < 100; i++)
        bl_range_put(&e, 3, 1, 8);
    bl_alloc_fail_at(0);
    assert_false(bl_range_end(&e));
    bl_free(e.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_come_back_for_what_they_are_worth),
        cmocka_unit_test(carries_walk_back_through_many_bytes),
        cmocka_unit_test(streams_of_another_length_are_not_done),
        cmocka_unit_test(any_bytes_can_be_read),
        cmocka_unit_test(memory_that_ends_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
