/* Files against a list of SHA-256 sums: what sha256sum(1) writes is read, all else is refused. */
#include "base/alloc.h"
#include "tests/unit/scratch.h"
#include "verify/check_sums.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* of "abc" and of nothing: FIPS 180-4 */
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_U "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void make_files(const char *list)
{
    mkdir("m", 0777);
    mkdir("m/sub", 0777);
    scratch_write("m/a.safetensors", "abc", 3);
    scratch_write("m/empty.json", "", 0);
    scratch_write("m/sub/c", "abc", 3);
    scratch_write("SUMS", list, strlen(list));
}

static bl_status run(bl_sums_result *out, const char *path, struct bl_err *err)
{
    return bl_check_sums(out, path, "SUMS", 2, false, err);
}

static void every_form_of_line_is_read(void **state)
{
    bl_sums_result r = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    make_files("# comment\r\n\r\n" ABC "  a.safetensors\r\n" EMPTY " *./empty.json\n\n" ABC_U
               "  sub/c");
    if (run(&r, "m", &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(r.n_files, 3);
    assert_int_equal(r.n_bytes, 6);
    assert_int_equal(r.check.n_findings, 0);
    bl_sums_release(&r);
}

static void what_is_wrong_is_named_in_the_order_of_the_list(void **state)
{
    bl_sums_result r = { 0 };

    (void)state;
    make_files(ABC "  empty.json\n" ABC "  gone\n" ABC "  a.safetensors\n");
    scratch_write("m/more", "", 0);
    scratch_write("m/.hidden", "", 0);
    assert_int_equal(run(&r, "m", NULL), BL_OK);
    assert_int_equal(r.check.n_faults, 2);
    assert_int_equal(r.check.n_tensor_faults, 0);
    assert_int_equal(r.check.n_findings, 3);
    assert_string_equal(r.check.finding[0].text, "empty.json: its SHA-256 is not the one listed");
    assert_string_equal(r.check.finding[1].text, "gone: listed, but not there");
    assert_string_equal(r.check.finding[2].text, "more: not listed");
    assert_int_equal(r.check.finding[2].kind, BL_FINDING_NOTE);
    bl_sums_release(&r);
}

static void one_file_looks_at_its_own_line_only(void **state)
{
    bl_sums_result r = { 0 };

    (void)state;
    make_files(ABC "  gone\n" ABC "  elsewhere/a.safetensors\n");
    assert_int_equal(run(&r, "m/a.safetensors", NULL), BL_OK);
    assert_int_equal(r.n_files, 1);
    assert_int_equal(r.check.n_findings, 0);
    bl_sums_release(&r);
    assert_int_equal(run(&r, "m/empty.json", NULL), BL_OK);
    assert_int_equal(r.check.n_faults, 1);
    assert_string_equal(r.check.finding[0].text, "empty.json: SUMS does not list it");
    bl_sums_release(&r);
}

static void other_lists_are_refused(void **state)
{
    static const char *const lists[] = {
        "",
        "# nothing\n",
        "hello\n",
        ABC "\n",
        ABC "  \n",
        ABC " a.safetensors\n",
        ABC "0 a.safetensors\n",
        "x" ABC "  a.safetensors\n",
        "\\" ABC "  a\\nb\n",
        ABC "  /etc/passwd\n",
        ABC "  ../SUMS\n",
        ABC "  sub/../../SUMS\n",
        ABC "  sub//c\n",
        "ba7816bf  a.safetensors\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        bl_sums_result r = { 0 };
        struct bl_err err = { 0 };

        make_files(lists[i]);
        if (run(&r, "m", &err) != BL_E_FORMAT)
            fail_msg("accepted: %s", lists[i]);
        assert_non_null(strstr(err.text, "SUMS"));
    }
    scratch_write("SUMS", ABC "  a.safetensors\0 more\n", 64 + 2 + 13 + 7);
    assert_int_equal(run(&(bl_sums_result){ 0 }, "m", NULL), BL_E_FORMAT);
    assert_int_equal(run(&(bl_sums_result){ 0 }, "nowhere", NULL), BL_E_IO);
}

static void memory_that_fails_is_a_status(void **state)
{
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    make_files(ABC "  empty.json\n" ABC "  gone\n" ABC "  a.safetensors\n");
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_sums_result r = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_check_sums(&r, "m", "SUMS", 1, false, NULL);
        bl_alloc_fail_at(0);
        bl_sums_release(&r);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || (rc == BL_E_NOMEM && k < 200));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_form_of_line_is_read, scratch_clear),
        cmocka_unit_test_teardown(what_is_wrong_is_named_in_the_order_of_the_list, scratch_clear),
        cmocka_unit_test_teardown(one_file_looks_at_its_own_line_only, scratch_clear),
        cmocka_unit_test_teardown(other_lists_are_refused, scratch_clear),
        cmocka_unit_test_teardown(memory_that_fails_is_a_status, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
