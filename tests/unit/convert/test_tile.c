/*
 * test_tile.c - which importance the rows of a tile meet, parts that are taken as they are, units of
 * several rows, and the sums of what was lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "convert/loss.h"
#include "convert/tile.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { N_COLS = 37, N_ROWS = 12 };

static bool near(double have, double want)
{
    return fabs(have - want) <= 1e-12 * fabs(want);
}

/* Value 100 row + column. */
static bl_status read_rows(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                           float *out, struct bl_err *err)
{
    (void)context;
    (void)tensor;
    (void)err;
    for (uint64_t i = row; i < row + n_rows; i++)
        for (uint64_t j = 0; j < N_COLS; j++)
            *out++ = (float)(100 * i + j);
    return BL_OK;
}

/* Importance 1 + 10 k of row k; counts how often it is asked. */
static bl_status read_importance(const void *context, const void *tensor, uint64_t row,
                                 uint64_t n_rows, float *out, struct bl_err *err)
{
    int *n_reads = *(int *const *)context;

    (void)tensor;
    (void)err;
    assert_int_equal(n_rows, 1);
    ++*n_reads;
    for (uint64_t j = 0; j < N_COLS; j++)
        out[j] = (float)(1 + 10 * row);
    return BL_OK;
}

/* Every value half a unit too large; part 1: the importance that a row met. */
static void encode(void *const out[], const bl_encode_rows *rows)
{
    float *value = out[0], *importance = out[1];

    for (uint64_t i = 0; i < rows->n_rows; i++) {
        importance[i] = rows->importance ? rows->importance[0] : 0;
        for (uint64_t j = 0; j < N_COLS; j++)
            value[i * N_COLS + j] = rows->value[i * N_COLS + j] + 0.5f;
    }
}

static const bl_encoder encoder = {
    .name = "F32", .dtype = BL_F32, .multiple = 1, .max_abs = 1e30f, .encode = encode
};

static bl_job job_of(const bl_encoder *e)
{
    return (bl_job){ .rows = { .read = read_rows, .n_cols = N_COLS },
                     .n_rows = N_ROWS,
                     .row_unit = 1,
                     .encoder = e,
                     .n_parts = 2,
                     .part = { { .n_bytes = N_ROWS * N_COLS * 4 }, { .n_bytes = N_ROWS * 4 } },
                     .unit_bytes = { N_COLS * 4, 4 } };
}

static void run(bl_tile *tile, bl_tile_work *work, const bl_job *job, uint64_t row, uint64_t n_rows)
{
    assert_int_equal(bl_tile_work_reserve(work, job, n_rows, NULL), BL_OK);
    assert_int_equal(bl_tile_reserve(tile, job, n_rows, NULL), BL_OK);
    assert_int_equal(bl_tile_encode(tile, work, job, row, n_rows, NULL), BL_OK);
}

static void rows_meet_the_importance_of_their_group(void **state)
{
    int n_reads = 0, *counter = &n_reads;
    bl_loss loss = { 0 };
    bl_job job = job_of(&encoder);
    bl_tile tile = { 0 };
    bl_tile_work work = { 0 };
    float met[7];

    (void)state;
    job.importance = (bl_rows){ read_importance, &counter, NULL, N_COLS };
    job.importance_rows = 5;
    job.loss = &loss;
    run(&tile, &work, &job, 3, 7); /* rows 3, 4 of group 0 and 5 to 9 of group 1 */
    memcpy(met, tile.part[1], sizeof(met));
    for (int i = 0; i < 7; i++)
        assert_float_equal(met[i], i < 2 ? 1 : 11, 0);
    assert_int_equal(n_reads, 2);
    assert_int_equal(tile.loss.n_values, 7 * N_COLS);
    assert_true(near(tile.loss.error, 0.25 * 7 * N_COLS));
    assert_true(near(tile.loss.h_error, 0.25 * N_COLS * (2 * 1 + 5 * 11)));
    assert_true(near((double)tile.loss.largest, 0.5));
    run(&tile, &work, &job, 9, 1); /* the same group: kept */
    assert_int_equal(n_reads, 2);
    bl_tile_release(&tile);
    bl_tile_work_release(&work);
}

static bl_status read_raw(const void *context, size_t index, uint64_t offset, void *out, size_t n,
                          struct bl_err *err)
{
    (void)context;
    (void)err;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)out)[i] = (unsigned char)(index + offset + i);
    return BL_OK;
}

/* Blocks of five rows; part 1 has two bytes for each, the last block has two rows. */
static void raw_parts_are_cut_by_units(void **state)
{
    const bl_encoder blocks = { .name = "blocks", .dtype = BL_U8, .unit_rows = 5 };
    bl_job job = job_of(&blocks);
    bl_tile tile = { 0 };
    bl_tile_work work = { 0 };
    uint64_t offset;

    (void)state;
    job.rows.read = NULL;
    job.raw = (bl_raw){ read_raw, NULL, { 0, 100 } };
    job.unit_bytes[0] = 5 * N_COLS;
    job.unit_bytes[1] = 2;
    job.part[0].n_bytes = N_ROWS * N_COLS;
    job.part[1].n_bytes = 6;
    assert_int_equal(bl_tile_part_bytes(&offset, &job, 0, 5, 7), 7 * N_COLS);
    assert_int_equal(offset, 5 * N_COLS);
    assert_int_equal(bl_tile_part_bytes(&offset, &job, 1, 5, 7), 4);
    assert_int_equal(offset, 2);
    run(&tile, &work, &job, 5, 7);
    for (int i = 0; i < 7 * N_COLS; i++)
        assert_int_equal(tile.part[0][i], (5 * N_COLS + i) & 255);
    for (int i = 0; i < 4; i++)
        assert_int_equal(tile.part[1][i], 102 + i);
    bl_tile_release(&tile);
    bl_tile_work_release(&work);
}

static void losses_add_up_and_have_their_units(void **state)
{
    const float x[4] = { 1, -2, 3, 0 }, y[4] = { 1.5f, -2, 2, 0 }, h[4] = { 2, 1, 4, 9 };
    const bl_encode_rows rows = { x, 1, 4, h };
    bl_loss a = { 0 }, b = { 0 };

    (void)state;
    assert_true(near(bl_loss_relative(&a), 0));
    bl_loss_measure(&a, &rows, y);
    bl_loss_measure(&b, &rows, y);
    bl_loss_add(&a, &b);
    assert_int_equal(a.n_values, 8);
    assert_true(near(a.error, 2 * 1.25));
    assert_true(near(a.power, 2 * 14));
    assert_true(near(a.h_error, 2 * 4.5));
    assert_true(near(a.h_power, 2 * 42));
    assert_true(near((double)a.largest, 1));
    assert_true(near(bl_loss_relative(&a), 4.5 / 42));
    assert_true(near(bl_loss_sqnr_db(&a), 10 * log10(14 / 1.25)));
    a.error = 0;
    assert_true(isinf(bl_loss_sqnr_db(&a)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_meet_the_importance_of_their_group),
        cmocka_unit_test(raw_parts_are_cut_by_units),
        cmocka_unit_test(losses_add_up_and_have_their_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
