/* test_hf_index.c - the shard index: what it gives, and which file names it may not use. */
#include "base/alloc.h"
#include "formats/hf/hf_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_status parse(bl_hf_index *out, const char *text, struct bl_err *err)
{
    return bl_hf_index_parse(out, "i.json", text, strlen(text), err);
}

static void sorts_shards_by_name_and_keeps_the_order_of_tensors(void **state)
{
    static const char text[] = "{\"weight_map\":{\"x\":\"c.safetensors\",\"w\":\"a.safetensors\","
                               "\"v\":\"c.safetensors\",\"u\":\"b.safetensors\"}}";
    static const char *const tensors[] = { "x", "w", "v", "u" };
    static const uint32_t shards[] = { 2, 0, 2, 1 };
    bl_hf_index index = { 0 };

    (void)state;
    assert_int_equal(parse(&index, text, NULL), BL_OK);
    assert_int_equal(index.n_tensors, 4);
    assert_int_equal(index.n_shards, 3);
    assert_string_equal(index.shard_name[0], "a.safetensors");
    assert_string_equal(index.shard_name[1], "b.safetensors");
    assert_string_equal(index.shard_name[2], "c.safetensors");
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(index.tensor_name[i], tensors[i]);
        assert_int_equal(index.tensor_shard[i], shards[i]);
    }
    bl_hf_index_release(&index);
    bl_hf_index_release(&index);
}

static void takes_metadata_of_any_content(void **state)
{
    static const char *const metadata[] = { "", "\"metadata\":{},",
                                            "\"metadata\":{\"total_size\":1.5e9,\"x\":[1]},",
                                            "\"format\":3," };
    char text[256];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        bl_hf_index index = { 0 };

        strcpy(text, "{");
        strcat(text, metadata[i]);
        strcat(text, "\"weight_map\":{\"a\":\"m.safetensors\"}}");
        assert_int_equal(parse(&index, text, NULL), BL_OK);
        bl_hf_index_release(&index);
    }
}

static void refuses_what_is_no_index(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        { "", "not valid JSON" },
        { "[]", "no weight_map" },
        { "3", "no weight_map" },
        { "{}", "no weight_map" },
        { "{\"weight_map\":[]}", "no weight_map" },
        { "{\"weight_map\":null}", "no weight_map" },
        { "{\"weight_map\":{}}", "names no tensor" },
        { "{\"metadata\":[],\"weight_map\":{\"a\":\"m.safetensors\"}}",
          "metadata is not an object" },
        { "{\"weight_map\":{\"a\":1}}", "tensor 'a': its file name is not a string" },
        { "{\"weight_map\":{\"a\":null}}", "tensor 'a': its file name is not a string" },
        { "{\"weight_map\":{\"\":\"m.safetensors\"}}", "its name is empty" },
        { "{\"weight_map\":{\"a\\nb\":\"m.safetensors\"}}", "control character" },
        { "{\"weight_map\":{\"a\\u0000\":\"m.safetensors\"}}", "NUL" },
        { "{\"weight_map\":{\"a\":\"m\\u0000.safetensors\"}}", "NUL" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}", "twice" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\"},\"weight_map\":{}}", "twice" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\"}}x", "text behind" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const int64_t live = bl_alloc_live();
        struct bl_err err = { 0 };
        bl_hf_index index = { 0 };
        bl_status rc = parse(&index, bad[i].text, &err);

        if (rc != BL_E_FORMAT || strncmp(err.text, "i.json: ", 8) != 0 ||
            !strstr(err.text, bad[i].said))
            fail_msg("%s: status %d, '%s'", bad[i].text, (int)rc, err.text);
        assert_int_equal(bl_alloc_live(), live);
    }
}

static void refuses_a_shard_that_is_no_plain_file_name(void **state)
{
    static const char *const bad[] = { "",
                                       ".",
                                       "..",
                                       "../x.safetensors",
                                       "/etc/x.safetensors",
                                       "a/x.safetensors",
                                       "a\\\\x.safetensors", /* one backslash, in JSON */
                                       ".x.safetensors",
                                       "x.bin",
                                       "safetensors",
                                       "x.safetensors/",
                                       "x.SAFETENSORS",
                                       "x\\n.safetensors",
                                       "x.safetensors.partial" };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };
        bl_hf_index index = { 0 };

        strcpy(text, "{\"weight_map\":{\"a\":\"");
        strcat(text, bad[i]);
        strcat(text, "\"}}");
        if (parse(&index, text, &err) != BL_E_FORMAT ||
            !strstr(err.text, "i.json: tensor 'a': file name '"))
            fail_msg("%s: '%s'", bad[i], err.text);
    }
    assert_null(bl_hf_shard_name_fault("model-00001-of-000163.safetensors"));
    assert_null(bl_hf_shard_name_fault("a..b.safetensors"));
}

static void survives_the_failure_of_each_allocation(void **state)
{
    static const char text[] = "{\"weight_map\":{\"x\":\"c.safetensors\",\"w\":\"a.safetensors\"}}";
    const int64_t live = bl_alloc_live();
    uint64_t k = 0;
    bl_status rc;

    (void)state;
    do {
        bl_hf_index index = { 0 };

        bl_alloc_fail_at(++k);
        rc = parse(&index, text, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_hf_index_release(&index);
        assert_int_equal(bl_alloc_live(), live);
    } while (rc != BL_OK);
    assert_true(k > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_shards_by_name_and_keeps_the_order_of_tensors),
        cmocka_unit_test(takes_metadata_of_any_content),
        cmocka_unit_test(refuses_what_is_no_index),
        cmocka_unit_test(refuses_a_shard_that_is_no_plain_file_name),
        cmocka_unit_test(survives_the_failure_of_each_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
