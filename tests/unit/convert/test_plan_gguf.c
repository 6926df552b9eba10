/*
 * test_plan_gguf.c - what a plan for a GGUF file holds that no canonical tensor is: the divisors of
 * rotary frequencies, against the file that llama.cpp's converter wrote; and plans that fail.
 */
#include "base/alloc.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
    assert_int_equal(scratch_leave(NULL), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divisors_are_those_of_llama_cpps_converter),
        cmocka_unit_test(a_gguf_file_has_the_plan_of_its_folder),
        cmocka_unit_test(every_allocation_of_a_plan_may_fail),
        cmocka_unit_test(a_family_without_divisors_is_refused), /* leaves the folder: last */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
