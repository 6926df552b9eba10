/*
 * test_budget_plan.c - files of a given size: their bytes, what their tensors are, and the errors
 * from a sample against those of the whole.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "convert/cast.h"
#include "convert/loss.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "quantize/budget_error.h"
#include "quantize/budget_plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

static char nano[PATH_MAX];

static int enter(void **state)
{
    if (!realpath("data/nano-r1", nano))
        return -1;
    return scratch_enter(state);
}

static const bl_encoder *choose_f32(const void *context, const bl_choice *choice)
{
    (void)context, (void)choice;
    return bl_cast_encoder(BL_F32);
}

static const bl_dtype types[] = { BL_Q4_0, BL_Q8_0, BL_BF16 };

static bl_allocation_options plain(void)
{
    return (bl_allocation_options){
        .method = BL_METHOD_PLAIN, .type = types, .n_types = 3, .n_threads = 2
    };
}

struct model {
    bl_ckpt *ckpt;
    bl_plan plan; /* all F32 */
    bl_allocation allocation;
};

static void open_model(struct model *m, const bl_allocation_options *options)
{
    struct bl_err err = { 0 };

    *m = (struct model){ 0 };
    assert_int_equal(bl_ckpt_open(&m->ckpt, nano, NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&m->plan, m->ckpt, choose_f32, NULL, NULL), BL_OK);
    if (bl_allocation_init(&m->allocation, m->ckpt, &m->plan, options, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static void close_model(struct model *m)
{
    bl_allocation_release(&m->allocation);
    bl_plan_release(&m->plan);
    bl_ckpt_close(m->ckpt);
}

/* Write the solved allocation; bytes of the file. The plan comes back with its losses. */
static uint64_t write_solved(bl_plan *plan, const struct model *m)
{
    const bl_write_options options = { .force = true, .n_threads = 1, .label = "test" };
    struct stat st;

    assert_int_equal(bl_plan_gguf(plan, m->ckpt, bl_allocation_choose, &m->allocation, NULL),
                     BL_OK);
    assert_int_equal(bl_plan_want_loss(plan, NULL), BL_OK);
    assert_int_equal(bl_write_gguf("x.gguf", m->ckpt, plan, BL_GGUF_FILE_Q4_0, &options, NULL),
                     BL_OK);
    assert_int_equal(stat("x.gguf", &st), 0);
    return (uint64_t)st.st_size;
}

static void the_file_has_the_bytes_that_were_said_and_no_more_than_allowed(void **state)
{
    static const uint64_t sizes[] = { 3300000, 4000000, 5000001, 6543210, 20000000 };
    const bl_allocation_options options = plain();
    struct model m;
    double last = 1e300;

    (void)state;
    open_model(&m, &options);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        bl_plan plan = { 0 };

        assert_int_equal(bl_allocation_solve(&m.allocation, sizes[i], NULL), BL_OK);
        assert_true(m.allocation.file_bytes <= sizes[i]);
        assert_true(m.allocation.result.loss < last);
        last = m.allocation.result.loss;
        assert_int_equal(write_solved(&plan, &m), m.allocation.file_bytes);
        for (size_t k = 0; k < plan.n_jobs; k++) {
            assert_int_equal(plan.job[k].encoder->dtype, m.allocation.tensor[k].dtype);
            assert_int_equal(plan.job[k].part[0].n_bytes, m.allocation.tensor[k].bytes);
        }
        bl_plan_release(&plan);
    }
    close_model(&m);
}

static void sampled_errors_are_those_of_the_whole_tensor(void **state)
{
    bl_allocation_options options = plain();
    bl_plan plan = { 0 };
    struct model m;

    (void)state;
    options.n_types = 1;
    open_model(&m, &options);
    assert_int_equal(bl_allocation_solve(&m.allocation, UINT64_MAX, NULL), BL_OK);
    write_solved(&plan, &m);
    for (size_t k = 0; k < plan.n_jobs; k++) {
        const bl_allocation_tensor *t = &m.allocation.tensor[k];
        double whole = bl_loss_relative(plan.job[k].loss);

        if (!t->is_free)
            continue;
        if (fabs(t->error - whole) > 0.12 * whole)
            fail_msg("%s: sampled %g, whole %g", t->name, t->error, whole);
    }
    bl_plan_release(&plan);
    close_model(&m);
}

static void types_by_name_stand_and_norms_and_router_stay_f32(void **state)
{
    const char *const arguments[] = { "output.weight=bf16", "blk.1.*=q8_0" };
    bl_tensor_rules rules = { 0 };
    bl_allocation_options options = plain();
    struct model m;

    (void)state;
    assert_int_equal(bl_tensor_rules_parse(&rules, arguments, 2, NULL), BL_OK);
    options.rules = &rules;
    open_model(&m, &options);
    assert_int_equal(bl_allocation_solve(&m.allocation, 6000000, NULL), BL_OK);
    for (size_t k = 0; k < m.allocation.n_tensors; k++) {
        const bl_allocation_tensor *t = &m.allocation.tensor[k];

        if (t->role == BL_ROLE_NORM || t->role == BL_ROLE_ROUTER)
            assert_int_equal(t->dtype, BL_F32);
        else if (t->role == BL_ROLE_HEAD)
            assert_int_equal(t->dtype, BL_BF16);
        else if (t->layer == 1)
            assert_int_equal(t->dtype, BL_Q8_0);
        else
            assert_true(t->is_free);
    }
    assert_int_equal(m.allocation.tensor[0].layer, -1);
    close_model(&m);
    bl_tensor_rules_release(&rules);
}

/* What hurts most by measurement is kept best; halves of kv_b share what was measured of it. */
static void measured_sensitivities_decide(void **state)
{
    bl_allocation_options options = plain();
    bl_sensitivity s = { .arch = bl_arch_by_gguf_name("deepseek2"),
                         .n_layers = 3,
                         .reference = BL_Q4_0 };
    const size_t n = 4 * s.arch->n_rows;
    size_t n_others = 0, n_least = 0;
    struct model m;

    (void)state;
    s.kl = bl_alloc(n, sizeof(*s.kl));
    assert_non_null(s.kl);
    for (size_t i = 0; i < n; i++)
        s.kl[i] = i / s.arch->n_rows == 2 ? 0.5 : 0.001;
    options.sensitivity = &s;
    open_model(&m, &options);
    assert_true(m.allocation.in_nats);
    assert_int_equal(bl_allocation_solve(&m.allocation, 4200000, NULL), BL_OK);
    for (size_t k = 0; k < m.allocation.n_items; k++) {
        const bl_allocation_tensor *t = &m.allocation.tensor[m.allocation.tensor_of[k]];

        assert_true(t->layer != 2 || t->dtype != BL_Q4_0);
        n_others += t->layer != 2;
        n_least += t->layer != 2 && t->dtype == BL_Q4_0;
        if (t->layer == 2 || t->dtype != BL_Q4_0)
            continue;
        if (strstr(t->name, "attn_k_b") || strstr(t->name, "attn_v_b"))
            assert_true(fabs(t->loss - 0.0005) < 1e-9);
        else
            assert_true(fabs(t->loss - 0.001) < 1e-9);
    }
    assert_true(n_least > 5 && n_others > 15);
    close_model(&m);
    bl_free(s.kl);
}

static void bits_per_weight_become_bytes_and_too_few_are_refused(void **state)
{
    const bl_allocation_options options = plain();
    struct bl_err err = { 0 };
    struct model m;
    uint64_t bytes = 0, tensors = 0;

    (void)state;
    open_model(&m, &options);
    bytes = bl_allocation_bytes_at(&m.allocation, 6.0);
    assert_int_equal(bl_allocation_solve(&m.allocation, bytes, NULL), BL_OK);
    for (size_t k = 0; k < m.allocation.n_tensors; k++)
        tensors += m.allocation.tensor[k].bytes;
    assert_true(8.0 * (double)tensors / (double)m.allocation.n_values <= 6.0);
    assert_true(8.0 * (double)tensors / (double)m.allocation.n_values > 5.95);
    assert_int_equal(bl_allocation_solve(&m.allocation, 3000000, &err), BL_E_USAGE);
    assert_int_equal(bl_allocation_solve(&m.allocation, 1000, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "more than 1000"));
    close_model(&m);
}

static void samples_are_few_apart_and_in_every_expert(void **state)
{
    static const struct {
        uint64_t n_rows, n_cols, n_samples;
    } cases[] = { { 256 * 2048, 7168, 292 },
                  { 256 * 7168, 2048, 1024 },
                  { 129280, 7168, 292 },
                  { 576, 7168, 32 },
                  { 7, 64, 7 },
                  { 10000, 128, 303 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const bl_job job = { .n_rows = cases[i].n_rows, .rows = { .n_cols = cases[i].n_cols } };
        const uint64_t n = bl_budget_n_samples(&job);
        uint64_t last = 0;

        assert_int_equal(n, cases[i].n_samples);
        for (uint64_t k = 0; k < n; k++) {
            uint64_t row = bl_budget_sample(&job, n, k);

            assert_true(row < job.n_rows && (k == 0 || row > last));
            assert_true(k == 0 || row - last < 2 * (job.n_rows / n + 1));
            last = row;
        }
    }
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    bl_allocation_options options = plain();
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_status rc = BL_E_NOMEM;
    int64_t live;

    (void)state;
    options.n_threads = 1;
    assert_int_equal(bl_ckpt_open(&ckpt, nano, NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, ckpt, choose_f32, NULL, NULL), BL_OK);
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 4) {
        bl_allocation a = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_allocation_init(&a, ckpt, &plan, &options, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_allocation_release(&a);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_has_the_bytes_that_were_said_and_no_more_than_allowed),
        cmocka_unit_test(sampled_errors_are_those_of_the_whole_tensor),
        cmocka_unit_test(types_by_name_stand_and_norms_and_router_stay_f32),
        cmocka_unit_test(measured_sensitivities_decide),
        cmocka_unit_test(bits_per_weight_become_bytes_and_too_few_are_refused),
        cmocka_unit_test(samples_are_few_apart_and_in_every_expert),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
