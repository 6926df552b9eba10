/*
 * test_hf_writer.c - a folder written and read again; and every way in which writing can fail
 * leaves nothing behind.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "formats/hf/hf_dir.h"
#include "formats/hf/hf_writer.h"

#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* 6 + 6 + 0 | 16 | 1 + 4 + 0 bytes when shards hold 12. */
static const bl_stored plan[] = {
    { .name = "embed", .dtype = BL_BF16, .ndim = 2, .dim = { 3, 1 } },
    { .name = "norm", .dtype = BL_U8, .ndim = 1, .dim = { 6 } },
    { .name = "empty.1", .dtype = BL_F32, .ndim = 1, .dim = { 0 } },
    { .name = "large", .dtype = BL_F64, .ndim = 1, .dim = { 2 } },
    { .name = "code", .dtype = BL_F8_E4M3, .ndim = 1, .dim = { 1 } },
    { .name = "scale", .dtype = BL_F32 },
    { .name = "empty.2", .dtype = BL_F32, .ndim = 2, .dim = { 5, 0 } },
};
enum { N_PLAN = sizeof(plan) / sizeof(*plan), N_DATA = 33, SHARD_SIZE = 12 };

static const char wanted_index[] = "{\n"
                                   "  \"metadata\": {\n"
                                   "    \"total_size\": 33\n"
                                   "  },\n"
                                   "  \"weight_map\": {\n"
                                   "    \"embed\": \"model-00001-of-000003.safetensors\",\n"
                                   "    \"norm\": \"model-00001-of-000003.safetensors\",\n"
                                   "    \"empty.1\": \"model-00001-of-000003.safetensors\",\n"
                                   "    \"large\": \"model-00002-of-000003.safetensors\",\n"
                                   "    \"code\": \"model-00003-of-000003.safetensors\",\n"
                                   "    \"scale\": \"model-00003-of-000003.safetensors\",\n"
                                   "    \"empty.2\": \"model-00003-of-000003.safetensors\"\n"
                                   "  }\n"
                                   "}\n";

/* The whole job: n_data bytes 0, 1, 2 ... in pieces, and a config.json. */
static bl_status write_checkpoint(const char *path, uint64_t shard_size, size_t n_data,
                                  size_t piece, struct bl_err *err)
{
    unsigned char data[64];
    bl_hf_writer *w = NULL;
    bl_status rc = bl_hf_writer_begin(&w, path, false, plan, N_PLAN, shard_size, err);

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    if (rc == BL_OK)
        rc = bl_hf_writer_side_file(w, "config.json", "{}\n", 3, err);
    for (size_t at = 0; at < n_data && rc == BL_OK; at += piece)
        rc = bl_hf_writer_write(w, data + at, n_data - at < piece ? n_data - at : piece, err);
    if (rc == BL_OK)
        rc = bl_hf_writer_commit(&w, err);
    bl_hf_writer_abort(&w);
    return rc;
}

/* The tensors of the plan, in order, with bytes 0, 1, 2 ... */
static void check_checkpoint(const char *path, size_t n_shards)
{
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    unsigned char next = 0;

    if (bl_hf_open(&c, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(c->n_shards, n_shards);
    assert_int_equal(c->n_stored, N_PLAN);
    for (size_t i = 0; i < N_PLAN; i++) {
        unsigned char bytes[16];
        size_t at;

        assert_true(bl_container_find(&at, c, plan[i].name));
        assert_int_equal(c->stored[at].dtype, plan[i].dtype);
        assert_memory_equal(c->stored[at].dim, plan[i].dim, sizeof(plan[i].dim));
        assert_int_equal(bl_container_read(c, at, 0, bytes, c->stored[at].n_bytes, NULL), BL_OK);
        for (size_t b = 0; b < c->stored[at].n_bytes; b++)
            assert_int_equal(bytes[b], next++);
    }
    assert_int_equal(next, N_DATA);
    bl_container_close(c);
}

static void splits_a_plan_into_shards_and_indexes_them(void **state)
{
    static const char path[] = "out";
    char *index = NULL;
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(write_checkpoint(path, SHARD_SIZE, N_DATA, 7, NULL), BL_OK);
    assert_int_equal(scratch_n_entries("."), 1);
    assert_int_equal(scratch_n_entries(path), 5);
    check_checkpoint(path, 3);
    assert_int_equal(bl_hf_open(&c, path, NULL), BL_OK);
    assert_int_equal(bl_container_side_file(c, "model.safetensors.index.json", &index, NULL, NULL),
                     BL_OK);
    assert_string_equal(index, wanted_index);
    bl_free(index);
    bl_container_close(c);
}

static void writes_one_shard_without_an_index(void **state)
{
    static const uint64_t sizes[] = { 0, N_DATA, 1000000, UINT64_MAX };
    char path[32];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        snprintf(path, sizeof(path), "out%zu", i);
        assert_int_equal(write_checkpoint(path, sizes[i], N_DATA, N_DATA, NULL), BL_OK);
        assert_int_equal(scratch_n_entries(path), 2);
        check_checkpoint(path, 1);
    }
}

static void gives_a_tensor_larger_than_a_shard_one_to_itself(void **state)
{
    /* sizes in the plan: 6 6 0 16 1 4 0; each pair of lines is a boundary */
    static const struct {
        uint64_t shard_size;
        size_t n_shards;
    } cut[] = {
        { 1, 5 }, { 4, 5 }, { 5, 4 }, { 11, 4 }, { 12, 3 }, { 20, 3 }, { 21, 2 }, { 32, 2 }
    };
    char path[32];

    (void)state;
    for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++) {
        snprintf(path, sizeof(path), "out%zu", i);
        assert_int_equal(write_checkpoint(path, cut[i].shard_size, N_DATA, 1, NULL), BL_OK);
        check_checkpoint(path, cut[i].n_shards);
    }
}

static void writes_a_plan_without_tensors(void **state)
{
    static const char path[] = "out";
    bl_hf_writer *w = NULL;
    bl_container *c = NULL;

    (void)state;
    assert_int_equal(bl_hf_writer_begin(&w, path, false, NULL, 0, 100, NULL), BL_OK);
    assert_int_equal(bl_hf_writer_n_shards(w), 1);
    assert_int_equal(bl_hf_writer_side_file(w, "config.json", "", 0, NULL), BL_OK);
    assert_int_equal(bl_hf_writer_commit(&w, NULL), BL_OK);
    assert_int_equal(bl_hf_open(&c, path, NULL), BL_OK);
    assert_int_equal(c->n_stored, 0);
    bl_container_close(c);
}

static void leaves_nothing_when_data_is_not_as_long_as_planned(void **state)
{
    static const size_t lengths[] = { 0, 1, 12, 28, N_DATA - 1, N_DATA + 1 };
    static const char path[] = "out";

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        const int64_t live = bl_alloc_live();
        struct bl_err err = { 0 };

        assert_int_equal(write_checkpoint(path, SHARD_SIZE, lengths[i], 5, &err), BL_E_MISMATCH);
        assert_true(err.text[0] != '\0');
        assert_int_equal(scratch_n_entries("."), 0);
        assert_int_equal(bl_alloc_live(), live);
    }
}

static void does_not_touch_what_is_already_there(void **state)
{
    static const char path[] = "out";
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(write_checkpoint(path, SHARD_SIZE, N_DATA, 7, NULL), BL_OK);
    assert_int_equal(write_checkpoint(path, 0, N_DATA, 7, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "already exists"));
    check_checkpoint(path, 3);
    assert_int_equal(scratch_n_entries("."), 1);
}

static void refuses_side_files_that_are_not_its_own(void **state)
{
    static const char *const bad[] = { "",
                                       ".",
                                       "..",
                                       "../x",
                                       "a/b",
                                       "/x",
                                       "a\nb",
                                       "model.safetensors.index.json",
                                       "model-00001-of-000003.safetensors",
                                       "twice" };
    static const char path[] = "out";
    bl_hf_writer *w = NULL;

    (void)state;
    assert_int_equal(bl_hf_writer_begin(&w, path, false, plan, N_PLAN, SHARD_SIZE, NULL), BL_OK);
    assert_int_equal(bl_hf_writer_side_file(w, "twice", "1", 1, NULL), BL_OK);
    assert_int_equal(bl_hf_writer_side_file(w, ".gitattributes", "1", 1, NULL), BL_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };

        assert_int_equal(bl_hf_writer_side_file(w, bad[i], "2", 1, &err), BL_E_FORMAT);
        assert_non_null(strstr(err.text, path));
    }
    bl_hf_writer_abort(&w);
    assert_int_equal(scratch_n_entries("."), 0);
}

/* After each failure the caller may go on: every later call must fail too, and none may crash. */
static bl_status write_stubbornly(const char *path, struct bl_err *err)
{
    static const unsigned char data[N_DATA];
    bl_hf_writer *w = NULL;
    bl_status rc = bl_hf_writer_begin(&w, path, false, plan, N_PLAN, SHARD_SIZE, err);
    bl_status first;

    if (rc != BL_OK)
        return rc;
    first = bl_hf_writer_write(w, data, 20, err);
    rc = bl_hf_writer_write(w, data, N_DATA - 20, NULL);
    if (first != BL_OK)
        assert_int_not_equal(rc, BL_OK);
    if (first == BL_OK)
        first = rc;
    rc = bl_hf_writer_commit(&w, NULL);
    if (first != BL_OK)
        assert_int_not_equal(rc, BL_OK);
    assert_null(w);
    return rc;
}

static void leaves_nothing_after_the_failure_of_any_write(void **state)
{
    const int64_t live = bl_alloc_live();
    static const char path[] = "out";
    bl_status rc;
    uint64_t k = 0;

    (void)state;
    do {
        struct bl_err err = { 0 };

        bl_sink_fail_at(++k);
        rc = write_checkpoint(path, SHARD_SIZE, N_DATA, 7, &err);
        bl_sink_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_IO);
        assert_non_null(strstr(err.text, "No space left on device"));
        assert_int_equal(scratch_n_entries("."), 0);
        bl_sink_fail_at(k);
        rc = write_stubbornly(path, &err);
        bl_sink_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
        if (rc == BL_OK) /* it makes fewer calls */
            scratch_remove(path);
        assert_int_equal(scratch_n_entries("."), 0);
    } while (true);
    assert_true(k > 15);
}

static void leaves_nothing_after_the_failure_of_any_allocation(void **state)
{
    const int64_t live = bl_alloc_live();
    static const char path[] = "out";
    bl_status rc;
    uint64_t k = 0;

    (void)state;
    do {
        struct bl_err err = { 0 };

        bl_alloc_fail_at(++k);
        rc = write_checkpoint(path, SHARD_SIZE, N_DATA, 7, &err);
        bl_alloc_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_NOMEM);
        assert_int_equal(scratch_n_entries("."), 0);
    } while (rc != BL_OK);
    check_checkpoint(path, 3);
    assert_true(k > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(splits_a_plan_into_shards_and_indexes_them, scratch_clear),
        cmocka_unit_test_teardown(writes_one_shard_without_an_index, scratch_clear),
        cmocka_unit_test_teardown(gives_a_tensor_larger_than_a_shard_one_to_itself, scratch_clear),
        cmocka_unit_test_teardown(writes_a_plan_without_tensors, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_when_data_is_not_as_long_as_planned,
                                  scratch_clear),
        cmocka_unit_test_teardown(does_not_touch_what_is_already_there, scratch_clear),
        cmocka_unit_test_teardown(refuses_side_files_that_are_not_its_own, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_after_the_failure_of_any_write, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_after_the_failure_of_any_allocation,
                                  scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
