/*
 * The flow: every item once and in order, at any number of threads and slots, no more items alive
 * than slots, and the failure of the first item that fails.
 */
#include "base/flow.h"

#include "base/alloc.h"
#include "base/cancel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 200, MOST_SLOTS = 32, NONE = N + 1 };

enum where { NEXT, MAKE, TAKE };

struct work {
    size_t n_slots, n_items;
    size_t item[MOST_SLOTS];
    atomic_int made[N], busy[64];
    atomic_size_t n_alive, most_alive;
    size_t n_announced, n_taken;
    size_t bad[3]; /* the item that fails in next, make, take */
    bool in_order;
};

static void dawdle(size_t i)
{
    struct timespec t = { 0, (long)(i * 7919 % 50) * 1000 };

    nanosleep(&t, NULL);
}

static bl_status fail_at(const struct work *w, enum where where, size_t item, struct bl_err *err)
{
    static const char *const name[] = { "next", "make", "take" };

    return w->bad[where] == item ? bl_fail(err, BL_E_FORMAT, "%s of %zu", name[where], item)
                                 : BL_OK;
}

static bl_status next(void *context, size_t slot, bool *end, struct bl_err *err)
{
    struct work *w = context;
    size_t alive;

    if (w->n_announced == w->n_items) {
        *end = true;
        return BL_OK;
    }
    alive = atomic_fetch_add(&w->n_alive, 1) + 1;
    if (alive > atomic_load(&w->most_alive))
        atomic_store(&w->most_alive, alive);
    assert_true(slot < w->n_slots);
    w->item[slot] = w->n_announced++;
    return fail_at(w, NEXT, w->item[slot], err);
}

static bl_status make(void *context, size_t slot, int i_thread, struct bl_err *err)
{
    struct work *w = context;
    size_t item = w->item[slot];

    assert_int_equal(atomic_fetch_add(&w->busy[i_thread], 1), 0); /* the place is ours */
    dawdle(item);
    atomic_fetch_add(&w->made[item], 1);
    atomic_fetch_sub(&w->busy[i_thread], 1);
    return fail_at(w, MAKE, item, err);
}

static bl_status take(void *context, size_t slot, struct bl_err *err)
{
    struct work *w = context;
    size_t item = w->item[slot];

    w->in_order = w->in_order && item == w->n_taken && atomic_load(&w->made[item]) == 1;
    w->n_taken++;
    atomic_fetch_sub(&w->n_alive, 1);
    return fail_at(w, TAKE, item, err);
}

static bl_status run(struct work *w, size_t n_items, size_t n_slots, int n_threads,
                     const size_t bad[3], struct bl_err *err)
{
    const bl_flow flow = { next, make, take, w, n_slots, n_threads };

    *w = (struct work){ .n_slots = n_slots, .n_items = n_items, .in_order = true };
    for (int i = 0; i < 3; i++)
        w->bad[i] = bad ? bad[i] : NONE;
    return bl_flow_run(&flow, err);
}

static void takes_every_item_once_in_order(void **state)
{
    static const int threads[] = { 1, 2, 3, 8 };
    static const size_t slots[] = { 1, 2, 5, MOST_SLOTS }, items[] = { 0, 1, 4, N };
    struct work w;

    (void)state;
    for (size_t t = 0; t < 4; t++)
        for (size_t s = 0; s < 4; s++)
            for (size_t n = 0; n < 4; n++) {
                assert_int_equal(run(&w, items[n], slots[s], threads[t], NULL, NULL), BL_OK);
                assert_int_equal(w.n_taken, items[n]);
                assert_true(w.in_order);
                assert_true(atomic_load(&w.most_alive) <= slots[s]);
            }
}

static void reports_the_first_item_that_fails(void **state)
{
    static const struct {
        size_t bad[3];
        const char *sentence;
        size_t n_taken;
    } cases[] = {
        { { 7, NONE, NONE }, "next of 7", 7 },         { { NONE, 7, NONE }, "make of 7", 7 },
        { { NONE, NONE, 7 }, "take of 7", 8 },         { { 20, 9, 12 }, "make of 9", 9 },
        { { 9, 20, NONE }, "next of 9", 9 },           { { NONE, 30, 8 }, "take of 8", 9 },
        { { 0, NONE, NONE }, "next of 0", 0 },         { { NONE, 0, NONE }, "make of 0", 0 },
        { { NONE, N - 1, NONE }, "make of 199", 199 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (int threads = 1; threads <= 8; threads *= 2)
            for (size_t slots = 1; slots <= MOST_SLOTS; slots *= 4) {
                struct bl_err err = { 0 };
                struct work w;

                assert_int_equal(run(&w, N, slots, threads, cases[i].bad, &err), BL_E_FORMAT);
                assert_string_equal(err.text, cases[i].sentence);
                assert_int_equal(w.n_taken, cases[i].n_taken);
            }
}

static void does_without_threads_that_are_not_given(void **state)
{
    static const size_t bad[3] = { NONE, 11, NONE };

    (void)state;
    for (unsigned k = 1; k <= 4; k++) {
        struct bl_err err = { 0 };
        struct work w;

        bl_flow_fail_thread_at(k);
        assert_int_equal(run(&w, N, 4, 3, NULL, NULL), BL_OK);
        assert_int_equal(w.n_taken, N);
        assert_true(w.in_order);
        bl_flow_fail_thread_at(k);
        assert_int_equal(run(&w, N, 4, 3, bad, &err), BL_E_FORMAT);
        assert_string_equal(err.text, "make of 11");
    }
    bl_flow_fail_thread_at(0);
}

static void fails_cleanly_without_memory(void **state)
{
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        struct work w;

        bl_alloc_fail_at(k);
        rc = run(&w, 10, 4, 2, NULL, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(bl_alloc_live() == live);
    }
}

/* In a child, because the flag of a signal stays. */
static void ends_when_a_signal_arrives(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct work w;
        struct bl_err err = { 0 };

        bl_cancel_on_signals();
        raise(SIGTERM);
        _exit(run(&w, N, 4, 2, NULL, &err) == BL_E_CANCELLED && w.n_taken == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_item_once_in_order),
        cmocka_unit_test(reports_the_first_item_that_fails),
        cmocka_unit_test(does_without_threads_that_are_not_given),
        cmocka_unit_test(fails_cleanly_without_memory),
        cmocka_unit_test(ends_when_a_signal_arrives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
