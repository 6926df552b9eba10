/*
 * test_pipeline.c - jobs with made-up rows: the bytes and their order at any number of threads,
 * and the sentence of the first failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "convert/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_COLS = 7168, N_JOBS = 4 };

/* Output that is kept, and that fails once it holds `capacity` bytes. */
struct kept {
    unsigned char *bytes;
    size_t n, capacity;
};

static bl_status keep(void *context, const void *bytes, size_t n, struct bl_err *err)
{
    struct kept *k = context;

    if (n > k->capacity - k->n)
        return bl_fail(err, BL_E_IO, "no space");
    memcpy(k->bytes + k->n, bytes, n);
    k->n += n;
    return BL_OK;
}

/* Where a job's values are not the numbers below: one bad row, -1 = none. */
struct source {
    float first;
    int64_t infinite_row, unreadable_row;
};

static float value_at(const struct source *s, uint64_t row, uint64_t col)
{
    if ((int64_t)row == s->infinite_row && col == 5)
        return INFINITY;
    return s->first + (float)((row * 31 + col) % 1009);
}

static bl_status read_rows(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                           float *out, struct bl_err *err)
{
    const struct source *s = context;

    (void)tensor;
    for (uint64_t i = row; i < row + n_rows; i++) {
        if ((int64_t)i == s->unreadable_row)
            return bl_fail(err, BL_E_FORMAT, "row %d cannot be read", (int)i);
        for (uint64_t j = 0; j < N_COLS; j++)
            *out++ = value_at(s, i, j);
    }
    return BL_OK;
}

/* Part 0: the values. Part 1: the first value of each row. Part 2 does not depend on the rows. */
static void encode(void *const out[], const bl_encode_rows *rows)
{
    float *first = out[1];

    memcpy(out[0], rows->value, rows->n_rows * rows->n_cols * sizeof(float));
    for (uint64_t i = 0; i < rows->n_rows; i++)
        memcpy(first + i, rows->value + i * rows->n_cols, sizeof(*first));
}

static const bl_encoder encoder = {
    .name = "F32", .dtype = BL_F32, .multiple = 1, .max_abs = 1e30f, .encode = encode
};

struct fixture {
    struct source source[N_JOBS];
    bl_job job[N_JOBS];
    char name[N_JOBS][8];
    uint64_t shape[N_JOBS][2];
    bl_plan plan;
    struct kept want, have;
};

/* What must come out, written down plainly. */
static void write_expected(struct fixture *f)
{
    unsigned char *to = f->want.bytes;

    for (size_t j = 0; j < N_JOBS; j++) {
        const bl_job *job = &f->job[j];

        for (uint32_t part = 0; part < 2; part++)
            for (uint64_t row = 0; row < job->n_rows; row++)
                for (uint64_t col = 0; col < (part == 0 ? N_COLS : 1); col++, to += 4) {
                    float v = value_at(&f->source[j], row, col);

                    memcpy(to, &v, sizeof(v));
                }
        memcpy(to, job->constant[2], 16);
        to += 16;
    }
    f->want.n = (size_t)(to - f->want.bytes);
}

static int set_up(void **state)
{
    static const uint64_t n_rows[N_JOBS] = { 1, 1003, 7, 36 };
    struct fixture *f = bl_calloc(1, sizeof(*f));

    assert_non_null(f);
    for (size_t j = 0; j < N_JOBS; j++) {
        bl_job *job = &f->job[j];

        f->source[j] = (struct source){ (float)(j * 2000), -1, -1 };
        f->name[j][0] = (char)('a' + j);
        f->shape[j][0] = n_rows[j];
        f->shape[j][1] = N_COLS;
        *job = (bl_job){ .rows = { .read = read_rows, .context = &f->source[j], .n_cols = N_COLS },
                         .n_rows = n_rows[j],
                         .row_unit = 1,
                         .encoder = &encoder,
                         .n_parts = 3,
                         .unit_bytes = { 4 * N_COLS, 4, 0 },
                         .constant = { NULL, NULL, f->shape[j] } };
        for (uint32_t k = 0; k < 3; k++)
            job->part[k] = (bl_stored){ .name = f->name[j],
                                        .n_bytes = k < 2 ? n_rows[j] * job->unit_bytes[k] : 16 };
        f->want.capacity += n_rows[j] * (4 * N_COLS + 4) + 16;
    }
    f->plan = (bl_plan){ .job = f->job, .n_jobs = N_JOBS };
    f->have.capacity = f->want.capacity;
    f->want.bytes = bl_alloc(f->want.capacity, 1);
    f->have.bytes = bl_alloc(f->have.capacity, 1);
    assert_non_null(f->want.bytes);
    assert_non_null(f->have.bytes);
    write_expected(f);
    assert_int_equal(f->want.n, f->want.capacity);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    bl_free(f->want.bytes);
    bl_free(f->have.bytes);
    bl_free(f);
    return 0;
}

static bl_status run(struct fixture *f, int n_threads, struct bl_err *err)
{
    const bl_pipe_end end = { .write = keep, .context = &f->have };

    f->have.n = 0;
    return bl_pipeline_run(&f->plan, end, &(bl_pipe_options){ .n_threads = n_threads }, err);
}

static void writes_parts_and_tensors_in_order_at_any_thread_count(void **state)
{
    static const int thread_counts[] = { 1, 2, 3, 8 };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(thread_counts) / sizeof(*thread_counts); i++) {
        assert_int_equal(run(f, thread_counts[i], NULL), BL_OK);
        assert_int_equal(f->have.n, f->want.n);
        assert_memory_equal(f->have.bytes, f->want.bytes, f->want.n);
    }
}

static void names_the_tensor_whose_rows_are_bad(void **state)
{
    struct fixture *f = *state;
    struct bl_err err = { 0 };

    f->source[1].unreadable_row = 700;
    assert_int_equal(run(f, 2, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "writing 'b': row 700 cannot be read");
    f->source[1].unreadable_row = -1;
    f->source[3].infinite_row = 35;
    assert_int_equal(run(f, 2, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "writing 'd': a value of magnitude inf does not fit F32"));
}

static void stops_where_the_output_takes_no_more(void **state)
{
    struct fixture *f = *state;
    struct bl_err err = { 0 };

    for (size_t lost = 1; lost < f->want.n; lost = lost * 5 + 3) {
        f->have.capacity = f->want.n - lost;
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            assert_int_equal(run(f, n_threads, &err), BL_E_IO);
            assert_string_equal(err.text, "no space");
            assert_memory_equal(f->have.bytes, f->want.bytes, f->have.n);
        }
    }
}

static void survives_every_failed_allocation(void **state)
{
    struct fixture *f = *state;
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_alloc_fail_at(k);
        rc = run(f, 2, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_memory_equal(f->have.bytes, f->want.bytes, f->want.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_parts_and_tensors_in_order_at_any_thread_count,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_the_tensor_whose_rows_are_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_where_the_output_takes_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_every_failed_allocation, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
