/* Output folders: published as a whole, or not at all; --force replaces checkpoints only. */
#include "base/alloc.h"
#include "base/publish.h"
#include "base/sink.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int reset(void **state)
{
    bl_sink_fail_at(0);
    bl_publish_plain_renames(false);
    return scratch_clear(state);
}

/* A folder with two plain files of which one has these contents. */
static void make_checkpoint(const char *path, const char *config)
{
    char name[256];

    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(name, sizeof(name), "%s/config.json", path);
    scratch_puts(name, config);
    snprintf(name, sizeof(name), "%s/model.safetensors", path);
    scratch_puts(name, "weights");
}

static bl_status write_file(bl_outdir *dir, const char *name, const char *text, struct bl_err *err)
{
    bl_sink *sink = NULL;
    bl_status rc = bl_outdir_file(&sink, dir, name, err);

    if (rc == BL_OK)
        rc = bl_sink_write(sink, text, strlen(text), err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    return rc;
}

static bl_status write_a_folder(const char *path, bool force, struct bl_err *err)
{
    bl_outdir *dir = NULL;
    bl_status rc = bl_outdir_begin(&dir, path, force, err);

    if (rc == BL_OK)
        rc = write_file(dir, "config.json", "new", err);
    if (rc == BL_OK)
        rc = write_file(dir, "model-00001-of-00001.safetensors", "tensors", err);
    if (rc == BL_OK)
        rc = bl_outdir_commit(&dir, err);
    bl_outdir_abort(&dir);
    return rc;
}

static void assert_new_folder(const char *path)
{
    char name[256];

    assert_int_equal(scratch_n_entries(path), 2);
    snprintf(name, sizeof(name), "%s/config.json", path);
    assert_true(scratch_holds(name, "new", 3));
    snprintf(name, sizeof(name), "%s/model-00001-of-00001.safetensors", path);
    assert_true(scratch_holds(name, "tensors", 7));
}

static void shows_nothing_before_commit_and_everything_after(void **state)
{
    bl_outdir *dir = NULL;

    (void)state;
    assert_int_equal(bl_outdir_begin(&dir, "out/", false, NULL), BL_OK);
    assert_int_equal(write_file(dir, "config.json", "new", NULL), BL_OK);
    assert_int_equal(write_file(dir, "model-00001-of-00001.safetensors", "tensors", NULL), BL_OK);
    assert_false(scratch_exists("out"));
    assert_true(scratch_holds("out.partial/config.json", "new", 3));
    assert_int_equal(bl_outdir_commit(&dir, NULL), BL_OK);
    assert_null(dir);
    assert_new_folder("out");
    assert_int_equal(scratch_n_entries("."), 1);
}

static void abort_leaves_nothing(void **state)
{
    bl_outdir *dir = NULL;
    bl_sink *sink = NULL;

    (void)state;
    bl_outdir_abort(&dir); /* of none */
    assert_int_equal(bl_outdir_begin(&dir, "out", false, NULL), BL_OK);
    assert_int_equal(write_file(dir, "a", "x", NULL), BL_OK);
    assert_int_equal(bl_outdir_file(&sink, dir, "b", NULL), BL_OK);
    bl_sink_abort(&sink);
    assert_int_equal(scratch_n_entries("out.partial"), 1);
    bl_outdir_abort(&dir);
    assert_int_equal(scratch_n_entries("."), 0);
}

static void takes_plain_names_once(void **state)
{
    static const char *const bad[] = { "", ".", "..", "../x", "a/b", "/tmp/x" };
    bl_outdir *dir = NULL;
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_outdir_begin(&dir, "out", false, NULL), BL_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(write_file(dir, bad[i], "x", &err), BL_E_USAGE);
    assert_string_equal(err.text, "out: '/tmp/x' is not a plain file name");
    assert_int_equal(write_file(dir, "config.json", "first", NULL), BL_OK);
    assert_int_equal(write_file(dir, "config.json", "again", &err), BL_E_IO);
    assert_string_equal(err.text, "out.partial/config.json: cannot create: File exists");
    assert_int_equal(bl_outdir_commit(&dir, NULL), BL_OK);
    assert_true(scratch_holds("out/config.json", "first", 5));
}

static void refuses(const char *path, bool force, bl_status status, const char *sentence)
{
    bl_outdir *dir = NULL;
    struct bl_err err = { 0 };

    assert_int_equal(bl_outdir_begin(&dir, path, force, &err), status);
    assert_string_equal(err.text, sentence);
    assert_null(dir);
}

static void refuses_what_exists_unless_forced(void **state)
{
    (void)state;
    make_checkpoint("out", "old");
    refuses("out", false, BL_E_USAGE, "out: already exists (--force replaces it)");
    make_checkpoint("b.partial", "left");
    refuses("b/", false, BL_E_USAGE, "b.partial: left by an unfinished run (--force replaces it)");
    scratch_puts("file", "x");
    refuses("file", true, BL_E_USAGE, "file: exists and is not a folder");
    refuses("missing/out", false, BL_E_IO,
            "missing/out.partial: cannot create the folder: No such file or directory");
    refuses("", true, BL_E_USAGE, "'' is not the name of a folder");
    refuses("/", true, BL_E_USAGE, "'/' is not the name of a folder");
    refuses("..", true, BL_E_USAGE, "'..' is not the name of a folder");
    refuses("out/./", true, BL_E_USAGE, "'out/.' is not the name of a folder");
    assert_int_equal(scratch_n_entries("."), 3);
    assert_true(scratch_holds("out/config.json", "old", 3));
}

static void force_replaces_a_checkpoint_or_an_empty_folder(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        bl_publish_plain_renames(plain);
        make_checkpoint("out", "old");
        scratch_puts("out/tokenizer.json", "x");
        make_checkpoint("out.partial", "left");
        assert_int_equal(write_a_folder("out", true, NULL), BL_OK);
        assert_new_folder("out");
        assert_int_equal(scratch_n_entries("."), 1);
        scratch_remove("out");
        assert_int_equal(mkdir("out", 0777), 0);
        assert_int_equal(mkdir("out.partial", 0777), 0);
        assert_int_equal(write_a_folder("out", true, NULL), BL_OK);
        assert_new_folder("out");
        assert_int_equal(scratch_n_entries("."), 1);
        scratch_remove("out");
    }
}

static void force_does_not_replace_somebodys_folder(void **state)
{
    static const char sentence[] =
        "out: not replaced, it does not hold a checkpoint alone; remove it yourself";

    (void)state;
    assert_int_equal(mkdir("out", 0777), 0);
    scratch_puts("out/thesis.tex", "x");
    refuses("out", true, BL_E_USAGE, sentence);
    scratch_puts("out/config.json", "{}"); /* many programs have one */
    refuses("out", true, BL_E_USAGE, sentence);
    scratch_remove("out");

    make_checkpoint("out", "old");
    assert_int_equal(mkdir("out/.git", 0777), 0);
    refuses("out", true, BL_E_USAGE, sentence);
    assert_int_equal(rmdir("out/.git"), 0);
    assert_int_equal(symlink("config.json", "out/link"), 0);
    refuses("out", true, BL_E_USAGE, sentence);
    scratch_remove("out");

    assert_int_equal(mkdir("out.partial", 0777), 0);
    scratch_puts("out.partial/thesis.tex", "x");
    refuses("out", true, BL_E_USAGE,
            "out.partial: not replaced, it does not hold a checkpoint alone; remove it yourself");
    assert_true(scratch_exists("out.partial/thesis.tex"));
}

/* To follow it would empty the folder that it points to. */
static void force_does_not_follow_links(void **state)
{
    (void)state;
    make_checkpoint("elsewhere", "old");
    assert_int_equal(symlink("elsewhere", "out"), 0);
    refuses("out", true, BL_E_USAGE, "out: is a link; give the name that it points to");
    assert_int_equal(unlink("out"), 0);
    assert_int_equal(symlink("elsewhere", "out.partial"), 0);
    refuses("out", true, BL_E_IO, "out.partial: cannot replace: Not a directory");
    assert_int_equal(scratch_n_entries("elsewhere"), 2);
}

static void what_became_precious_meanwhile_is_not_replaced(void **state)
{
    bl_outdir *dir = NULL;

    (void)state;
    assert_int_equal(bl_outdir_begin(&dir, "out", true, NULL), BL_OK);
    assert_int_equal(mkdir("out", 0777), 0);
    scratch_puts("out/thesis.tex", "x");
    assert_int_equal(bl_outdir_commit(&dir, NULL), BL_E_USAGE);
    assert_true(scratch_exists("out/thesis.tex"));
    assert_int_equal(scratch_n_entries("."), 1);

    assert_int_equal(bl_outdir_begin(&dir, "out2", false, NULL), BL_OK);
    assert_int_equal(mkdir("out2", 0777), 0); /* empty: rename(2) alone would replace it */
    assert_int_equal(bl_outdir_commit(&dir, NULL), BL_E_IO);
    assert_int_equal(scratch_n_entries("out2"), 0);
}

static void does_not_publish_the_partial_folder_of_another_run(void **state)
{
    bl_outdir *first = NULL, *second = NULL;

    (void)state;
    assert_int_equal(bl_outdir_begin(&first, "out", true, NULL), BL_OK);
    assert_int_equal(bl_outdir_begin(&second, "out", true, NULL), BL_OK);
    assert_int_equal(write_file(second, "config.json", "second", NULL), BL_OK);
    assert_int_equal(bl_outdir_commit(&first, NULL), BL_E_IO);
    assert_false(scratch_exists("out"));
    assert_int_equal(bl_outdir_commit(&second, NULL), BL_OK);
    assert_true(scratch_holds("out/config.json", "second", 6));
}

static void sweep(bool allocations, bool old_folder, bool plain_renames)
{
    bl_status rc = BL_E_IO;
    uint64_t k;

    bl_publish_plain_renames(plain_renames);
    for (k = 1; rc != BL_OK; k++) {
        int64_t live = bl_alloc_live();

        if (old_folder && !scratch_exists("out"))
            make_checkpoint("out", "old");
        if (allocations)
            bl_alloc_fail_at(k);
        else
            bl_sink_fail_at(k);
        rc = write_a_folder("out", old_folder, NULL);
        bl_alloc_fail_at(0);
        bl_sink_fail_at(0);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        assert_true(rc == BL_E_NOMEM || (rc == BL_E_IO && (!allocations || plain_renames)));
        assert_int_equal(scratch_n_entries("."), old_folder);
        assert_true(!old_folder ||
                    (scratch_n_entries("out") == 2 && scratch_holds("out/config.json", "old", 3)));
    }
    assert_true(k > 8); /* the hooks are asked at each step */
    assert_new_folder("out");
    assert_int_equal(scratch_n_entries("."), 1);
    scratch_remove("out");
}

static void a_failure_of_any_call_leaves_no_folder(void **state)
{
    (void)state;
    sweep(false, false, false);
    sweep(false, false, true);
    sweep(true, false, false);
}

static void a_failure_of_any_call_leaves_the_old_folder(void **state)
{
    (void)state;
    sweep(false, true, false);
    sweep(false, true, true);
    sweep(true, true, false);
    sweep(true, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(shows_nothing_before_commit_and_everything_after, reset),
        cmocka_unit_test_teardown(abort_leaves_nothing, reset),
        cmocka_unit_test_teardown(takes_plain_names_once, reset),
        cmocka_unit_test_teardown(refuses_what_exists_unless_forced, reset),
        cmocka_unit_test_teardown(force_replaces_a_checkpoint_or_an_empty_folder, reset),
        cmocka_unit_test_teardown(force_does_not_replace_somebodys_folder, reset),
        cmocka_unit_test_teardown(force_does_not_follow_links, reset),
        cmocka_unit_test_teardown(what_became_precious_meanwhile_is_not_replaced, reset),
        cmocka_unit_test_teardown(does_not_publish_the_partial_folder_of_another_run, reset),
        cmocka_unit_test_teardown(a_failure_of_any_call_leaves_no_folder, reset),
        cmocka_unit_test_teardown(a_failure_of_any_call_leaves_the_old_folder, reset),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
