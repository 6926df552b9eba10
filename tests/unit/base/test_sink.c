/*
 * Output files: nothing under the final name before commit, nothing left after a failure, and
 * what was there before is intact. Folders: test_outdir.c.
 */
#include "base/alloc.h"
#include "base/publish.h"
#include "base/sink.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MIB = 1 << 20, CHILD_SKIPS = 77 };

static size_t longest_write; /* 0 = as the kernel likes */
static int interrupted_writes;

/* The program's pwrite(): the kernel may take less than it is given, or be interrupted. */
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    if (interrupted_writes > 0) {
        interrupted_writes--;
        errno = EINTR;
        return -1;
    }
    if (longest_write && n > longest_write)
        n = longest_write;
    return syscall(SYS_pwrite64, fd, bytes, n, offset);
}

static int reset(void **state)
{
    longest_write = 0;
    interrupted_writes = 0;
    bl_sink_fail_at(0);
    bl_publish_plain_renames(false);
    return scratch_clear(state);
}

/* Bytes that differ along the way, so that a lost or doubled piece shows. */
static unsigned char *pattern(size_t n)
{
    unsigned char *p = malloc(n);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 2654435761u >> 13);
    return p;
}

static void shows_nothing_before_commit_and_everything_after(void **state)
{
    bl_sink *sink = NULL;

    (void)state;
    assert_int_equal(bl_sink_begin(&sink, "x", false, NULL), BL_OK);
    assert_int_equal(bl_sink_write(sink, "hello", 5, NULL), BL_OK);
    assert_int_equal(bl_sink_offset(sink), 5);
    assert_false(scratch_exists("x"));
    assert_true(scratch_exists("x.partial"));
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    assert_null(sink);
    assert_true(scratch_holds("x", "hello", 5));
    assert_int_equal(scratch_n_entries("."), 1);
}

static void writes_pieces_of_every_size_in_order(void **state)
{
    static const size_t piece[] = { 1, 3, 4096, MIB - 1, MIB, MIB + 1, 0, 3 * MIB + 7 };
    unsigned char *all = pattern(10 * MIB);

    (void)state;
    for (int short_writes = 0; short_writes < 2; short_writes++) {
        bl_sink *sink = NULL;
        size_t n = 0;

        longest_write = short_writes ? 70001 : 0;
        interrupted_writes = short_writes * 3;
        assert_int_equal(bl_sink_begin(&sink, "x", true, NULL), BL_OK);
        for (size_t i = 0; i < sizeof(piece) / sizeof(*piece); i++) {
            assert_int_equal(bl_sink_write(sink, all + n, piece[i], NULL), BL_OK);
            n += piece[i];
            assert_int_equal(bl_sink_offset(sink), n);
        }
        assert_int_equal(bl_sink_write(sink, NULL, 0, NULL), BL_OK);
        assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
        assert_true(scratch_holds("x", all, n));
    }
    free(all);
}

static void writes_zeros_and_patches_what_was_written(void **state)
{
    bl_sink *sink = NULL;
    unsigned char *expected = calloc(1, 2 * MIB + 13);

    (void)state;
    assert_non_null(expected);
    memcpy(expected, "12345678", 8);
    memcpy(expected + MIB - 2, "abcd", 4);
    expected[2 * MIB + 11] = 'd';
    expected[2 * MIB + 12] = 'e';
    assert_int_equal(bl_sink_begin(&sink, "x", false, NULL), BL_OK);
    assert_int_equal(bl_sink_write_zeros(sink, 2 * MIB + 11, NULL), BL_OK);
    assert_int_equal(bl_sink_patch(sink, 0, "12345678", 8, NULL), BL_OK);
    assert_int_equal(bl_sink_patch(sink, MIB - 2, "abcd", 4, NULL), BL_OK);
    assert_int_equal(bl_sink_write_zeros(sink, 1, NULL), BL_OK);
    assert_int_equal(bl_sink_patch(sink, 2 * MIB + 11, "d", 1, NULL), BL_OK); /* still buffered */
    assert_int_equal(bl_sink_offset(sink), 2 * MIB + 12);
    assert_int_equal(bl_sink_write(sink, "e", 1, NULL), BL_OK); /* goes on at the end */
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    assert_true(scratch_holds("x", expected, 2 * MIB + 13));
    free(expected);
}

static void abort_leaves_nothing(void **state)
{
    bl_sink *sink = NULL;

    (void)state;
    bl_sink_abort(&sink); /* of none */
    assert_int_equal(bl_sink_begin(&sink, "x", false, NULL), BL_OK);
    assert_int_equal(bl_sink_write_zeros(sink, 2 * MIB, NULL), BL_OK);
    bl_sink_abort(&sink);
    assert_null(sink);
    assert_int_equal(scratch_n_entries("."), 0);
}

static void refuses(const char *path, bool force, bl_status status, const char *sentence)
{
    bl_sink *sink = NULL;
    struct bl_err err = { 0 };

    assert_int_equal(bl_sink_begin(&sink, path, force, &err), status);
    assert_string_equal(err.text, sentence);
    assert_null(sink);
}

static void refuses_what_exists_unless_forced(void **state)
{
    bl_sink *sink = NULL;

    (void)state;
    scratch_puts("x", "old");
    refuses("x", false, BL_E_USAGE, "x: already exists (--force replaces it)");
    scratch_puts("y.partial", "left");
    refuses("y", false, BL_E_USAGE, "y.partial: left by an unfinished run (--force replaces it)");
    assert_true(scratch_holds("x", "old", 3));
    assert_true(scratch_holds("y.partial", "left", 4));

    scratch_puts("x.partial", "left");
    assert_int_equal(bl_sink_begin(&sink, "x", true, NULL), BL_OK);
    assert_int_equal(bl_sink_write(sink, "new", 3, NULL), BL_OK);
    assert_true(scratch_holds("x", "old", 3));
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    assert_true(scratch_holds("x", "new", 3));
    assert_false(scratch_exists("x.partial"));
}

static void refuses_what_is_no_place_for_a_file(void **state)
{
    (void)state;
    assert_int_equal(mkdir("folder", 0777), 0);
    scratch_puts("file", "old");
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    for (int force = 0; force < 2; force++) {
        refuses("", force, BL_E_USAGE, "'' is not the name of a regular file");
        refuses(".", force, BL_E_USAGE, "'.' is not the name of a regular file");
        refuses("folder/..", force, BL_E_USAGE, "'folder/..' is not the name of a regular file");
        refuses("x/", force, BL_E_USAGE, "'x/' is not the name of a regular file");
        refuses("folder", force, BL_E_USAGE, "folder: exists and is not a regular file");
        refuses("/dev/full", force, BL_E_USAGE, "/dev/full: exists and is not a regular file");
        refuses("link", force, BL_E_USAGE, "link: is a link; give the name that it points to");
        refuses("dangling", force, BL_E_USAGE,
                "dangling: is a link; give the name that it points to");
        refuses("missing/x", force, BL_E_IO,
                "missing/x.partial: cannot create: its folder does not exist");
    }
    refuses("file/x", false, BL_E_IO, "file/x.partial: cannot create: Not a directory");
    assert_int_equal(mkdir("x.partial", 0777), 0);
    refuses("x", true, BL_E_IO, "x.partial: cannot remove: Is a directory");
    assert_int_equal(scratch_n_entries("."), 5);
}

/* A pipe under the partial name must not hang us, a link must not lead us elsewhere. */
static void force_removes_what_lies_under_the_partial_name(void **state)
{
    bl_sink *sink = NULL;

    (void)state;
    alarm(10);
    assert_int_equal(mkfifo("x.partial", 0666), 0);
    assert_int_equal(bl_sink_begin(&sink, "x", true, NULL), BL_OK);
    bl_sink_abort(&sink);
    scratch_puts("precious", "kept");
    assert_int_equal(symlink("precious", "x.partial"), 0);
    assert_int_equal(bl_sink_begin(&sink, "x", true, NULL), BL_OK);
    assert_int_equal(bl_sink_write(sink, "new", 3, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    alarm(0);
    assert_true(scratch_holds("precious", "kept", 4));
    assert_true(scratch_holds("x", "new", 3));
}

/* Write x through every kind of call; the status of the first that failed. */
static bl_status write_a_file(bool force, struct bl_err *err)
{
    unsigned char *bytes = pattern(2 * MIB);
    bl_sink *sink = NULL;
    bl_status rc = bl_sink_begin(&sink, "x", force, err);

    if (rc == BL_OK)
        rc = bl_sink_write(sink, bytes, 1000, err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, bytes, 2 * MIB, err);
    if (rc == BL_OK)
        rc = bl_sink_write_zeros(sink, MIB, err);
    if (rc == BL_OK)
        rc = bl_sink_patch(sink, 10, "patch", 5, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    free(bytes);
    return rc;
}

static void sweep_system_calls(bool old_file, bool plain_renames, uint64_t at_least)
{
    bl_status rc = BL_E_IO;
    uint64_t k;

    bl_publish_plain_renames(plain_renames);
    for (k = 1; rc != BL_OK; k++) {
        struct bl_err err = { 0 };
        int64_t live = bl_alloc_live();

        if (old_file)
            scratch_puts("x", "old");
        bl_sink_fail_at(k);
        rc = write_a_file(old_file, &err);
        bl_sink_fail_at(0);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_IO);
        assert_int_equal(err.status, BL_E_IO);
        assert_non_null(strstr(err.text, ": No space left on device"));
        assert_int_equal(scratch_n_entries("."), old_file);
        assert_true(!old_file || scratch_holds("x", "old", 3));
    }
    assert_true(k > at_least); /* the hook is asked at each step */
    assert_int_equal(scratch_n_entries("."), 1);
    assert_false(scratch_holds("x", "old", 3));
    scratch_remove("x");
}

static void a_failure_of_any_system_call_leaves_no_file(void **state)
{
    (void)state;
    sweep_system_calls(false, false, 7);
    sweep_system_calls(false, true, 7);
}

static void a_failure_of_any_system_call_leaves_the_old_file(void **state)
{
    (void)state;
    sweep_system_calls(true, false, 8);
    sweep_system_calls(true, true, 8);
}

static void a_failure_of_any_allocation_leaves_no_file(void **state)
{
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        int64_t live = bl_alloc_live();

        bl_alloc_fail_at(k);
        rc = write_a_file(false, NULL);
        bl_alloc_fail_at(0);
        assert_true(bl_alloc_live() == live);
        assert_int_equal(scratch_n_entries("."), rc == BL_OK);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

static void the_first_failure_is_repeated_to_the_end(void **state)
{
    bl_sink *sink = NULL;
    struct bl_err first = { 0 }, later = { 0 };

    (void)state;
    assert_int_equal(bl_sink_begin(&sink, "x", false, NULL), BL_OK);
    bl_sink_fail_at(1);
    assert_int_equal(bl_sink_write_zeros(sink, 2 * MIB, &first), BL_E_IO);
    assert_string_equal(first.text, "x.partial: cannot write at byte 0: No space left on device");
    assert_int_equal(bl_sink_write(sink, "x", 1, &later), BL_E_IO);
    assert_string_equal(later.text, first.text);
    assert_int_equal(bl_sink_patch(sink, 0, "x", 1, NULL), BL_E_IO);
    later = (struct bl_err){ 0 };
    assert_int_equal(bl_sink_commit(&sink, &later), BL_E_IO);
    assert_string_equal(later.text, first.text);
    assert_null(sink);
    assert_int_equal(scratch_n_entries("."), 0);
}

/* A file that appears while we write belongs to somebody: without force it is not replaced. */
static void does_not_replace_what_appeared_meanwhile(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        bl_sink *sink = NULL;
        struct bl_err err = { 0 };

        bl_publish_plain_renames(plain);
        assert_int_equal(bl_sink_begin(&sink, "x", false, NULL), BL_OK);
        scratch_puts("x", "theirs");
        assert_int_equal(bl_sink_commit(&sink, &err), BL_E_IO);
        assert_string_equal(err.text, "x.partial: cannot rename to x: File exists");
        assert_true(scratch_holds("x", "theirs", 6));
        assert_int_equal(scratch_n_entries("."), 1);
        scratch_remove("x");
    }
}

/* Two runs with --force: the later one takes the partial name, the earlier must not publish it. */
static void does_not_publish_the_partial_file_of_another_run(void **state)
{
    bl_sink *first = NULL, *second = NULL;
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_sink_begin(&first, "x", true, NULL), BL_OK);
    assert_int_equal(bl_sink_begin(&second, "x", true, NULL), BL_OK);
    assert_int_equal(bl_sink_write(first, "first", 5, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&first, &err), BL_E_IO);
    assert_string_equal(err.text, "x.partial: another run took its place while it was written");
    assert_false(scratch_exists("x"));
    assert_int_equal(bl_sink_write(second, "second", 6, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&second, NULL), BL_OK);
    assert_true(scratch_holds("x", "second", 6));
}

/* Run the case in a child, which may limit itself; true when it could not be set up. */
static bool child_skips(int (*run)(void))
{
    pid_t child;
    int how = 0;

    fflush(NULL);
    child = fork();
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    if (WEXITSTATUS(how) == CHILD_SKIPS)
        return true;
    assert_int_equal(WEXITSTATUS(how), 0);
    return false;
}

static int write_past_the_limit(void)
{
    struct rlimit limit = { MIB + 123, MIB + 123 };
    struct bl_err err = { 0 };

    signal(SIGXFSZ, SIG_IGN); /* as base/cancel.c does */
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return CHILD_SKIPS;
    if (write_a_file(false, &err) != BL_E_IO)
        return 1;
    if (strcmp(err.text, "x.partial: cannot write at byte 1048699: File too large") != 0)
        return 2;
    return scratch_n_entries(".") == 0 ? 0 : 3;
}

static void a_file_size_limit_is_a_sentence(void **state)
{
    (void)state;
    if (child_skips(write_past_the_limit))
        skip();
}

static int fill_a_small_disk(void)
{
    struct bl_err err = { 0 };

    if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdir("disk", 0777) != 0 ||
        mount("none", "disk", "tmpfs", 0, "size=1m") != 0)
        return CHILD_SKIPS;
    if (chdir("disk") != 0)
        return 1;
    if (bl_space_check("x", 100, &err) != BL_OK)
        return 2;
    if (bl_space_check("x", 2 * MIB, &err) != BL_E_IO ||
        strcmp(err.text, "x: needs 2.10 MB, the disk has 1.05 MB left") != 0)
        return 3;
    if (write_a_file(false, &err) != BL_E_IO || !strstr(err.text, "No space left on device"))
        return 4;
    return scratch_n_entries(".") == 0 ? 0 : 5;
}

static void a_full_disk_is_a_sentence(void **state)
{
    (void)state;
    if (child_skips(fill_a_small_disk)) /* no right to mount one */
        skip();
}

static int write_into_a_read_only_folder(void)
{
    struct bl_err err = { 0 };

    if (chmod(".", 0755) != 0 || mkdir("folder", 0555) != 0)
        return 1;
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) /* root may write anywhere */
        return CHILD_SKIPS;
    if (chdir("folder") != 0)
        return 2;
    if (write_a_file(false, &err) != BL_E_IO)
        return 3;
    return strcmp(err.text, "x.partial: cannot create: Permission denied") == 0 ? 0 : 4;
}

static void a_read_only_folder_is_a_sentence(void **state)
{
    (void)state;
    if (child_skips(write_into_a_read_only_folder))
        skip();
}

static void space_is_checked_where_the_file_will_lie(void **state)
{
    (void)state;
    assert_int_equal(bl_space_check("x", 1, NULL), BL_OK);
    assert_int_equal(bl_space_check("folder/", 1, NULL), BL_OK);
    assert_int_equal(bl_space_check("/x", UINT64_MAX, NULL), BL_E_IO);
    assert_int_equal(bl_space_check("missing/x", UINT64_MAX, NULL), BL_OK); /* begin will say */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(shows_nothing_before_commit_and_everything_after, reset),
        cmocka_unit_test_teardown(writes_pieces_of_every_size_in_order, reset),
        cmocka_unit_test_teardown(writes_zeros_and_patches_what_was_written, reset),
        cmocka_unit_test_teardown(abort_leaves_nothing, reset),
        cmocka_unit_test_teardown(refuses_what_exists_unless_forced, reset),
        cmocka_unit_test_teardown(refuses_what_is_no_place_for_a_file, reset),
        cmocka_unit_test_teardown(force_removes_what_lies_under_the_partial_name, reset),
        cmocka_unit_test_teardown(a_failure_of_any_system_call_leaves_no_file, reset),
        cmocka_unit_test_teardown(a_failure_of_any_system_call_leaves_the_old_file, reset),
        cmocka_unit_test_teardown(a_failure_of_any_allocation_leaves_no_file, reset),
        cmocka_unit_test_teardown(the_first_failure_is_repeated_to_the_end, reset),
        cmocka_unit_test_teardown(does_not_replace_what_appeared_meanwhile, reset),
        cmocka_unit_test_teardown(does_not_publish_the_partial_file_of_another_run, reset),
        cmocka_unit_test_teardown(a_file_size_limit_is_a_sentence, reset),
        cmocka_unit_test_teardown(a_full_disk_is_a_sentence, reset),
        cmocka_unit_test_teardown(a_read_only_folder_is_a_sentence, reset),
        cmocka_unit_test_teardown(space_is_checked_where_the_file_will_lie, reset),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
