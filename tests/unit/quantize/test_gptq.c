/*
 * GPTQ against independent code and against what must hold: codes equal those of the paper's
 * algorithm in numpy, uncoupled columns are rounded to nearest, and with the guard the error on
 * tokens that were held out is never above the search's.
 */
#include "gptq_inputs.h"

#include "base/alloc.h"
#include "quantize/gptq_matrix.h"
#include "quantize/hessian.h"
#include "quantize/layout_encoders.h"
#include "quantize/quant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static const char *const golden_codes[] = {
#include "gptq_codes.inc"
};

enum { GOLDEN_ROWS = 5, GOLDEN_COLS = 160, GOLDEN_TOKENS = 400 };

static float *floats(size_t n)
{
    float *x = calloc(n, sizeof(*x));

    assert_non_null(x);
    return x;
}

/* The factor of x[n_tokens][n_cols] alone. */
static void factor_of(bl_gptq_factor *f, const float *x, size_t n_tokens, size_t n_cols,
                      double damping)
{
    bl_hessian h = { 0 };
    int tries = 0;

    assert_int_equal(bl_hessian_init(&h, n_cols, BL_HESSIAN_SUM, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&h, x, n_cols, n_tokens, 2, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 2, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_init(f, n_cols, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_set(f, &h, NULL, 0, 2, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, f, damping, 2, NULL), BL_OK);
    assert_int_equal(tries, 1);
    bl_hessian_release(&h);
}

/* w encoded by `type`, then its codes by GPTQ: code[n_rows][n_cols], and the decoded rows. */
static void run_gptq(uint8_t *code, float *decoded, const bl_code_grid_type *type,
                     const bl_gptq_factor *f, const float *w, size_t n_rows)
{
    const size_t n = f->n;
    bl_code_grid grid;
    bl_gptq_tile tile;
    unsigned char *blocks = malloc(n * 4), *scales = malloc(n * 4);
    float *offset = floats(n), *step = floats(n);
    void *const part[BL_JOB_MAX_PARTS] = { blocks, scales };

    assert_int_equal(bl_code_grid_init(&grid, type, NULL), BL_OK);
    assert_int_equal(bl_gptq_tile_init(&tile, n + 3, NULL), BL_OK);
    for (size_t r = 0; r < n_rows; r++) {
        const bl_encode_rows row = { .value = w + r * n, .n_rows = 1, .n_cols = n };

        bl_code_grid_encode(part, &grid, &row);
        bl_code_grid_of_row(offset, step, &grid, part, n);
        bl_gptq_tile_set(&tile, f, r, 1, w + r * n, offset, step);
    }
    bl_gptq_tile_run(&tile, f, &grid, n_rows);
    for (size_t r = 0; r < n_rows; r++) {
        const bl_encode_rows row = { .value = w + r * n, .n_rows = 1, .n_cols = n };

        bl_gptq_tile_codes(code + r * n, &tile, f, r);
        bl_code_grid_encode(part, &grid, &row);
        bl_code_grid_put_row(blocks, &grid, code + r * n, n);
        bl_code_grid_decode(decoded + r * n, &grid, part, 1, n);
    }
    bl_gptq_tile_release(&tile);
    free(blocks);
    free(scales);
    free(offset);
    free(step);
}

static void codes_are_those_of_the_papers_algorithm(void **state)
{
    float *x = floats((size_t)GOLDEN_TOKENS * GOLDEN_COLS), w[GOLDEN_ROWS * GOLDEN_COLS],
          decoded[GOLDEN_ROWS * GOLDEN_COLS];
    uint8_t code[GOLDEN_ROWS * GOLDEN_COLS];
    bl_gptq_factor f = { 0 };

    (void)state;
    make_inputs(x, GOLDEN_TOKENS, GOLDEN_COLS, 1);
    make_weights(w, sizeof(w) / sizeof(*w), 2);
    factor_of(&f, x, GOLDEN_TOKENS, GOLDEN_COLS, 0.05);
    run_gptq(code, decoded, &q4_0_type, &f, w, GOLDEN_ROWS);
    for (size_t r = 0; r < GOLDEN_ROWS; r++)
        for (size_t j = 0; j < GOLDEN_COLS; j++)
            assert_int_equal("0123456789abcdef"[code[r * GOLDEN_COLS + j]], golden_codes[r][j]);
    bl_gptq_factor_release(&f);
    free(x);
}

static void uncoupled_columns_are_rounded_to_nearest(void **state)
{
    static const bl_code_grid_type *const type[] = { &q4_0_type, &nl_type };
    enum { N = 288, R = 37 };
    float *x = floats((size_t)N * N), *w = floats((size_t)R * N), *decoded = floats((size_t)R * N);
    uint8_t *code = malloc((size_t)R * N);
    bl_gptq_factor f = { 0 };

    (void)state;
    make_weights(w, (size_t)R * N, 3);
    for (size_t i = 0; i < N; i++)
        x[i * N + i] = (float)(1 + i % 5);
    factor_of(&f, x, N, N, 0.01);
    for (size_t k = 0; k < 2; k++) {
        unsigned char blocks[N / 32 * 18];
        void *const part[BL_JOB_MAX_PARTS] = { blocks };
        bl_code_grid grid;

        assert_int_equal(bl_code_grid_init(&grid, type[k], NULL), BL_OK);
        run_gptq(code, decoded, type[k], &f, w, R);
        for (size_t r = 0; r < R; r++) {
            const bl_encode_rows row = { .value = w + r * N, .n_rows = 1, .n_cols = N };
            float value[16][N];
            uint8_t same[N];

            bl_code_grid_encode(part, &grid, &row);
            for (int c = 0; c < 16; c++) {
                memset(same, c, sizeof(same));
                bl_code_grid_put_row(blocks, &grid, same, N);
                bl_code_grid_decode(value[c], &grid, part, 1, N);
            }
            for (size_t j = 0; j < N; j++)
                for (int c = 0; c < 16; c++) /* but for a tie that rounding may break either way */
                    assert_true(fabsf(decoded[r * N + j] - w[r * N + j]) <=
                                fabsf(value[c][j] - w[r * N + j]) + 1e-6f);
        }
    }
    bl_gptq_factor_release(&f);
    free(x);
    free(w);
    free(decoded);
    free(code);
}

/* tr(D H D^T) with H from x, D = a - b; the sum that GPTQ makes small. */
static double output_error(const float *a, const float *b, size_t n_rows, const float *x,
                           size_t n_tokens, size_t n)
{
    double error = 0;

    for (size_t r = 0; r < n_rows; r++)
        for (size_t t = 0; t < n_tokens; t++) {
            double y = 0;

            for (size_t j = 0; j < n; j++)
                y += ((double)a[r * n + j] - (double)b[r * n + j]) * (double)x[t * n + j];
            error += y * y;
        }
    return error;
}

struct matrix {
    bl_gptq_matrix m;
    bl_code_grid grid;
    bl_gptq_factor factor;
    bl_hessian h;
    float *x, *w, *importance;
};

/* Blocks, or packed words and scales of groups. */
static void set_row_bytes(bl_gptq_matrix *m)
{
    const bl_encoder *e = m->grid->type->encoder;
    const bl_dtype_traits *t = bl_dtype_traits_of(e->dtype);

    m->n_parts = e->in_parts ? 2 : 1;
    m->row_bytes[0] =
        e->in_parts ? m->rows.n_cols / 2 : m->rows.n_cols / t->block_len * t->block_bytes;
    m->row_bytes[1] = m->rows.n_cols / e->multiple * 2;
}

static bl_status matrix_make(struct matrix *t, const bl_code_grid_type *type, size_t n_tokens,
                             size_t n_rows, size_t n, uint64_t seed)
{
    int tries = 0;
    bl_status rc;

    *t = (struct matrix){ .x = floats(n_tokens * n),
                          .w = floats(n_rows * n),
                          .importance = floats(n) };
    make_inputs(t->x, n_tokens, n, seed);
    make_weights(t->w, n_rows * n, seed + 1);
    rc = bl_code_grid_init(&t->grid, type, NULL);
    if (rc == BL_OK)
        rc = bl_hessian_init(&t->h, n, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, NULL);
    if (rc == BL_OK)
        rc = bl_hessian_add(&t->h, t->x, n, n_tokens, 2, NULL);
    if (rc == BL_OK)
        rc = bl_hessian_finish(&t->h, 2, NULL);
    if (rc == BL_OK)
        rc = bl_gptq_factor_init(&t->factor, n, NULL);
    if (rc == BL_OK)
        rc = bl_gptq_factor_set(&t->factor, &t->h, NULL, 0, 2, NULL);
    if (rc == BL_OK)
        rc = bl_gptq_factor_make(&tries, &t->factor, bl_hessian_damping(n_tokens, n), 2, NULL);
    if (rc != BL_OK)
        return rc;
    bl_hessian_importance(t->importance, &t->h, NULL);
    t->m = (bl_gptq_matrix){ .rows = { read_memory, t->w, &t->m.rows, n },
                             .n_rows = n_rows,
                             .grid = &t->grid,
                             .importance = t->importance,
                             .factor = &t->factor,
                             .held = t->h.held,
                             .n_held = t->h.n_held };
    set_row_bytes(&t->m);
    return bl_gptq_matrix_init(&t->m, NULL);
}

static void matrix_free(struct matrix *t)
{
    bl_gptq_matrix_release(&t->m);
    bl_hessian_release(&t->h);
    bl_gptq_factor_release(&t->factor);
    free(t->x);
    free(t->w);
    free(t->importance);
}

static bl_status run_tiles(struct matrix *t)
{
    bl_gptq_work work = { 0 };
    bl_status rc = bl_gptq_work_init(&work, (size_t)t->m.rows.n_cols, NULL);

    for (size_t i = 0; i < bl_gptq_matrix_tiles(&t->m) && rc == BL_OK; i++)
        rc = bl_gptq_matrix_run(&t->m, i, &work, NULL);
    bl_gptq_work_release(&work);
    return rc;
}

static float *decode(struct matrix *t, unsigned char *const part[])
{
    float *out = floats((size_t)t->m.n_rows * t->factor.n);
    void *const all[BL_JOB_MAX_PARTS] = { part[0], part[1] };

    bl_code_grid_decode(out, &t->grid, all, t->m.n_rows, t->factor.n);
    return out;
}

/* Whatever type, tokens and seed: what the guard accepts is better on the tokens held out. */
static void check_type(const bl_code_grid_type *type)
{
    static const size_t n_tokens[] = { 40, 200, 1500 };
    enum { N = 256, R = 150 };
    unsigned n_accepted = 0;

    for (size_t s = 0; s < 3; s++) {
        struct matrix t;
        bl_gptq_verdict v;
        float *search, *gptq;
        double a, b;

        assert_int_equal(matrix_make(&t, type, n_tokens[s], R, N, 10 + s), BL_OK);
        assert_int_equal(run_tiles(&t), BL_OK);
        v = bl_gptq_matrix_judge(&t.m);
        search = decode(&t, t.m.search);
        gptq = decode(&t, t.m.gptq);
        a = output_error(t.w, search, R, t.h.held, t.h.n_held, N);
        b = output_error(t.w, gptq, R, t.h.held, t.h.n_held, N);
        assert_true(fabs(a - v.search_error) <= 1e-4 * a);
        assert_true(fabs(b - v.gptq_error) <= 1e-4 * b);
        assert_true(v.accepted == (v.gptq_error < v.search_error));
        n_accepted += v.accepted;
        if (n_tokens[s] == 1500) /* enough of them: it must be worth it, and not by a little */
            assert_true(v.gptq_error < 0.7 * v.search_error);
        free(search);
        free(gptq);
        matrix_free(&t);
    }
    assert_true(n_accepted > 0);
}

static void what_the_guard_accepts_is_better_on_held_out_tokens(void **state)
{
    bl_code_grid_type int4;

    (void)state;
    check_type(&q4_0_type);
    check_type(&nl_type);
    assert_true(bl_code_grid_type_of(
        &int4, bl_encoder_int4(BL_FOLDER_CT_INT4, false, BL_METHOD_SEARCH, 128)));
    check_type(&int4);
}

static void every_type_of_the_table_gains(void **state)
{
    (void)state;
    for (size_t i = 0; i < bl_quant_count(); i++) {
        bl_code_grid_type type;

        if (bl_code_grid_type_of(&type, &bl_quant_at(i)->encoder[BL_METHOD_SEARCH]))
            check_type(&type);
    }
}

static void without_a_factor_only_the_search_encodes(void **state)
{
    struct matrix t;

    (void)state;
    assert_int_equal(matrix_make(&t, &q4_0_type, 100, 130, 64, 5), BL_OK);
    bl_gptq_matrix_release(&t.m);
    t.m = (bl_gptq_matrix){ .rows = { read_memory, t.w, &t.m.rows, 64 },
                            .n_rows = 130,
                            .grid = &t.grid };
    set_row_bytes(&t.m);
    assert_int_equal(bl_gptq_matrix_init(&t.m, NULL), BL_OK);
    assert_int_equal(run_tiles(&t), BL_OK);
    assert_false(bl_gptq_matrix_judge(&t.m).accepted);
    assert_null(t.m.gptq[0]);
    matrix_free(&t);
}

static void a_value_that_does_not_fit_the_type_is_refused(void **state)
{
    struct matrix t;

    (void)state;
    assert_int_equal(matrix_make(&t, &q4_0_type, 100, 130, 64, 5), BL_OK);
    t.w[129 * 64 + 7] = 2e5f;
    assert_int_equal(run_tiles(&t), BL_E_UNSUPPORTED);
    matrix_free(&t);
}

static void any_allocation_may_fail(void **state)
{
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        int64_t live = bl_alloc_live();
        struct matrix t;

        bl_alloc_fail_at(k);
        rc = matrix_make(&t, &q4_0_type, 50, 20, 32, 5);
        if (rc == BL_OK)
            rc = run_tiles(&t);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        matrix_free(&t);
        assert_true(bl_alloc_live() == live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_papers_algorithm),
        cmocka_unit_test(uncoupled_columns_are_rounded_to_nearest),
        cmocka_unit_test(what_the_guard_accepts_is_better_on_held_out_tokens),
        cmocka_unit_test(every_type_of_the_table_gains),
        cmocka_unit_test(without_a_factor_only_the_search_encodes),
        cmocka_unit_test(a_value_that_does_not_fit_the_type_is_refused),
        cmocka_unit_test(any_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
