/*
 * test_logits_writer.c - what is written is what the oracle writes, byte for byte, and is read
 * back; failures leave nothing; and a token costs what the format promises.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "base/source.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/logits_reader.h"
#include "formats/logits/logits_writer.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char *corpus[2]; /* good-sparse, good-hidden: made by tests/oracle/logits.py */
static size_t n_corpus[2];

static int load_and_enter(void **state)
{
    static const char *const path[] = { "corpus/logits/good-sparse.logits",
                                        "corpus/logits/good-hidden.logits" };

    for (int i = 0; i < 2; i++) {
        bl_source *source = NULL;

        if (bl_source_open(&source, path[i], NULL) != BL_OK ||
            bl_source_read_all(&corpus[i], &n_corpus[i], source, 1 << 20, NULL) != BL_OK)
            return -1;
        bl_source_close(source);
    }
    return scratch_enter(state);
}

static int leave(void **state)
{
    bl_free(corpus[0]);
    bl_free(corpus[1]);
    return scratch_leave(state);
}

/* The numbers of tests/corpus/logits/make.py. */
static const int32_t tokens[8] = { 3, 1, 4, 1, 5, 0, 2, 6 };
static const bl_logits_seq seqs[2] = { { 0, 1, 2 }, { 2, 0, 3 } };
static const bl_logits_sparse record = { .target = -1.25f,
                                         .tail = 0.0625f,
                                         .ln_threshold = -3.25f,
                                         .n_top = 2,
                                         .n_samples = 3,
                                         .id = { 4, 1, 0, 2, 9 },
                                         .log_p = { -0.5f, -1.25f, -4, -3.5f, -200 } };

static bl_logits_info make_info(bl_logits_kind kind)
{
    bl_logits_info info = { .kind = kind,
                            .vocab_size = 10,
                            .n_seqs = 2,
                            .n_positions = 4,
                            .bos = -1,
                            .n_scored = 5,
                            .model = { .low = 0x0706050403020100, .high = 0x0f0e0d0c0b0a0908 },
                            .name = "oracle" };

    if (kind == BL_LOGITS_SPARSE) {
        info.n_top = 2;
        info.n_samples = 3;
    } else {
        info.hidden_size = 3;
        info.head_type = BL_BF16;
    }
    return info;
}

static bl_status put_rows(bl_logits_writer *w, const bl_logits_info *info, struct bl_err *err)
{
    unsigned char row[10 * 6];
    bl_status rc = BL_OK;

    if (info->kind == BL_LOGITS_SPARSE)
        bl_logits_pack_sparse(row, &record, info);
    for (size_t i = 0; i < sizeof(row) && info->kind == BL_LOGITS_HIDDEN; i += 2)
        memcpy(row + i, "\x80\x3f", 2);
    if (info->kind == BL_LOGITS_HIDDEN)
        rc = bl_logits_put(w, row, 10, err);
    for (int i = 0; i < 5 && rc == BL_OK; i++)
        rc = bl_logits_put(w, row, 1, err);
    return rc;
}

static bl_status write_file(const char *path, bl_logits_kind kind, struct bl_err *err)
{
    const bl_logits_info info = make_info(kind);
    bl_logits_writer *w = NULL;
    bl_status rc = bl_logits_begin(&w, path, false, &info, tokens, seqs, err);

    if (rc == BL_OK)
        rc = put_rows(w, &info, err);
    if (rc == BL_OK)
        rc = bl_logits_commit(&w, err);
    bl_logits_abort(&w);
    return rc;
}

static void writes_the_bytes_that_the_oracle_writes(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bl_source *source = NULL;
        char *bytes = NULL;
        size_t n = 0;

        assert_int_equal(write_file("x", i ? BL_LOGITS_HIDDEN : BL_LOGITS_SPARSE, NULL), BL_OK);
        assert_int_equal(bl_source_open(&source, "x", NULL), BL_OK);
        assert_int_equal(bl_source_read_all(&bytes, &n, source, 1 << 20, NULL), BL_OK);
        assert_int_equal(n, n_corpus[i]);
        assert_memory_equal(bytes, corpus[i], n);
        bl_source_close(source);
        bl_free(bytes);
        scratch_remove("x");
    }
}

static void states_and_head_come_back(void **state)
{
    enum { N = 300, HIDDEN = 5, VOCAB = 70 };
    static int32_t text[N + 1];
    const bl_logits_seq seq = { 0, 0, N };
    bl_logits_info info = { .kind = BL_LOGITS_HIDDEN,
                            .vocab_size = VOCAB,
                            .n_seqs = 1,
                            .n_positions = N + 1,
                            .n_scored = N,
                            .bos = 7,
                            .hidden_size = HIDDEN,
                            .head_type = BL_F32 };
    unsigned char head[VOCAB * HIDDEN * 4], states[N * HIDDEN * 2];
    float want_head[VOCAB * HIDDEN], want[N * HIDDEN], got[N * HIDDEN];
    bl_logits_writer *w = NULL;
    bl_logits_reader *r = NULL;

    (void)state;
    for (size_t i = 0; i < VOCAB * HIDDEN; i++) {
        want_head[i] = (float)i / 3;
        memcpy(head + 4 * i, &want_head[i], 4);
    }
    for (size_t i = 0; i < N * HIDDEN; i++) {
        uint16_t code = bl_bf16_from_f32((float)i / 7);

        want[i] = bl_f32_from_bf16(code);
        memcpy(states + 2 * i, &code, 2);
    }
    assert_int_equal(bl_logits_begin(&w, "h", false, &info, text, &seq, NULL), BL_OK);
    assert_int_equal(bl_logits_put(w, head, VOCAB, NULL), BL_OK);
    assert_int_equal(bl_logits_put(w, states, N, NULL), BL_OK);
    assert_int_equal(bl_logits_commit(&w, NULL), BL_OK);
    assert_int_equal(bl_logits_open(&r, "h", NULL), BL_OK);
    assert_int_equal(r->info.bos, 7);
    assert_int_equal(bl_logits_read_head(got, r, 0, VOCAB, NULL), BL_OK);
    assert_memory_equal(got, want_head, sizeof(want_head));
    assert_int_equal(bl_logits_read_hidden(got, r, 0, N, NULL), BL_OK);
    assert_memory_equal(got, want, sizeof(want));
    assert_int_equal(bl_logits_read_hidden(got, r, 63, 130, NULL), BL_OK);
    assert_memory_equal(got, want + 63 * HIDDEN, 130 * HIDDEN * sizeof(float));
    bl_logits_close(r);
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        const bl_logits_kind kind = what % 2 ? BL_LOGITS_HIDDEN : BL_LOGITS_SPARSE;
        bl_status rc = BL_E_IO;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            const int64_t live = bl_alloc_live();
            struct bl_err err = { 0 };

            what < 2 ? bl_alloc_fail_at(k) : bl_sink_fail_at(k);
            rc = write_file("x", kind, &err);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_true(rc == BL_OK || rc == (what < 2 ? BL_E_NOMEM : BL_E_IO));
            assert_int_equal(bl_alloc_live(), live);
            assert_int_equal(scratch_n_entries("."), rc == BL_OK);
        }
        scratch_remove("x");
    }
}

static void never_writes_over_a_file(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(write_file("x", BL_LOGITS_SPARSE, NULL), BL_OK);
    assert_int_equal(write_file("x", BL_LOGITS_SPARSE, &err), BL_E_USAGE);
}

static void what_makes_no_file_is_refused(void **state)
{
    bl_logits_info info = make_info(BL_LOGITS_SPARSE);
    bl_logits_writer *w = NULL;
    struct bl_err err = { 0 };

    (void)state;
    info.vocab_size = 1 << 24;
    assert_int_equal(bl_logits_begin(&w, "x", false, &info, tokens, seqs, &err), BL_E_UNSUPPORTED);
    assert_memory_equal(err.text, "x: ", 3);
    assert_null(w);
}

/* Header, text, sequences, records and hashes of 100 chunks of 512. */
static void a_sparse_token_costs_at_most_200_bytes(void **state)
{
    const bl_logits_info info = { .kind = BL_LOGITS_SPARSE,
                                  .vocab_size = 129280,
                                  .n_seqs = 100,
                                  .n_positions = 512,
                                  .n_scored = 25500,
                                  .n_top = BL_LOGITS_N_TOP,
                                  .n_samples = BL_LOGITS_N_SAMPLES };
    bl_logits_layout layout;
    double bytes;

    (void)state;
    assert_true(bl_logits_layout_of(&layout, &info));
    bytes = (double)layout.file_bytes / (double)info.n_scored;
    print_message("  %.2f bytes a token\n", bytes);
    assert_true(bytes < 188.25 && bytes <= 200);
}

/* Steps of 2^-17: half a step off at most, and the end of the range is where it should be. */
static void log_probabilities_are_exact_to_half_a_step(void **state)
{
    const bl_logits_info info = { .vocab_size = 1000, .n_top = 1, .n_samples = 1 };
    bl_logits_sparse in = { .ln_threshold = -1, .n_top = 1, .n_samples = 1, .id = { 5, 6 } }, out;
    unsigned char bytes[24];

    (void)state;
    for (float x = 0; x < 127; x += 0.0137f) {
        in.log_p[0] = -x;
        bl_logits_pack_sparse(bytes, &in, &info);
        assert_null(bl_logits_unpack_sparse(&out, bytes, &info));
        assert_true(fabsf(out.log_p[0] + x) <= 0x1p-18f);
    }
    in.log_p[0] = 1e-6f; /* rounding above 1 */
    in.log_p[1] = -INFINITY;
    bl_logits_pack_sparse(bytes, &in, &info);
    assert_null(bl_logits_unpack_sparse(&out, bytes, &info));
    assert_true(out.log_p[0] == 0 && out.log_p[1] == -(128 - 0x1p-17f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(writes_the_bytes_that_the_oracle_writes, scratch_clear),
        cmocka_unit_test_teardown(states_and_head_come_back, scratch_clear),
        cmocka_unit_test_teardown(failures_leave_nothing, scratch_clear),
        cmocka_unit_test_teardown(never_writes_over_a_file, scratch_clear),
        cmocka_unit_test_teardown(what_makes_no_file_is_refused, scratch_clear),
        cmocka_unit_test(a_sparse_token_costs_at_most_200_bytes),
        cmocka_unit_test(log_probabilities_are_exact_to_half_a_step),
    };

    return cmocka_run_group_tests(tests, load_and_enter, leave);
}
