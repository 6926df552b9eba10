/*
 * test_hf_dir.c - folders that are a checkpoint, and folders that are not, each with the sentence
 * that says what is wrong.
 */
#include "base/alloc.h"
#include "formats/hf/hf_dir.h"

#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NANO     "data/nano-r1"
#define SHARD_1  "model-00001-of-000002.safetensors"
#define SHARD_2  "model-00002-of-000002.safetensors"
#define INDEX    "model.safetensors.index.json"
#define HEADER_A "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"
#define HEADER_B "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"

/* A safetensors file: header and n_data bytes 0, 1, 2 ... */
static void put_shard(const char *path, const char *header, size_t n_data)
{
    const size_t n = strlen(header);
    unsigned char bytes[1024] = { (unsigned char)n, (unsigned char)(n >> 8) };

    assert_true(8 + n + n_data <= sizeof(bytes));
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (unsigned char)i;
    scratch_write(path, bytes, 8 + n + n_data);
}

/* A checkpoint in in/: two shards with one tensor each; the second comes first in the index. */
static void put_checkpoint(void)
{
    assert_int_equal(mkdir("in", 0777), 0);
    scratch_puts("in/config.json", "{}");
    put_shard("in/" SHARD_1, HEADER_A, 4);
    put_shard("in/" SHARD_2, HEADER_B, 2);
    scratch_puts("in/" INDEX,
                 "{\"weight_map\":{\"b\":\"" SHARD_2 "\",\"a\":\"" SHARD_1 "\"},\"metadata\":{}}");
}

static void opens_nano_r1(void **state)
{
    static const char *const side_files[] = {
        "config.json",    "generation_config.json", INDEX,
        "tokenizer.json", "tokenizer_config.json",  "vectors.jsonl"
    };
    struct bl_err err = { 0 };
    bl_container *c = NULL;

    (void)state;
    if (bl_hf_open(&c, NANO "/", &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_string_equal(c->kind, "safetensors");
    assert_string_equal(c->path, NANO);
    assert_int_equal(c->n_stored, 239);
    assert_int_equal(c->n_shards, 3);
    assert_string_equal(c->shard_name[0], "model-00001-of-000003.safetensors");
    assert_string_equal(c->shard_name[2], "model-00003-of-000003.safetensors");
    assert_true(c->n_file_bytes == 3549445 + 3156013 + 4010057);
    assert_int_equal(c->n_side_files, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(c->side_file_name[i], side_files[i]);
    for (size_t i = 1; i < c->n_stored; i++)
        assert_true(c->stored[i].shard > c->stored[i - 1].shard ||
                    c->stored[i].offset >= c->stored[i - 1].offset + c->stored[i - 1].n_bytes);
    bl_container_close(c);
}

static void gives_the_header_of_a_shard_as_it_is(void **state)
{
    bl_container *c = NULL;
    char *header = NULL, first[10645];
    FILE *f = fopen(NANO "/model-00001-of-000003.safetensors", "rb");
    size_t n;

    (void)state;
    assert_int_equal(bl_hf_open(&c, NANO, NULL), BL_OK);
    assert_int_equal(bl_container_shard_header(c, 0, &header, &n, NULL), BL_OK);
    assert_int_equal(n, sizeof(first));
    assert_non_null(f);
    assert_int_equal(fread(first, 1, n, f), n);
    assert_memory_equal(header, first, n);
    fclose(f);
    bl_free(header);
    bl_container_close(c);
}

static void gives_side_files_but_nothing_outside(void **state)
{
    bl_container *c = NULL;
    char *text = NULL;
    size_t n = 7;

    (void)state;
    assert_int_equal(bl_hf_open(&c, NANO, NULL), BL_OK);
    assert_int_equal(bl_container_side_file(c, "generation_config.json", &text, &n, NULL), BL_OK);
    assert_int_equal(n, 134);
    assert_int_equal(strlen(text), n);
    bl_free(text);
    assert_int_equal(bl_container_side_file(c, "../nano-r1/config.json", &text, &n, NULL), BL_OK);
    assert_null(text);
    assert_int_equal(n, 0);
    assert_int_equal(bl_container_side_file(c, SHARD_1, &text, NULL, NULL), BL_OK);
    assert_null(text);
    bl_container_close(c);
}

static void refuses_to_read_past_a_tensor(void **state)
{
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    char bytes[8];

    (void)state;
    assert_int_equal(bl_hf_open(&c, "corpus/safetensors/good-scalar.safetensors", NULL), BL_OK);
    assert_int_equal(bl_container_read(c, 0, 0, bytes, 8, NULL), BL_OK);
    assert_int_equal(bl_container_read(c, 0, 8, bytes, 0, NULL), BL_OK);
    assert_int_equal(bl_container_read(c, 0, 1, bytes, 8, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "tensor 'a'"));
    assert_int_equal(bl_container_read(c, 0, UINT64_MAX, bytes, 8, NULL), BL_E_FORMAT);
    bl_container_close(c);
}

static void opens_a_lone_file_without_side_files(void **state)
{
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(bl_hf_open(&c, NANO "/model-00002-of-000003.safetensors", NULL), BL_OK);
    assert_int_equal(c->n_shards, 1);
    assert_string_equal(c->shard_name[0], "model-00002-of-000003.safetensors");
    assert_int_equal(c->n_side_files, 0);
    assert_true(c->n_stored > 0);
    bl_container_close(c);
}

static void follows_links_and_leaves_out_what_is_unfinished(void **state)
{
    static const char *const side_files[] = { ".hidden", "config.json", INDEX,
                                              "stray.safetensors" };
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    unsigned char bytes[2];

    (void)state;
    put_checkpoint();
    scratch_puts("in/model.gguf.partial", "half");
    scratch_puts("in/.hidden", "x");
    scratch_puts("in/stray.safetensors", "no shard of the index: not opened");
    assert_int_equal(mkdir("in/sub", 0777), 0);
    assert_int_equal(rename("in/" SHARD_2, "in/sub/blob"), 0);
    assert_int_equal(symlink("sub/blob", "in/" SHARD_2), 0);

    if (bl_hf_open(&c, "in", &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(c->n_side_files, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(c->side_file_name[i], side_files[i]);
    assert_string_equal(c->stored[1].name, "b");
    assert_int_equal(c->stored[1].shard, 1);
    assert_int_equal(bl_container_read(c, 1, 0, bytes, 2, NULL), BL_OK);
    assert_int_equal(bytes[1], 1);
    bl_container_close(c);
}

static void opens_a_folder_with_one_file_and_no_index(void **state)
{
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(mkdir("in", 0777), 0);
    scratch_puts("in/config.json", "{}");
    put_shard("in/model.safetensors", HEADER_A, 4);
    assert_int_equal(bl_hf_open(&c, "in", NULL), BL_OK);
    assert_int_equal(c->n_stored, 1);
    assert_int_equal(c->n_side_files, 1);
    bl_container_close(c);
}

/* One change to a good checkpoint: a file is replaced (text or header), or removed (all NULL). */
struct change {
    const char *file, *text, *header;
    size_t n_data;
    const char *said[2]; /* both must be in the sentence */
};

static const struct change changes[] = {
    { "config.json", NULL, NULL, 0, { "not a Hugging Face checkpoint", "config.json" } },
    { INDEX, NULL, NULL, 0, { "neither " INDEX, "nor model.safetensors" } },
    { INDEX, "{", NULL, 0, { INDEX, "not valid JSON" } },
    { INDEX, "{\"weight_map\":{}}", NULL, 0, { INDEX, "names no tensor" } },
    { INDEX,
      "{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
      NULL,
      0,
      { "'a'", "'../x.safetensors'" } },
    { SHARD_2, NULL, NULL, 0, { SHARD_2, "missing" } },
    { SHARD_2, "x", NULL, 0, { SHARD_2, "too few" } },
    { SHARD_2, NULL, HEADER_A, 4, { SHARD_2 ": tensor 'a'", "places it in " SHARD_1 } },
    { SHARD_2, NULL, "{}", 0, { SHARD_2 ": tensor 'b'", "not there" } },
    { SHARD_2,
      NULL,
      "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
      "\"c\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
      4,
      { SHARD_2 ": tensor 'c'", "does not name it" } },
    { "model.safetensors", NULL, HEADER_A, 4, { INDEX, "remove one" } },
    { "side\nfile", "x", NULL, 0, { "side?file", "control character" } },
};

static void refuses_a_folder_that_is_no_whole_checkpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        const struct change *ch = &changes[i];
        const int64_t live = bl_alloc_live();
        struct bl_err err = { 0 };
        bl_container *c = NULL;
        char path[128];
        bl_status rc;

        put_checkpoint();
        snprintf(path, sizeof(path), "in/%s", ch->file);
        if (ch->text)
            scratch_puts(path, ch->text);
        else if (ch->header)
            put_shard(path, ch->header, ch->n_data);
        else
            assert_int_equal(unlink(path), 0);
        rc = bl_hf_open(&c, "in", &err);
        scratch_remove("in");
        if (rc != BL_E_FORMAT || !strstr(err.text, ch->said[0]) || !strstr(err.text, ch->said[1]))
            fail_msg("%zu: status %d, '%s'", i, (int)rc, err.text);
        assert_null(c);
        assert_int_equal(bl_alloc_live(), live);
    }
}

static void does_not_take_a_pipe_or_a_folder_for_a_shard(void **state)
{
    (void)state;
    for (int pipe = 0; pipe < 2; pipe++) {
        struct bl_err err = { 0 };
        bl_container *c = NULL;
        static const char path[] = "in/" SHARD_1;

        put_checkpoint();
        assert_int_equal(unlink(path), 0);
        assert_int_equal(pipe ? mkfifo(path, 0666) : mkdir(path, 0777), 0);
        assert_int_equal(bl_hf_open(&c, "in", &err), BL_E_FORMAT);
        assert_non_null(strstr(err.text, SHARD_1 ": the shard is missing"));
        /* opened by its own name, a pipe is no file, and an empty folder no checkpoint */
        assert_int_equal(bl_hf_open(&c, path, &err), pipe ? BL_E_IO : BL_E_FORMAT);
        scratch_remove("in");
    }
}

static void says_that_a_path_is_not_there(void **state)
{
    struct bl_err err = { 0 };
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(bl_hf_open(&c, "no/such/folder", &err), BL_E_IO);
    assert_non_null(strstr(err.text, "no/such/folder: cannot open: No such file"));
    assert_int_equal(bl_hf_open(&c, "", &err), BL_E_IO);
}

static void names_file_and_tensor_when_a_shard_shrinks(void **state)
{
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    char bytes[2];

    (void)state;
    put_checkpoint();
    assert_int_equal(bl_hf_open(&c, "in", NULL), BL_OK);
    assert_int_equal(truncate("in/" SHARD_2, 20), 0);
    assert_int_equal(bl_container_read(c, 1, 0, bytes, 2, &err), BL_E_IO);
    assert_non_null(strstr(err.text, "tensor 'b'"));
    assert_non_null(strstr(err.text, SHARD_2));
    bl_container_close(c);
}

static void survives_the_failure_of_each_allocation(void **state)
{
    const int64_t live = bl_alloc_live();
    uint64_t k = 0;
    bl_status rc;

    (void)state;
    do {
        struct bl_err err = { 0 };
        bl_container *c = NULL;

        bl_alloc_fail_at(++k);
        rc = bl_hf_open(&c, NANO, &err);
        bl_alloc_fail_at(0);
        if (rc == BL_OK) {
            bl_container_close(c);
        } else {
            assert_int_equal(rc, BL_E_NOMEM);
            assert_non_null(strstr(err.text, "out of memory"));
            assert_null(c);
        }
        assert_int_equal(bl_alloc_live(), live);
    } while (rc != BL_OK);
    assert_true(k > 100);
}

int main(void)
{
    const struct CMUnitTest in_place[] = {
        cmocka_unit_test(opens_nano_r1),
        cmocka_unit_test(gives_the_header_of_a_shard_as_it_is),
        cmocka_unit_test(gives_side_files_but_nothing_outside),
        cmocka_unit_test(refuses_to_read_past_a_tensor),
        cmocka_unit_test(opens_a_lone_file_without_side_files),
        cmocka_unit_test(says_that_a_path_is_not_there),
        cmocka_unit_test(survives_the_failure_of_each_allocation),
    };
    const struct CMUnitTest in_scratch[] = {
        cmocka_unit_test_teardown(follows_links_and_leaves_out_what_is_unfinished, scratch_clear),
        cmocka_unit_test_teardown(opens_a_folder_with_one_file_and_no_index, scratch_clear),
        cmocka_unit_test_teardown(refuses_a_folder_that_is_no_whole_checkpoint, scratch_clear),
        cmocka_unit_test_teardown(does_not_take_a_pipe_or_a_folder_for_a_shard, scratch_clear),
        cmocka_unit_test_teardown(names_file_and_tensor_when_a_shard_shrinks, scratch_clear),
    };

    return cmocka_run_group_tests(in_place, NULL, NULL) +
           cmocka_run_group_tests(in_scratch, scratch_enter, scratch_leave);
}
