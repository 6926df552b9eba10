/*
 * Every operation's gradient against central differences, in double: this file and the operations
 * are compiled with BL_REAL_IS_DOUBLE. A scalar L = sum(c y) with random c stands for the rest of
 * the network, so that dL/dy = c.
 */
#include "base/alloc.h"
#include "distill/train/loss.h"
#include "model/op_attention.h"
#include "model/op_linear.h"
#include "model/op_rmsnorm.h"
#include "model/op_rope.h"
#include "model/op_swiglu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const double limit = 1e-6, step = 1e-5;

/* The same numbers every run: about normal, from a sum of uniforms. */
static void fill(double *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (int j = 0; j < 6; j++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(seed >> 11) * 0x1p-53 - 0.5;
        }
        x[i] = sum;
    }
}

static double weighted(const double *c, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += c[i] * y[i];
    return sum;
}

/* got[n] against (L(x + h) - L(x - h)) / 2h for every x[i]; relative to the largest gradient. */
static void check(const double *got, double *x, size_t n, double (*run)(void))
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(got[i]));
    assert_true(largest > 1e-3); /* there is something to check */
    for (size_t i = 0; i < n; i++) {
        const double kept = x[i];
        double up, down, want;

        x[i] = kept + step;
        up = run();
        x[i] = kept - step;
        down = run();
        x[i] = kept;
        want = (up - down) / (2 * step);
        if (fabs(got[i] - want) > limit * fmax(largest, 1))
            fail_msg("value %zu: gradient %.9g, central difference %.9g", i, got[i], want);
    }
}

enum { ROWS = 3, COLS = 21 };

static struct {
    double x[ROWS * COLS], w[COLS], y[ROWS * COLS], c[ROWS * COLS], eps;
} norm;

static double run_norm(void)
{
    bl_rmsnorm(norm.y, COLS, norm.x, COLS, norm.w, ROWS, COLS, norm.eps);
    return weighted(norm.c, norm.y, ROWS * COLS);
}

static void rmsnorm_backward(void **state)
{
    double dx[ROWS * COLS] = { 0 }, dw[COLS] = { 0 };

    (void)state;
    norm.eps = 1e-2; /* large enough to be seen in the gradient */
    fill(norm.x, ROWS * COLS, 1);
    fill(norm.w, COLS, 2);
    fill(norm.c, ROWS * COLS, 3);
    bl_rmsnorm_backward(dx, COLS, dw, norm.c, COLS, norm.x, COLS, norm.w, ROWS, COLS, norm.eps);
    check(dx, norm.x, ROWS * COLS, run_norm);
    check(dw, norm.w, COLS, run_norm);
}

static void rmsnorm_backward_adds(void **state)
{
    double dx[COLS], dw[COLS], once[COLS] = { 0 }, w[COLS] = { 0 };

    (void)state;
    fill(norm.x, COLS, 1);
    fill(norm.w, COLS, 2);
    fill(norm.c, COLS, 3);
    bl_rmsnorm_backward(once, COLS, w, norm.c, COLS, norm.x, COLS, norm.w, 1, COLS, 0.1);
    for (size_t i = 0; i < COLS; i++)
        dx[i] = dw[i] = 1;
    bl_rmsnorm_backward(dx, COLS, dw, norm.c, COLS, norm.x, COLS, norm.w, 1, COLS, 0.1);
    for (size_t i = 0; i < COLS; i++) {
        assert_true(fabs(dx[i] - 1 - once[i]) < 1e-14);
        assert_true(fabs(dw[i] - 1 - w[i]) < 1e-14);
    }
}

static struct {
    bl_rope rope;
    double x[2 * 10], y[2 * 10], c[2 * 10];
} turn;

static double run_rope(void)
{
    memcpy(turn.y, turn.x, sizeof(turn.y));
    bl_rope_rotate(turn.y, 2, 10, &turn.rope, 3);
    return weighted(turn.c, turn.y, 20);
}

static void rope_backward(void **state)
{
    const double inv_freq[4] = { 1, 0.3, 0.05, 0.01 };
    double dx[20];

    (void)state;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        assert_int_equal(bl_rope_init(&turn.rope, 8, interleaved != 0, inv_freq, 1.3, 5, NULL),
                         BL_OK);
        fill(turn.x, 20, 4);
        fill(turn.c, 20, 5);
        memcpy(dx, turn.c, sizeof(dx));
        bl_rope_rotate_backward(dx, 2, 10, &turn.rope, 3);
        check(dx, turn.x, 20, run_rope);
        bl_rope_release(&turn.rope);
    }
}

static struct {
    double gate[COLS], up[COLS], y[COLS], c[COLS];
} glu;

static double run_swiglu(void)
{
    bl_swiglu(glu.y, glu.gate, glu.up, COLS);
    return weighted(glu.c, glu.y, COLS);
}

static void swiglu_backward(void **state)
{
    double dgate[COLS], dup[COLS];

    (void)state;
    fill(glu.gate, COLS, 6);
    fill(glu.up, COLS, 7);
    fill(glu.c, COLS, 8);
    memcpy(dgate, glu.gate, sizeof(dgate));
    memcpy(dup, glu.up, sizeof(dup));
    bl_swiglu_backward(dgate, dup, glu.c, COLS);
    check(dgate, glu.gate, COLS, run_swiglu);
    check(dup, glu.up, COLS, run_swiglu);
}

enum { TOKENS = 70, OWN = 6, SHARED = 4, VALUE = 5 };

/* Two parts as in latent attention, a document that begins at 50, and more than one block. */
static struct {
    double q[TOKENS * (OWN + SHARED)], k[TOKENS * OWN], shared[TOKENS * SHARED], v[TOKENS * VALUE];
    double out[TOKENS * VALUE], c[TOKENS * VALUE], scratch[2 * BL_ATTENTION_BLOCK * TOKENS];
    bl_attention_head head;
} att;

static const size_t document[][3] = { { 0, 0, 50 }, { 50, 50, 64 }, { 50, 64, TOKENS } };

static double run_attention(void)
{
    for (size_t i = 0; i < 3; i++)
        bl_attention(&att.head, document[i][0], document[i][1], document[i][2] - document[i][1],
                     att.scratch);
    return weighted(att.c, att.out, TOKENS * VALUE);
}

static void attention_backward(void **state)
{
    static double dq[TOKENS * (OWN + SHARED)], dk[TOKENS * OWN], dshared[TOKENS * SHARED];
    static double dv[TOKENS * VALUE];
    const bl_attention_head_gradient gradient = {
        .part = { { dq, dk, OWN + SHARED, OWN }, { dq + OWN, dshared, OWN + SHARED, SHARED } },
        .dv = dv,
        .lddv = VALUE,
        .dout = att.c,
        .lddout = VALUE,
    };

    (void)state;
    att.head = (bl_attention_head){
        .part = { { att.q, att.k, OWN + SHARED, OWN, OWN },
                  { att.q + OWN, att.shared, OWN + SHARED, SHARED, SHARED } },
        .n_parts = 2,
        .v = att.v,
        .ldv = VALUE,
        .v_dim = VALUE,
        .out = att.out,
        .ldout = VALUE,
        .scale = 0.7,
    };
    fill(att.q, TOKENS * (OWN + SHARED), 9);
    fill(att.k, TOKENS * OWN, 10);
    fill(att.shared, TOKENS * SHARED, 11);
    fill(att.v, TOKENS * VALUE, 12);
    fill(att.c, TOKENS * VALUE, 13);
    run_attention();
    for (size_t i = 0; i < 3; i++)
        bl_attention_backward(&gradient, &att.head, document[i][0], document[i][1],
                              document[i][2] - document[i][1], att.scratch);
    check(dq, att.q, TOKENS * (OWN + SHARED), run_attention);
    check(dk, att.k, TOKENS * OWN, run_attention);
    check(dshared, att.shared, TOKENS * SHARED, run_attention);
    check(dv, att.v, TOKENS * VALUE, run_attention);
}

enum { IN = 7, OUT = 5 };

static struct {
    double x[ROWS * IN], w[OUT * IN], b[OUT], y[ROWS * OUT], c[ROWS * OUT];
} lin;

static double run_linear(void)
{
    bl_linear_tile(lin.y, OUT, lin.x, IN, ROWS, lin.w, OUT, IN, false);
    for (size_t i = 0; i < ROWS * OUT; i++)
        lin.y[i] += lin.b[i % OUT];
    return weighted(lin.c, lin.y, ROWS * OUT);
}

static void linear_backward(void **state)
{
    double dx[ROWS * IN], dw[OUT * IN] = { 0 }, db[OUT] = { 0 };

    (void)state;
    fill(lin.x, ROWS * IN, 14);
    fill(lin.w, OUT * IN, 15);
    fill(lin.b, OUT, 16);
    fill(lin.c, ROWS * OUT, 17);
    bl_linear_tile_dx(dx, IN, lin.c, OUT, ROWS, lin.w, OUT, IN, IN, false);
    bl_linear_tile_dw(dw, lin.c, OUT, lin.x, IN, ROWS, OUT, IN, IN);
    bl_linear_tile_db(db, lin.c, OUT, ROWS, OUT);
    check(dx, lin.x, ROWS * IN, run_linear);
    check(dw, lin.w, OUT * IN, run_linear);
    check(db, lin.b, OUT, run_linear);
}

enum { VOCAB = 37 };

static struct {
    double z[VOCAB], work[VOCAB], teacher[VOCAB], scratch[3 * VOCAB];
    bl_distill_loss loss;
    bl_loss_target target;
} los;

static double run_loss(void)
{
    memcpy(los.work, los.z, sizeof(los.work));
    return bl_loss_token(los.work, VOCAB, &los.loss, &los.target, los.scratch).loss;
}

static void check_loss(const bl_distill_loss *loss, const bl_loss_target *target)
{
    double dz[VOCAB];

    los.loss = *loss;
    los.target = *target;
    fill(los.z, VOCAB, 18);
    run_loss();
    memcpy(dz, los.work, sizeof(dz));
    check(dz, los.z, VOCAB, run_loss);
}

static void losses_backward(void **state)
{
    static const uint32_t id[4] = { 0, 5, 20, 36 };
    static const float weight[4] = { 0.5f, 0.125f, 0.25f, 0.0625f };
    const bl_loss_target entries = { 5, 4, id, weight, 0.0625, (double)NAN, NULL };
    const bl_loss_target draws = { 5, 4, id, weight, 0, 1.5, NULL };
    const bl_loss_target whole = { .target = 7, .entropy = (double)NAN, .teacher = los.teacher };

    (void)state;
    fill(los.teacher, VOCAB, 19);
    check_loss(&(bl_distill_loss){ .ce = 1 }, &entries);
    check_loss(&(bl_distill_loss){ .kd = 1 }, &entries);
    check_loss(&(bl_distill_loss){ .kd = 0.7, .ce = 0.3 }, &draws);
    check_loss(&(bl_distill_loss){ .kd = 0.7, .ce = 0.3, .temperature = 2 }, &entries);
    check_loss(&(bl_distill_loss){ .kd = 0.7, .ce = 0.3, .bucket = true }, &entries);
    for (double t = 1; t <= 3; t++) {
        check_loss(&(bl_distill_loss){ .kd = 1, .ce = 0.5, .temperature = t }, &whole);
        check_loss(&(bl_distill_loss){ .kd = 1, .kind = BL_REVERSE_KL, .temperature = t }, &whole);
        check_loss(
            &(bl_distill_loss){ .kd = 2, .ce = 1, .kind = BL_JSD, .beta = 0.3, .temperature = t },
            &whole);
    }
}

static void a_student_that_is_the_teacher_has_no_divergence(void **state)
{
    const bl_loss_target whole = { .target = 7, .entropy = (double)NAN, .teacher = los.teacher };
    const bl_divergence kind[3] = { BL_FORWARD_KL, BL_REVERSE_KL, BL_JSD };

    (void)state;
    fill(los.teacher, VOCAB, 19);
    for (size_t i = 0; i < 3; i++) {
        const bl_distill_loss loss = { .kd = 1, .kind = kind[i], .beta = 0.5, .temperature = 2 };
        bl_loss_value v;

        for (size_t j = 0; j < VOCAB; j++)
            los.z[j] = los.teacher[j] + 3; /* the same distribution */
        v = bl_loss_token(los.z, VOCAB, &loss, &whole, los.scratch);
        assert_true(fabs(v.kd) < 1e-12);
        for (size_t j = 0; j < VOCAB; j++)
            assert_true(fabs(los.z[j]) < 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_backward),
        cmocka_unit_test(rmsnorm_backward_adds),
        cmocka_unit_test(rope_backward),
        cmocka_unit_test(swiglu_backward),
        cmocka_unit_test(attention_backward),
        cmocka_unit_test(linear_backward),
        cmocka_unit_test(losses_backward),
        cmocka_unit_test(a_student_that_is_the_teacher_has_no_divergence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
