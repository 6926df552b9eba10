/*
 * test_adamw.c - steps are torch's, rounding to BF16 is right on the average, and nothing depends on the
 * number of threads.
 */
#include "base/alloc.h"
#include "distill/train/adamw.h"
#include "distill/counter.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MATRIX = 35, VECTOR = 11, STEPS = 5, LARGE = 200000 };

static const float wanted[STEPS][MATRIX + VECTOR] = {
#include "adamw_steps.inc"
};

/* Numbers in (-1, 1), as tests/oracle/adamw.py makes them. */
static float next_number(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int32_t)(*seed >> 32) * 0x1p-31);
}

static bl_adamw *make(bl_parameter *const *parameter, size_t n)
{
    struct bl_err err = { 0 };
    bl_adamw *a = NULL;

    if (bl_adamw_new(&a, parameter, n, &err) != BL_OK)
        fail_msg("%s", err.text);
    return a;
}

static void update(bl_adamw *a, const bl_adamw_step *step, int n_threads)
{
    struct bl_err err = { 0 };

    if (bl_adamw_update(a, step, n_threads, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static bl_adamw_step step_of(uint64_t t, double lr)
{
    return (bl_adamw_step){ .lr = lr,
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .eps = 1e-8,
                            .weight_decay = 0.1,
                            .gradient_scale = 1,
                            .t = t,
                            .seed = 7 };
}

static void five_steps_are_those_of_torch(void **state)
{
    float w[MATRIX + VECTOR], g[MATRIX + VECTOR];
    bl_parameter matrix = { "m", 5, 7, w, NULL, g, true };
    bl_parameter vector = { "v", 1, VECTOR, w + MATRIX, NULL, g + MATRIX, false };
    bl_parameter *const all[] = { &matrix, &vector };
    bl_adamw *a = make(all, 2);
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < MATRIX + VECTOR; i++)
        w[i] = next_number(&seed);
    for (int s = 0; s < STEPS; s++) {
        bl_adamw_step step = step_of((uint64_t)s + 1, 0.01 * (s + 1));

        for (int i = 0; i < MATRIX + VECTOR; i++)
            g[i] = next_number(&seed) * (float)pow(10, s - 2) * 4;
        step.gradient_scale = 0.25;
        update(a, &step, 1);
        for (int i = 0; i < MATRIX + VECTOR; i++)
            if (fabsf(w[i] - wanted[s][i]) > 3e-7f)
                fail_msg("step %d, value %d: %.9g, not %.9g", s, i, (double)w[i],
                         (double)wanted[s][i]);
    }
    bl_adamw_free(a);
}

static void rounding_to_bf16_is_right_on_the_average(void **state)
{
    const float x[] = { 1.001f, -3.14159f, 1e-30f, 255.99f, 0x1.000002p0f };

    (void)state;
    for (size_t i = 0; i < sizeof(x) / sizeof(*x); i++) {
        const double step = fabs((double)x[i]) * 0x1p-7; /* at least a BF16's */
        const int n = 20000;
        double sum = 0;

        for (int k = 0; k < n; k++) {
            const uint64_t random = bl_counter_at(bl_counter_key(3, i), (uint64_t)k) >> 48;
            const float got = bl_f32_from_bf16(bl_adamw_round_bf16(x[i], random));

            assert_true(fabs((double)got - (double)x[i]) < step);
            sum += (double)got;
        }
        /* the deviation of one is at most half a step */
        assert_true(fabs(sum / n - (double)x[i]) < 4 * 0.5 * step / sqrt(n));
    }
}

static void what_bf16_has_stays_and_nothing_becomes_infinite(void **state)
{
    (void)state;
    for (uint32_t r = 0; r < 65536; r += 13) {
        assert_int_equal(bl_adamw_round_bf16(1.5f, r), bl_bf16_from_f32(1.5f));
        assert_int_equal(bl_adamw_round_bf16(0x1.ffp127f, r), 0x7f7f);
        assert_int_equal(bl_adamw_round_bf16(INFINITY, r), 0x7f80);
        assert_true(isnan(bl_f32_from_bf16(bl_adamw_round_bf16(NAN, r))));
    }
}

/* Weights of `steps` steps, F32 or BF16, in *w. */
static void train_large(void *w, bool bf16, int n_threads)
{
    float *g = bl_calloc(LARGE, sizeof(*g));
    bl_parameter p = { "p", 100, LARGE / 100, bf16 ? NULL : w, bf16 ? w : NULL, g, true };
    bl_parameter *const all[] = { &p };
    bl_adamw *a = make(all, 1);
    struct bl_err err = { 0 };
    uint64_t seed = 5;
    double norm = 0;

    for (uint64_t t = 1; t <= 2; t++) {
        bl_adamw_step step = step_of(t, 1e-3);

        for (int i = 0; i < LARGE; i++)
            g[i] = next_number(&seed);
        assert_int_equal(bl_adamw_norm(&norm, a, n_threads, &err), BL_OK);
        step.gradient_scale = 1 / norm;
        update(a, &step, n_threads);
    }
    bl_adamw_free(a);
    bl_free(g);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        float *one = bl_calloc(LARGE, sizeof(*one)), *three = bl_calloc(LARGE, sizeof(*three));

        train_large(one, bf16, 1);
        train_large(three, bf16, 3);
        assert_memory_equal(one, three, LARGE * sizeof(*one));
        assert_true(one[0] < 0 || one[0] > 0);
        bl_free(one);
        bl_free(three);
    }
}

/* Steps far below the last place of a BF16 weight: they must not be lost. */
static void small_steps_move_bf16_weights(void **state)
{
    enum { N = 4096 };
    uint16_t w[N];
    float g[N];
    bl_parameter p = { "p", 1, N, NULL, w, g, false };
    bl_parameter *const all[] = { &p };
    bl_adamw *a = make(all, 1);
    double mean = 0;

    (void)state;
    for (int i = 0; i < N; i++) {
        w[i] = bl_bf16_from_f32(1);
        g[i] = 1;
    }
    for (uint64_t t = 1; t <= 10; t++) {
        const bl_adamw_step step = step_of(t, 1e-4); /* the last place is 0.0039 below 1 */

        update(a, &step, 1);
    }
    for (int i = 0; i < N; i++)
        mean += (double)bl_f32_from_bf16(w[i]) / N;
    assert_true(fabs(mean - 0.999) < 2e-4);
    bl_adamw_free(a);
}

static void the_norm_is_that_of_all_gradients(void **state)
{
    float g[5] = { 3, 0, 0, 0, 4 }, w[5] = { 0 };
    bl_parameter p = { "one", 1, 2, w, NULL, g, true },
                 q = { "two", 1, 3, w + 2, NULL, g + 2, true };
    bl_parameter *const all[] = { &p, &q };
    bl_adamw *a = make(all, 2);
    struct bl_err err = { 0 };
    double norm = 0;

    (void)state;
    assert_int_equal(bl_adamw_norm(&norm, a, 2, &err), BL_OK);
    assert_true(fabs(norm - 5) < 1e-12);
    g[3] = NAN;
    assert_int_equal(bl_adamw_norm(&norm, a, 2, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "'two'"));
    bl_adamw_zero_gradients(a);
    assert_int_equal(bl_adamw_norm(&norm, a, 2, &err), BL_OK);
    assert_true(norm == 0);
    bl_adamw_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_steps_are_those_of_torch),
        cmocka_unit_test(rounding_to_bf16_is_right_on_the_average),
        cmocka_unit_test(what_bf16_has_stays_and_nothing_becomes_infinite),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(small_steps_move_bf16_weights),
        cmocka_unit_test(the_norm_is_that_of_all_gradients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
