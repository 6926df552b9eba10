/* Y = X W^T with W in slabs: a matrix longer than one slab, ranges of rows, any number of threads. */
#include "base/alloc.h"
#include "model/linear.h"
#include "model/slab.h"
#include "stream.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ROWS = 9001, COLS = 600, TOKENS = 300 }; /* 21.6 MB: two slabs; two tiles of tokens */

struct fixture {
    bl_ckpt *ckpt;
    const bl_tensor *w;
    float *values, *x;
};

static int open_fixture(void **state)
{
    struct fixture *f = bl_calloc(1, sizeof(*f));
    const size_t n_bytes = (size_t)ROWS * COLS * sizeof(float);
    unsigned char *file = bl_calloc(1, 128 + n_bytes);
    int n;

    if (scratch_enter(NULL) != 0)
        return -1;
    n = snprintf((char *)file + 8, 120,
                 "{\"w\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]}}", ROWS,
                 COLS, n_bytes);
    file[0] = (unsigned char)n;
    f->values = bl_alloc(ROWS, COLS * sizeof(*f->values));
    f->x = bl_alloc(TOKENS, COLS * sizeof(*f->x));
    fill_stream(f->values, (size_t)ROWS * COLS, 1);
    fill_stream(f->x, (size_t)TOKENS * COLS, 2);
    memcpy(file + 8 + n, f->values, n_bytes);
    scratch_write("w.safetensors", file, 8 + (size_t)n + n_bytes);
    bl_free(file);
    if (bl_ckpt_open(&f->ckpt, "w.safetensors", NULL) != BL_OK)
        return -1;
    f->w = bl_ckpt_find(f->ckpt, "w");
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    bl_ckpt_close(f->ckpt);
    bl_free(f->values);
    bl_free(f->x);
    bl_free(f);
    return scratch_leave(NULL);
}

/* y[TOKENS][ld] of rows [row, row + n), with 1 in every place before. */
static float *multiply(const struct fixture *f, uint64_t row, uint64_t n, size_t ld, bool add,
                       int n_threads)
{
    const bl_weights weights = { .ckpt = f->ckpt, .network = NULL, .n_threads = n_threads };
    bl_linear l = { .ldy = ld,
                    .x = f->x,
                    .ldx = COLS,
                    .n_tokens = TOKENS,
                    .weight = f->w,
                    .row = row,
                    .n_rows = n,
                    .add = add };

    l.y = bl_alloc(TOKENS, ld * sizeof(*l.y));
    for (size_t i = 0; i < TOKENS * ld; i++)
        l.y[i] = 1;
    assert_int_equal(bl_linear_run(&l, &weights, NULL), BL_OK);
    return l.y;
}

static void assert_product(const struct fixture *f, const float *y, size_t ld, size_t token,
                           uint64_t row, uint64_t first, double more)
{
    double want = more;

    for (size_t i = 0; i < COLS; i++)
        want += (double)f->x[token * COLS + i] * (double)f->values[row * COLS + i];
    if (!(fabs((double)y[token * ld + (row - first)] - want) < 2e-4))
        fail_msg("token %zu, row %zu: %g, not %g", token, (size_t)row,
                 (double)y[token * ld + (row - first)], want);
}

static void every_row_of_a_range_is_multiplied_once(void **state)
{
    const struct fixture *f = *state;
    static const uint64_t ranges[][2] = {
        { 0, ROWS }, { 37, ROWS - 40 }, { 6900, 200 }, { 9000, 1 }
    };

    assert_true(bl_slab_rows(f->w) < ROWS);
    for (size_t r = 0; r < 4; r++) {
        uint64_t first = ranges[r][0], n = ranges[r][1];
        size_t ld = (size_t)n + 3;
        float *y = multiply(f, first, n, ld, false, 2);

        for (uint64_t row = first; row < first + n; row++)
            assert_product(f, y, ld, row % TOKENS, row, first, 0);
        assert_product(f, y, ld, TOKENS - 1, first + n - 1, first, 0);
        assert_true(y[n] == 1.0f && y[(TOKENS - 1) * ld + n] == 1.0f); /* between rows */
        bl_free(y);
    }
}

static void adding_adds(void **state)
{
    const struct fixture *f = *state;
    float *y = multiply(f, 6000, 2000, 2000, true, 2);

    for (uint64_t row = 6000; row < 8000; row++)
        assert_product(f, y, 2000, row % TOKENS, row, 6000, 1);
    bl_free(y);
}

static void threads_do_not_change_a_bit(void **state)
{
    const struct fixture *f = *state;
    float *one = multiply(f, 5, 8000, 8000, false, 1);

    for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
        float *more = multiply(f, 5, 8000, 8000, false, n_threads);

        assert_memory_equal(one, more, (size_t)TOKENS * 8000 * sizeof(*one));
        bl_free(more);
    }
    bl_free(one);
}

static void slabs_are_whole_units_of_bounded_size(void **state)
{
    static const struct {
        uint64_t cols, unit, slab, piece;
    } rows[] = {
        { 7168, 1, 576, 36 },     /* BF16 */
        { 7168, 128, 512, 128 },  /* FP8 blocks */
        { 2048, 128, 2048, 128 }, /* an expert's down projection */
        { 512, 256, 8192, 512 },  /* heads of kv_b */
        { 7168, 4096, 576, 36 },  /* a unit longer than a slab: cut it */
        { 1 << 24, 1, 1, 1 },     /* a row longer than a slab */
        { 1, 1, 4194304, 262144 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const bl_tensor t = { .n_cols = rows[i].cols, .row_unit = rows[i].unit };

        assert_int_equal(bl_slab_rows(&t), rows[i].slab);
        assert_int_equal(bl_slab_piece_rows(&t), rows[i].piece);
        assert_int_equal(bl_slab_rows(&t) % bl_slab_piece_rows(&t), 0);
        assert_int_equal(bl_slab_end(&t, rows[i].slab + rows[i].slab / 2, UINT64_MAX),
                         2 * rows[i].slab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_a_range_is_multiplied_once),
        cmocka_unit_test(adding_adds),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(slabs_are_whole_units_of_bounded_size),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
