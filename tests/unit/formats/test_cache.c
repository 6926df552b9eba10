/*
 * test_cache.c - what is put into a cache comes out of it, at any place and in any order; and it takes
 * no more bytes than docs/format-cache.md promises.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/logits/cache_reader.h"
#include "formats/logits/cache_writer.h"
#include "tests/unit/cache_maker.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static cache_maker make(bl_cache_kind kind, uint32_t vocab_size, uint32_t n_draws, uint32_t n_top)
{
    return (cache_maker){ .info = { .kind = kind,
                                    .vocab_size = vocab_size,
                                    .n_positions = 37,
                                    .n_seqs = 7,
                                    .n_shards = 3,
                                    .n_draws = n_draws,
                                    .n_top = n_top,
                                    .seed = 5,
                                    .model = { 1, 2 },
                                    .tokenizer = { 3, 4 },
                                    .text = { 5, 6 },
                                    .packing = { 7, 8 },
                                    .name = "teacher" },
                          .state = 1,
                          .zipf = true,
                          .n_candidates = 40,
                          .slope = 1.3,
                          .document = 12 };
}

static void write_shards(const char *folder, const bl_cache_info *info, const bl_cache_seq *seq)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < info->n_shards; i++) {
        const uint32_t end = (uint32_t)((uint64_t)info->n_seqs * (i + 1) / info->n_shards);
        bl_cache_shard *shard = NULL;

        assert_int_equal(bl_cache_shard_begin(&shard, folder, info, i, false, NULL), BL_OK);
        for (; next < end; next++)
            assert_int_equal(bl_cache_shard_add(shard, &seq[next], NULL), BL_OK);
        assert_int_equal(bl_cache_shard_commit(&shard, NULL), BL_OK);
        assert_null(shard);
    }
}

static void check_entries(const bl_cache_seq *got, const bl_cache_seq *want,
                          const bl_cache_info *info)
{
    assert_memory_equal(got->first, want->first, (want->n_positions + 1) * sizeof(*got->first));
    for (uint32_t k = 0; k < want->first[want->n_positions]; k++) {
        assert_int_equal(got->id[k], want->id[k]);
        assert_int_equal(got->count[k], want->count[k]);
        if (info->kind == BL_CACHE_SAMPLED)
            assert_true(got->weight[k] == want->weight[k]);
        else
            assert_true(fabs(log((double)got->weight[k] / (double)want->weight[k])) < 0x1.001p-9);
    }
}

static void check_seq(const bl_cache_seq *got, const bl_cache_seq *want, const bl_cache_info *info)
{
    const uint32_t n = want->n_positions;

    assert_int_equal(got->n_positions, n);
    assert_memory_equal(got->token, want->token, n * sizeof(*got->token));
    assert_memory_equal(got->start, want->start, n * sizeof(*got->start));
    assert_memory_equal(got->target, want->target, n * sizeof(*got->target));
    for (uint32_t i = 0; i < n; i++) {
        const float tail = want->target[i] < 0 || info->hidden_size > 0 ? 0 : want->tail[i];

        assert_true(fabsf(got->log_p[i] - want->log_p[i]) <= 0x1p-18f);
        assert_true(fabsf(got->entropy[i] - want->entropy[i]) <= 0x1p-12f);
        assert_true(fabsf(got->log_sum[i] - want->log_sum[i]) <= 0x1p-14f);
        assert_true(fabsf(got->tail[i] - tail) <= 0x1p-24f);
    }
    if (info->hidden_size > 0)
        assert_memory_equal(got->hidden, want->hidden,
                            (size_t)n * info->hidden_size * sizeof(*got->hidden));
    else
        check_entries(got, want, info);
}

static bl_status head_rows(void *context, float *out, uint64_t row, uint64_t n, struct bl_err *err)
{
    const bl_cache_info *info = context;

    (void)err;
    for (uint64_t i = 0; i < n * info->hidden_size; i++)
        out[i] = (float)((row * info->hidden_size + i) % 251) / 8 - 9;
    return BL_OK;
}

/* All sequences, each on its own and in another order than they were written in. */
static void goes_around(cache_maker maker)
{
    const bl_cache_info info = maker.info;
    bl_cache_seq *want = calloc(info.n_seqs, sizeof(*want)), got = { 0 };
    const int64_t live = bl_alloc_live();
    bl_cache *cache = NULL;
    bl_cache_sizes sizes;
    uint64_t n_entries = 0;

    for (uint32_t i = 0; i < info.n_seqs; i++)
        assert_true(maker_seq(&maker, &want[i]));
    write_shards("c", &info, want);
    if (info.kind == BL_CACHE_HIDDEN)
        assert_int_equal(bl_cache_write_head("c", &info, true, false, head_rows, &maker.info, NULL),
                         BL_OK);
    assert_int_equal(bl_cache_open(&cache, "c", NULL), BL_OK);
    assert_memory_equal(bl_cache_info_of(cache), &info, sizeof(info));
    assert_string_equal(bl_cache_path(cache), "c");
    for (uint32_t i = info.n_seqs; i-- > 0;) {
        assert_int_equal(bl_cache_read(&got, cache, (i * 5) % info.n_seqs, NULL), BL_OK);
        check_seq(&got, &want[(i * 5) % info.n_seqs], &info);
        n_entries += info.hidden_size > 0 ? 0 : got.first[info.n_positions];
    }
    sizes = bl_cache_sizes_of(cache);
    assert_int_equal(sizes.n_entries, n_entries);
    assert_int_equal(sizes.file, sizes.entries + sizes.statistics + sizes.tokens + sizes.tables);
    assert_int_equal(sizes.statistics, 8 * sizes.n_scored);
    bl_cache_close(cache);
    bl_cache_seq_release(&got);
    for (uint32_t i = 0; i < info.n_seqs; i++)
        bl_cache_seq_release(&want[i]);
    assert_true(bl_alloc_live() <= live);
    free(want);
    scratch_remove("c");
}

static void draws_come_back(void **state)
{
    cache_maker largest = make(BL_CACHE_SAMPLED, (1 << 23) + 1, 5, 0);

    (void)state;
    goes_around(make(BL_CACHE_SAMPLED, 1000, 50, 0));
    goes_around(make(BL_CACHE_SAMPLED, 129280, 50, 0));
    largest.info.n_seqs = largest.info.n_shards = 1;
    goes_around(largest);
}

static void one_draw_and_one_id_come_back(void **state)
{
    cache_maker sure = make(BL_CACHE_SAMPLED, 1000, 50, 0);

    (void)state;
    goes_around(make(BL_CACHE_SAMPLED, 1000, 1, 0));
    sure.n_candidates = 1;
    goes_around(sure);
    sure.info.n_seqs = sure.info.n_shards = 2;
    sure.info.n_draws = 1024;
    sure.n_ids = 1024; /* every draw another id, of 1024 */
    goes_around(sure);
    sure.info.vocab_size = 1024; /* and no other */
    goes_around(sure);
}

static void small_vocabularies_come_back(void **state)
{
    (void)state;
    for (uint32_t vocab = 2; vocab < 6; vocab++) {
        goes_around(make(BL_CACHE_SAMPLED, vocab, 50, 0));
        goes_around(make(BL_CACHE_TOP_K, vocab, 0, 3));
        goes_around(make(BL_CACHE_MIXED, vocab, 2, 1));
    }
}

static void likeliest_ids_and_samples_of_others_come_back(void **state)
{
    (void)state;
    goes_around(make(BL_CACHE_TOP_K, 1000, 0, 64));
    goes_around(make(BL_CACHE_TOP_K, 129280, 0, 1));
    goes_around(make(BL_CACHE_MIXED, 1000, 16, 8));
    goes_around(make(BL_CACHE_MIXED, 40, 16, 24));
}

static void states_come_back(void **state)
{
    cache_maker hidden = make(BL_CACHE_HIDDEN, 300, 0, 0);

    (void)state;
    hidden.info.hidden_size = 24;
    goes_around(hidden);
}

static void texts_of_single_tokens_have_no_answers(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED, 300, 10, 0);

    (void)state;
    maker.document = 1; /* every token begins one */
    goes_around(maker);
    maker.info.n_positions = 1;
    goes_around(maker);
    maker = make(BL_CACHE_HIDDEN, 300, 0, 0);
    maker.info.hidden_size = 4;
    maker.document = 1;
    goes_around(maker);
}

static void the_head_is_read_by_rows(void **state)
{
    enum { VOCAB = 300, HIDDEN = 24 };
    cache_maker maker = make(BL_CACHE_HIDDEN, VOCAB, 0, 0);
    bl_cache_seq seq = { 0 };
    float want[3 * HIDDEN], got[3 * HIDDEN];
    bl_cache *cache = NULL;
    struct bl_err err;

    (void)state;
    maker.info.hidden_size = HIDDEN;
    maker.info.n_seqs = maker.info.n_shards = 1;
    assert_true(maker_seq(&maker, &seq));
    write_shards("c", &maker.info, &seq);
    assert_int_equal(bl_cache_open(&cache, "c", &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "head.safetensors"));
    for (int bf16 = 0; bf16 < 2; bf16++) {
        assert_int_equal(
            bl_cache_write_head("c", &maker.info, bf16, true, head_rows, &maker.info, NULL), BL_OK);
        assert_int_equal(bl_cache_open(&cache, "c", NULL), BL_OK);
        assert_int_equal(bl_cache_read_head(got, cache, VOCAB - 3, 3, NULL), BL_OK);
        assert_int_equal(head_rows(&maker.info, want, VOCAB - 3, 3, NULL), BL_OK);
        assert_memory_equal(got, want, sizeof(want));
        bl_cache_close(cache);
        cache = NULL;
    }
    bl_cache_seq_release(&seq);
}

/* Sizes of a cache of one shard, made of n sequences of 1,024 positions. */
static bl_cache_sizes sizes_of(cache_maker maker, uint32_t n, void (*look)(const bl_cache_seq *))
{
    bl_cache_shard *shard = NULL;
    bl_cache *cache = NULL;
    bl_cache_seq seq = { 0 };
    bl_cache_sizes sizes;

    maker.info.n_positions = 1024;
    maker.info.n_seqs = n;
    maker.info.n_shards = 1;
    maker.document = 500;
    assert_int_equal(bl_cache_shard_begin(&shard, "c", &maker.info, 0, true, NULL), BL_OK);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(maker_seq(&maker, &seq));
        if (look)
            look(&seq);
        assert_int_equal(bl_cache_shard_add(shard, &seq, NULL), BL_OK);
    }
    assert_int_equal(bl_cache_shard_commit(&shard, NULL), BL_OK);
    assert_int_equal(bl_cache_open(&cache, "c", NULL), BL_OK);
    sizes = bl_cache_sizes_of(cache);
    bl_cache_close(cache);
    bl_cache_seq_release(&seq);
    return sizes;
}

static void twelve_uniform_ids_of_fifty_draws_take_26_bytes(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED, 129280, 50, 0);
    bl_cache_sizes s;

    (void)state;
    maker.zipf = false;
    maker.slope = 1.73;
    maker.n_candidates = 100;
    s = sizes_of(maker, 12, NULL);
    assert_true(s.n_entries > 12 * s.n_scored && s.n_entries * 100 < 1210 * s.n_scored);
    assert_true(s.entries + s.tables <= 26 * s.n_scored);
    assert_true(s.tokens * 8 <= 18 * s.n_scored * 1024 / 1000);
}

/* Of 50 draws from m ids that are equally likely: bits of what fell, as few as can be on the average. */
enum { FLAT_DRAWS = 50, FLAT_IDS = 46 };
static double flat_bits;
static uint64_t flat_ids;

static double log2_choose(double n, double k)
{
    return (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(2);
}

static void add_flat_bits(const bl_cache_seq *seq)
{
    for (uint32_t i = 0; i < seq->n_positions; i++) {
        const uint32_t k = seq->first[i + 1] - seq->first[i];

        if (k == 0)
            continue;
        /* which k ids of the vocabulary; given that they are k of the m, the counts have m^-50 times
           50! / (product of factorials), and the other choices of k among the m are as likely */
        flat_bits += log2_choose(129280, k) - log2_choose(FLAT_IDS, k);
        flat_bits += FLAT_DRAWS * log2(FLAT_IDS) - lgamma(FLAT_DRAWS + 1) / log(2);
        for (uint32_t j = seq->first[i]; j < seq->first[i + 1]; j++)
            flat_bits += lgamma(seq->count[j] + 1) / log(2);
        flat_ids += k;
    }
}

static void flat_teachers_take_at_most_5_percent_more_than_entropy(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED, 129280, FLAT_DRAWS, 0);
    bl_cache_sizes s;

    (void)state;
    maker.zipf = false;
    maker.slope = 0;
    maker.n_candidates = FLAT_IDS;
    s = sizes_of(maker, 5, add_flat_bits);
    assert_int_equal(s.n_entries, flat_ids);
    assert_true(s.n_entries > 30 * s.n_scored);
    assert_true(8 * (double)(s.entries + s.tables) < 1.05 * flat_bits);
    assert_true(8 * (double)s.entries > flat_bits); /* or the bound is none */
}

static void ids_like_words_take_fewer_bytes(void **state)
{
    cache_maker maker = make(BL_CACHE_SAMPLED, 129280, 50, 0);
    bl_cache_sizes uniform, zipf;

    (void)state;
    maker.slope = 1.75;
    maker.n_candidates = 100;
    zipf = sizes_of(maker, 5, NULL);
    maker.zipf = false;
    uniform = sizes_of(maker, 5, NULL);
    assert_true(zipf.entries * uniform.n_scored * 5 < uniform.entries * zipf.n_scored * 4);
}

static void sixty_four_ids_like_words_take_170_bytes(void **state)
{
    const bl_cache_sizes s = sizes_of(make(BL_CACHE_TOP_K, 129280, 0, 64), 5, NULL);

    (void)state;
    assert_true(s.file <= 170 * s.n_scored);
}

static void the_same_answers_make_the_same_bytes(void **state)
{
    char *bytes[2] = { NULL, NULL };
    size_t n[2] = { 0 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        (void)sizes_of(make(BL_CACHE_SAMPLED, 1000, 20, 0), 2, NULL);
        assert_int_equal(
            bl_source_read_file(&bytes[i], &n[i], "c/shard-00001-of-00001.blc", 1 << 24, NULL),
            BL_OK);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    bl_free(bytes[0]);
    bl_free(bytes[1]);
}

static void kinds_have_names(void **state)
{
    bl_cache_kind kind = BL_CACHE_SAMPLED;

    (void)state;
    for (int i = BL_CACHE_SAMPLED; i <= BL_CACHE_HIDDEN; i++) {
        assert_true(bl_cache_kind_by_name(&kind, bl_cache_kind_name((bl_cache_kind)i)));
        assert_int_equal(kind, i);
    }
    assert_false(bl_cache_kind_by_name(&kind, "topk"));
}

static void reserving_keeps_what_is_there(void **state)
{
    bl_cache_seq seq = { 0 };

    (void)state;
    assert_int_equal(bl_cache_seq_reserve(&seq, 2, 1, 0, NULL), BL_OK);
    seq.token[1] = 7;
    seq.id[0] = 9;
    assert_int_equal(bl_cache_seq_reserve(&seq, 2, 1000, 3, NULL), BL_OK);
    assert_int_equal(seq.token[1], 7);
    assert_int_equal(seq.id[0], 9);
    assert_true(seq.n_room >= 1000 && seq.hidden);
    bl_cache_seq_release(&seq);
    bl_cache_seq_release(&seq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(draws_come_back, scratch_clear),
        cmocka_unit_test_teardown(one_draw_and_one_id_come_back, scratch_clear),
        cmocka_unit_test_teardown(small_vocabularies_come_back, scratch_clear),
        cmocka_unit_test_teardown(likeliest_ids_and_samples_of_others_come_back, scratch_clear),
        cmocka_unit_test_teardown(states_come_back, scratch_clear),
        cmocka_unit_test_teardown(texts_of_single_tokens_have_no_answers, scratch_clear),
        cmocka_unit_test_teardown(the_head_is_read_by_rows, scratch_clear),
        cmocka_unit_test_teardown(twelve_uniform_ids_of_fifty_draws_take_26_bytes, scratch_clear),
        cmocka_unit_test_teardown(flat_teachers_take_at_most_5_percent_more_than_entropy,
                                  scratch_clear),
        cmocka_unit_test_teardown(ids_like_words_take_fewer_bytes, scratch_clear),
        cmocka_unit_test_teardown(sixty_four_ids_like_words_take_170_bytes, scratch_clear),
        cmocka_unit_test_teardown(the_same_answers_make_the_same_bytes, scratch_clear),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(reserving_keeps_what_is_there),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
