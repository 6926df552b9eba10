/* test_view.c - the layout changes against their index formulas, and back. */
#include "base/alloc.h"
#include "formats/view/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { HEADS = 3, NOPE = 4, V = 5, LORA = 7, PER_HEAD = NOPE + V };

static const bl_kv_b shape = { NOPE, V, LORA };

/* A matrix in memory whose element [i][j] is 100 i + j, or any other array. */
struct matrix {
    const float *value;
    uint64_t n_rows, n_cols;
};

static bl_status read_matrix(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                             float *out, struct bl_err *err)
{
    const struct matrix *m = context;

    (void)tensor;
    (void)err;
    assert_true(row + n_rows <= m->n_rows);
    memcpy(out, m->value + row * m->n_cols, (size_t)(n_rows * m->n_cols) * sizeof(*out));
    return BL_OK;
}

static bl_rows rows_of(const struct matrix *m)
{
    return (bl_rows){ read_matrix, m, NULL, m->n_cols };
}

static void fill(float *value, size_t n_rows, size_t n_cols)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n_cols; j++)
            value[i * n_cols + j] = (float)(100 * i + j);
}

static float kv_b[HEADS * PER_HEAD][LORA];
static float k_b[HEADS][LORA][NOPE];
static float v_b[HEADS][V][LORA];

static void split(void)
{
    const struct matrix m = { &kv_b[0][0], HEADS * PER_HEAD, LORA };
    const bl_rows from = rows_of(&m);
    struct bl_err err;

    fill(&kv_b[0][0], HEADS * PER_HEAD, LORA);
    assert_int_equal(bl_view_k_b(&from, shape, 0, HEADS * LORA, &k_b[0][0][0], &err), BL_OK);
    assert_int_equal(bl_view_v_b(&from, shape, 0, HEADS * V, &v_b[0][0][0], &err), BL_OK);
}

static void splits_kv_b_by_head_and_transposes_the_k_part(void **state)
{
    (void)state;
    split();
    for (int h = 0; h < HEADS; h++) {
        for (int l = 0; l < LORA; l++)
            for (int n = 0; n < NOPE; n++)
                assert_true(k_b[h][l][n] == kv_b[h * PER_HEAD + n][l]);
        for (int i = 0; i < V; i++)
            for (int l = 0; l < LORA; l++)
                assert_true(v_b[h][i][l] == kv_b[h * PER_HEAD + NOPE + i][l]);
    }
}

static void puts_kv_b_together_again_from_any_row_range(void **state)
{
    const struct matrix k = { &k_b[0][0][0], HEADS * LORA, NOPE };
    const struct matrix v = { &v_b[0][0][0], HEADS * V, LORA };
    const bl_rows k_rows = rows_of(&k), v_rows = rows_of(&v);

    (void)state;
    split();
    for (uint64_t row = 0; row < HEADS * PER_HEAD; row++) {
        for (uint64_t n = 1; row + n <= HEADS * PER_HEAD; n++) {
            float back[HEADS * PER_HEAD][LORA];
            struct bl_err err;

            assert_int_equal(bl_view_kv_b(&k_rows, &v_rows, shape, row, n, &back[0][0], &err),
                             BL_OK);
            assert_memory_equal(back, kv_b[row], n * sizeof(kv_b[0]));
        }
    }
}

static void reads_any_row_range_of_the_parts(void **state)
{
    const struct matrix m = { &kv_b[0][0], HEADS * PER_HEAD, LORA };
    const bl_rows from = rows_of(&m);
    float rows[HEADS * LORA][NOPE];
    struct bl_err err;

    (void)state;
    split();
    for (uint64_t row = 0; row < HEADS * LORA; row++) {
        uint64_t n = HEADS * LORA - row;

        assert_int_equal(bl_view_k_b(&from, shape, row, n, &rows[0][0], &err), BL_OK);
        assert_memory_equal(rows, &k_b[0][0][0] + row * NOPE, n * sizeof(rows[0]));
    }
}

static void interleaves_rotary_halves_and_back(void **state)
{
    enum { D = 6, N = 2 * D, COLS = 3 };
    float hf[N][COLS], gguf[N][COLS], back[N][COLS];
    const struct matrix a = { &hf[0][0], N, COLS }, b = { &gguf[0][0], N, COLS };
    const bl_rows from_hf = rows_of(&a), from_gguf = rows_of(&b);
    struct bl_err err;

    (void)state;
    fill(&hf[0][0], N, COLS);
    assert_int_equal(bl_view_rope_pairs(&from_hf, D, true, 0, N, &gguf[0][0], &err), BL_OK);
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < D / 2; i++) /* reshape (2, D/2), swap, flatten (D/2, 2) */
            for (int j = 0; j < 2; j++)
                assert_memory_equal(gguf[h * D + 2 * i + j], hf[h * D + j * D / 2 + i],
                                    sizeof(hf[0]));
    assert_int_equal(bl_view_rope_pairs(&from_gguf, D, false, 0, N, &back[0][0], &err), BL_OK);
    assert_memory_equal(back, hf, sizeof(hf));
}

static void interleaves_a_bias_as_the_rows_it_belongs_to(void **state)
{
    enum { D = 4, N = 2 * D };
    static const float hf[N] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    static const float expected[N] = { 0, 2, 1, 3, 4, 6, 5, 7 };
    float gguf[N], back[N];
    const struct matrix a = { hf, 1, N }, b = { gguf, 1, N };
    const bl_rows from_hf = rows_of(&a), from_gguf = rows_of(&b);
    struct bl_err err;

    (void)state;
    assert_int_equal(bl_view_rope_pairs_of_bias(&from_hf, D, true, gguf, &err), BL_OK);
    assert_memory_equal(gguf, expected, sizeof(expected));
    assert_int_equal(bl_view_rope_pairs_of_bias(&from_gguf, D, false, back, &err), BL_OK);
    assert_memory_equal(back, hf, sizeof(hf));
}

static void reports_a_head_that_does_not_fit_memory(void **state)
{
    const struct matrix m = { &kv_b[0][0], HEADS * PER_HEAD, LORA };
    const bl_rows from = rows_of(&m);
    float row[NOPE];
    struct bl_err err = { 0 };

    (void)state;
    bl_alloc_fail_at(1);
    assert_int_equal(bl_view_k_b(&from, shape, 0, 1, row, &err), BL_E_NOMEM);
    bl_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_kv_b_by_head_and_transposes_the_k_part),
        cmocka_unit_test(puts_kv_b_together_again_from_any_row_range),
        cmocka_unit_test(reads_any_row_range_of_the_parts),
        cmocka_unit_test(interleaves_rotary_halves_and_back),
        cmocka_unit_test(interleaves_a_bias_as_the_rows_it_belongs_to),
        cmocka_unit_test(reports_a_head_that_does_not_fit_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
