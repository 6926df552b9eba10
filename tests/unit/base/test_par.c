/* The parallel loop: every index once, the same answer and the same failure at any thread count. */
#include "base/cancel.h"
#include "base/par.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 500 };

static const int thread_counts[] = { 1, 2, 3, 8, 64 };

enum { N_COUNTS = sizeof(thread_counts) / sizeof(*thread_counts) };

struct work {
    atomic_int times[N]; /* how often each index ran */
    atomic_int busy[64]; /* by i_thread */
    int n_threads;
    size_t bad[3]; /* indices that fail, n_bad of them */
    size_t n_bad;
    double out[N];
};

static void wait_a_little(size_t i)
{
    struct timespec t = { 0, (long)(i * 7919 % 100) * 1000 };

    nanosleep(&t, NULL);
}

static bl_status step(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct work *w = context;

    assert_true(i < N && i_thread >= 0 && i_thread < w->n_threads);
    assert_int_equal(atomic_fetch_add(&w->busy[i_thread], 1), 0); /* the scratch place is ours */
    atomic_fetch_add(&w->times[i], 1);
    wait_a_little(i);
    w->out[i] = 1.0 / (double)(i + 1);
    atomic_fetch_sub(&w->busy[i_thread], 1);
    for (size_t b = 0; b < w->n_bad; b++)
        if (w->bad[b] == i)
            return bl_fail(err, BL_E_FORMAT, "index %zu is bad", i);
    return BL_OK;
}

static void runs_every_index_once_at_any_thread_count(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_COUNTS; t++) {
        static struct work w;

        memset(&w, 0, sizeof(w));
        w.n_threads = thread_counts[t];
        assert_int_equal(bl_par_for(N, w.n_threads, step, &w, NULL), BL_OK);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(w.times[i], 1);
            assert_true(w.out[i] == 1.0 / (double)(i + 1));
        }
    }
}

static void reports_the_lowest_index_that_failed(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t t = 0; t < N_COUNTS; t++) {
            static struct work w;
            struct bl_err err = { 0 };

            memset(&w, 0, sizeof(w));
            w.n_threads = thread_counts[t];
            w.bad[0] = 77; /* 77 sleeps long, 78 and 79 are likely to fail before it */
            w.bad[1] = 78;
            w.bad[2] = 79;
            w.n_bad = 3;
            assert_int_equal(bl_par_for(N, w.n_threads, step, &w, &err), BL_E_FORMAT);
            assert_int_equal(err.status, BL_E_FORMAT);
            assert_string_equal(err.text, "index 77 is bad");
            for (size_t i = 0; i <= 77; i++)
                assert_int_equal(w.times[i], 1);
            assert_int_equal(bl_par_for(N, w.n_threads, step, &w, NULL), BL_E_FORMAT);
        }
    }
}

static void stops_soon_after_a_failure(void **state)
{
    static struct work w;
    int n_run = 0;

    (void)state;
    w.n_threads = 2;
    w.n_bad = 1;
    assert_int_equal(bl_par_for(N, 2, step, &w, NULL), BL_E_FORMAT);
    for (size_t i = 0; i < N; i++)
        n_run += w.times[i];
    assert_true(n_run < N / 2);
}

static void does_nothing_for_no_indices(void **state)
{
    (void)state;
    assert_int_equal(bl_par_for(0, 4, step, NULL, NULL), BL_OK);
}

static void fewer_than_one_thread_is_one(void **state)
{
    static struct work w;

    (void)state;
    w.n_threads = 1;
    assert_int_equal(bl_par_for(10, 0, step, &w, NULL), BL_OK);
    assert_int_equal(bl_par_for(10, -3, step, &w, NULL), BL_OK);
    assert_int_equal(w.times[9], 2);
    assert_true(bl_par_n_processors() >= 1);
}

static bl_status nest(void *context, size_t i, int i_thread, struct bl_err *err)
{
    static struct work inner[4];

    (void)context, (void)i_thread;
    inner[i].n_threads = 2;
    inner[i].n_bad = i == 2;
    inner[i].bad[0] = 5;
    return bl_par_for(20, 2, step, &inner[i], err);
}

static void a_loop_may_hold_a_loop(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_par_for(4, 2, nest, NULL, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "index 5 is bad");
}

/* From 40 on every iteration waits for the signal, so that few of them can run. */
static bl_status raise_at_40(void *context, size_t i, int i_thread, struct bl_err *err)
{
    (void)i_thread, (void)err;
    atomic_fetch_add((atomic_int *)context, 1);
    if (i == 40)
        raise(SIGTERM);
    while (i > 40 && bl_cancel_signal() == 0)
        sched_yield();
    return BL_OK;
}

/* In a child: a signal cannot be taken back. First in the list: OpenMP does not survive fork(). */
static void a_signal_ends_the_loop(void **state)
{
    pid_t child;
    int how = 0;

    (void)state;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        atomic_int n_run = 0;
        struct bl_err err = { 0 };

        bl_cancel_on_signals();
        if (bl_par_for(100000, 2, raise_at_40, &n_run, &err) != BL_E_CANCELLED ||
            strcmp(err.text, "stopped by signal 15") != 0)
            _exit(1);
        _exit(n_run <= 42 ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_ends_the_loop),
        cmocka_unit_test(runs_every_index_once_at_any_thread_count),
        cmocka_unit_test(reports_the_lowest_index_that_failed),
        cmocka_unit_test(stops_soon_after_a_failure),
        cmocka_unit_test(does_nothing_for_no_indices),
        cmocka_unit_test(fewer_than_one_thread_is_one),
        cmocka_unit_test(a_loop_may_hold_a_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
