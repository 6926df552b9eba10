/*
 * test_resume.c - conversions of the small R1 checkpoint that die at the n-th call that changes the
 * disk, lose what was not synced, and are gone on with: the same bytes as if nothing had happened.
 *
 * One worker: OpenMP's threads would not survive the fork.
 * BALEEN_EVERY_KILL=1 tries every call; by default every eleventh.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/publish.h"
#include "convert/archive.h"
#include "convert/cast.h"
#include "convert/checkpoint.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/bln/bln_reader.h"
#include "formats/hf/hf_dir.h"
#include "tests/unit/scratch.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEAST_INTERVAL = 200 << 10, DIED = 9, MOST_FDS = 256 };

enum kind { GGUF, FOLDER, STORE, RESTORE, N_KINDS };

static const char *const output[N_KINDS] = { "x.gguf", "folder", "x.bln", "back" };
static char nano[PATH_MAX];

/* ---- the child that dies */

static uint64_t dies_at;
static int syncing = -1;
static struct seen {
    ino_t inode;
    off_t synced;
} seen[MOST_FDS];

static off_t size_of(int fd, ino_t *inode)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return -1;
    *inode = st.st_ino;
    return st.st_size;
}

/* What a power cut leaves: files as they were when they were last synced. */
static void lose_what_was_not_synced(void)
{
    for (int fd = 0; fd < MOST_FDS; fd++) {
        ino_t inode = 0;
        off_t size = seen[fd].inode ? size_of(fd, &inode) : -1;

        if (size > seen[fd].synced && inode == seen[fd].inode &&
            ftruncate(fd, seen[fd].synced) != 0)
            _exit(1);
    }
}

static void watch(bl_call call, int fd, uint64_t number)
{
    ino_t inode = 0;
    off_t size;

    if (syncing >= 0 && (size = size_of(syncing, &inode)) >= 0)
        seen[syncing] = (struct seen){ inode, size };
    syncing = call == BL_CALL_SYNC ? fd : -1;
    if (fd >= 0 && fd < MOST_FDS && (size = size_of(fd, &inode)) >= 0 && seen[fd].inode != inode)
        seen[fd] = (struct seen){ inode, size };
    if (number == dies_at) {
        lose_what_was_not_synced();
        _exit(DIED);
    }
}

/* ---- conversions */

static const bl_encoder *choose(const void *context, const bl_choice *choice)
{
    (void)context;
    return bl_cast_encoder(choice->ndim == 1 ? BL_F32 : BL_BF16);
}

static bl_status write_plan(enum kind kind, bool resume, double *resumed, struct bl_err *err)
{
    const bl_write_options options = {
        .resume = resume, .resumed = resumed, .n_threads = 1, .label = "test", .shard_size = 3 << 20
    };
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_status rc = bl_ckpt_open(&ckpt, nano, err);

    if (rc == BL_OK)
        rc = (kind == GGUF ? bl_plan_gguf : bl_plan_folder)(&plan, ckpt, choose, NULL, err);
    if (rc == BL_OK)
        rc = bl_plan_want_loss(&plan, err);
    if (rc == BL_OK && kind == GGUF)
        rc = bl_write_gguf(output[kind], ckpt, &plan, BL_GGUF_FILE_BF16, &options, err);
    else if (rc == BL_OK)
        rc = bl_write_folder(output[kind], ckpt, &plan,
                             &(bl_folder_text){ .torch_dtype = "bfloat16" }, &options, err);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static bl_status archive(enum kind kind, bool resume, double *resumed, struct bl_err *err)
{
    const bl_archive_options options = { .resume = resume, .resumed = resumed, .n_threads = 1 };
    bl_container *from = NULL;
    bl_status rc = kind == STORE ? bl_hf_open(&from, nano, err) : bl_bln_open(&from, "in.bln", err);

    if (rc == BL_OK)
        rc = (kind == STORE ? bl_archive_store : bl_archive_restore)(from, output[kind], &options,
                                                                     err);
    bl_container_close(from);
    return rc;
}

static bl_status convert(enum kind kind, bool resume, double *resumed, struct bl_err *err)
{
    return kind < STORE ? write_plan(kind, resume, resumed, err)
                        : archive(kind, resume, resumed, err);
}

/* ---- outcomes */

static void add_file(bl_hasher *hasher, const char *path)
{
    char *bytes = NULL;
    size_t n = 0;

    assert_int_equal(bl_source_read_file(&bytes, &n, path, 1 << 30, NULL), BL_OK);
    bl_hasher_add(hasher, bytes, n);
    bl_free(bytes);
}

/* Of the output's bytes: a file, or the files of a folder by name. */
static bl_hash128 hash_output(const char *path)
{
    bl_hasher *hasher = NULL;
    struct dirent **entry = NULL;
    struct stat st;
    bl_hash128 hash;
    int n;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK);
    if (S_ISREG(st.st_mode)) {
        add_file(hasher, path);
    } else {
        n = scandir(path, &entry, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            char name[PATH_MAX];

            assert_true(snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name) < PATH_MAX);
            bl_hasher_add(hasher, entry[i]->d_name, strlen(entry[i]->d_name) + 1);
            if (entry[i]->d_name[0] != '.')
                add_file(hasher, name);
            free(entry[i]);
        }
        free(entry);
    }
    hash = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return hash;
}

/* Run in a child that dies at call n; whether it did. */
static bool dies(enum kind kind, uint64_t n, bool resume)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        struct bl_err err = { 0 };

        dies_at = bl_publish_call_count() + n;
        bl_publish_watch(watch);
        _exit(convert(kind, resume, NULL, &err) == BL_OK ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 1)
        fail_msg("the run failed instead of dying at call %d", (int)n);
    return WEXITSTATUS(status) == DIED;
}

static uint64_t step(void)
{
    return getenv("BALEEN_EVERY_KILL") ? 1 : 11;
}

static void clear(const char *path)
{
    char rest[PATH_MAX];

    assert_true(snprintf(rest, sizeof(rest), "rm -rf '%s' '%s.partial' '%s.partial.journal'", path,
                         path, path) < PATH_MAX);
    assert_int_equal(system(rest), 0);
}

static void check_every_death(enum kind kind)
{
    const char *path = output[kind];
    bl_hash128 want;
    double most = 0;
    uint64_t n;

    clear(path);
    assert_int_equal(convert(kind, false, NULL, NULL), BL_OK);
    want = hash_output(path);
    clear(path);
    for (n = 1; dies(kind, n, false); n += step()) {
        struct bl_err err = { 0 };
        double resumed = 0;
        bl_status rc = BL_OK;

        if (scratch_exists(path)) { /* it had its name already: nothing is left to do */
            assert_true(bl_hash128_equal(hash_output(path), want));
            clear(path);
            continue;
        }
        if (n % 2 == 0) /* and once more, on the way */
            (void)dies(kind, 1 + n / 2, true);
        if (!scratch_exists(path))
            rc = convert(kind, true, &resumed, &err);
        if (rc != BL_OK)
            fail_msg("%s, died at %d: %s", path, (int)n, err.text);
        if (!bl_hash128_equal(hash_output(path), want))
            fail_msg("%s, died at %d: other bytes", path, (int)n);
        if (resumed > most)
            most = resumed;
        clear(path);
    }
    print_message("%s: %d calls, at best gone on from %.2f\n", path, (int)n, most);
    assert_true(most > 0.5); /* deaths near the end do not begin anew */
    clear(path);
}

static void a_gguf_file_survives_every_death(void **state)
{
    (void)state;
    check_every_death(GGUF);
}

static void a_folder_of_shards_survives_every_death(void **state)
{
    (void)state;
    check_every_death(FOLDER);
}

static void an_archive_survives_every_death(void **state)
{
    (void)state;
    check_every_death(STORE);
}

static void a_restored_folder_survives_every_death(void **state)
{
    const bl_archive_options options = { .n_threads = 1 };
    bl_container *hf = NULL;

    (void)state;
    assert_int_equal(bl_hf_open(&hf, nano, NULL), BL_OK);
    assert_int_equal(bl_archive_store(hf, "in.bln", &options, NULL), BL_OK);
    bl_container_close(hf);
    check_every_death(RESTORE);
}

/* A failing disk: what is kept is said, and gone on with. */
static void a_full_disk_leaves_what_was_written(void **state)
{
    (void)state;
    for (enum kind kind = GGUF; kind < RESTORE; kind++) {
        struct bl_err err = { 0 };
        uint64_t calls = bl_publish_call_count();
        double resumed = 0;
        char partial[64];

        clear(output[kind]);
        assert_int_equal(convert(kind, false, NULL, NULL), BL_OK);
        calls = bl_publish_call_count() - calls;
        clear(output[kind]);
        bl_publish_fail_at(calls * 3 / 4);
        assert_int_equal(convert(kind, false, NULL, &err), BL_E_IO);
        bl_publish_fail_at(0);
        assert_non_null(strstr(err.text, "--resume goes on from "));
        (void)snprintf(partial, sizeof(partial), "%s.partial", output[kind]);
        assert_true(scratch_exists(partial));
        assert_int_equal(convert(kind, false, NULL, &err), BL_E_USAGE);
        assert_non_null(strstr(err.text, "--resume"));
        assert_int_equal(convert(kind, true, &resumed, &err), BL_OK);
        assert_true(resumed > 0.5);
        assert_false(scratch_exists(partial));
        clear(output[kind]);
    }
}

/* A byte of what is kept is changed: it is written again, from the checkpoint before it. */
static void does_not_trust_what_is_kept(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct bl_err err = { 0 };
        bl_hash128 want;
        double resumed = 0;
        struct stat st;
        FILE *f;

        clear("x.gguf");
        assert_int_equal(convert(GGUF, false, NULL, NULL), BL_OK);
        want = hash_output("x.gguf");
        clear("x.gguf");
        assert_true(dies(GGUF, 40, false));
        assert_int_equal(stat("x.gguf.partial", &st), 0);
        f = fopen("x.gguf.partial", "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, (long)(st.st_size * (where + 1) / 4), SEEK_SET), 0);
        assert_int_equal(fputc(0x5a, f), 0x5a);
        fclose(f);
        assert_int_equal(convert(GGUF, true, &resumed, &err), BL_OK);
        assert_true(resumed < 0.26 * (where + 1));
        assert_true(bl_hash128_equal(hash_output("x.gguf"), want));
        clear("x.gguf");
    }
}

static void refuses_what_another_command_left(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    clear("x.gguf");
    assert_true(dies(GGUF, 40, false));
    assert_int_equal(rename("x.gguf.partial", "x.bln.partial"), 0);
    assert_int_equal(rename("x.gguf.partial.journal", "x.bln.partial.journal"), 0);
    assert_int_equal(convert(STORE, true, NULL, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "another command"));
    clear("x.bln");
}

static int enter(void **state)
{
    assert_non_null(realpath("data/nano-r1", nano));
    bl_checkpoint_set_least(LEAST_INTERVAL);
    return scratch_enter(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_file_survives_every_death),
        cmocka_unit_test(a_folder_of_shards_survives_every_death),
        cmocka_unit_test(an_archive_survives_every_death),
        cmocka_unit_test(a_restored_folder_survives_every_death),
        cmocka_unit_test(a_full_disk_leaves_what_was_written),
        cmocka_unit_test(does_not_trust_what_is_kept),
        cmocka_unit_test(refuses_what_another_command_left),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
