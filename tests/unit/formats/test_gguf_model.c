/*
 * test_gguf_model.c - the network and the canonical tensors of GGUF files by llama.cpp's converter,
 * against the folders that they were made from; what other metadata mean, and what is refused.
 */
#include "base/alloc.h"
#include "formats/ckpt/ckpt.h"
#include "formats/gguf/gguf_metadata.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/gguf/gguf_writer.h"
#include "tests/unit/scratch.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char data[4096]; /* the folder tests/data */

static int enter(void **state)
{
    return realpath("data", data) ? scratch_enter(state) : -1;
}

static const char *path_of(char path[4200], const char *name)
{
    snprintf(path, 4200, "%s/%s", data, name);
    return path;
}

static bl_ckpt *open_data(const char *name)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    char path[4200];

    if (bl_ckpt_open(&ckpt, path_of(path, name), &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static const struct {
    const char *gguf, *folder;
} models[] = { { "gguf/toy-llama.gguf", "toy-llama" },
               { "gguf/toy-qwen2.gguf", "toy-qwen2" },
               { "gguf/toy-mla.gguf", "toy-mla" },
               { "gguf/toy-mla-whole.gguf", "toy-mla" } };
enum { N_MODELS = sizeof(models) / sizeof(*models) };

static void assert_same_values(const bl_ckpt *a, const bl_tensor *s, const bl_ckpt *b,
                               const bl_tensor *t)
{
    float *x = bl_alloc((size_t)s->n_values, sizeof(*x));
    float *y = bl_alloc((size_t)s->n_values, sizeof(*y));

    assert_int_equal(s->n_rows, t->n_rows);
    assert_int_equal(s->n_cols, t->n_cols);
    assert_int_equal(bl_ckpt_read_rows(a, s, 0, s->n_rows, x, NULL), BL_OK);
    assert_int_equal(bl_ckpt_read_rows(b, t, 0, s->n_rows, y, NULL), BL_OK);
    if (memcmp(x, y, (size_t)s->n_values * sizeof(*x)) != 0)
        fail_msg("tensor '%s' differs", s->name);
    bl_free(x);
    bl_free(y);
}

static void canonical_tensors_are_those_of_the_folder(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        bl_ckpt *folder = open_data(models[m].folder), *gguf = open_data(models[m].gguf);

        assert_int_equal(bl_ckpt_n_tensors(gguf), bl_ckpt_n_tensors(folder));
        for (size_t i = 0; i < bl_ckpt_n_tensors(folder); i++) {
            const bl_tensor *t = bl_ckpt_tensor(folder, i);

            assert_non_null(bl_ckpt_find(gguf, t->name));
            assert_same_values(folder, t, gguf, bl_ckpt_find(gguf, t->name));
        }
        bl_ckpt_close(folder);
        bl_ckpt_close(gguf);
    }
}

static void the_network_is_that_of_the_folder(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        bl_ckpt *folder = open_data(models[m].folder), *gguf = open_data(models[m].gguf);
        const bl_config *f = bl_ckpt_config(folder), *g = bl_ckpt_config(gguf);

        assert_string_equal(f->arch->gguf_name, g->arch->gguf_name);
        assert_int_equal(f->n_layers, g->n_layers);
        assert_int_equal(f->n_heads, g->n_heads);
        assert_int_equal(f->n_kv_heads, g->n_kv_heads);
        assert_int_equal(f->head_dim, g->head_dim);
        assert_int_equal(f->qk_nope_head_dim, g->qk_nope_head_dim);
        assert_int_equal(f->v_head_dim, g->v_head_dim);
        assert_int_equal(f->vocab_size, g->vocab_size);
        assert_int_equal(f->qkv_bias, g->qkv_bias);
        assert_int_equal(f->tie_word_embeddings, g->tie_word_embeddings);
        assert_float_equal(f->rms_norm_eps, g->rms_norm_eps, 1e-12);
        assert_float_equal(f->rope_theta, g->rope_theta, 1e-3);
        bl_ckpt_close(folder);
        bl_ckpt_close(gguf);
    }
}

static void divisors_are_configuration_and_no_tensor(void **state)
{
    bl_ckpt *gguf = open_data("gguf/toy-llama.gguf");
    const bl_config *c = bl_ckpt_config(gguf);

    (void)state;
    assert_int_equal(c->rope_scaling, BL_ROPE_DIVISORS);
    assert_true(c->rope_divisors[0] == 1.0f && c->rope_divisors[1] == 8.0f);
    assert_null(bl_ckpt_find(gguf, "rope_freqs.weight"));
    bl_ckpt_close(gguf);
}

/* Heads of 8: there halves to pairs is not its own inverse. Each row holds its canonical number. */
static void rotary_rows_are_in_canonical_order(void **state)
{
    static const char *const names[] = { "model.layers.0.self_attn.q_proj.weight",
                                         "model.layers.0.self_attn.k_proj.weight",
                                         "model.layers.0.self_attn.q_proj.bias",
                                         "model.layers.0.self_attn.k_proj.bias" };
    bl_ckpt *ckpt = open_data("gguf/pairs.gguf");

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const bl_tensor *t = bl_ckpt_find(ckpt, names[i]);
        const uint64_t width = t->ndim == 2 ? t->n_cols : 1;
        float values[16 * 4] = { 0 };

        assert_true(t->n_values <= 16 * 4);
        assert_int_equal(bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, values, NULL), BL_OK);
        for (uint64_t k = 0; k < t->n_values; k++)
            if (values[k] != (float)(k / width))
                fail_msg("%s: value %u is %g", names[i], (unsigned)k, (double)values[k]);
    }
    bl_ckpt_close(ckpt);
}

/* A file made from another one, and what opening it says. */
struct change {
    const char *base;         /* in tests/data */
    const char *drop;         /* a key that is left out, */
    const char *put_u32;      /* one that is put in, */
    uint32_t u32;             /* with this value, */
    const char *put_f32;      /* and another */
    float f32;                /* */
    const char *rename[2][2]; /* tensors from, to */
    const char *zero;         /* the new name of a tensor whose data become zeros */
    const char *also;         /* a file whose tensors are added where the name is new */
    bl_status status;
    const char *says;
};

static const char *new_name(const struct change *c, const char *name)
{
    for (size_t i = 0; i < 2; i++)
        if (c->rename[i][0] && strcmp(c->rename[i][0], name) == 0)
            return c->rename[i][1];
    return name;
}

static bool adds(const bl_container *base, const bl_stored *t)
{
    size_t i;

    return !bl_container_find(&i, base, t->name);
}

static void plan(bl_gguf_writer *w, const struct change *c, const bl_stored *t)
{
    bl_gguf_plan_tensor(w, new_name(c, t->name), t->dtype, t->ndim, t->dim);
}

static void write_data(bl_gguf_writer *w, const struct change *c, const bl_container *from,
                       size_t i)
{
    const bl_stored *t = &from->stored[i];
    char *bytes = bl_alloc((size_t)t->n_bytes, 1);

    assert_int_equal(bl_container_read(from, i, 0, bytes, (size_t)t->n_bytes, NULL), BL_OK);
    if (c->zero && strcmp(c->zero, new_name(c, t->name)) == 0)
        memset(bytes, 0, (size_t)t->n_bytes);
    assert_int_equal(bl_gguf_writer_write(w, bytes, (size_t)t->n_bytes, NULL), BL_OK);
    bl_free(bytes);
}

static void put_keys(bl_gguf_writer *w, const struct change *c, const bl_gguf_meta *meta)
{
    for (size_t i = 0; i < bl_gguf_n_kv(meta); i++) {
        const bl_gguf_kv *kv = bl_gguf_kv_at(meta, i);

        if ((!c->drop || strcmp(kv->key, c->drop) != 0) &&
            (!c->put_u32 || strcmp(kv->key, c->put_u32) != 0))
            bl_gguf_put_kv(w, kv);
    }
    if (c->put_u32)
        bl_gguf_put_u32(w, c->put_u32, c->u32);
    if (c->put_f32)
        bl_gguf_put_f32(w, c->put_f32, c->f32);
}

static bl_status open_changed(bl_ckpt **out, const struct change *c, struct bl_err *err)
{
    bl_container *base = NULL, *also = NULL;
    bl_gguf_writer *w = NULL;
    char path[4200];

    assert_int_equal(bl_gguf_open(&base, path_of(path, c->base), NULL), BL_OK);
    if (c->also)
        assert_int_equal(bl_gguf_open(&also, path_of(path, c->also), NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    put_keys(w, c, bl_gguf_meta_of(base));
    for (size_t i = 0; i < base->n_stored; i++)
        plan(w, c, &base->stored[i]);
    for (size_t i = 0; also && i < also->n_stored; i++)
        if (adds(base, &also->stored[i]))
            plan(w, c, &also->stored[i]);
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", true, err), BL_OK);
    for (size_t i = 0; i < base->n_stored; i++)
        write_data(w, c, base, i);
    for (size_t i = 0; also && i < also->n_stored; i++)
        if (adds(base, &also->stored[i]))
            write_data(w, c, also, i);
    assert_int_equal(bl_gguf_writer_commit(&w, err), BL_OK);
    bl_container_close(base);
    bl_container_close(also);
    return bl_ckpt_open(out, "x.gguf", err);
}

#define LLAMA .base = "gguf/toy-llama.gguf"
#define QWEN2 .base = "gguf/toy-qwen2.gguf"
#define WHOLE .base = "gguf/toy-mla-whole.gguf"

static const struct change refused[] = {
    { LLAMA, .drop = "general.architecture", .status = BL_E_FORMAT,
      .says = "'general.architecture' is missing" },
    { LLAMA, .drop = "llama.attention.layer_norm_rms_epsilon", .status = BL_E_FORMAT,
      .says = "'llama.attention.layer_norm_rms_epsilon' is missing" },
    { LLAMA, .put_u32 = "llama.attention.head_count_kv", .u32 = 7, .status = BL_E_FORMAT,
      .says = "does not fit the number of heads" },
    { LLAMA, .put_u32 = "llama.expert_count", .u32 = 8, .status = BL_E_UNSUPPORTED,
      .says = "'llama.expert_count' is not 0" },
    { LLAMA, .put_u32 = "llama.rope.dimension_count", .u32 = 2, .status = BL_E_UNSUPPORTED,
      .says = "'llama.rope.dimension_count' is not the head dimension" },
    { LLAMA, .put_u32 = "llama.attention.value_length", .u32 = 8, .status = BL_E_UNSUPPORTED,
      .says = "'llama.attention.value_length' is not the head dimension" },
    { LLAMA, .rename = { { "token_embd.weight", "blk.0.attn_output.bias" } },
      .status = BL_E_UNSUPPORTED, .says = "tensor 'blk.0.attn_output.bias': is not handled" },
    { LLAMA, .put_f32 = "llama.rope.scaling.factor", .f32 = 2, .status = BL_E_UNSUPPORTED,
      .says = "beside another scaling" },
    { LLAMA, .zero = "rope_freqs.weight", .status = BL_E_FORMAT,
      .says = "tensor 'rope_freqs.weight': value 0 is no divisor" },
    { LLAMA,
      .rename = { { "rope_freqs.weight", "a" }, { "output_norm.weight", "rope_freqs.weight" } },
      .status = BL_E_FORMAT, .says = "tensor 'rope_freqs.weight': is not F32 [2]" },
    { QWEN2, .rename = { { "output_norm.weight", "rope_freqs.weight" } },
      .status = BL_E_UNSUPPORTED, .says = "rotary divisors in this family" },
    { QWEN2, .put_f32 = "qwen2.rope.scaling.factor", .f32 = 0.5f, .status = BL_E_FORMAT,
      .says = "has a factor below 1" },
    { WHOLE, .drop = "deepseek2.attention.key_length", .status = BL_E_FORMAT,
      .says = "'deepseek2.attention.key_length' is missing" },
    { WHOLE, .put_u32 = "deepseek2.attention.value_length", .u32 = 5, .status = BL_E_FORMAT,
      .says = "its shape is not" },
    { WHOLE, .rename = { { "blk.1.attn_kv_b.weight", "a" } }, .status = BL_E_FORMAT,
      .says = "tensor 'blk.1.attn_k_b.weight' is missing" },
};

static void refuses_what_it_would_compute_wrongly(void **state)
{
    const int64_t live = bl_alloc_live();

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct bl_err err = { 0 };
        bl_ckpt *ckpt = NULL;
        bl_status rc = open_changed(&ckpt, &refused[i], &err);

        if (rc != refused[i].status || err.status != rc || !strstr(err.text, refused[i].says) ||
            strncmp(err.text, "x.gguf: ", 8) != 0)
            fail_msg("case %zu: status %d, '%s' instead of '%s'", i, (int)rc, err.text,
                     refused[i].says);
        assert_null(ckpt);
        assert_int_equal(bl_alloc_live(), live);
    }
}

/* As llama.cpp takes them: linear where no type is said, 0 for none, a key by its old name. */
static void a_scaling_without_a_type_is_linear(void **state)
{
    static const struct {
        struct change change;
        bl_rope_scaling scaling;
        double factor;
    } cases[] = {
        { { QWEN2, .put_f32 = "qwen2.rope.scaling.factor", .f32 = 4 }, BL_ROPE_LINEAR, 4 },
        { { QWEN2, .put_f32 = "qwen2.rope.scale_linear", .f32 = 2 }, BL_ROPE_LINEAR, 2 },
        { { QWEN2, .put_f32 = "qwen2.rope.scaling.factor", .f32 = 0 }, BL_ROPE_PLAIN, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bl_ckpt *ckpt = NULL;

        assert_int_equal(open_changed(&ckpt, &cases[i].change, NULL), BL_OK);
        assert_int_equal(bl_ckpt_config(ckpt)->rope_scaling, cases[i].scaling);
        assert_true(bl_ckpt_config(ckpt)->rope_factor == cases[i].factor);
        bl_ckpt_close(ckpt);
    }
}

static void the_whole_kv_b_is_enough_where_halves_lie_beside_it(void **state)
{
    static const struct change both = { .base = "gguf/toy-mla.gguf",
                                        .also = "gguf/toy-mla-whole.gguf" };
    bl_ckpt *folder = open_data("toy-mla"), *ckpt = NULL;
    const char *name = "model.layers.1.self_attn.kv_b_proj.weight";

    (void)state;
    assert_int_equal(open_changed(&ckpt, &both, NULL), BL_OK);
    assert_int_equal(bl_ckpt_container(ckpt)->n_stored, 30 + 2);
    assert_int_equal(bl_ckpt_n_tensors(ckpt), bl_ckpt_n_tensors(folder));
    assert_same_values(folder, bl_ckpt_find(folder, name), ckpt, bl_ckpt_find(ckpt, name));
    bl_ckpt_close(folder);
    bl_ckpt_close(ckpt);
}

/* toy-mla with factors beside the matrices: of one, and of a stack of experts. */
static bl_status open_scaled(bl_ckpt **out, const char *name, const float *one, uint64_t n_one,
                             const float *experts, uint64_t n_experts, struct bl_err *err)
{
    static const struct change plain = { .base = "gguf/toy-mla.gguf" };
    bl_container *base = NULL;
    bl_gguf_writer *w = NULL;
    char path[4200];

    assert_int_equal(bl_gguf_open(&base, path_of(path, plain.base), NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    put_keys(w, &plain, bl_gguf_meta_of(base));
    for (size_t i = 0; i < base->n_stored; i++)
        plan(w, &plain, &base->stored[i]);
    bl_gguf_plan_tensor(w, name, BL_F32, 1, &n_one);
    bl_gguf_plan_tensor(w, "blk.1.ffn_up_exps.scale", BL_F32, 1, &n_experts);
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", true, err), BL_OK);
    for (size_t i = 0; i < base->n_stored; i++)
        write_data(w, &plain, base, i);
    assert_int_equal(bl_gguf_writer_write(w, one, n_one * sizeof(*one), err), BL_OK);
    assert_int_equal(bl_gguf_writer_write(w, experts, n_experts * sizeof(*experts), err), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, err), BL_OK);
    bl_container_close(base);
    return bl_ckpt_open(out, "x.gguf", err);
}

/* Every value of a tensor is factor times that of the plain file. */
static void assert_scaled(const bl_ckpt *plain, const bl_ckpt *scaled, const char *name,
                          float factor)
{
    const bl_tensor *t = bl_ckpt_find(plain, name), *s = bl_ckpt_find(scaled, name);
    float *x = bl_alloc((size_t)t->n_values, sizeof(*x));
    float *y = bl_alloc((size_t)t->n_values, sizeof(*y));

    assert_int_equal(bl_ckpt_read_rows(plain, t, 0, t->n_rows, x, NULL), BL_OK);
    assert_int_equal(bl_ckpt_read_rows(scaled, s, 0, t->n_rows, y, NULL), BL_OK);
    for (uint64_t i = 0; i < t->n_values; i++)
        if (y[i] != factor * x[i])
            fail_msg("%s: value %d is not scaled by %g", name, (int)i, (double)factor);
    bl_free(x);
    bl_free(y);
}

#define DOWN "blk.0.ffn_down.scale"

static void a_factor_beside_a_matrix_scales_it(void **state)
{
    bl_ckpt *plain = open_data("gguf/toy-mla.gguf"), *scaled = NULL;
    const uint32_t n = bl_ckpt_config(plain)->n_experts;
    const float half = 0.5f;
    float each[16];
    char name[100];

    (void)state;
    assert_true(n >= 2 && n <= 16);
    for (uint32_t e = 0; e < n; e++)
        each[e] = (float)(e + 2);
    assert_int_equal(open_scaled(&scaled, DOWN, &half, 1, each, n, NULL), BL_OK);
    assert_int_equal(bl_ckpt_n_tensors(scaled), bl_ckpt_n_tensors(plain));
    assert_scaled(plain, scaled, "model.layers.0.mlp.down_proj.weight", half);
    assert_scaled(plain, scaled, "model.layers.0.mlp.up_proj.weight", 1);
    for (uint32_t e = 0; e < n; e++) {
        snprintf(name, sizeof(name), "model.layers.1.mlp.experts.%d.up_proj.weight", (int)e);
        assert_scaled(plain, scaled, name, each[e]);
    }
    bl_ckpt_close(scaled);
    bl_ckpt_close(plain);
}

static void refuses_factors_that_scale_nothing_well(void **state)
{
    const float values[16] = { NAN, FLT_MAX, FLT_MAX };
    bl_ckpt *plain = open_data("gguf/toy-mla.gguf"), *scaled = NULL;
    const uint32_t n = bl_ckpt_config(plain)->n_experts;
    struct bl_err err = { 0 };
    const bl_tensor *norm;
    float x[64];

    (void)state;
    bl_ckpt_close(plain);
    assert_true(n >= 2 && n <= 13);
    assert_int_equal(open_scaled(&scaled, DOWN, values + 1, 2, values + 1, 1, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "'" DOWN "': is not one F32 for each matrix"));
    assert_int_equal(open_scaled(&scaled, DOWN, values, 1, values, 1, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "'" DOWN "': a factor is not a finite number"));
    assert_int_equal(open_scaled(&scaled, "a.scale", values, 1, values, 1, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "'blk.1.ffn_up_exps.scale': is not one F32"));
    assert_int_equal(open_scaled(&scaled, "output_norm.scale", values + 1, 1, values + 3, n, &err),
                     BL_OK);
    norm = bl_ckpt_find(scaled, "model.norm.weight");
    assert_true(norm->n_values <= 64);
    assert_int_equal(bl_ckpt_read_rows(scaled, norm, 0, norm->n_rows, x, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "'output_norm.weight': a value times the tensor's factor"));
    bl_ckpt_close(scaled);
}

static void every_allocation_of_open_may_fail(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        const int64_t live = bl_alloc_live();
        bl_status rc = BL_E_NOMEM;
        char path[4200];

        path_of(path, models[m].gguf);
        for (uint64_t k = 1; rc != BL_OK; k++) {
            struct bl_err err = { 0 };
            bl_ckpt *ckpt = NULL;

            bl_alloc_fail_at(k);
            rc = bl_ckpt_open(&ckpt, path, &err);
            bl_alloc_fail_at(0);
            assert_true(rc == BL_OK || (rc == BL_E_NOMEM && !ckpt));
            bl_ckpt_close(ckpt);
            assert_int_equal(bl_alloc_live(), live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_tensors_are_those_of_the_folder),
        cmocka_unit_test(the_network_is_that_of_the_folder),
        cmocka_unit_test(divisors_are_configuration_and_no_tensor),
        cmocka_unit_test(rotary_rows_are_in_canonical_order),
        cmocka_unit_test(refuses_what_it_would_compute_wrongly),
        cmocka_unit_test(a_scaling_without_a_type_is_linear),
        cmocka_unit_test(the_whole_kv_b_is_enough_where_halves_lie_beside_it),
        cmocka_unit_test(a_factor_beside_a_matrix_scales_it),
        cmocka_unit_test(refuses_factors_that_scale_nothing_well),
        cmocka_unit_test(every_allocation_of_open_may_fail),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
