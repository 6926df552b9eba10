/* test_stream.c - blocks through zstd and zlib and back, and what must not come back. */
#include "formats/stream/stream.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 100000 };

static const bl_stream_format formats[] = { BL_STREAM_ZSTD, BL_STREAM_ZLIB };

/* Bytes with a skewed histogram and no repeats, as weights have. */
static void fill_like_weights(unsigned char *bytes, size_t n)
{
    uint64_t state = 1;

    for (size_t i = 0; i < n; i++) {
        unsigned sum = 0;

        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (unsigned)(state >> 60);
        }
        bytes[i] = (unsigned char)sum;
    }
}

static size_t pack(unsigned char *out, size_t size, bl_stream_format format,
                   const unsigned char *in, size_t n, bl_stream_effort effort)
{
    bl_compressor *c = NULL;
    size_t n_out = 0;

    assert_int_equal(bl_compressor_new(&c, format, NULL), BL_OK);
    assert_int_equal(bl_stream_compress(out, size, &n_out, c, in, n, effort, NULL), BL_OK);
    bl_compressor_free(c);
    return n_out;
}

static bl_status unpack(unsigned char *out, size_t n_out, bl_stream_format format,
                        const unsigned char *in, size_t n, struct bl_err *err)
{
    bl_decompressor *d = NULL;
    bl_status rc;

    assert_int_equal(bl_decompressor_new(&d, format, NULL), BL_OK);
    rc = bl_stream_decompress(out, n_out, d, in, n, err);
    bl_decompressor_free(d);
    return rc;
}

static void gives_back_what_it_was_given(void **state)
{
    static const size_t length[] = { 0, 1, 31, 4096, N };
    unsigned char *in = malloc(N), *out = malloc(N + 1), *packed;
    size_t size = bl_stream_bound(BL_STREAM_ZLIB, N) + bl_stream_bound(BL_STREAM_ZSTD, N);

    (void)state;
    packed = malloc(size);
    fill_like_weights(in, N);
    for (size_t f = 0; f < 2; f++)
        for (size_t l = 0; l < 5; l++)
            for (int effort = BL_STREAM_WEIGHTS; effort <= BL_STREAM_TEXT; effort++) {
                size_t n = length[l];
                size_t n_packed = pack(packed, size, formats[f], in, n, (bl_stream_effort)effort);

                memset(out, 0xee, N + 1);
                assert_int_equal(unpack(out, n, formats[f], packed, n_packed, NULL), BL_OK);
                assert_memory_equal(out, in, n);
                assert_int_equal(out[n], 0xee);
            }
    free(in);
    free(out);
    free(packed);
}

static void codes_weights_near_their_entropy(void **state)
{
    unsigned char *in = malloc(N), *packed = malloc(2 * N);

    (void)state;
    fill_like_weights(in, N); /* 5.2 bits a byte: 65 % */
    assert_true(pack(packed, 2 * N, BL_STREAM_ZSTD, in, N, BL_STREAM_WEIGHTS) < N * 67 / 100);
    assert_true(pack(packed, 2 * N, BL_STREAM_ZLIB, in, N, BL_STREAM_WEIGHTS) < N * 67 / 100);
    free(in);
    free(packed);
}

static void forgets_the_block_before(void **state)
{
    unsigned char *in = malloc(N), *first = malloc(2 * N), *second = malloc(2 * N);

    (void)state;
    fill_like_weights(in, N);
    for (size_t f = 0; f < 2; f++) {
        bl_compressor *c = NULL;
        size_t n_first = 0, n_between = 0, n_second = 0;

        assert_int_equal(bl_compressor_new(&c, formats[f], NULL), BL_OK);
        assert_int_equal(
            bl_stream_compress(first, 2 * N, &n_first, c, in, N, BL_STREAM_WEIGHTS, NULL), BL_OK);
        assert_int_equal(
            bl_stream_compress(second, 2 * N, &n_between, c, in, N, BL_STREAM_TEXT, NULL), BL_OK);
        assert_int_equal(
            bl_stream_compress(second, 2 * N, &n_second, c, in, N, BL_STREAM_WEIGHTS, NULL), BL_OK);
        assert_int_equal(n_first, n_second);
        assert_memory_equal(first, second, n_first);
        bl_compressor_free(c);
    }
    free(in);
    free(first);
    free(second);
}

static void refuses_a_frame_of_another_size(void **state)
{
    unsigned char in[4096], packed[8192], out[8192];
    struct bl_err err = { 0 };

    (void)state;
    fill_like_weights(in, sizeof(in));
    for (size_t f = 0; f < 2; f++) {
        size_t n = pack(packed, sizeof(packed), formats[f], in, sizeof(in), BL_STREAM_WEIGHTS);

        assert_int_equal(unpack(out, 4095, formats[f], packed, n, &err), BL_E_FORMAT);
        assert_int_equal(unpack(out, 4097, formats[f], packed, n, &err), BL_E_FORMAT);
        assert_int_equal(unpack(out, 4096, formats[f], packed, n - 1, &err), BL_E_FORMAT);
        packed[n] = 0;
        assert_int_equal(unpack(out, 4096, formats[f], packed, n + 1, &err), BL_E_FORMAT);
        assert_true(strlen(err.text) > 0);
        for (size_t k = 0; k < n; k += 7)
            assert_int_equal(unpack(out, 4096, formats[f], packed, k, &err), BL_E_FORMAT);
    }
}

static void refuses_two_frames_in_a_row(void **state)
{
    unsigned char in[4096], packed[16384], out[8192];
    size_t n, m;

    (void)state;
    fill_like_weights(in, sizeof(in));
    for (size_t f = 0; f < 2; f++) {
        n = pack(packed, sizeof(packed), formats[f], in, 4096, BL_STREAM_WEIGHTS);
        m = pack(packed + n, sizeof(packed) - n, formats[f], in, 4096, BL_STREAM_WEIGHTS);
        assert_int_equal(unpack(out, 8192, formats[f], packed, n + m, NULL), BL_E_FORMAT);
    }
}

static void refuses_a_skippable_frame(void **state)
{
    static const unsigned char frame[] = { 0x5e, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
    unsigned char out[1];

    (void)state;
    assert_int_equal(unpack(out, 0, BL_STREAM_ZSTD, frame, sizeof(frame), NULL), BL_E_FORMAT);
}

static void survives_every_failing_allocation(void **state)
{
    unsigned char in[4096], packed[8192], out[4096];
    int64_t live = bl_alloc_live();

    (void)state;
    fill_like_weights(in, sizeof(in));
    for (size_t f = 0; f < 2; f++)
        for (uint64_t k = 1;; k++) {
            bl_compressor *c = NULL;
            bl_decompressor *d = NULL;
            size_t n = 0;
            bl_status rc;

            bl_alloc_fail_at(k);
            rc = bl_compressor_new(&c, formats[f], NULL);
            if (rc == BL_OK)
                rc = bl_stream_compress(packed, sizeof(packed), &n, c, in, sizeof(in),
                                        BL_STREAM_WEIGHTS, NULL);
            if (rc == BL_OK)
                rc = bl_decompressor_new(&d, formats[f], NULL);
            if (rc == BL_OK)
                rc = bl_stream_decompress(out, sizeof(out), d, packed, n, NULL);
            bl_alloc_fail_at(0);
            bl_compressor_free(c);
            bl_decompressor_free(d);
            assert_int_equal(bl_alloc_live(), live);
            if (rc == BL_OK)
                break;
            assert_int_equal(rc, BL_E_NOMEM);
            assert_true(k < 100);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_it_was_given),
        cmocka_unit_test(codes_weights_near_their_entropy),
        cmocka_unit_test(forgets_the_block_before),
        cmocka_unit_test(refuses_a_frame_of_another_size),
        cmocka_unit_test(refuses_two_frames_in_a_row),
        cmocka_unit_test(refuses_a_skippable_frame),
        cmocka_unit_test(survives_every_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
