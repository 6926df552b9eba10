/* Tiles of a product: every value in one of them, for any shape. */
#include "model/tiles.h"

#include "base/alloc.h"
#include "base/par.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(size_t n_rows, size_t n_cols)
{
    const bl_tiles tiles = bl_tiles_cut(n_rows, n_cols);
    unsigned char *seen = bl_calloc(n_rows, n_cols);

    assert_non_null(seen);
    for (size_t i = 0; i < tiles.n; i++) {
        const bl_tile t = bl_tiles_at(&tiles, i);

        assert_true(t.n_rows > 0 && t.n_cols > 0);
        assert_true(t.row + t.n_rows <= n_rows && t.col + t.n_cols <= n_cols);
        for (size_t r = t.row; r < t.row + t.n_rows; r++)
            for (size_t c = t.col; c < t.col + t.n_cols; c++)
                seen[r * n_cols + c]++;
    }
    for (size_t i = 0; i < n_rows * n_cols; i++)
        assert_int_equal(seen[i], 1);
    bl_free(seen);
}

static void every_value_is_in_one_tile(void **state)
{
    static const size_t sizes[] = { 1, 2, 15, 16, 17, 100, 512, 1023, 1025, 1408, 3000 };
    enum { N = sizeof(sizes) / sizeof(sizes[0]) };

    (void)state;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            check(sizes[i], sizes[j]);
}

static void a_result_worth_sharing_is_shared(void **state)
{
    (void)state;
    assert_true(bl_tiles_cut(2048, 512).n >= 2);
    if (bl_par_n_processors() <= BL_TILES_MOST)
        assert_true(bl_tiles_cut(4096, 4096).n >= (size_t)bl_par_n_processors());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_in_one_tile),
        cmocka_unit_test(a_result_worth_sharing_is_shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
