/*
 * test_gguf_writer.c - what is written is read back equal, broken promises are refused, and a
 * failing disk or allocator leaves nothing behind.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/gguf/gguf_writer.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Three tensors of 20, 68 and 48 bytes: padding of 12, 28 and 16. */
static const uint64_t dim_a[] = { 5 }, dim_b[] = { 2, 32 }, dim_c[] = { 2, 3, 4 };
enum { N_DATA = 20 + 68 + 48, N_PADDED = 32 + 96 + 64 };

static void put_metadata(bl_gguf_writer *w)
{
    static const bl_gguf_string strings[] = { { "one", 3 }, { "", 0 }, { "\0\xff", 2 } };
    static const int32_t i32s[] = { -1, 0, INT32_MAX };
    static const float f32s[] = { 0.5f, -0.0f };

    bl_gguf_put_string(w, "general.architecture", "deepseek2", 9);
    bl_gguf_put_u16(w, "u16", 65535);
    bl_gguf_put_u32(w, "u32", 4000000000);
    bl_gguf_put_i32(w, "i32", -7);
    bl_gguf_put_u64(w, "u64", UINT64_MAX);
    bl_gguf_put_f32(w, "f32", 1e-6f);
    bl_gguf_put_bool(w, "bool", true);
    bl_gguf_put_strings(w, "strings", strings, 3);
    bl_gguf_put_strings(w, "no strings", NULL, 0);
    bl_gguf_put_i32s(w, "i32s", i32s, 3);
    bl_gguf_put_f32s(w, "f32s", f32s, 2);
}

static void plan_tensors(bl_gguf_writer *w)
{
    bl_gguf_plan_tensor(w, "a", BL_F32, 1, dim_a);
    bl_gguf_plan_tensor(w, "b", BL_Q8_0, 2, dim_b);
    bl_gguf_plan_tensor(w, "c", BL_BF16, 3, dim_c);
}

static void fill_data(unsigned char data[N_DATA])
{
    for (int i = 0; i < N_DATA; i++)
        data[i] = (unsigned char)(i + 1);
}

/* The whole file, in pieces; n_data may differ from what the plan wants. */
static bl_status write_file(const char *path, bool force, size_t n_data, size_t piece,
                            struct bl_err *err)
{
    unsigned char data[N_DATA + 8] = { 0 };
    bl_gguf_writer *w = NULL;
    bl_status rc = bl_gguf_writer_new(&w, err);

    fill_data(data);
    if (rc != BL_OK)
        return rc;
    put_metadata(w);
    plan_tensors(w);
    rc = bl_gguf_writer_begin(w, path, force, err);
    for (size_t at = 0; at < n_data && rc == BL_OK; at += piece)
        rc = bl_gguf_writer_write(w, data + at, n_data - at < piece ? n_data - at : piece, err);
    if (rc == BL_OK)
        return bl_gguf_writer_commit(&w, err);
    bl_gguf_writer_abort(&w);
    assert_null(w);
    return rc;
}

static void check_metadata(const bl_gguf_meta *meta)
{
    const bl_gguf_kv *kv;
    bl_gguf_string s;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    int32_t i32;
    float f32;
    bool b;

    assert_int_equal(bl_gguf_n_kv(meta), 11);
    assert_int_equal(bl_gguf_kv_string(&s, bl_gguf_kv_at(meta, 0), NULL), BL_OK);
    assert_int_equal(s.n, 9);
    assert_memory_equal(s.bytes, "deepseek2", 9);
    assert_int_equal(bl_gguf_kv_u16(&u16, bl_gguf_find(meta, "u16"), NULL), BL_OK);
    assert_int_equal(u16, 65535);
    assert_int_equal(bl_gguf_kv_u32(&u32, bl_gguf_find(meta, "u32"), NULL), BL_OK);
    assert_int_equal(u32, 4000000000);
    assert_int_equal(bl_gguf_kv_i32(&i32, bl_gguf_find(meta, "i32"), NULL), BL_OK);
    assert_int_equal(i32, -7);
    assert_int_equal(bl_gguf_kv_u64(&u64, bl_gguf_find(meta, "u64"), NULL), BL_OK);
    assert_true(u64 == UINT64_MAX);
    assert_int_equal(bl_gguf_kv_f32(&f32, bl_gguf_find(meta, "f32"), NULL), BL_OK);
    assert_true(f32 == 1e-6f);
    assert_int_equal(bl_gguf_kv_bool(&b, bl_gguf_find(meta, "bool"), NULL), BL_OK);
    assert_true(b);
    kv = bl_gguf_find(meta, "strings");
    assert_int_equal(bl_gguf_kv_expect_array(kv, BL_GGUF_STRING, NULL), BL_OK);
    assert_int_equal(kv->n, 3);
    s = bl_gguf_kv_string_at(kv, 2);
    assert_int_equal(s.n, 2);
    assert_memory_equal(s.bytes, "\0\xff", 2);
    assert_int_equal(bl_gguf_find(meta, "no strings")->n, 0);
    assert_int_equal(bl_gguf_kv_i32_at(bl_gguf_find(meta, "i32s"), 2), INT32_MAX);
    assert_true(bl_gguf_kv_f32_at(bl_gguf_find(meta, "f32s"), 0) == 0.5f);
}

static void check_tensors(const bl_container *c)
{
    static const size_t n_bytes[] = { 20, 68, 48 };
    unsigned char want[N_DATA], have[68];
    const unsigned char *next = want;

    fill_data(want);
    assert_int_equal(c->n_stored, 3);
    assert_string_equal(c->stored[2].name, "c");
    assert_int_equal(c->stored[2].dtype, BL_BF16);
    assert_int_equal(c->stored[2].ndim, 3);
    assert_memory_equal(c->stored[2].dim, dim_c, sizeof(dim_c));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c->stored[i].n_bytes, n_bytes[i]);
        assert_int_equal(c->stored[i].offset % 32, 0);
        assert_int_equal(bl_container_read(c, i, 0, have, n_bytes[i], NULL), BL_OK);
        assert_memory_equal(have, next, n_bytes[i]);
        next += n_bytes[i];
    }
    assert_int_equal(bl_container_read(c, 1, 60, have, 8, NULL), BL_OK);
    assert_memory_equal(have, want + 20 + 60, 8);
    assert_int_equal(c->n_file_bytes, c->stored[0].offset + N_PADDED);
}

static void reads_back_what_it_wrote_in_pieces_of_any_size(void **state)
{
    static const size_t pieces[] = { 1, 7, 20, 21, 64, N_DATA };

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        bl_container *c = NULL;
        char *text = NULL;
        size_t n = 1;

        assert_int_equal(write_file("x.gguf", true, N_DATA, pieces[i], NULL), BL_OK);
        assert_int_equal(bl_gguf_open(&c, "x.gguf", NULL), BL_OK);
        check_metadata(bl_gguf_meta_of(c));
        check_tensors(c);
        assert_int_equal(bl_container_side_file(c, "config.json", &text, &n, NULL), BL_OK);
        assert_null(text);
        bl_container_close(c);
    }
    assert_int_equal(scratch_n_entries("."), 1);
}

static void counts_the_bytes_of_the_file_before_writing_it(void **state)
{
    bl_gguf_writer *w = NULL;
    bl_container *c = NULL;
    uint64_t n = 0;

    (void)state;
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    put_metadata(w);
    plan_tensors(w);
    assert_int_equal(bl_gguf_writer_file_bytes(&n, w, NULL), BL_OK);
    bl_gguf_writer_abort(&w);
    assert_int_equal(write_file("x.gguf", false, N_DATA, 64, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&c, "x.gguf", NULL), BL_OK);
    assert_true(c->n_file_bytes == n);
    bl_container_close(c);
}

static void writes_metadata_without_a_tensor_and_a_tensor_without_metadata(void **state)
{
    const float one[5] = { 1, 2, 3, 4, 5 };
    bl_gguf_writer *w = NULL;
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    put_metadata(w);
    assert_int_equal(bl_gguf_writer_begin(w, "kv.gguf", false, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&c, "kv.gguf", NULL), BL_OK);
    check_metadata(bl_gguf_meta_of(c));
    assert_int_equal(c->n_stored, 0);
    bl_container_close(c);

    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    bl_gguf_plan_tensor(w, "a", BL_F32, 1, dim_a);
    assert_int_equal(bl_gguf_writer_begin(w, "a.gguf", false, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_write(w, one, sizeof(one), NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&c, "a.gguf", NULL), BL_OK);
    assert_int_equal(c->n_stored, 1);
    bl_container_close(c);
}

/* A vocabulary as large as real ones: the reader's window grows several times. */
static void reads_back_a_large_vocabulary(void **state)
{
    enum { N = 130000 };
    bl_gguf_string *token = bl_alloc(N, sizeof(*token));
    char *bytes = bl_alloc(N, 8);
    bl_gguf_writer *w = NULL;
    bl_container *c = NULL;
    const bl_gguf_kv *kv;

    (void)state;
    assert_true(token && bytes);
    for (size_t i = 0; i < N; i++) {
        int n = snprintf(bytes + 8 * i, 8, "%zx", i);

        token[i] = (bl_gguf_string){ bytes + 8 * i, (size_t)n };
    }
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    bl_gguf_put_strings(w, "tokenizer.ggml.tokens", token, N);
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", false, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&c, "x.gguf", NULL), BL_OK);
    kv = bl_gguf_find(bl_gguf_meta_of(c), "tokenizer.ggml.tokens");
    assert_int_equal(kv->n, N);
    for (size_t i = 0; i < N; i++) {
        bl_gguf_string s = bl_gguf_kv_string_at(kv, i);

        assert_int_equal(s.n, token[i].n);
        assert_memory_equal(s.bytes, token[i].bytes, s.n);
    }
    bl_container_close(c);
    bl_free(token);
    bl_free(bytes);
}

/* Some elements of another file's arrays; and the header by itself, which is how the file begins. */
static void copies_some_elements_of_an_array(void **state)
{
    static const uint64_t of_strings[] = { 0, 2 }, of_numbers[] = { 2 };
    bl_container *from = NULL, *to = NULL;
    bl_gguf_writer *w = NULL;
    bl_source *source = NULL;
    bl_text header = { 0 };
    const bl_gguf_kv *kv;
    const bl_gguf_meta *meta;

    (void)state;
    assert_int_equal(write_file("x.gguf", false, N_DATA, 7, NULL), BL_OK);
    assert_int_equal(bl_gguf_open(&from, "x.gguf", NULL), BL_OK);
    meta = bl_gguf_meta_of(from);
    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    bl_gguf_put_kv_items(w, bl_gguf_find(meta, "strings"), of_strings, 2);
    bl_gguf_put_kv_items(w, bl_gguf_find(meta, "i32s"), of_numbers, 1);
    bl_gguf_put_kv_items(w, bl_gguf_find(meta, "f32s"), NULL, 0);
    assert_int_equal(bl_gguf_writer_header(&header, w, NULL), BL_OK);
    bl_gguf_writer_abort(&w);
    bl_container_close(from);
    assert_int_equal(header.n % 32, 0);
    assert_int_equal(bl_source_memory(&source, "header", header.bytes, header.n, NULL), BL_OK);
    assert_int_equal(bl_gguf_open_source(&to, source, NULL), BL_OK);
    meta = bl_gguf_meta_of(to);
    kv = bl_gguf_find(meta, "strings");
    assert_int_equal(kv->n, 2);
    assert_int_equal(bl_gguf_kv_string_at(kv, 0).n, 3);
    assert_memory_equal(bl_gguf_kv_string_at(kv, 1).bytes, "\0\xff", 2);
    kv = bl_gguf_find(meta, "i32s");
    assert_int_equal(kv->n, 1);
    assert_int_equal(bl_gguf_kv_i32_at(kv, 0), INT32_MAX);
    assert_int_equal(bl_gguf_find(meta, "f32s")->n, 0);
    bl_container_close(to);
    bl_text_release(&header);
}

static void refuses_more_or_fewer_bytes_than_planned(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(write_file("x.gguf", false, N_DATA + 1, 64, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "x.gguf: 1 bytes more"));
    assert_int_equal(write_file("x.gguf", false, N_DATA - 1, 64, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "x.gguf: the bytes end inside tensor 3 of 3"));
    assert_int_equal(write_file("x.gguf", false, 0, 64, &err), BL_E_MISMATCH);
    assert_int_equal(scratch_n_entries("."), 0);
}

static void refuses_to_replace_a_file_unless_forced(void **state)
{
    (void)state;
    scratch_puts("x.gguf", "precious");
    assert_int_equal(write_file("x.gguf", false, N_DATA, 64, NULL), BL_E_USAGE);
    assert_true(scratch_holds("x.gguf", "precious", 8));
    assert_int_equal(write_file("x.gguf", true, N_DATA, 64, NULL), BL_OK);
    assert_false(scratch_holds("x.gguf", "precious", 8));
}

/* A writer with the mistake in it must not begin. */
static void expect_refusal(bl_gguf_writer *w, const char *said)
{
    struct bl_err err = { 0 };

    bl_gguf_put_u32(w, "later", 1); /* the first failure stays */
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", false, &err), BL_E_UNSUPPORTED);
    if (!strstr(err.text, said) || strncmp(err.text, "x.gguf: ", 8) != 0)
        fail_msg("'%s' does not say '%s'", err.text, said);
    bl_gguf_writer_abort(&w);
    assert_int_equal(scratch_n_entries("."), 0);
}

static bl_gguf_writer *new_writer(void)
{
    bl_gguf_writer *w = NULL;

    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    put_metadata(w);
    plan_tensors(w);
    return w;
}

static void refuses_what_the_reader_would_refuse(void **state)
{
    static const uint64_t ragged[] = { 2, 48 }, zero[] = { 2, 0 }, five[] = { 1, 1, 1, 1, 1 };
    static const uint64_t huge[] = { 1ull << 40, 1ull << 40 };
    char name[65] = { 0 };
    bl_gguf_writer *w;

    (void)state;
    memset(name, 'n', 64);
    bl_gguf_put_bool((w = new_writer()), "u32", true);
    expect_refusal(w, "key 'u32' twice");
    bl_gguf_put_bool((w = new_writer()), "", true);
    expect_refusal(w, "key ''");
    bl_gguf_put_bool((w = new_writer()), "a\nb", true);
    expect_refusal(w, "printable ASCII");
    bl_gguf_put_u32((w = new_writer()), "general.alignment", 64);
    expect_refusal(w, "alignment");
    bl_gguf_plan_tensor((w = new_writer()), "a", BL_F32, 1, dim_a);
    expect_refusal(w, "tensor name 'a' twice");
    bl_gguf_plan_tensor((w = new_writer()), name, BL_F32, 1, dim_a);
    expect_refusal(w, "1 to 63");
    bl_gguf_plan_tensor((w = new_writer()), "\xc3\xa4", BL_F32, 1, dim_a);
    expect_refusal(w, "printable ASCII");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_F8_E4M3, 1, dim_a);
    expect_refusal(w, "no type F8_E4M3");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_Q8_0, 2, ragged);
    expect_refusal(w, "does not allow");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_F32, 2, zero);
    expect_refusal(w, "does not allow");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_F32, 5, five);
    expect_refusal(w, "does not allow");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_F32, 0, five);
    expect_refusal(w, "does not allow");
    bl_gguf_plan_tensor((w = new_writer()), "d", BL_F32, 2, huge);
    expect_refusal(w, "does not allow");
}

static void a_failing_disk_leaves_nothing(void **state)
{
    const int64_t live = bl_alloc_live();
    bool failed = true;
    uint64_t k;

    (void)state;
    for (k = 1; failed; k++) {
        struct bl_err err = { 0 };
        bl_status rc;

        bl_sink_fail_at(k);
        rc = write_file("x.gguf", false, N_DATA, 64, &err);
        bl_sink_fail_at(0);
        failed = rc != BL_OK;
        if (failed) {
            assert_int_equal(rc, BL_E_IO);
            assert_int_equal(scratch_n_entries("."), 0);
        }
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(k > 4);
}

static void reports_every_allocation_that_fails(void **state)
{
    const int64_t live = bl_alloc_live();
    bool failed = true;
    uint64_t k;

    (void)state;
    for (k = 1; failed; k++) {
        struct bl_err err = { 0 };
        bl_status rc;

        bl_alloc_fail_at(k);
        rc = write_file("x.gguf", false, N_DATA, 64, &err);
        bl_alloc_fail_at(0);
        failed = rc != BL_OK;
        if (failed) {
            assert_int_equal(rc, BL_E_NOMEM);
            assert_int_equal(scratch_n_entries("."), 0);
        }
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(k > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(reads_back_what_it_wrote_in_pieces_of_any_size, scratch_clear),
        cmocka_unit_test_teardown(counts_the_bytes_of_the_file_before_writing_it, scratch_clear),
        cmocka_unit_test_teardown(writes_metadata_without_a_tensor_and_a_tensor_without_metadata,
                                  scratch_clear),
        cmocka_unit_test_teardown(reads_back_a_large_vocabulary, scratch_clear),
        cmocka_unit_test_teardown(copies_some_elements_of_an_array, scratch_clear),
        cmocka_unit_test_teardown(refuses_more_or_fewer_bytes_than_planned, scratch_clear),
        cmocka_unit_test_teardown(refuses_to_replace_a_file_unless_forced, scratch_clear),
        cmocka_unit_test_teardown(refuses_what_the_reader_would_refuse, scratch_clear),
        cmocka_unit_test_teardown(a_failing_disk_leaves_nothing, scratch_clear),
        cmocka_unit_test_teardown(reports_every_allocation_that_fails, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
