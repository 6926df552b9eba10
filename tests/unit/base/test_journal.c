/* The journal: what was appended is read again; a torn or damaged end is dropped, nothing else. */
#include "base/journal.h"

#include "base/alloc.h"
#include "base/publish.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const bl_hash128 key = { 7, 11 };
static const char *const text[] = { "first", "", "the third, a longer one", "4" };

enum { N = sizeof(text) / sizeof(*text) };

static size_t make(char *bytes, size_t size)
{
    bl_journal *j = NULL;
    FILE *f;
    size_t n;

    assert_int_equal(bl_journal_create(&j, "j", key, NULL), BL_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(bl_journal_append(j, text[i], strlen(text[i]), NULL), BL_OK);
    bl_journal_close(j);
    f = fopen("j", "rb");
    assert_non_null(f);
    n = fread(bytes, 1, size, f);
    fclose(f);
    return n;
}

/* The records of the file, which must be the first ones; how many. */
static size_t read_back(void)
{
    bl_journal *j = NULL;
    size_t n;

    assert_int_equal(bl_journal_open(&j, "j", key, NULL), BL_OK);
    if (!j)
        return 0;
    n = bl_journal_n(j);
    assert_true(n <= N);
    for (size_t i = 0; i < n; i++) {
        bl_journal_record r = bl_journal_at(j, i);

        assert_int_equal(r.n, strlen(text[i]));
        assert_memory_equal(r.bytes, text[i], r.n);
    }
    bl_journal_close(j);
    return n;
}

static void keeps_what_was_appended(void **state)
{
    char bytes[512];

    (void)state;
    (void)make(bytes, sizeof(bytes));
    assert_int_equal(read_back(), N);
}

static void drops_a_torn_end_at_every_length(void **state)
{
    char bytes[512];
    size_t n = make(bytes, sizeof(bytes)), before = 0;

    (void)state;
    for (size_t length = 0; length <= n; length++) {
        size_t got;

        scratch_write("j", bytes, length);
        got = read_back();
        assert_true(got >= before && got <= before + 1);
        before = got;
        assert_int_equal(read_back(), got); /* and again, from what was cut */
    }
    assert_int_equal(before, N);
}

static void drops_what_lies_behind_any_changed_byte(void **state)
{
    char bytes[512];
    size_t n = make(bytes, sizeof(bytes));

    (void)state;
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x40;
        scratch_write("j", bytes, n);
        assert_true(read_back() < N);
        bytes[i] ^= 0x40;
    }
}

static void appends_behind_what_it_cut(void **state)
{
    char bytes[512];
    size_t n = make(bytes, sizeof(bytes));
    bl_journal *j = NULL;

    (void)state;
    scratch_write("j", bytes, n - 3);
    assert_int_equal(bl_journal_open(&j, "j", key, NULL), BL_OK);
    assert_int_equal(bl_journal_n(j), N - 1);
    assert_int_equal(bl_journal_cut(j, 2, NULL), BL_OK);
    assert_int_equal(bl_journal_append(j, text[2], strlen(text[2]), NULL), BL_OK);
    assert_int_equal(bl_journal_append(j, text[3], strlen(text[3]), NULL), BL_OK);
    bl_journal_close(j);
    assert_int_equal(read_back(), N);
    assert_true(scratch_holds("j", bytes, n));
}

static void refuses_another_key(void **state)
{
    const bl_hash128 other = { 7, 12 };
    struct bl_err err = { 0 };
    char bytes[512];
    bl_journal *j = NULL;

    (void)state;
    (void)make(bytes, sizeof(bytes));
    assert_int_equal(bl_journal_open(&j, "j", other, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "another command"));
    assert_null(j);
}

static void fails_cleanly_at_every_call(void **state)
{
    int64_t live = bl_alloc_live();

    (void)state;
    for (int what = 0; what < 2; what++) {
        bl_status rc = BL_E_IO;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            bl_journal *j = NULL;

            (what ? bl_publish_fail_at : bl_alloc_fail_at)(k);
            rc = bl_journal_create(&j, "j", key, NULL);
            for (int i = 0; i < N && rc == BL_OK; i++)
                rc = bl_journal_append(j, text[i], strlen(text[i]), NULL);
            bl_journal_close(j);
            j = NULL;
            if (rc == BL_OK)
                rc = bl_journal_open(&j, "j", key, NULL);
            bl_journal_close(j);
            bl_alloc_fail_at(0);
            bl_publish_fail_at(0);
            assert_true(bl_alloc_live() == live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_appended),
        cmocka_unit_test(drops_a_torn_end_at_every_length),
        cmocka_unit_test(drops_what_lies_behind_any_changed_byte),
        cmocka_unit_test(appends_behind_what_it_cut),
        cmocka_unit_test(refuses_another_key),
        cmocka_unit_test(fails_cleanly_at_every_call),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
