/*
 * test_gguf_kv.c - metadata that the Python gguf package wrote, read back value by value, and types
 * that are not the ones asked for.
 */
#include "base/alloc.h"
#include "formats/gguf/gguf_cursor.h"
#include "formats/gguf/gguf_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_container *container;
static const bl_gguf_meta *meta;

static int open_file(void **state)
{
    (void)state;
    if (bl_gguf_open(&container, "corpus/gguf/good-python-every-value.gguf", NULL) != BL_OK)
        return -1;
    meta = bl_gguf_meta_of(container);
    return 0;
}

static int close_file(void **state)
{
    (void)state;
    bl_container_close(container);
    return 0;
}

static const bl_gguf_kv *find(const char *key)
{
    const bl_gguf_kv *kv = bl_gguf_find(meta, key);

    if (!kv)
        fail_msg("no key %s", key);
    return kv;
}

static void reads_each_scalar_as_gguf_py_wrote_it(void **state)
{
    bl_gguf_string s = { 0 };
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    int32_t i32 = 0;
    float f32 = 0;
    double f64 = 0;
    bool b = false;

    (void)state;
    assert_int_equal(bl_gguf_kv_u16(&u16, find("t.u16"), NULL), BL_OK);
    assert_int_equal(u16, 65535);
    assert_int_equal(bl_gguf_kv_u32(&u32, find("t.u32"), NULL), BL_OK);
    assert_int_equal(u32, UINT32_MAX);
    assert_int_equal(bl_gguf_kv_u64(&u64, find("t.u64"), NULL), BL_OK);
    assert_true(u64 == UINT64_MAX);
    assert_int_equal(bl_gguf_kv_i32(&i32, find("t.i32"), NULL), BL_OK);
    assert_int_equal(i32, INT32_MIN);
    assert_int_equal(bl_gguf_kv_f32(&f32, find("t.f32"), NULL), BL_OK);
    assert_true(f32 == 1e-6f);
    assert_int_equal(bl_gguf_kv_f64(&f64, find("t.f64"), NULL), BL_OK);
    assert_true(f64 == 0.1);
    assert_int_equal(bl_gguf_kv_bool(&b, find("t.true"), NULL), BL_OK);
    assert_true(b);
    assert_int_equal(bl_gguf_kv_bool(&b, find("t.false"), NULL), BL_OK);
    assert_false(b);
    assert_int_equal(bl_gguf_kv_string(&s, find("t.string"), NULL), BL_OK);
    assert_int_equal(s.n, sizeof("sm\xc3\xb6rg\xc3\xa5s\0bord") - 1);
    assert_memory_equal(s.bytes, "sm\xc3\xb6rg\xc3\xa5s\0bord", s.n);
    assert_int_equal(bl_gguf_kv_string(&s, find("t.empty"), NULL), BL_OK);
    assert_int_equal(s.n, 0);
}

static void reads_each_array_as_gguf_py_wrote_it(void **state)
{
    static const char *const strings[] = { "a", "", "ccc" };
    static const int32_t i32s[] = { 1, -2, 3 };
    const bl_gguf_kv *kv = find("t.strings");

    (void)state;
    assert_int_equal(bl_gguf_kv_expect_array(kv, BL_GGUF_STRING, NULL), BL_OK);
    assert_int_equal(kv->n, 3);
    for (uint64_t i = 0; i < 3; i++) {
        bl_gguf_string s = bl_gguf_kv_string_at(kv, i);

        assert_int_equal(s.n, strlen(strings[i]));
        assert_memory_equal(s.bytes, strings[i], s.n);
    }
    kv = find("t.i32s");
    assert_int_equal(bl_gguf_kv_expect_array(kv, BL_GGUF_I32, NULL), BL_OK);
    assert_int_equal(kv->n, 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(bl_gguf_kv_i32_at(kv, i), i32s[i]);
    kv = find("t.f32s");
    assert_int_equal(bl_gguf_kv_expect_array(kv, BL_GGUF_F32, NULL), BL_OK);
    assert_int_equal(kv->n, 2);
    assert_true(bl_gguf_kv_f32_at(kv, 0) == 0.5f && bl_gguf_kv_f32_at(kv, 1) == -0.25f);
    kv = find("t.u32s");
    assert_int_equal(bl_gguf_kv_expect_array(kv, BL_GGUF_U32, NULL), BL_OK);
    assert_int_equal(kv->n, 2);
    assert_int_equal(bl_gguf_kv_u32_at(kv, 1), UINT32_MAX);
}

static void lists_pairs_in_the_order_of_the_file(void **state)
{
    size_t n = bl_gguf_n_kv(meta);

    (void)state;
    assert_int_equal(n, 21);
    assert_string_equal(bl_gguf_kv_at(meta, 0)->key, "general.architecture");
    assert_string_equal(bl_gguf_kv_at(meta, 1)->key, "t.u8");
    assert_string_equal(bl_gguf_kv_at(meta, n - 1)->key, "t.u64s");
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(bl_gguf_find(meta, bl_gguf_kv_at(meta, i)->key), bl_gguf_kv_at(meta, i));
    assert_null(bl_gguf_find(meta, "t.u"));
    assert_null(bl_gguf_find(meta, ""));
}

static void assert_sentence(bl_status rc, const struct bl_err *err, const char *said)
{
    assert_int_equal(rc, BL_E_FORMAT);
    assert_int_equal(err->status, BL_E_FORMAT);
    if (!strstr(err->text, said) || !strstr(err->text, "every-value.gguf"))
        fail_msg("'%s' does not say '%s'", err->text, said);
}

static void refuses_a_value_of_another_type_and_names_both(void **state)
{
    struct bl_err err = { 0 };
    bl_gguf_string s;
    uint32_t u32;
    bool b;

    (void)state;
    assert_sentence(bl_gguf_kv_u32(&u32, find("t.u64"), &err), &err,
                    "key 't.u64': has type u64, not u32");
    assert_sentence(bl_gguf_kv_u32(&u32, find("t.i32"), &err), &err, "has type i32, not u32");
    assert_sentence(bl_gguf_kv_bool(&b, find("t.u8"), &err), &err, "has type u8, not bool");
    assert_sentence(bl_gguf_kv_string(&s, find("t.strings"), &err), &err,
                    "has type array, not string");
    assert_sentence(bl_gguf_kv_expect_array(find("t.string"), BL_GGUF_STRING, &err), &err,
                    "has type string, not array of string");
    assert_sentence(bl_gguf_kv_expect_array(find("t.u32s"), BL_GGUF_I32, &err), &err,
                    "is an array of u32, not of i32");
}

static void describes_values_for_people(void **state)
{
    static const struct {
        const char *key, *text;
    } cases[] = {
        { "t.u8", "255" },
        { "t.i8", "-128" },
        { "t.i16", "-32768" },
        { "t.i32", "-2147483648" },
        { "t.u64", "18446744073709551615" },
        { "t.i64", "-9223372036854775808" },
        { "t.f32", "9.99999997e-07" },
        { "t.f64", "0.10000000000000001" },
        { "t.true", "true" },
        { "t.false", "false" },
        { "t.strings", "3 x string" },
        { "general.architecture", "llama" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bl_text text = { 0 };

        bl_gguf_kv_describe(&text, find(cases[i].key));
        assert_int_equal(bl_text_check(&text, NULL), BL_OK);
        assert_string_equal(text.bytes, cases[i].text);
        bl_text_release(&text);
    }
}

/* A source that claims to be large: its first bytes, then zeros without end. */
struct endless {
    bl_source base;
    const void *bytes;
    size_t n;
};

static bl_status read_endless(bl_source *source, uint64_t offset, void *out, size_t n,
                              struct bl_err *err)
{
    const struct endless *e = (const struct endless *)source;

    (void)err;
    memset(out, 0, n);
    if (offset < e->n)
        memcpy(out, (const char *)e->bytes + offset, n < e->n - offset ? n : e->n - offset);
    return BL_OK;
}

static void close_endless(bl_source *source)
{
    (void)source;
}

static const struct bl_source_ops endless_ops = { read_endless, close_endless, NULL };

/* One pair, key "k": an array of n values of a type. */
static bl_status open_array(uint32_t elem, uint64_t n, uint64_t file_bytes, struct bl_err *err)
{
    unsigned char head[24 + 9 + 4 + 4 + 8] = "GGUF\3";
    const uint32_t array = BL_GGUF_ARRAY;
    struct endless *e = bl_calloc(1, sizeof(*e));
    bl_container *c = NULL;
    bl_status rc;

    assert_non_null(e);
    head[16] = 1;
    head[24] = 1;
    head[32] = 'k';
    memcpy(head + 33, &array, 4);
    memcpy(head + 37, &elem, 4);
    memcpy(head + 41, &n, 8);
    *e = (struct endless){ { &endless_ops, bl_strdup("large"), file_bytes }, head, sizeof(head) };
    rc = bl_gguf_open_source(&c, &e->base, err);
    assert_true(rc != BL_OK);
    return rc;
}

static void metadata_of_a_large_file_are_bounded_all_the_same(void **state)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(open_array(BL_GGUF_U8, 1ull << 38, 1ull << 40, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "256 MiB"));
    assert_int_equal(open_array(BL_GGUF_STRING, 1ull << 35, 1ull << 40, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "256 MiB"));
    assert_int_equal(bl_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_scalar_as_gguf_py_wrote_it),
        cmocka_unit_test(reads_each_array_as_gguf_py_wrote_it),
        cmocka_unit_test(lists_pairs_in_the_order_of_the_file),
        cmocka_unit_test(refuses_a_value_of_another_type_and_names_both),
        cmocka_unit_test(describes_values_for_people),
        cmocka_unit_test(metadata_of_a_large_file_are_bounded_all_the_same),
    };

    return cmocka_run_group_tests(tests, open_file, close_file);
}
