/* test_safetensors_writer.c - the bytes of a file, and plans that cannot become one. */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/safetensors/safetensors_writer.h"

#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* In an order that no sort would give. 4 + 4 + 0 + 16 bytes. */
static const bl_stored plan[] = {
    { .name = "b", .dtype = BL_BF16, .ndim = 1, .dim = { 2 } },
    { .name = "a", .dtype = BL_F32 },
    { .name = "none", .dtype = BL_F8_E4M3, .ndim = 2, .dim = { 0, 7 } },
    { .name = "quote\"\\\xd0\xb0", .dtype = BL_I8, .ndim = 3, .dim = { 2, 2, 4 } },
};
enum { N_PLAN = sizeof(plan) / sizeof(*plan), N_DATA = 24 };

static const char wanted[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]},"
    "\"none\":{\"dtype\":\"F8_E4M3\",\"shape\":[0,7],\"data_offsets\":[8,8]},"
    "\"quote\\\"\\\\\xd0\xb0\":{\"dtype\":\"I8\",\"shape\":[2,2,4],\"data_offsets\":[8,24]}}";

static void writes_the_header_in_the_order_of_the_plan(void **state)
{
    const size_t n = sizeof(wanted) - 1, padded = (n + 7) / 8 * 8;
    bl_text header = { 0 };
    uint64_t n_data;

    (void)state;
    assert_int_equal(bl_safetensors_plan_header(&header, &n_data, "f", plan, N_PLAN, NULL), BL_OK);
    assert_int_equal(n_data, N_DATA);
    assert_int_equal(header.n, 8 + padded);
    assert_int_equal((unsigned char)header.bytes[0] + 256 * (unsigned char)header.bytes[1], padded);
    for (int i = 2; i < 8; i++)
        assert_int_equal(header.bytes[i], 0);
    assert_memory_equal(header.bytes + 8, wanted, n);
    for (size_t i = n; i < padded; i++)
        assert_int_equal(header.bytes[8 + i], ' ');
    bl_text_release(&header);
}

/* Write the plan with n_data bytes in pieces of `piece`; commits. */
static bl_status write_file(const char *path, size_t n_data, size_t piece, struct bl_err *err)
{
    bl_safetensors_writer *w = NULL;
    bl_sink *sink = NULL;
    unsigned char data[64];
    bl_status rc = bl_sink_begin(&sink, path, false, err);

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    if (rc != BL_OK)
        return rc;
    rc = bl_safetensors_writer_begin(&w, sink, path, plan, N_PLAN, err);
    if (rc != BL_OK) {
        bl_sink_abort(&sink);
        return rc;
    }
    for (size_t at = 0; at < n_data && rc == BL_OK; at += piece)
        rc = bl_safetensors_writer_write(w, data + at, n_data - at < piece ? n_data - at : piece,
                                         err);
    if (rc == BL_OK)
        return bl_safetensors_writer_commit(&w, err);
    bl_safetensors_writer_abort(&w);
    return rc;
}

static void reads_back_what_it_wrote(void **state)
{
    static const char path[] = "x.safetensors";
    char data[N_DATA];
    bl_safetensors st = { 0 };
    bl_source *source = NULL;

    (void)state;
    assert_int_equal(write_file(path, N_DATA, 5, NULL), BL_OK);
    assert_int_equal(scratch_n_entries("."), 1);
    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    assert_int_equal(bl_safetensors_read(&st, source, NULL), BL_OK);
    assert_int_equal(st.n_stored, N_PLAN);
    assert_int_equal(st.data_offset % 8, 0);
    for (size_t i = 0; i < N_PLAN; i++) {
        assert_string_equal(st.stored[i].name, plan[i].name);
        assert_int_equal(st.stored[i].dtype, plan[i].dtype);
        assert_int_equal(st.stored[i].ndim, plan[i].ndim);
        assert_memory_equal(st.stored[i].dim, plan[i].dim, sizeof(plan[i].dim));
    }
    assert_int_equal(bl_source_read(source, st.data_offset, data, N_DATA, NULL), BL_OK);
    for (int i = 0; i < N_DATA; i++)
        assert_int_equal(data[i], i);
    bl_safetensors_release(&st);
    bl_source_close(source);
}

static void refuses_data_that_is_not_as_long_as_planned(void **state)
{
    static const size_t lengths[] = { 0, 1, N_DATA - 1, N_DATA + 1, N_DATA + 8 };
    static const char path[] = "x.safetensors";

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        const int64_t live = bl_alloc_live();
        struct bl_err err = { 0 };

        assert_int_equal(write_file(path, lengths[i], 8, &err), BL_E_MISMATCH);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(scratch_n_entries("."), 0);
        assert_int_equal(bl_alloc_live(), live);
    }
}

static void refuses_a_plan_that_is_no_file(void **state)
{
    static const struct {
        bl_stored t;
        bl_status rc;
        const char *said;
    } bad[] = {
        { { .name = "a", .dtype = BL_U8 }, BL_E_FORMAT, "tensor 'a': planned twice" },
        { { .name = "", .dtype = BL_U8 }, BL_E_FORMAT, "is empty" },
        { { .name = "x\ny", .dtype = BL_U8 }, BL_E_FORMAT, "control character" },
        { { .name = "__metadata__", .dtype = BL_U8 }, BL_E_FORMAT, "is reserved" },
        { { .name = "q", .dtype = BL_Q8_0, .ndim = 1, .dim = { 32 } }, BL_E_UNSUPPORTED, "Q8_0" },
        { { .name = "w", .dtype = BL_U8, .ndim = 2, .dim = { 1ull << 33, 1ull << 33 } },
          BL_E_FORMAT,
          "no size" },
        { { .name = "w", .dtype = BL_F4, .ndim = 1, .dim = { 3 } }, BL_E_FORMAT, "no size" },
        { { .name = "w", .dtype = BL_U8, .ndim = BL_MAX_DIMS + 1 }, BL_E_FORMAT, "no size" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const int64_t live = bl_alloc_live();
        const bl_stored both[] = { { .name = "a", .dtype = BL_U8 }, bad[i].t };
        struct bl_err err = { 0 };

        assert_int_equal(bl_safetensors_check_plan("f.x", both, 2, &err), bad[i].rc);
        if (!strstr(err.text, bad[i].said) || strncmp(err.text, "f.x: tensor '", 13) != 0)
            fail_msg("'%s' does not say '%s'", err.text, bad[i].said);
        assert_int_equal(bl_alloc_live(), live);
    }
}

static void refuses_tensors_that_together_pass_64_bits(void **state)
{
    static const bl_stored large[] = {
        { .name = "a", .dtype = BL_U8, .ndim = 1, .dim = { UINT64_MAX } },
        { .name = "b", .dtype = BL_U8, .ndim = 1, .dim = { 1 } },
    };
    struct bl_err err = { 0 };
    bl_text header = { 0 };
    uint64_t n_data;

    (void)state;
    assert_int_equal(bl_safetensors_plan_header(&header, &n_data, "f", large, 2, &err),
                     BL_E_FORMAT);
    assert_non_null(strstr(err.text, "tensor 'b'"));
    bl_text_release(&header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_header_in_the_order_of_the_plan),
        cmocka_unit_test_teardown(reads_back_what_it_wrote, scratch_clear),
        cmocka_unit_test(refuses_data_that_is_not_as_long_as_planned),
        cmocka_unit_test(refuses_a_plan_that_is_no_file),
        cmocka_unit_test(refuses_tensors_that_together_pass_64_bits),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
