/* test_json.c - what the strict reader takes, what it refuses, and edits that respell nothing. */
#include "base/alloc.h"
#include "formats/json/json.h"
#include "formats/json/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_status parse(bl_json **out, const char *text, unsigned flags, struct bl_err *err)
{
    return bl_json_parse(out, "t.json", text, strlen(text), flags, err);
}

static void takes_what_the_specification_allows(void **state)
{
    static const char *const good[] = { "{}",
                                        " [ ] ",
                                        "{\"a\":[1,-2.5e3,true,false,null,\"\\ud83d\\ude00\"]}",
                                        "[[[[]]],{\"\":{}}]",
                                        "\"\xc3\xa9\"",
                                        "-0",
                                        "{\"a\":1,\"A\":2}" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct bl_err err = { 0 };
        bl_json *json = NULL;

        if (parse(&json, good[i], 0, &err) != BL_OK)
            fail_msg("%s: %s", good[i], err.text);
        bl_json_free(json);
    }
}

static void refuses_what_the_specification_forbids(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "[01]",
        "[1.]",
        "[.5]",
        "[1e]",
        "[+1]",
        "[NaN]",
        "[nul]",
        "{} {}",
        "{\"a\" 1}",
        "{a:1}",
        "[\"\t\"]",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"a\\u0000b\"]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\u0041\"]",
        "[\"\xff\"]",
        "[\"\xc0\x80\"]",
        "[\"\xed\xa0\x80\"]",
        "[\"\xf4\x90\x80\x80\"]",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"a\":2}",
        "[{\"a\":{\"b\":1,\"b\":1}}]",
        "{\"a\":1]",
        "[1}",
        "[1111111111111111111111111111111111111111111111111111111111111111111]"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };
        bl_json *json = NULL;
        bl_status rc = parse(&json, bad[i], 0, &err);

        if (rc != BL_E_FORMAT || strncmp(err.text, "t.json: ", 8) != 0)
            fail_msg("case %zu '%s': status %d, '%s'", i, bad[i], (int)rc, err.text);
        assert_null(json);
    }
}

static void refuses_nesting_that_could_exhaust_the_stack(void **state)
{
    char text[20001];
    struct bl_err err = { 0 };
    bl_json *json = NULL;

    (void)state;
    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    text[20000] = '\0';
    assert_int_equal(parse(&json, text, 0, &err), BL_E_FORMAT);
}

static void keeps_integers_exact_or_refuses_them(void **state)
{
    struct bl_err err = { 0 };
    bl_json *json = NULL;
    const bl_json_value *v;
    uint64_t u = 7;
    int64_t i = 7;

    (void)state;
    assert_int_equal(
        parse(&json, "[9007199254740991,9007199254740993,-1,1.5,18446744073709551615]", 0, &err),
        BL_OK);
    v = bl_json_first(bl_json_root(json));
    assert_true(bl_json_u64(&u, v));
    assert_true(u == 9007199254740991u);
    v = bl_json_next(v);
    assert_false(bl_json_u64(&u, v));
    v = bl_json_next(v);
    assert_false(bl_json_u64(&u, v));
    assert_true(bl_json_i64(&i, v));
    assert_int_equal(i, -1);
    v = bl_json_next(v);
    assert_false(bl_json_i64(&i, v));
    v = bl_json_next(v);
    assert_false(bl_json_u64(&u, v));
    bl_json_free(json);
    assert_int_equal(parse(&json, "[1.0]", BL_JSON_INTEGERS_ONLY, &err), BL_E_FORMAT);
    assert_int_equal(parse(&json, "[1e2]", BL_JSON_INTEGERS_ONLY, &err), BL_E_FORMAT);
}

static void survives_failure_of_every_allocation(void **state)
{
    static const char text[] = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":{\"d\":\"e\"}}";
    int64_t live = bl_alloc_live();
    uint64_t k = 1;

    (void)state;
    for (;; k++) {
        struct bl_err err = { 0 };
        bl_json *json = NULL;
        bl_status rc;

        bl_alloc_fail_at(k);
        rc = parse(&json, text, 0, &err);
        bl_alloc_fail_at(0);
        bl_json_free(json);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_NOMEM);
    }
    assert_true(k > 10);
}

static void edit(const char *text, const char *key, const char *value, const char *expected)
{
    bl_text out = { 0 };

    bl_json_set_member(&out, text, strlen(text), key, value);
    assert_string_equal(out.bytes, expected);
    bl_text_release(&out);
}

static void edits_one_member_and_respells_nothing(void **state)
{
    (void)state;
    edit("{\"a\": 1.0, \"b\": {\"a\": 2}, \"c\": [\"}\"]}", "a", "3",
         "{\"a\": 3, \"b\": {\"a\": 2}, \"c\": [\"}\"]}");
    edit("{\"a\": 1.0, \"b\": {\"a\": 2}, \"c\": [\"}\"]}", "b", NULL,
         "{\"a\": 1.0, \"c\": [\"}\"]}");
    edit("{\"a\": 1.0, \"b\": {\"a\": 2}, \"c\": [\"}\"]}", "c", NULL,
         "{\"a\": 1.0, \"b\": {\"a\": 2}}");
    edit("{\n  \"x\": 1e-06\n}\n", "y", "\"z\"", "{\n  \"x\": 1e-06,\n  \"y\": \"z\"\n}\n");
    edit("{}", "y", "1", "{\n  \"y\": 1\n}");
    edit("{\"a\":1}", "a", NULL, "{}");
    edit("{\"a\":1}", "missing", NULL, "{\"a\":1}");
}

static void writes_what_it_reads(void **state)
{
    bl_text text = { 0 };
    bl_json_writer w = { .text = &text, .compact = true };
    struct bl_err err = { 0 };
    bl_json *json = NULL;

    (void)state;
    bl_json_begin_object(&w);
    bl_json_put_key(&w, "quote\" \\ \n");
    bl_json_put_string(&w, "\x01 \xc3\xa9");
    bl_json_put_key(&w, "list");
    bl_json_begin_array(&w);
    bl_json_put_u64(&w, 18446744073709551615u);
    bl_json_put_f64(&w, 0.1);
    bl_json_put_bool(&w, true);
    bl_json_end_array(&w);
    bl_json_end_object(&w);
    assert_string_equal(text.bytes, "{\"quote\\\" \\\\ \\u000a\":\"\\u0001 \xc3\xa9\","
                                    "\"list\":[18446744073709551615,0.1,true]}");
    assert_int_equal(parse(&json, text.bytes, 0, &err), BL_OK);
    assert_string_equal(bl_json_string(bl_json_get(bl_json_root(json), "quote\" \\ \n")),
                        "\x01 \xc3\xa9");
    bl_json_free(json);
    bl_text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_specification_allows),
        cmocka_unit_test(refuses_what_the_specification_forbids),
        cmocka_unit_test(refuses_nesting_that_could_exhaust_the_stack),
        cmocka_unit_test(keeps_integers_exact_or_refuses_them),
        cmocka_unit_test(survives_failure_of_every_allocation),
        cmocka_unit_test(edits_one_member_and_respells_nothing),
        cmocka_unit_test(writes_what_it_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
