/*
 * test_ggml_logits.c - llama.cpp's file of log-probabilities, from bytes written out here; what
 * llama-perplexity itself writes and reads is in tests/interop/llamacpp_logits.sh.
 */
#include "base/alloc.h"
#include "base/le.h"
#include "base/sink.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/ggml_logits.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_CTX = 5, VOCAB = 3, N_CHUNKS = 2, N_SCORED = 2, RECORD = 16 };
enum { N_BYTES = 20 + 4 * N_CHUNKS * N_CTX + N_CHUNKS * N_SCORED * RECORD };

static const int32_t tokens[N_CHUNKS * N_CTX] = { 0, 1, 2, 1, 0, 2, 2, 1, 0, 0 };

/* Place i: scale 2^-12, min -16 - i, codes 65535, 4096 i, 0. */
static void make_file(unsigned char *f)
{
    memset(f, 0, N_BYTES);
    memcpy(f, "_logits_", 8);
    bl_put_u32(f + 8, N_CTX);
    bl_put_u32(f + 12, VOCAB);
    bl_put_u32(f + 16, N_CHUNKS);
    for (size_t i = 0; i < N_CHUNKS * N_CTX; i++)
        bl_put_u32(f + 20 + 4 * i, (uint32_t)tokens[i]);
    for (size_t i = 0; i < N_CHUNKS * N_SCORED; i++) {
        unsigned char *r = f + 60 + RECORD * i;

        bl_put_u32(r, bl_bits_from_f32(0x1p-12f));
        bl_put_u32(r + 4, bl_bits_from_f32(-16.0f - (float)i));
        bl_put_u16(r + 8, 65535);
        bl_put_u16(r + 10, (uint16_t)(4096 * i));
    }
}

static bl_status open_bytes(bl_ggml_logits **r, const unsigned char *bytes, size_t n,
                            struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_memory(&source, "input", bytes, n, err);

    return rc == BL_OK ? bl_ggml_logits_open_source(r, source, err) : rc;
}

static void reads_every_place(void **state)
{
    unsigned char f[N_BYTES];
    bl_ggml_logits *r = NULL;
    float p[VOCAB];

    (void)state;
    make_file(f);
    assert_int_equal(open_bytes(&r, f, N_BYTES, NULL), BL_OK);
    assert_int_equal(r->n_ctx, N_CTX);
    assert_int_equal(r->n_chunks, N_CHUNKS);
    assert_int_equal(r->n_scored, N_SCORED);
    assert_memory_equal(r->token, tokens, sizeof(tokens));
    for (int i = 0; i < N_CHUNKS * N_SCORED; i++) {
        assert_int_equal(bl_ggml_logits_read(p, r, (uint64_t)i, NULL), BL_OK);
        assert_true(p[0] == 65535 * 0x1p-12f - 16 - (float)i);
        assert_true(p[1] == -16.0f && p[2] == -16.0f - (float)i);
    }
    bl_ggml_logits_close(r);
}

/* Put value at `at` and see the sentence. */
static void refuse(size_t at, uint32_t value, const char *said)
{
    unsigned char f[N_BYTES];
    bl_ggml_logits *r = NULL;
    struct bl_err err = { 0 };
    float p[VOCAB];
    bl_status rc;

    make_file(f);
    bl_put_u32(f + at, value);
    rc = open_bytes(&r, f, N_BYTES, &err);
    if (rc == BL_OK)
        rc = bl_ggml_logits_read(p, r, 0, &err);
    bl_ggml_logits_close(r);
    assert_int_equal(rc, BL_E_FORMAT);
    assert_memory_equal(err.text, "input: ", 7);
    if (!strstr(err.text, said))
        fail_msg("'%s' does not say '%s'", err.text, said);
}

static void refuses_what_cannot_be(void **state)
{
    (void)state;
    refuse(0, 0, "not a file of log-probabilities");
    refuse(8, 3, "cannot be");
    refuse(8, 6, "do not fill");
    refuse(8, INT32_MAX, "do not fill");
    refuse(8, UINT32_MAX, "cannot be");
    refuse(12, 0, "cannot be");
    refuse(12, 1 << 25, "cannot be");
    refuse(12, 5, "do not fill");
    refuse(16, 0, "cannot be");
    refuse(16, INT32_MAX, "do not fill");
    refuse(20 + 12, 3, "token 3 is not in the vocabulary");
    refuse(20 + 12, UINT32_MAX, "is not in the vocabulary");
    refuse(60, bl_bits_from_f32(NAN), "no log-probabilities");
    refuse(60, bl_bits_from_f32(-1), "no log-probabilities");
    refuse(64, bl_bits_from_f32(1), "no log-probabilities");
    refuse(64, bl_bits_from_f32(-INFINITY), "no log-probabilities");
}

static void refuses_every_prefix(void **state)
{
    unsigned char f[N_BYTES];

    (void)state;
    make_file(f);
    for (size_t n = 0; n < N_BYTES; n++) {
        bl_ggml_logits *r = NULL;

        assert_int_equal(open_bytes(&r, f, n, NULL), BL_E_FORMAT);
    }
}

static bl_status write_file(const char *path, struct bl_err *err)
{
    static const float logits[VOCAB] = { 3, 1, -20 };
    bl_ggml_logits_writer *w = NULL;
    unsigned char place[RECORD];
    bl_status rc = bl_ggml_logits_begin(&w, path, false, N_CTX, VOCAB, N_CHUNKS, tokens, err);

    bl_ggml_logits_pack(place, logits, VOCAB);
    for (int i = 0; i < N_CHUNKS * N_SCORED && rc == BL_OK; i++)
        rc = bl_ggml_logits_put(w, place, 1, err);
    if (rc == BL_OK)
        rc = bl_ggml_logits_commit(&w, err);
    bl_ggml_logits_abort(&w);
    return rc;
}

static void what_is_written_is_read(void **state)
{
    const double lse = 3 + log(1 + exp(-2) + exp(-23));
    bl_ggml_logits *r = NULL;
    float p[VOCAB];

    (void)state;
    assert_int_equal(write_file("x", NULL), BL_OK);
    assert_true(bl_ggml_logits_is("x"));
    assert_false(bl_ggml_logits_is("y"));
    assert_int_equal(bl_ggml_logits_open(&r, "x", NULL), BL_OK);
    assert_memory_equal(r->token, tokens, sizeof(tokens));
    assert_int_equal(bl_ggml_logits_read(p, r, 3, NULL), BL_OK);
    assert_true(fabs((double)p[0] - (3 - lse)) < 2e-6);
    assert_true(fabs((double)p[1] - (1 - lse)) < 16.0 / 65535 / 2 + 2e-6);
    assert_true(fabs((double)p[2] - (3 - 16 - lse)) < 2e-6); /* 23 nats below the top: clipped */
    bl_ggml_logits_close(r);
}

static void equal_logits_have_no_scale(void **state)
{
    static const float logits[VOCAB] = { 2, 2, 2 };
    unsigned char place[RECORD];

    (void)state;
    bl_ggml_logits_pack(place, logits, VOCAB);
    assert_int_equal(bl_get_u32(place), 0);
    assert_true(fabs((double)bl_load_f32(place + 4) + log(3)) < 1e-6);
    for (int i = 8; i < RECORD; i++)
        assert_int_equal(place[i], 0);
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        bl_status rc = BL_E_IO;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            const int64_t live = bl_alloc_live();

            what ? bl_sink_fail_at(k) : bl_alloc_fail_at(k);
            rc = write_file("x", NULL);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_int_equal(bl_alloc_live(), live);
            assert_int_equal(scratch_n_entries("."), rc == BL_OK);
        }
        rc = BL_E_NOMEM;
        for (uint64_t k = 1; rc != BL_OK; k++) {
            const int64_t live = bl_alloc_live();
            bl_ggml_logits *r = NULL;
            float p[VOCAB];

            bl_alloc_fail_at(k);
            rc = bl_ggml_logits_open(&r, "x", NULL);
            if (rc == BL_OK)
                rc = bl_ggml_logits_read(p, r, 0, NULL);
            bl_alloc_fail_at(0);
            bl_ggml_logits_close(r);
            assert_int_equal(bl_alloc_live(), live);
        }
        scratch_remove("x");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_place),
        cmocka_unit_test(refuses_what_cannot_be),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test_teardown(what_is_written_is_read, scratch_clear),
        cmocka_unit_test(equal_logits_have_no_scale),
        cmocka_unit_test_teardown(failures_leave_nothing, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
