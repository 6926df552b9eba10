/*
 * test_init_random.c - random students: the numbers are normal, of the right size, and the same however they are
 * read; shapes that make no sense are refused. And tokenizers that differ.
 */
#include "base/alloc.h"
#include "distill/init/init.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_ckpt *nano, *toy;

static void must(bl_status rc, const struct bl_err *err)
{
    if (rc != BL_OK)
        fail_msg("%s", err->text);
}

static int open_models(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    if (bl_ckpt_open(&nano, "data/nano-r1", &err) == BL_OK &&
        bl_ckpt_open(&toy, "data/toy-qwen2", &err) == BL_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_models(void **state)
{
    (void)state;
    bl_ckpt_close(toy);
    bl_ckpt_close(nano);
    return 0;
}

static const bl_init_shape grouped = { .family = "qwen2",
                                       .hidden = 64,
                                       .n_layers = 8,
                                       .n_heads = 4,
                                       .n_kv_heads = 2,
                                       .intermediate = 96 };
static const bl_init_shape latent = { .family = "deepseek",
                                      .hidden = 64,
                                      .n_layers = 2,
                                      .n_heads = 4,
                                      .intermediate = 96,
                                      .q_lora = 32,
                                      .kv_lora = 32,
                                      .nope = 16,
                                      .rope = 16,
                                      .v = 24 };

static bl_ckpt *open_random(const bl_init_shape *shape, uint64_t seed)
{
    struct bl_err err = { 0 };
    bl_ckpt *student = NULL;

    must(bl_init_random_open(&student, shape, seed, nano, &err), &err);
    return student;
}

static float *read_tensor(uint64_t *n, const bl_ckpt *ckpt, const char *name)
{
    struct bl_err err = { 0 };
    const bl_tensor *t = bl_ckpt_find(ckpt, name);
    float *out;

    if (!t)
        fail_msg("no tensor '%s'", name);
    out = bl_alloc((size_t)t->n_values, sizeof(*out));
    must(bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, out, &err), &err);
    *n = t->n_values;
    return out;
}

/* Mean, variance and fourth moment are those of n normal numbers of this deviation, within 5 errors. */
static void assert_normal(const bl_ckpt *ckpt, const char *name, double deviation)
{
    double m[5] = { 0 };
    uint64_t n;
    float *x = read_tensor(&n, ckpt, name);

    for (uint64_t i = 0; i < n; i++) {
        const double z = (double)x[i] / deviation;

        m[1] += z / (double)n;
        m[2] += z * z / (double)n;
        m[3] += z * z * z / (double)n;
        m[4] += z * z * z * z / (double)n;
    }
    bl_free(x);
    assert_true(fabs(m[1]) * sqrt((double)n) < 5);
    assert_true(fabs(m[2] - 1) * sqrt((double)n / 2) < 5);
    assert_true(fabs(m[3]) * sqrt((double)n / 15) < 5);
    assert_true(fabs(m[4] - 3) * sqrt((double)n / 96) < 5);
}

static void matrices_are_normal_and_what_adds_to_the_stream_is_smaller(void **state)
{
    bl_ckpt *s = open_random(&grouped, 7);

    (void)state;
    assert_normal(s, "model.embed_tokens.weight", 0.02);
    assert_normal(s, "lm_head.weight", 0.02);
    assert_normal(s, "model.layers.3.mlp.up_proj.weight", 0.02);
    assert_normal(s, "model.layers.3.self_attn.q_proj.weight", 0.02);
    assert_normal(s, "model.layers.3.mlp.down_proj.weight", 0.02 / 4);
    assert_normal(s, "model.layers.3.self_attn.o_proj.weight", 0.02 / 4);
    bl_ckpt_close(s);
}

static void norms_are_one_and_biases_zero(void **state)
{
    bl_ckpt *s = open_random(&grouped, 7);
    uint64_t n;
    float *norm = read_tensor(&n, s, "model.layers.1.input_layernorm.weight");
    float *bias = read_tensor(&n, s, "model.layers.1.self_attn.k_proj.bias");

    (void)state;
    for (uint64_t i = 0; i < n; i++) {
        assert_float_equal(norm[i], 1, 0);
        assert_float_equal(bias[i], 0, 0);
    }
    bl_free(norm);
    bl_free(bias);
    bl_ckpt_close(s);
}

static void rows_are_the_same_however_they_are_read(void **state)
{
    bl_ckpt *s = open_random(&latent, 1);
    const bl_tensor *t = bl_ckpt_find(s, "model.layers.1.self_attn.q_b_proj.weight");
    struct bl_err err = { 0 };
    uint64_t n;
    float *whole = read_tensor(&n, s, t->name), row[256];

    (void)state;
    for (uint64_t r = 0; r < t->n_rows; r++) {
        must(bl_ckpt_read_rows(s, t, r, 1, row, &err), &err);
        assert_memory_equal(row, whole + r * t->n_cols, t->n_cols * sizeof(*row));
    }
    /* also from the middle of a pair: bytes of the container */
    must(bl_container_read(bl_ckpt_container(s), 3, 12, row, 20, &err), &err);
    bl_free(whole);
    whole = read_tensor(&n, s, bl_ckpt_container(s)->stored[3].name);
    assert_memory_equal(row, whole + 3, 20);
    bl_free(whole);
    bl_ckpt_close(s);
}

static void numbers_depend_on_seed_and_name_only(void **state)
{
    bl_ckpt *a = open_random(&grouped, 7), *b = open_random(&grouped, 7),
            *c = open_random(&grouped, 8);
    const char *name = "model.layers.0.mlp.up_proj.weight";
    uint64_t n;
    float *x = read_tensor(&n, a, name), *y = read_tensor(&n, b, name),
          *z = read_tensor(&n, c, name);
    float *other = read_tensor(&n, a, "model.layers.0.mlp.gate_proj.weight");

    (void)state;
    assert_memory_equal(x, y, n * sizeof(*x));
    assert_true(memcmp(x, z, n * sizeof(*x)) != 0);
    assert_true(memcmp(x, other, n * sizeof(*x)) != 0);
    assert_float_equal(x[0], -0.008010289f, 1e-8); /* computed in Python */
    bl_free(x);
    bl_free(y);
    bl_free(z);
    bl_free(other);
    bl_ckpt_close(a);
    bl_ckpt_close(b);
    bl_ckpt_close(c);
}

static void a_latent_student_is_dense_whatever_its_configuration_says_of_experts(void **state)
{
    bl_ckpt *s = open_random(&latent, 1);
    const bl_config *c = bl_ckpt_config(s);

    (void)state;
    assert_int_equal(c->first_k_dense, 2);
    assert_int_equal(c->vocab_size, bl_ckpt_config(nano)->vocab_size);
    assert_int_equal(c->bos_token_id, bl_ckpt_config(nano)->bos_token_id);
    for (uint32_t l = 0; l < 2; l++)
        assert_false(bl_config_layer_is_moe(c, l));
    bl_ckpt_close(s);
}

static void shapes_that_are_none_are_refused(void **state)
{
    struct {
        bl_init_shape shape;
        const char *says;
    } bad[] = {
        { grouped, "'nobody' is not known" },  { grouped, "--layers is missing" },
        { grouped, "no multiple of the 5" },   { grouped, "are not for this family" },
        { grouped, "--hidden is at most" },    { latent, "--kv-lora is missing" },
        { latent, "are not for this family" }, { latent, "even" },
        { grouped, "num_key_value_heads" },
    };

    (void)state;
    bad[0].shape.family = "nobody";
    bad[1].shape.n_layers = 0;
    bad[2].shape.n_heads = 5;
    bad[3].shape.kv_lora = 8;
    bad[4].shape.hidden = 1 << 30;
    bad[5].shape.kv_lora = 0;
    bad[6].shape.head_dim = 8;
    bad[7].shape.rope = 15;
    bad[8].shape.n_kv_heads = 3;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };
        bl_ckpt *s = NULL;

        assert_true(bl_init_random_open(&s, &bad[i].shape, 1, nano, &err) != BL_OK);
        if (!strstr(err.text, bad[i].says))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].says);
    }
}

static void a_student_of_the_same_tokenizer_reads_as_the_teacher_does(void **state)
{
    bl_ckpt *s = open_random(&grouped, 1);
    struct bl_err err = { 0 };

    (void)state;
    must(bl_init_same_tokenizer(s, nano, &err), &err);
    assert_int_equal(bl_init_same_tokenizer(toy, nano, &err), BL_E_UNSUPPORTED); /* has none */
    bl_ckpt_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_are_normal_and_what_adds_to_the_stream_is_smaller),
        cmocka_unit_test(norms_are_one_and_biases_zero),
        cmocka_unit_test(rows_are_the_same_however_they_are_read),
        cmocka_unit_test(numbers_depend_on_seed_and_name_only),
        cmocka_unit_test(a_latent_student_is_dense_whatever_its_configuration_says_of_experts),
        cmocka_unit_test(shapes_that_are_none_are_refused),
        cmocka_unit_test(a_student_of_the_same_tokenizer_reads_as_the_teacher_does),
    };

    return cmocka_run_group_tests(tests, open_models, close_models);
}
