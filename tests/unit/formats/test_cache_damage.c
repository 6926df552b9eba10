/*
 * test_cache_damage.c - a shard that is damaged anywhere is refused or gives what was in it, a cache
 * with shards of another one does not open, and what fails leaves nothing behind.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "base/source.h"
#include "formats/logits/cache_file.h"
#include "formats/logits/cache_reader.h"
#include "formats/logits/cache_writer.h"
#include "tests/unit/cache_maker.h"
#include "tests/unit/cache_repair.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SHARD "shard-00001-of-00001.blc"

static cache_maker make(bl_cache_kind kind)
{
    cache_maker maker = { .info = { .kind = kind,
                                    .vocab_size = 60,
                                    .n_positions = 20,
                                    .n_seqs = 3,
                                    .n_shards = 1,
                                    .seed = 5,
                                    .model = { 1, 2 },
                                    .name = "teacher" },
                          .state = 3,
                          .zipf = true,
                          .n_candidates = 20,
                          .slope = 1.3,
                          .document = 8 };

    if (kind == BL_CACHE_SAMPLED || kind == BL_CACHE_MIXED)
        maker.info.n_draws = 9;
    if (kind == BL_CACHE_TOP_K || kind == BL_CACHE_MIXED)
        maker.info.n_top = 5;
    if (kind == BL_CACHE_HIDDEN)
        maker.info.hidden_size = 6;
    return maker;
}

static bl_status write_shard(const char *folder, cache_maker maker, uint32_t i_shard,
                             struct bl_err *err)
{
    const bl_cache_info *info = &maker.info;
    const uint32_t n = (uint32_t)((uint64_t)info->n_seqs * (i_shard + 1) / info->n_shards) -
                       (uint32_t)((uint64_t)info->n_seqs * i_shard / info->n_shards);
    bl_cache_shard *shard = NULL;
    bl_cache_seq seq = { 0 };
    bl_status rc = bl_cache_shard_begin(&shard, folder, info, i_shard, false, err);

    maker.state += i_shard;
    for (uint32_t i = 0; i < n && rc == BL_OK; i++)
        rc = maker_seq(&maker, &seq) ? bl_cache_shard_add(shard, &seq, err) : BL_E_NOMEM;
    if (rc == BL_OK)
        rc = bl_cache_shard_commit(&shard, err);
    bl_cache_shard_abort(&shard);
    bl_cache_seq_release(&seq);
    return rc;
}

static void load_shard(char **bytes, size_t *n, cache_maker maker)
{
    assert_int_equal(write_shard("c", maker, 0, NULL), BL_OK);
    assert_int_equal(bl_source_read_file(bytes, n, "c/" SHARD, 1 << 20, NULL), BL_OK);
    scratch_remove("c");
}

/* Everything in the shard, or the status and sentence of what is wrong with it. */
static bl_status read_all(bl_cache_seq *seqs, const char *bytes, size_t n, struct bl_err *err)
{
    const int64_t live = bl_alloc_live();
    bl_cache_file file = { 0 };
    bl_source *source = NULL;
    bl_cache_seq seq = { 0 };
    bl_status rc;

    assert_int_equal(bl_source_memory(&source, "input", bytes, n, NULL), BL_OK);
    rc = bl_cache_file_open(&file, source, err);
    for (uint32_t i = 0; rc == BL_OK && i < file.layout.n_seqs; i++)
        rc = bl_cache_file_read(seqs ? &seqs[i] : &seq, &file, source, i, err);
    bl_cache_file_release(&file);
    bl_cache_seq_release(&seq);
    bl_source_close(source);
    if (!seqs)
        assert_int_equal(bl_alloc_live(), live);
    return rc;
}

static void check_refused(const char *bytes, size_t n, size_t where)
{
    struct bl_err err = { 0 };
    const bl_status rc = read_all(NULL, bytes, n, &err);

    if ((rc != BL_E_FORMAT && rc != BL_E_MISMATCH && rc != BL_E_UNSUPPORTED) || err.status != rc ||
        strncmp(err.text, "input: ", 7) != 0)
        fail_msg("at %zu: status %d, '%s'", where, (int)rc, err.text);
}

static void every_length_but_its_own_is_refused(void **state)
{
    (void)state;
    for (int kind = BL_CACHE_SAMPLED; kind <= BL_CACHE_HIDDEN; kind++) {
        char *bytes = NULL;
        size_t n = 0;

        load_shard(&bytes, &n, make((bl_cache_kind)kind));
        for (size_t cut = 0; cut < n; cut++)
            check_refused(bytes, cut, cut);
        assert_int_equal(read_all(NULL, bytes, n, NULL), BL_OK);
        check_refused(bytes, n + 1, n + 1); /* read_all() ends with a NUL */
        bl_free(bytes);
    }
}

static void no_byte_changes_unseen(void **state)
{
    (void)state;
    for (int kind = BL_CACHE_SAMPLED; kind <= BL_CACHE_HIDDEN; kind++) {
        char *bytes = NULL;
        size_t n = 0;

        load_shard(&bytes, &n, make((bl_cache_kind)kind));
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
            check_refused(bytes, n, i);
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
        }
        bl_free(bytes);
    }
}

/* What a decoder must bear is bytes that pass every checksum. */
static void bytes_with_right_checksums_do_no_harm(void **state)
{
    (void)state;
    for (int kind = BL_CACHE_SAMPLED; kind <= BL_CACHE_HIDDEN; kind++) {
        char *bytes = NULL, *spoilt;
        size_t n = 0, n_refused = 0;

        load_shard(&bytes, &n, make((bl_cache_kind)kind));
        spoilt = bl_alloc(n, 1);
        for (size_t i = 64; i < 8 * n; i += 5) {
            struct bl_err err = { 0 };
            bl_status rc;

            if (i / 8 >= 12 && i / 8 < 56)
                continue; /* sizes: those that make no file of these bytes are the tests before */
            memcpy(spoilt, bytes, n);
            spoilt[i / 8] = (char)(spoilt[i / 8] ^ (1 << i % 8));
            cache_repair((unsigned char *)spoilt, n);
            rc = read_all(NULL, spoilt, n, &err);
            if (rc != BL_OK && strncmp(err.text, "input: ", 7) != 0)
                fail_msg("bit %zu: status %d, '%s'", i, (int)rc, err.text);
            n_refused += rc != BL_OK;
        }
        assert_true(n_refused > 100);
        bl_free(spoilt);
        bl_free(bytes);
    }
}

static void expect_open(bl_status wanted, const char *said)
{
    const int64_t live = bl_alloc_live();
    bl_cache *cache = NULL;
    struct bl_err err = { 0 };
    const bl_status rc = bl_cache_open(&cache, "c", &err);

    if (rc != wanted || (rc != BL_OK && !strstr(err.text, said)))
        fail_msg("status %d, '%s' does not say '%s'", (int)rc, err.text, said);
    bl_cache_close(cache);
    assert_int_equal(bl_alloc_live(), live);
}

static void shards_of_different_caches_do_not_open(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED);

    (void)state;
    maker.info.n_shards = 3;
    assert_int_equal(write_shard("c", maker, 0, NULL), BL_OK);
    assert_int_equal(write_shard("c", maker, 2, NULL), BL_OK);
    expect_open(BL_E_MISMATCH, "shard 2 of 3 is missing");
    maker.info.model.high = 7;
    assert_int_equal(write_shard("c", maker, 1, NULL), BL_OK);
    expect_open(BL_E_MISMATCH, "its teacher differs");
    scratch_remove("c/shard-00002-of-00003.blc");
    maker = make(BL_CACHE_SAMPLED);
    maker.info.n_shards = 3;
    assert_int_equal(write_shard("c", maker, 1, NULL), BL_OK);
    expect_open(BL_OK, "");
    assert_int_equal(rename("c/shard-00002-of-00003.blc", "c/shard-00003-of-00003.blc"), 0);
    assert_int_equal(write_shard("c", maker, 1, NULL), BL_OK);
    expect_open(BL_E_MISMATCH, "says that it is shard 2 of 3");
    maker.info.n_shards = 1;
    assert_int_equal(write_shard("c", maker, 0, NULL), BL_OK);
    expect_open(BL_E_MISMATCH, "in 1 and of one in 3");
    scratch_remove("c");
    assert_int_equal(mkdir("c", 0777), 0);
    expect_open(BL_E_FORMAT, "no shard");
}

static void every_difference_has_a_name(void **state)
{
    static const struct {
        size_t at;
        const char *name;
    } field[] = { { offsetof(bl_cache_info, kind), "kind" },
                  { offsetof(bl_cache_info, vocab_size), "vocabulary" },
                  { offsetof(bl_cache_info, n_positions), "length" },
                  { offsetof(bl_cache_info, n_seqs), "number of sequences" },
                  { offsetof(bl_cache_info, n_shards), "shards" },
                  { offsetof(bl_cache_info, n_draws), "draws" },
                  { offsetof(bl_cache_info, n_top), "top" },
                  { offsetof(bl_cache_info, hidden_size), "hidden" },
                  { offsetof(bl_cache_info, seed), "seed" },
                  { offsetof(bl_cache_info, model), "teacher" },
                  { offsetof(bl_cache_info, tokenizer), "tokenizer" },
                  { offsetof(bl_cache_info, text), "text" },
                  { offsetof(bl_cache_info, packing), "packing" },
                  { offsetof(bl_cache_info, name), "name" } };
    const bl_cache_info a = make(BL_CACHE_SAMPLED).info;

    (void)state;
    assert_null(bl_cache_info_difference(&a, &a));
    for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++) {
        bl_cache_info b = a;

        ((unsigned char *)&b)[field[i].at] ^= 1;
        assert_non_null(bl_cache_info_difference(&a, &b));
        assert_non_null(strstr(bl_cache_info_difference(&a, &b), field[i].name));
    }
}

static void a_shard_is_done_when_it_is_whole_and_of_this_cache(void **state)
{
    const cache_maker maker = make(BL_CACHE_MIXED);
    bl_cache_info other = maker.info;
    bool done = true;
    struct bl_err err;
    FILE *f;

    (void)state;
    assert_int_equal(bl_cache_shard_done(&done, "c", &maker.info, 0, NULL), BL_OK);
    assert_false(done);
    assert_int_equal(write_shard("c", maker, 0, NULL), BL_OK);
    assert_int_equal(bl_cache_shard_done(&done, "c", &maker.info, 0, NULL), BL_OK);
    assert_true(done);
    other.seed++;
    assert_int_equal(bl_cache_shard_done(&done, "c", &other, 0, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "its seed differs"));
    f = fopen("c/" SHARD, "r+b");
    assert_non_null(f);
    fseek(f, BL_CACHE_HEADER_BYTES + 5, SEEK_SET); /* in the data, which opening does not read */
    fputc(255, f);
    fclose(f);
    assert_int_equal(bl_cache_shard_done(&done, "c", &maker.info, 0, &err), BL_E_FORMAT);
    assert_int_equal(err.status, BL_E_FORMAT);
    assert_non_null(strstr(err.text, "sequence 0 is damaged"));
}

static void a_shard_without_all_its_sequences_is_not_there(void **state)
{
    const cache_maker maker = make(BL_CACHE_SAMPLED);
    bl_cache_shard *shard = NULL;

    (void)state;
    assert_int_equal(bl_cache_shard_begin(&shard, "c", &maker.info, 0, false, NULL), BL_OK);
    assert_int_equal(bl_cache_shard_commit(&shard, NULL), BL_E_USAGE);
    assert_null(shard);
    assert_int_equal(scratch_n_entries("c"), 0);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED);
    bl_cache_shard *shard = NULL;
    struct bl_err err;

    (void)state;
    maker.info.n_draws = BL_CACHE_MAX_KEPT + 1;
    assert_int_equal(bl_cache_shard_begin(&shard, "c", &maker.info, 0, false, &err),
                     BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "numbers of draws"));
    assert_false(scratch_exists("c"));
}

/* What the k-th allocation or system call that fails leaves: no shard, and no memory. */
static void failures_leave_nothing(void **state)
{
    const cache_maker maker = make(BL_CACHE_MIXED);
    const int64_t live = bl_alloc_live();

    (void)state;
    for (int sinks = 0; sinks < 2; sinks++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK && k < 400; k++) {
            struct bl_err err = { 0 };

            if (sinks)
                bl_sink_fail_at(k);
            else
                bl_alloc_fail_at(k);
            rc = write_shard("c", maker, 0, &err);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_int_equal(bl_alloc_live(), live);
            assert_true(rc == BL_OK || !scratch_exists("c") || scratch_n_entries("c") == 0);
        }
        assert_int_equal(rc, BL_OK);
        scratch_remove("c");
    }
}

static void reading_bears_every_failed_allocation(void **state)
{
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    assert_int_equal(write_shard("c", make(BL_CACHE_MIXED), 0, NULL), BL_OK);
    for (uint64_t k = 1; rc != BL_OK && k < 400; k++) {
        bl_cache *cache = NULL;
        bl_cache_seq seq = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_cache_open(&cache, "c", NULL);
        if (rc == BL_OK)
            rc = bl_cache_read(&seq, cache, 2, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_cache_close(cache);
        bl_cache_seq_release(&seq);
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_int_equal(rc, BL_OK);
}

static bl_status zero_rows(void *context, float *out, uint64_t row, uint64_t n, struct bl_err *err)
{
    const bl_cache_info *info = context;

    (void)err, (void)row;
    memset(out, 0, (size_t)n * info->hidden_size * sizeof(*out));
    return BL_OK;
}

static void parts_are_merged(void **state)
{
    static const char *const part[] = { "a", "b" };
    cache_maker maker = make(BL_CACHE_HIDDEN);
    struct bl_err err;

    (void)state;
    maker.info.n_shards = 3;
    assert_int_equal(write_shard("a", maker, 0, NULL), BL_OK);
    assert_int_equal(write_shard("a", maker, 1, NULL), BL_OK);
    assert_int_equal(write_shard("b", maker, 1, NULL), BL_OK); /* twice, the same */
    assert_int_equal(
        bl_cache_write_head("b", &maker.info, true, false, zero_rows, &maker.info, NULL), BL_OK);
    assert_int_equal(bl_cache_merge("c", part, 2, false, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "shard 3 of 3 is in none"));
    assert_false(scratch_exists("c"));
    assert_int_equal(write_shard("b", maker, 2, NULL), BL_OK);
    assert_int_equal(bl_cache_merge("c", part, 2, false, &err), BL_OK);
    expect_open(BL_OK, "");
    assert_int_equal(scratch_n_entries("c"), 4);
    assert_int_equal(bl_cache_merge("c", part, 2, false, &err), BL_OK); /* all there already */
    scratch_remove("b/shard-00002-of-00003.blc");
    maker.state++;
    assert_int_equal(write_shard("b", maker, 1, NULL), BL_OK);
    assert_int_equal(bl_cache_merge("c", part, 2, true, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "has other bytes"));
    scratch_remove("b/shard-00002-of-00003.blc");
    maker.info.seed++;
    assert_int_equal(write_shard("b", maker, 1, NULL), BL_OK);
    assert_int_equal(bl_cache_merge("c", part, 2, true, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "its seed differs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_length_but_its_own_is_refused, scratch_clear),
        cmocka_unit_test_teardown(no_byte_changes_unseen, scratch_clear),
        cmocka_unit_test_teardown(bytes_with_right_checksums_do_no_harm, scratch_clear),
        cmocka_unit_test_teardown(shards_of_different_caches_do_not_open, scratch_clear),
        cmocka_unit_test(every_difference_has_a_name),
        cmocka_unit_test_teardown(a_shard_is_done_when_it_is_whole_and_of_this_cache,
                                  scratch_clear),
        cmocka_unit_test_teardown(a_shard_without_all_its_sequences_is_not_there, scratch_clear),
        cmocka_unit_test_teardown(numbers_that_cannot_be_are_refused, scratch_clear),
        cmocka_unit_test_teardown(failures_leave_nothing, scratch_clear),
        cmocka_unit_test_teardown(reading_bears_every_failed_allocation, scratch_clear),
        cmocka_unit_test_teardown(parts_are_merged, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
