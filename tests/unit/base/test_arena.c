/* The arena: aligned, zeroed, apart from each other, released as a whole. */
#include "base/alloc.h"
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void gives_aligned_zeroed_pieces_that_do_not_overlap(void **state)
{
    static const size_t size[] = { 1, 15, 16, 17, 100, 4096, 65535, 65536, 65537, 200000 };
    enum { N = 300 };
    bl_arena arena = { 0 };
    unsigned char *piece[N];
    size_t n[N];
    int64_t live = bl_alloc_live();

    (void)state;
    for (size_t i = 0; i < N; i++) {
        n[i] = size[i * 7 % (sizeof(size) / sizeof(*size))];
        piece[i] = bl_arena_alloc(&arena, n[i], 1);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t j = 0; j < n[i]; j++)
            assert_int_equal(piece[i][j], 0);
        memset(piece[i], (int)(i % 255 + 1), n[i]);
    }
    for (size_t i = 0; i < N; i++) { /* nobody wrote into a neighbour */
        assert_int_equal(piece[i][0], i % 255 + 1);
        assert_int_equal(piece[i][n[i] - 1], i % 255 + 1);
    }
    bl_arena_release(&arena);
    assert_true(bl_alloc_live() == live);
    assert_null(arena.block);
    bl_arena_release(&arena); /* a zeroed arena is released by doing nothing */
}

static void keeps_strings_with_their_length(void **state)
{
    bl_arena arena = { 0 };
    char *a = bl_arena_strndup(&arena, "ab\0cd", 5);
    char *b = bl_arena_strdup(&arena, "model.layers.0");
    char *c = bl_arena_format(&arena, "%s.%d", "blk", 61);
    char *d = bl_arena_strdup(&arena, "");

    (void)state;
    assert_memory_equal(a, "ab\0cd", 6);
    assert_string_equal(b, "model.layers.0");
    assert_string_equal(c, "blk.61");
    assert_string_equal(d, "");
    bl_arena_release(&arena);
}

static void small_pieces_share_a_block_even_after_a_large_one(void **state)
{
    bl_arena arena = { 0 };
    uint64_t calls = bl_alloc_count();

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_non_null(bl_arena_alloc(&arena, 1, 100));
        assert_non_null(bl_arena_alloc(&arena, 1, 100000));
    }
    assert_int_equal(bl_alloc_count() - calls, 101); /* 100 large, one for all small */
    bl_arena_release(&arena);
}

static void refuses_what_overflows_and_stays_usable(void **state)
{
    bl_arena arena = { 0 };
    char *s;

    (void)state;
    assert_null(bl_arena_alloc(&arena, SIZE_MAX, 2));
    assert_null(bl_arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(bl_arena_alloc(&arena, SIZE_MAX / 2, 1));
    assert_null(bl_arena_strndup(&arena, "", SIZE_MAX));
    bl_alloc_fail_at(1);
    assert_null(bl_arena_alloc(&arena, 1, 1));
    s = bl_arena_strdup(&arena, "after");
    assert_string_equal(s, "after");
    bl_alloc_fail_at(1);
    assert_null(bl_arena_alloc(&arena, 1, 1 << 20));
    assert_string_equal(s, "after");
    bl_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_zeroed_pieces_that_do_not_overlap),
        cmocka_unit_test(keeps_strings_with_their_length),
        cmocka_unit_test(small_pieces_share_a_block_even_after_a_large_one),
        cmocka_unit_test(refuses_what_overflows_and_stays_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
