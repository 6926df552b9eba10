/*
 * One training step of three families against torch: losses, and every parameter's gradient
 * (tests/oracle/make_step_reference.py).
 */
#include "distill/train/student.h"

#include "base/alloc.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    SEQS = 2,
    POSITIONS = 48,
    TOKENS = SEQS * POSITIONS,
    TEACHER = 20,
    MAX_ENTRIES = 16 * TOKENS
};

static const char *const family[3] = { "qwen2", "llama", "mla" };

/* What a golden file says, in the types of a batch. */
struct golden {
    bl_ckpt *ckpt, *values;
    int32_t token[TOKENS], target[TOKENS];
    uint32_t start[TOKENS], first[TOKENS + 1], id[MAX_ENTRIES];
    float weight[MAX_ENTRIES], tail[TOKENS];
    float *hidden, *head;
};

static float *read_values(const struct golden *g, const char *name)
{
    struct bl_err err = { 0 };
    const bl_tensor *t = bl_ckpt_find(g->values, name);
    float *out;

    if (!t)
        fail_msg("no golden tensor %s", name);
    out = bl_alloc((size_t)t->n_values, sizeof(*out));
    if (bl_ckpt_read_rows(g->values, t, 0, t->n_rows, out, &err) != BL_OK)
        fail_msg("%s: %s", name, err.text);
    return out;
}

static void read_signed(int32_t *out, size_t n, const struct golden *g, const char *name)
{
    float *values = read_values(g, name);

    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)values[i];
    bl_free(values);
}

static void read_unsigned(uint32_t *out, size_t n, const struct golden *g, const char *name)
{
    float *values = read_values(g, name);

    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)values[i];
    bl_free(values);
}

static void open_golden(struct golden *g, const char *name)
{
    char path[128];
    struct bl_err err = { 0 };

    snprintf(path, sizeof(path), "data/step-%s", name);
    if (bl_ckpt_open(&g->ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    snprintf(path, sizeof(path), "data/golden/step-%s.safetensors", name);
    if (bl_ckpt_open(&g->values, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    read_signed(g->token, TOKENS, g, "tokens");
    read_signed(g->target, TOKENS, g, "target");
    read_unsigned(g->start, TOKENS, g, "start");
    g->hidden = read_values(g, "hidden");
    g->head = read_values(g, "head");
}

static void close_golden(struct golden *g)
{
    bl_ckpt_close(g->ckpt);
    bl_ckpt_close(g->values);
    bl_free(g->hidden);
    bl_free(g->head);
}

static bl_status read_head(void *context, float *out, uint64_t row, uint64_t n_rows,
                           struct bl_err *err)
{
    const struct golden *g = context;

    (void)err;
    memcpy(out, g->head + row * TEACHER, (size_t)n_rows * TEACHER * sizeof(*out));
    return BL_OK;
}

static bl_student *make_student(const struct golden *g, bool recompute, int n_threads)
{
    const bl_student_options options = { .n_threads = n_threads, .recompute = recompute };
    struct bl_err err = { 0 };
    bl_student *s = NULL;

    if (bl_student_new(&s, g->ckpt, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    return s;
}

/* A row of the table of losses; entries: the prefix of the golden entries, or NULL. */
struct loss_case {
    const char *name, *entries;
    bl_distill_loss loss;
    bool hidden;
};

static const struct loss_case losses[] = {
    { "ce", NULL, { .ce = 1 }, false },
    { "sampled", "sampled", { .kd = 0.7, .ce = 0.3 }, false },
    { "full", NULL, { .kd = 1, .temperature = 2 }, true },
    { "reverse", NULL, { .kd = 1, .kind = BL_REVERSE_KL }, true },
    { "jsd", NULL, { .kd = 1, .kind = BL_JSD, .beta = 0.3 }, true },
    { "topk", "topk", { .kd = 1 }, false },
    { "bucket", "topk", { .kd = 1, .bucket = true }, false },
};

enum { N_LOSSES = sizeof(losses) / sizeof(losses[0]) };

static void read_entries(struct golden *g, const char *prefix, bool renormalise)
{
    char name[64];
    float *weight;

    snprintf(name, sizeof(name), "%s.first", prefix);
    read_unsigned(g->first, TOKENS + 1, g, name);
    assert_true(g->first[TOKENS] <= MAX_ENTRIES);
    snprintf(name, sizeof(name), "%s.id", prefix);
    read_unsigned(g->id, g->first[TOKENS], g, name);
    snprintf(name, sizeof(name), "%s.weight", prefix);
    weight = read_values(g, name);
    memcpy(g->weight, weight, g->first[TOKENS] * sizeof(*weight));
    bl_free(weight);
    for (size_t t = 0; renormalise && t < TOKENS; t++) {
        float sum = 0;

        for (uint32_t i = g->first[t]; i < g->first[t + 1]; i++)
            sum += g->weight[i];
        for (uint32_t i = g->first[t]; i < g->first[t + 1]; i++)
            g->weight[i] /= sum;
    }
}

static bl_batch batch_of(struct golden *g, const struct loss_case *c)
{
    bl_batch b = { .n_seqs = SEQS,
                   .n_positions = POSITIONS,
                   .token = g->token,
                   .start = g->start,
                   .target = g->target };
    float *tail;

    if (c->hidden) {
        b.hidden = g->hidden;
        b.teacher_hidden = TEACHER;
        b.teacher_head = read_head;
        b.teacher_context = g;
    }
    if (c->entries) {
        read_entries(g, c->entries, strcmp(c->name, "topk") == 0);
        b.first = g->first;
        b.id = g->id;
        b.weight = g->weight;
    }
    if (c->loss.bucket) {
        tail = read_values(g, "topk.tail");
        memcpy(g->tail, tail, sizeof(g->tail));
        bl_free(tail);
        b.tail = g->tail;
    }
    return b;
}

static bool close_to(double a, double b)
{
    return fabs(a - b) <= 1e-4 * fmax(fabs(a), fabs(b));
}

static void compare_gradients(const struct golden *g, const bl_student *s, const char *loss,
                              size_t least)
{
    size_t n_compared = 0;

    for (size_t i = 0; i < bl_student_n_parameters(s); i++) {
        const bl_parameter *p = bl_student_parameter((bl_student *)(uintptr_t)s, i);
        double difference = 0, size = 0;
        char name[160];
        float *want;

        snprintf(name, sizeof(name), "%s.grad.%s", loss, p->name);
        if (!bl_ckpt_find(g->values, name))
            continue;
        want = read_values(g, name);
        for (size_t j = 0; j < p->n_rows * p->n_cols; j++) {
            const double d = (double)p->grad[j] - (double)want[j];

            difference += d * d;
            size += (double)want[j] * (double)want[j];
        }
        if (!(sqrt(difference) <= 1e-4 * sqrt(size)) || !(size > 0))
            fail_msg("%s: relative difference %g", name, sqrt(difference / size));
        bl_free(want);
        n_compared++;
    }
    assert_true(n_compared >= least);
}

static void check_loss(struct golden *g, bl_student *s, const struct loss_case *c)
{
    const bl_batch batch = batch_of(g, c);
    const bool every = strcmp(c->name, "ce") == 0 || strcmp(c->name, "sampled") == 0;
    struct bl_err err = { 0 };
    bl_step_sums sums;
    char name[64];
    float *want;

    bl_student_zero_gradients(s);
    if (bl_student_step(&sums, s, &batch, &c->loss, 1, &err) != BL_OK)
        fail_msg("%s", err.text);
    snprintf(name, sizeof(name), "%s.sums", c->name);
    want = read_values(g, name);
    assert_int_equal(sums.n_tokens, (uint64_t)want[0]);
    if (!close_to(sums.loss, (double)want[1]) || !close_to(sums.ce, (double)want[2]) ||
        !close_to(sums.kd, (double)want[3]))
        fail_msg("%s: %g %g %g, torch %g %g %g", name, sums.loss, sums.ce, sums.kd, (double)want[1],
                 (double)want[2], (double)want[3]);
    bl_free(want);
    compare_gradients(g, s, c->name, every ? bl_student_n_parameters(s) : 4);
}

static void losses_and_gradients_are_torchs(void **state)
{
    (void)state;
    for (size_t f = 0; f < 3; f++)
        for (int recompute = 0; recompute < 2; recompute++) {
            struct golden g = { 0 };
            bl_student *s;

            open_golden(&g, family[f]);
            s = make_student(&g, recompute != 0, 2);
            for (size_t i = 0; i < N_LOSSES; i++)
                check_loss(&g, s, &losses[i]);
            bl_student_free(s);
            close_golden(&g);
        }
}

static void any_number_of_threads_gives_the_same_gradients(void **state)
{
    (void)state;
    for (size_t f = 0; f < 3; f++) {
        struct golden g = { 0 };
        bl_student *one, *three;
        bl_step_sums a, b;
        bl_batch batch;

        open_golden(&g, family[f]);
        batch = batch_of(&g, &losses[1]);
        one = make_student(&g, false, 1);
        three = make_student(&g, true, 3);
        assert_int_equal(bl_student_step(&a, one, &batch, &losses[1].loss, 0.5, NULL), BL_OK);
        assert_int_equal(bl_student_step(&b, three, &batch, &losses[1].loss, 0.5, NULL), BL_OK);
        assert_memory_equal(&a, &b, sizeof(a));
        for (size_t i = 0; i < bl_student_n_parameters(one); i++) {
            const bl_parameter *p = bl_student_parameter(one, i);

            assert_memory_equal(p->grad, bl_student_parameter(three, i)->grad,
                                (size_t)(p->n_rows * p->n_cols) * sizeof(float));
        }
        bl_student_free(one);
        bl_student_free(three);
        close_golden(&g);
    }
}

static void gradients_add_up_and_scale(void **state)
{
    struct golden g = { 0 };
    bl_student *twice, *once;
    bl_step_sums sums;
    bl_batch batch;

    (void)state;
    open_golden(&g, "qwen2");
    batch = batch_of(&g, &losses[0]);
    twice = make_student(&g, false, 1);
    once = make_student(&g, false, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bl_student_step(&sums, twice, &batch, &losses[0].loss, 0.5, NULL), BL_OK);
    assert_int_equal(bl_student_step(&sums, once, &batch, &losses[0].loss, 1, NULL), BL_OK);
    for (size_t i = 0; i < bl_student_n_parameters(once); i++) {
        const bl_parameter *p = bl_student_parameter(once, i);
        const float *grad = bl_student_parameter(twice, i)->grad;

        for (size_t j = 0; j < p->n_rows * p->n_cols; j++)
            assert_true(fabs((double)(grad[j] - p->grad[j])) < 1e-4);
    }
    bl_student_free(twice);
    bl_student_free(once);
    close_golden(&g);
}

/* BF16 weights give the loss of weights that were rounded, and gradients for them. */
static void weights_in_bf16_are_rounded_weights(void **state)
{
    const bl_student_options options = { .n_threads = 2, .bf16 = true };
    struct golden g = { 0 };
    bl_student *rounded, *bf16 = NULL;
    bl_step_sums a, b;
    bl_batch batch;

    (void)state;
    open_golden(&g, "mla");
    batch = batch_of(&g, &losses[1]);
    rounded = make_student(&g, false, 2);
    for (size_t i = 0; i < bl_student_n_parameters(rounded); i++) {
        const bl_parameter *p = bl_student_parameter(rounded, i);

        for (size_t j = 0; j < p->n_rows * p->n_cols; j++)
            p->value[j] = bl_f32_from_bf16(bl_bf16_from_f32(p->value[j]));
    }
    assert_int_equal(bl_student_new(&bf16, g.ckpt, &options, NULL), BL_OK);
    assert_int_equal(bl_student_step(&a, rounded, &batch, &losses[1].loss, 1, NULL), BL_OK);
    assert_int_equal(bl_student_step(&b, bf16, &batch, &losses[1].loss, 1, NULL), BL_OK);
    assert_true(close_to(a.loss, b.loss));
    for (size_t i = 0; i < bl_student_n_parameters(bf16); i++) {
        const bl_parameter *p = bl_student_parameter(bf16, i);
        const float *want = bl_student_parameter(rounded, i)->grad;

        assert_non_null(p->bf16);
        for (size_t j = 0; j < p->n_rows * p->n_cols; j++)
            assert_true(fabs((double)(p->grad[j] - want[j])) < 1e-4);
    }
    bl_student_free(rounded);
    bl_student_free(bf16);
    close_golden(&g);
}

static void a_loss_that_is_not_finite_is_named(void **state)
{
    struct golden g = { 0 };
    struct bl_err err = { 0 };
    bl_student *s;
    bl_step_sums sums;
    bl_batch batch;

    (void)state;
    open_golden(&g, "qwen2");
    batch = batch_of(&g, &losses[0]);
    s = make_student(&g, false, 1);
    for (size_t i = 0; i < bl_student_n_parameters(s); i++)
        if (strcmp(bl_student_parameter(s, i)->name, "lm_head.weight") == 0)
            bl_student_parameter(s, i)->value[0] = INFINITY;
    assert_int_equal(bl_student_step(&sums, s, &batch, &losses[0].loss, 1, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "not finite"));
    bl_student_free(s);
    close_golden(&g);
}

static void a_student_with_experts_is_refused(void **state)
{
    const bl_student_options options = { .n_threads = 1 };
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_student *s = NULL;

    (void)state;
    assert_int_equal(bl_ckpt_open(&ckpt, "data/nano-r1", &err), BL_OK);
    assert_int_equal(bl_student_new(&s, ckpt, &options, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "experts"));
    assert_null(s);
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_are_torchs),
        cmocka_unit_test(any_number_of_threads_gives_the_same_gradients),
        cmocka_unit_test(gradients_add_up_and_scale),
        cmocka_unit_test(weights_in_bf16_are_rounded_weights),
        cmocka_unit_test(a_loss_that_is_not_finite_is_named),
        cmocka_unit_test(a_student_with_experts_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
