/*
 * test_plan_gguf.c - what a plan for a GGUF file holds that no canonical tensor is: the divisors of
 * rotary frequencies, against the file that llama.cpp's converter wrote; plans and twins that fail.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char start[4096]; /* the folder tests/; tests that write leave it and come back */

static void leave_scratch(void)
{
    assert_int_equal(scratch_leave(NULL), 0);
    assert_int_equal(chdir(start), 0);
}

static const bl_encoder *choose_f32(const void *context, const bl_choice *choice)
{
    (void)context, (void)choice;
    return bl_cast_encoder(BL_F32);
}

static const bl_job *find_job(const bl_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_jobs; i++)
        if (strcmp(plan->job[i].part[0].name, name) == 0)
            return &plan->job[i];
    return NULL;
}

static void divisors_are_those_of_llama_cpps_converter(void **state)
{
    unsigned char bytes[8];
    float have[2];
    bl_ckpt *ckpt = NULL;
    bl_container *gguf = NULL;
    bl_plan plan = { 0 };
    const bl_job *job;
    size_t i;

    (void)state;
    assert_int_equal(bl_ckpt_open(&ckpt, "data/toy-llama", NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, ckpt, choose_f32, NULL, NULL), BL_OK);
    job = find_job(&plan, "rope_freqs.weight");
    assert_non_null(job);
    assert_int_equal(job->n_rows, 1);
    assert_int_equal(job->rows.n_cols, 2);
    assert_int_equal(job->rows.read(job->rows.context, job->rows.tensor, 0, 1, have, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&gguf, "data/gguf/toy-llama.gguf", NULL), BL_OK);
    assert_true(bl_container_find(&i, gguf, "rope_freqs.weight"));
    assert_int_equal(bl_container_read(gguf, i, 0, bytes, sizeof(bytes), NULL), BL_OK);
    for (int k = 0; k < 2; k++)
        assert_true(fabsf(have[k] / bl_load_f32(bytes + 4 * k) - 1) < 1e-6f);
    bl_container_close(gguf);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
}

/* Rows in halves become the pairs that the converter made of them, biases too. */
static void rotary_rows_become_the_converters_pairs(void **state)
{
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };

    (void)state;
    assert_int_equal(bl_ckpt_open(&ckpt, "data/gguf/pairs.gguf", NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, ckpt, choose_f32, NULL, NULL), BL_OK);
    for (size_t i = 0; i < bl_ckpt_container(ckpt)->n_stored; i++) {
        const bl_stored *t = &bl_ckpt_container(ckpt)->stored[i];
        const bl_job *job = find_job(&plan, t->name);
        unsigned char want[256];
        float have[64];

        assert_non_null(job);
        assert_true(t->n_bytes <= sizeof(want));
        assert_int_equal(
            bl_container_read(bl_ckpt_container(ckpt), i, 0, want, (size_t)t->n_bytes, NULL),
            BL_OK);
        assert_int_equal(
            job->rows.read(job->rows.context, job->rows.tensor, 0, job->n_rows, have, NULL), BL_OK);
        if (memcmp(have, want, (size_t)t->n_bytes) != 0)
            fail_msg("%s differs", t->name);
    }
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
}

/* From a GGUF file the same tensors again, the divisors among them. */
static void a_gguf_file_has_the_plan_of_its_folder(void **state)
{
    bl_ckpt *folder = NULL, *gguf = NULL;
    bl_plan a = { 0 }, b = { 0 };

    (void)state;
    assert_int_equal(bl_ckpt_open(&folder, "data/toy-llama", NULL), BL_OK);
    assert_int_equal(bl_ckpt_open(&gguf, "data/gguf/toy-llama.gguf", NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&a, folder, choose_f32, NULL, NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&b, gguf, choose_f32, NULL, NULL), BL_OK);
    assert_int_equal(a.n_stored, 21);
    assert_int_equal(b.n_stored, 21);
    for (size_t i = 0; i < a.n_stored; i++)
        assert_non_null(find_job(&b, a.stored[i].name));
    bl_plan_release(&a);
    bl_plan_release(&b);
    bl_ckpt_close(folder);
    bl_ckpt_close(gguf);
}

static void a_family_without_divisors_is_refused(void **state)
{
    static const char config[] =
        "{\"model_type\": \"qwen2\", \"hidden_size\": 24, \"intermediate_size\": 40, "
        "\"num_hidden_layers\": 2, \"vocab_size\": 50, \"max_position_embeddings\": 128, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-6, "
        "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
        "\"original_max_position_embeddings\": 32}}";
    char weights[4096];
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };

    (void)state;
    assert_non_null(realpath("data/toy-qwen2/model.safetensors", weights));
    assert_int_equal(scratch_enter(NULL), 0);
    assert_int_equal(symlink(weights, "model.safetensors"), 0);
    scratch_puts("config.json", config);
    assert_int_equal(bl_ckpt_open(&ckpt, ".", NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, ckpt, choose_f32, NULL, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "GGUF has no llama3 rotary scaling for this family"));
    assert_null(plan.job);
    bl_ckpt_close(ckpt);
    leave_scratch();
}

static void sweep(const char *path, bl_status (*make)(bl_plan *, const bl_ckpt *, bl_choose_fn,
                                                      const void *, struct bl_err *))
{
    bl_ckpt *ckpt = NULL;
    int64_t live;
    bl_status rc = BL_E_NOMEM;

    assert_int_equal(bl_ckpt_open(&ckpt, path, NULL), BL_OK);
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k++) {
        struct bl_err err = { 0 };
        bl_plan plan = { 0 };

        bl_alloc_fail_at(k);
        rc = make(&plan, ckpt, choose_f32, NULL, &err);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_plan_release(&plan);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_ckpt_close(ckpt);
}

static void every_allocation_of_a_plan_may_fail(void **state)
{
    (void)state;
    sweep("data/toy-llama", bl_plan_gguf);
    sweep("data/toy-mla", bl_plan_gguf);
    sweep("data/gguf/toy-llama.gguf", bl_plan_recast);
}

static bl_status write_twin(const bl_ckpt *ckpt, const bl_plan *plan)
{
    const bl_write_options options = { .n_threads = 1, .label = "test" };

    return bl_write_gguf_recast("twin.gguf", ckpt, plan, BL_GGUF_FILE_F32, &options, NULL);
}

static void a_twin_that_fails_leaves_no_file(void **state)
{
    bl_ckpt *ckpt = NULL, *twin = NULL;
    bl_plan plan = { 0 };
    int64_t live;

    (void)state;
    assert_int_equal(bl_ckpt_open(&ckpt, "data/gguf/toy-llama.gguf", NULL), BL_OK);
    assert_int_equal(bl_plan_recast(&plan, ckpt, choose_f32, NULL, NULL), BL_OK);
    assert_int_equal(scratch_enter(NULL), 0);
    live = bl_alloc_live();
    for (int kind = 0; kind < 2; kind++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            (kind == 0 ? bl_alloc_fail_at : bl_sink_fail_at)(k);
            rc = write_twin(ckpt, &plan);
            (kind == 0 ? bl_alloc_fail_at : bl_sink_fail_at)(0);
            assert_true(rc == BL_OK || rc == (kind == 0 ? BL_E_NOMEM : BL_E_IO));
            assert_int_equal(scratch_n_entries("."), rc == BL_OK);
            assert_int_equal(bl_alloc_live(), live);
        }
        assert_int_equal(bl_ckpt_open(&twin, "twin.gguf", NULL), BL_OK);
        assert_int_equal(bl_ckpt_n_tensors(twin), bl_ckpt_n_tensors(ckpt));
        bl_ckpt_close(twin);
        assert_int_equal(scratch_clear(NULL), 0);
    }
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    leave_scratch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divisors_are_those_of_llama_cpps_converter),
        cmocka_unit_test(rotary_rows_become_the_converters_pairs),
        cmocka_unit_test(a_gguf_file_has_the_plan_of_its_folder),
        cmocka_unit_test(every_allocation_of_a_plan_may_fail),
        cmocka_unit_test(a_twin_that_fails_leaves_no_file),
        cmocka_unit_test(a_family_without_divisors_is_refused),
    };

    return getcwd(start, sizeof(start)) ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
