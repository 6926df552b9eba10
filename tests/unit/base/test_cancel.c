/* Signals: asked once, obeyed by reads and writes; each case in a child, a signal stays. */
#include "base/cancel.h"
#include "base/sink.h"
#include "base/source.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

/* Run the case in a child; what waitpid() says of it. */
static int in_child(int (*run)(void))
{
    pid_t child;
    int how = 0;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(20);
        _exit(run());
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void assert_passes(int (*run)(void))
{
    int how = in_child(run);

    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

static void nothing_is_cancelled_without_a_signal(void **state)
{
    (void)state;
    assert_int_equal(bl_cancel_signal(), 0);
    assert_int_equal(bl_cancel_check(NULL), BL_OK);
}

static int remembers(void)
{
    struct bl_err err = { 0 };

    bl_cancel_on_signals();
    raise(SIGINT);
    if (bl_cancel_signal() != SIGINT || bl_cancel_check(&err) != BL_E_CANCELLED)
        return 1;
    return strcmp(err.text, "stopped by signal 2") != 0;
}

static void remembers_the_signal(void **state)
{
    (void)state;
    assert_passes(remembers);
}

static int reads_and_writes_stop(void)
{
    bl_source *source = NULL;
    bl_sink *sink = NULL;
    char byte;

    scratch_puts("in", "x");
    if (bl_source_open(&source, "in", NULL) != BL_OK)
        return 1;
    if (bl_sink_begin(&sink, "out", false, NULL) != BL_OK)
        return 2;
    bl_cancel_on_signals();
    raise(SIGHUP);
    if (bl_source_read(source, 0, &byte, 1, NULL) != BL_E_CANCELLED)
        return 3;
    if (bl_sink_write(sink, "x", 1, NULL) != BL_E_CANCELLED)
        return 4;
    if (bl_sink_commit(&sink, NULL) != BL_E_CANCELLED)
        return 5;
    bl_source_close(source);
    return scratch_n_entries(".") == 1 ? 0 : 6;
}

static void reads_and_writes_stop_and_leave_nothing(void **state)
{
    (void)state;
    assert_passes(reads_and_writes_stop);
}

static int commit_stops(void)
{
    bl_sink *sink = NULL;
    struct bl_err err = { 0 };

    if (bl_sink_begin(&sink, "out", false, NULL) != BL_OK ||
        bl_sink_write(sink, "x", 1, NULL) != BL_OK)
        return 1;
    bl_cancel_on_signals();
    raise(SIGTERM);
    if (bl_sink_commit(&sink, &err) != BL_E_CANCELLED || err.status != BL_E_CANCELLED)
        return 2;
    return scratch_n_entries(".") == 0 ? 0 : 3;
}

/* The user who pressed Ctrl-C before the end does not find a file. */
static void a_signal_before_commit_publishes_nothing(void **state)
{
    (void)state;
    assert_passes(commit_stops);
}

static int stays_ignored(void)
{
    signal(SIGHUP, SIG_IGN);
    bl_cancel_on_signals();
    raise(SIGHUP);
    return bl_cancel_signal();
}

static void what_nohup_ignores_stays_ignored(void **state)
{
    (void)state;
    assert_passes(stays_ignored);
}

static int second_signal(void)
{
    bl_cancel_on_signals();
    raise(SIGINT);
    raise(SIGINT);
    return 0;
}

/* Somebody who presses Ctrl-C twice means it, whatever the program is busy with. */
static void a_second_signal_ends_the_program(void **state)
{
    int how = in_child(second_signal);

    (void)state;
    assert_true(WIFSIGNALED(how));
    assert_int_equal(WTERMSIG(how), SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_cancelled_without_a_signal),
        cmocka_unit_test_teardown(remembers_the_signal, scratch_clear),
        cmocka_unit_test_teardown(reads_and_writes_stop_and_leave_nothing, scratch_clear),
        cmocka_unit_test_teardown(a_signal_before_commit_publishes_nothing, scratch_clear),
        cmocka_unit_test_teardown(what_nohup_ignores_stays_ignored, scratch_clear),
        cmocka_unit_test_teardown(a_second_signal_ends_the_program, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
