/* Each operation against torch (tests/oracle/model_ops.py). */
#include "model/op_attention.h"
#include "model/op_exp.h"
#include "model/op_rmsnorm.h"
#include "model/op_rope.h"
#include "model/op_softmax.h"
#include "model/op_swiglu.h"
#include "op_vectors.inc"
#include "stream.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void exp_is_right_to_the_last_bits(void **state)
{
    double worst = 0;

    (void)state;
    for (float x = -87.0f; x <= 88.0f; x += 0.000977f) {
        double want = exp((double)x), error = fabs((double)bl_exp(x) / want - 1);

        worst = error > worst ? error : worst;
    }
    assert_true(worst < 0x1p-22);
    assert_true(bl_exp(0.0f) == 1.0f);
}

static void exp_ends_in_zero_a_large_number_and_nan(void **state)
{
    (void)state;
    assert_true(bl_exp(-87.5f) == 0.0f);
    assert_true(bl_exp(-INFINITY) == 0.0f);
    assert_true(bl_exp(1000.0f) == bl_exp(88.0f));
    assert_true(bl_exp(INFINITY) == bl_exp(88.0f));
    assert_true(isnan(bl_exp(NAN)));
}

static void rmsnorm_is_torchs(void **state)
{
    float x[63], w[21], y[63];

    (void)state;
    fill_stream(x, 63, 2);
    fill_stream(w, 21, 3);
    bl_rmsnorm(y, 21, x, 21, w, 3, 21, 1e-5f);
    assert_true(largest_error(y, rmsnorm_rows, 63) < 1e-6);
    bl_rmsnorm(x, 21, x, 21, w, 3, 21, 1e-5f); /* in place */
    assert_true(largest_error(x, rmsnorm_rows, 63) < 1e-6);
}

static void rmsnorm_leaves_what_lies_between_rows(void **state)
{
    float x[10] = { 1, 2, 3, 4, 77, 5, 6, 7, 8, 77 }, w[4] = { 1, 1, 1, 1 };

    (void)state;
    bl_rmsnorm(x, 5, x, 5, w, 2, 4, 0.0f);
    assert_true(x[4] == 77.0f && x[9] == 77.0f);
    assert_float_equal(x[0], 0.365148372f, 1e-6);
}

static void softmax_is_torchs(void **state)
{
    float x[37], one = 5.0f;

    (void)state;
    fill_stream(x, 37, 4);
    for (size_t i = 0; i < 37; i++)
        x[i] *= 9;
    bl_softmax(x, 37);
    assert_true(largest_error(x, softmax_row, 37) < 1e-7);
    bl_softmax(&one, 1);
    assert_true(one == 1.0f);
}

static void swiglu_is_torchs(void **state)
{
    float gate[19], up[19], far[2] = { -200.0f, 200.0f }, ones[2] = { 1, 1 };

    (void)state;
    fill_stream(gate, 19, 5);
    fill_stream(up, 19, 6);
    for (size_t i = 0; i < 19; i++)
        gate[i] *= 8;
    bl_swiglu(gate, gate, up, 19);
    assert_true(largest_error(gate, swiglu_row, 19) < 2e-6);
    bl_swiglu(far, far, ones, 2);
    assert_true(fabsf(far[0]) < 1e-30f && far[1] == 200.0f);
}

static void rotate_at(float *x, bool interleaved, size_t position)
{
    const double freq[4] = { 1, pow(100, -0.25), pow(100, -0.5), pow(100, -0.75) };
    bl_rope rope;

    assert_int_equal(bl_rope_init(&rope, 8, interleaved, freq, 1.0, 101, NULL), BL_OK);
    fill_stream(x, 16, 1);
    bl_rope_rotate(x, 2, 8, &rope, position);
    bl_rope_release(&rope);
}

static void interleaved_pairs_turn_as_complex_numbers(void **state)
{
    float x[16];

    (void)state;
    rotate_at(x, true, 3);
    assert_true(largest_error(x, rotated_interleaved, 16) < 1e-6);
    rotate_at(x, true, 100);
    assert_true(largest_error(x, rotated_interleaved + 16, 16) < 1e-6);
}

static void half_split_pairs_turn_as_in_transformers(void **state)
{
    float x[16];

    (void)state;
    rotate_at(x, false, 3);
    assert_true(largest_error(x, rotated_half_split, 16) < 1e-6);
    rotate_at(x, false, 100);
    assert_true(largest_error(x, rotated_half_split + 16, 16) < 1e-6);
}

/* The whole sequence in blocks: 150 positions end in the middle of the third. */
static void attention_in_blocks_is_torchs(void **state)
{
    static const size_t kept[4] = { 0, 63, 64, 149 };
    static float q[150 * 10], k[150 * 6], shared[150 * 4], v[150 * 5], out[150 * 5];
    static float scores[BL_ATTENTION_BLOCK * 150];
    const bl_attention_head head = {
        .part = { { q, k, 10, 6, 6 }, { q + 6, shared, 10, 4, 4 } },
        .n_parts = 2,
        .v = v,
        .ldv = 5,
        .v_dim = 5,
        .out = out,
        .ldout = 5,
        .scale = 1.75f,
    };

    (void)state;
    fill_stream(q, 1500, 7);
    fill_stream(k, 900, 8);
    fill_stream(shared, 600, 9);
    fill_stream(v, 750, 10);
    for (size_t first = 0; first < 150; first += BL_ATTENTION_BLOCK)
        bl_attention(&head, 0, first,
                     first + BL_ATTENTION_BLOCK <= 150 ? BL_ATTENTION_BLOCK : 150 - first, scores);
    for (size_t i = 0; i < 4; i++)
        assert_true(largest_error(out + kept[i] * 5, attention_rows + i * 5, 5) < 2e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_right_to_the_last_bits),
        cmocka_unit_test(exp_ends_in_zero_a_large_number_and_nan),
        cmocka_unit_test(rmsnorm_is_torchs),
        cmocka_unit_test(rmsnorm_leaves_what_lies_between_rows),
        cmocka_unit_test(softmax_is_torchs),
        cmocka_unit_test(swiglu_is_torchs),
        cmocka_unit_test(interleaved_pairs_turn_as_complex_numbers),
        cmocka_unit_test(half_split_pairs_turn_as_in_transformers),
        cmocka_unit_test(attention_in_blocks_is_torchs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
