/*
 * What lies in a cache against the teacher's logits themselves; and that shards are the same however
 * they were made.
 */
#include "base/alloc.h"
#include "distill/teach/summary.h"
#include "distill/teach/teach.h"
#include "formats/logits/cache_writer.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CTX = 64, SEQS = 9, VOCAB = 2048, PLACES = CTX * SEQS, SHARDS = 3 };

static bl_ckpt *ckpt;
static bl_pack pack;
static float *logits; /* [PLACES][VOCAB], of the scored ones */
static double log_sum[PLACES], mean_nll;

static bl_status keep_rows(void *context, size_t token, size_t n_tokens, uint64_t row,
                           uint64_t n_rows, const float *const *z, struct bl_err *err)
{
    const size_t *place = context;

    (void)err;
    for (size_t t = 0; t < n_tokens; t++)
        memcpy(logits + place[token + t] * VOCAB + row, z[0] + t * n_rows, n_rows * sizeof(float));
    return BL_OK;
}

static double log_sum_exp(const float *z, size_t n)
{
    double top = (double)z[0], sum = 0;

    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)z[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

/* All logits of the text at once, by verify's road. */
static bool run_teacher(void)
{
    const bl_score_options options = { .n_threads = 2 };
    size_t row[PLACES], n = 0;
    bl_score score = { .token = pack.token,
                       .start = pack.start,
                       .n_seqs = pack.n_seqs,
                       .n_positions = pack.n_positions,
                       .row = row,
                       .fn = keep_rows,
                       .context = row };

    logits = bl_calloc(PLACES, VOCAB * sizeof(*logits));
    for (size_t i = 0; i < PLACES; i++)
        if (bl_pack_target(&pack, i) >= 0)
            row[n++] = i;
    score.n_rows = n;
    bl_score_set_models(&score, ckpt, NULL, NULL);
    if (!logits || bl_score_run(&score, &options, NULL) != BL_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        const float *z = logits + row[i] * VOCAB;

        log_sum[row[i]] = log_sum_exp(z, VOCAB);
        mean_nll += log_sum[row[i]] - (double)z[bl_pack_target(&pack, row[i])];
    }
    mean_nll /= (double)n;
    return true;
}

static int open_teacher(void **state)
{
    const bl_pack_options options = { .n_positions = CTX,
                                      .separator = " ",
                                      .max_tokens = PLACES + 5 };
    char *path = realpath("data/nano-r1", NULL);
    bool opened = path && bl_ckpt_open(&ckpt, path, NULL) == BL_OK &&
                  bl_pack_text(&pack, ckpt, "data/text/calib.txt", &options, NULL) == BL_OK &&
                  pack.n_seqs == SEQS && pack.n_documents > 2 && run_teacher();

    free(path);
    return opened ? scratch_enter(state) : -1;
}

static int close_teacher(void **state)
{
    bl_free(logits);
    bl_pack_release(&pack);
    bl_ckpt_close(ckpt);
    return scratch_leave(state);
}

static bl_teach_options options_of(const char *folder, bl_cache_kind kind)
{
    return (bl_teach_options){ .folder = folder,
                               .run = { .n_threads = 2 },
                               .kind = kind,
                               .n_draws = kind == BL_CACHE_SAMPLED ? 50
                                          : kind == BL_CACHE_MIXED ? 16
                                                                   : 0,
                               .n_top = kind == BL_CACHE_TOP_K   ? 20
                                        : kind == BL_CACHE_MIXED ? 8
                                                                 : 0,
                               .seed = 3,
                               .shard_tokens = CTX * SEQS / SHARDS,
                               .n_parts = 1 };
}

static bl_teach make(const bl_teach_options *options)
{
    struct bl_err err = { 0 };
    bl_teach teach = { 0 };
    bl_status rc = bl_teach_begin(&teach, ckpt, &pack, options, &err);

    if (rc == BL_OK)
        rc = bl_teach_run(&teach, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    return teach;
}

static void make_all(const char *folder, bl_cache_kind kind)
{
    const bl_teach_options options = options_of(folder, kind);
    bl_teach teach = make(&options);

    assert_int_equal(teach.info.n_shards, SHARDS);
    assert_int_equal(teach.n_mine, SHARDS);
    assert_int_equal(teach.n_done, 0);
    assert_true(fabs(teach.nll / (double)teach.n_scored - mean_nll) < 1e-4);
    bl_teach_release(&teach);
}

/* What the draws gave the next tokens beyond their p, over all places, and its variance. */
static double excess, variance;

static void add_excess(const bl_cache_seq *seq, uint32_t i, double p)
{
    excess -= p;
    variance += p * (1 - p) / 50;
    for (uint32_t e = seq->first[i]; e < seq->first[i + 1]; e++)
        if (seq->id[e] == (uint32_t)seq->target[i])
            excess += (double)seq->weight[e];
}

/* Tokens, statistics and entries of every place. */
static void expect_places(const bl_cache *cache, const bl_cache_seq *seq, uint32_t s)
{
    const bl_cache_info *info = bl_cache_info_of(cache);

    for (uint32_t i = 0; i < CTX; i++) {
        const size_t at = (size_t)s * CTX + i;
        const float *z = logits + at * VOCAB;
        const uint32_t n = seq->first[i + 1] - seq->first[i];
        double sum = 0;

        assert_int_equal(seq->token[i], pack.token[at]);
        assert_int_equal(seq->start[i], pack.start[at]);
        assert_int_equal(seq->target[i], bl_pack_target(&pack, at));
        if (seq->target[i] < 0) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_true(fabs((double)seq->log_sum[i] - log_sum[at]) < 1e-3);
        assert_true(fabs((double)seq->log_p[i] - (double)z[seq->target[i]] + log_sum[at]) < 1e-4);
        assert_true(seq->entropy[i] >= 0 && (double)seq->entropy[i] <= log(VOCAB));
        for (uint32_t e = seq->first[i]; e < seq->first[i + 1]; e++) {
            const double p = exp((double)z[seq->id[e]] - log_sum[at]);

            if (info->kind == BL_CACHE_TOP_K || seq->count[e] == 0)
                assert_true(fabs((double)seq->weight[e] / p - 1) < 0.01);
            if (info->kind == BL_CACHE_SAMPLED)
                assert_true(p > 1e-10);
            sum += (double)seq->weight[e];
        }
        if (info->kind == BL_CACHE_SAMPLED) {
            assert_true(fabs(sum - 1) < 1e-5);
            add_excess(seq, i, exp((double)z[seq->target[i]] - log_sum[at]));
        }
        if (info->kind == BL_CACHE_TOP_K)
            assert_true(n == 20 && fabs(sum + (double)seq->tail[i] - 1) < 0.01);
    }
}

static void a_cache_has_what_the_teacher_says(void **state)
{
    static const struct {
        bl_cache_kind kind;
        const char *folder;
    } cache[] = { { BL_CACHE_SAMPLED, "sampled" },
                  { BL_CACHE_TOP_K, "top" },
                  { BL_CACHE_MIXED, "mixed" } };
    bl_cache_seq seq = { 0 };

    (void)state;
    for (size_t c = 0; c < 3; c++) {
        bl_cache_summary summary;
        bl_cache *opened = NULL;

        make_all(cache[c].folder, cache[c].kind);
        assert_int_equal(bl_cache_open(&opened, cache[c].folder, NULL), BL_OK);
        assert_string_equal(bl_cache_info_of(opened)->name, "nano-r1");
        for (uint32_t s = 0; s < SEQS; s++) {
            assert_int_equal(bl_cache_read(&seq, opened, s, NULL), BL_OK);
            expect_places(opened, &seq, s);
        }
        assert_int_equal(bl_cache_summarize(&summary, opened, 2, NULL, NULL), BL_OK);
        assert_true(fabs(summary.mean_nll - mean_nll) < 1e-4);
        assert_true(summary.covered > 0.2 && summary.covered < 1);
        assert_true(summary.median_ids <= summary.p99_ids && summary.p99_ids <= 50);
        bl_cache_close(opened);
    }
    assert_true(variance > 0 && fabs(excess) < 3.5 * sqrt(variance));
    bl_cache_seq_release(&seq);
}

static void hidden_states_and_the_head_give_the_logits(void **state)
{
    enum { HIDDEN = 256 };
    static float head[VOCAB * HIDDEN];
    bl_cache_seq seq = { 0 };
    bl_cache *cache = NULL;

    (void)state;
    make_all("hidden", BL_CACHE_HIDDEN);
    assert_int_equal(bl_cache_open(&cache, "hidden", NULL), BL_OK);
    assert_int_equal(bl_cache_read_head(head, cache, 0, VOCAB, NULL), BL_OK);
    assert_int_equal(bl_cache_read(&seq, cache, 4, NULL), BL_OK);
    for (uint32_t i = 0; i < CTX; i++) {
        const float *z = logits + (4 * CTX + (size_t)i) * VOCAB,
                    *x = seq.hidden + (size_t)i * HIDDEN;

        for (size_t v = 0; v < VOCAB && seq.target[i] >= 0; v += 97) {
            double sum = 0, size = 0;

            for (size_t k = 0; k < HIDDEN; k++) {
                sum += (double)x[k] * (double)head[v * HIDDEN + k];
                size += fabs((double)x[k] * (double)head[v * HIDDEN + k]);
            }
            assert_true(fabs(sum - (double)z[v]) < 1e-3 + size / 256);
        }
    }
    bl_cache_seq_release(&seq);
    bl_cache_close(cache);
}

/* All files of a folder one behind the other, by name; their bytes. */
static size_t read_folder(unsigned char *out, size_t room, const char *folder)
{
    struct dirent **entry = NULL;
    int n = scandir(folder, &entry, NULL, alphasort);
    size_t size = 0;

    assert_true(n > 2);
    for (int i = 0; i < n; i++) {
        char *path = bl_format("%s/%s", folder, entry[i]->d_name);
        FILE *f = entry[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");

        if (f) {
            size += fread(out + size, 1, room - size, f);
            fclose(f);
        }
        bl_free(path);
        free(entry[i]);
    }
    free(entry);
    assert_true(size < room);
    return size;
}

static void expect_same_bytes(const char *a, const char *b)
{
    static unsigned char bytes[2][1 << 20];
    const size_t n = read_folder(bytes[0], sizeof(bytes[0]), a);

    assert_true(n > 1000);
    assert_int_equal(n, read_folder(bytes[1], sizeof(bytes[1]), b));
    assert_memory_equal(bytes[0], bytes[1], n);
}

static void shards_are_the_same_however_they_are_made(void **state)
{
    bl_teach_options options = options_of("parts", BL_CACHE_SAMPLED);
    bl_teach teach;

    (void)state;
    make_all("whole", BL_CACHE_SAMPLED);
    options.run.n_threads = 1;
    options.n_parts = 2;
    options.i_part = 1;
    teach = make(&options);
    assert_int_equal(teach.n_mine, 1);
    assert_true(teach.is_done[1] && !teach.is_done[0]);
    bl_teach_release(&teach);
    options.n_parts = 1;
    options.i_part = 0;
    teach = make(&options);
    assert_int_equal(teach.n_mine, SHARDS);
    assert_int_equal(teach.n_done, 1);
    assert_true(teach.is_done[0] && teach.is_done[1] && teach.is_done[2]);
    bl_teach_release(&teach);
    expect_same_bytes("whole", "parts");
    teach = make(&options);
    assert_int_equal(teach.n_done, SHARDS);
    assert_int_equal(teach.n_scored, 0);
    bl_teach_release(&teach);
    options.force = true;
    teach = make(&options);
    assert_int_equal(teach.n_done, 0);
    bl_teach_release(&teach);
    expect_same_bytes("whole", "parts");
}

static void shards_of_another_cache_are_in_the_way(void **state)
{
    bl_teach_options options = options_of("cache", BL_CACHE_SAMPLED);
    struct bl_err err = { 0 };
    bl_teach teach;

    (void)state;
    make_all("cache", BL_CACHE_SAMPLED);
    options.seed = 4;
    assert_int_equal(bl_teach_begin(&teach, ckpt, &pack, &options, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "seed"));
    options.shard_tokens = PLACES;
    assert_int_equal(bl_teach_begin(&teach, ckpt, &pack, &options, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "of 3 shards, this one would be of 1"));
    options.force = true;
    teach = make(&options);
    bl_teach_release(&teach);
    options.force = false;
    assert_int_equal(bl_teach_begin(&teach, ckpt, &pack, &options, &err), BL_OK);
    assert_int_equal(teach.n_done, 1);
    bl_teach_release(&teach);
}

static void the_plan_is_of_what_is_missing(void **state)
{
    bl_teach_options options = options_of("cache", BL_CACHE_SAMPLED);
    bl_teach_plan all, rest;
    bl_teach teach;

    (void)state;
    assert_int_equal(bl_teach_begin(&teach, ckpt, &pack, &options, NULL), BL_OK);
    assert_int_equal(bl_teach_plan_make(&all, &teach, NULL), BL_OK);
    bl_teach_release(&teach);
    assert_int_equal(all.n_tokens, PLACES);
    options.n_parts = 3;
    teach = make(&options);
    bl_teach_release(&teach);
    options.n_parts = 1;
    assert_int_equal(bl_teach_begin(&teach, ckpt, &pack, &options, NULL), BL_OK);
    assert_int_equal(bl_teach_plan_make(&rest, &teach, NULL), BL_OK);
    assert_int_equal(rest.n_tokens, PLACES / 3 * 2);
    assert_true(rest.n_scored < rest.n_tokens && rest.read == all.read / 3 * 2);
    options.run.memory = 1000;
    assert_int_equal(bl_teach_plan_make(&rest, &teach, NULL), BL_E_USAGE);
    bl_teach_release(&teach);
}

static void memory_that_is_not_given_is_said(void **state)
{
    bl_teach_options options = options_of("cache", BL_CACHE_SAMPLED);
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    options.n_parts = SHARDS;
    options.run.n_threads = 1;
    for (uint64_t at = 1; rc != BL_OK; at += 1 + at / 2) {
        struct bl_err err = { 0 };
        bl_teach teach = { 0 };

        bl_alloc_fail_at(at);
        rc = bl_teach_begin(&teach, ckpt, &pack, &options, &err);
        if (rc == BL_OK)
            rc = bl_teach_run(&teach, &err);
        bl_alloc_fail_at(0);
        bl_teach_release(&teach);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_cache_has_what_the_teacher_says, scratch_clear),
        cmocka_unit_test_teardown(hidden_states_and_the_head_give_the_logits, scratch_clear),
        cmocka_unit_test_teardown(shards_are_the_same_however_they_are_made, scratch_clear),
        cmocka_unit_test_teardown(shards_of_another_cache_are_in_the_way, scratch_clear),
        cmocka_unit_test_teardown(the_plan_is_of_what_is_missing, scratch_clear),
        cmocka_unit_test_teardown(memory_that_is_not_given_is_said, scratch_clear),
    };

    return cmocka_run_group_tests(tests, open_teacher, close_teacher);
}
