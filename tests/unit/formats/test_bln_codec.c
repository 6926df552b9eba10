/* Chunks of .bln: every codec gives the bytes back, takes what it should, and refuses damage. */
#include "formats/bln/bln_codec.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = BL_BLN_CHUNK_BYTES };

static unsigned char in[MOST], out[MOST];
static unsigned char *stored;

static uint64_t state = 1;

/* xorshift64*: no bit of it repeats within a chunk */
static uint32_t next(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * UINT64_C(2685821657736338717) >> 32);
}

/* Codes distributed as weights are: exponents of a bell, the rest noise. */
static void fill(bl_dtype dtype, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned drop = 0;

        while (drop < 6 && (next() & 3) == 0)
            drop++;
        drop += next() & 1;
        if (dtype == BL_F8_E4M3)
            in[i] = (unsigned char)((next() & 0x87) | (14 - drop) << 3);
        else if (i % 2 == 0)
            in[i] = (unsigned char)((next() & 0x7f) | (drop & 1) << 7);
        else
            in[i] = (unsigned char)((next() & 0x80) | 0x3c | drop >> 1);
    }
}

static bl_bln_chunk encode(bl_bln_style style, size_t n, int kind, bl_dtype dtype)
{
    struct bl_err err = { 0 };
    bl_bln_encoder *encoder = NULL;
    const unsigned char *coded = NULL;
    bl_bln_chunk chunk;

    assert_int_equal(bl_bln_encoder_new(&encoder, style, &err), BL_OK);
    assert_int_equal(bl_bln_encode(&chunk, &coded, encoder, stored, in, n, kind, dtype, &err),
                     BL_OK);
    memmove(stored, coded, chunk.n_stored);
    bl_bln_encoder_free(encoder);
    return chunk;
}

static bl_status decode(const bl_bln_chunk *chunk)
{
    struct bl_err err = { 0 };
    bl_bln_decoder *decoder = NULL;
    /* exactly what is stored, so that a sanitizer sees a read past its end */
    unsigned char *exact = malloc(chunk->n_stored);
    bl_status rc;

    memcpy(exact, stored, chunk->n_stored);
    assert_int_equal(bl_bln_decoder_new(&decoder, &err), BL_OK);
    memset(out, 0xaa, sizeof(out));
    rc = bl_bln_decode(out, decoder, chunk, exact, &err);
    bl_bln_decoder_free(decoder);
    free(exact);
    return rc;
}

static void check_back(const bl_bln_chunk *chunk, size_t n)
{
    assert_int_equal(chunk->n_decoded, n);
    assert_int_equal(decode(chunk), BL_OK);
    assert_memory_equal(in, out, n);
    for (size_t i = n; i < n + 64 && i < MOST; i++)
        assert_int_equal(out[i], 0xaa);
}

static void gives_every_size_back(void **unused)
{
    static const bl_dtype dtype[] = { BL_F8_E4M3, BL_BF16, BL_F32, BL_U8 };
    static const size_t size[] = { 1,    2,    3,    62,   64,   65,    127,    130,   255,
                                   1000, 4096, 4097, 4098, 9999, 65534, 131071, 131072 };

    (void)unused;
    for (size_t d = 0; d < 4; d++)
        for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++)
            for (int style = BL_BLN_BEST; style <= BL_BLN_PORTABLE; style++) {
                bl_bln_chunk chunk;

                fill(dtype[d], size[i]);
                chunk = encode((bl_bln_style)style, size[i], BL_BLN_TENSOR, dtype[d]);
                check_back(&chunk, size[i]);
            }
}

static void splits_weights_by_their_type(void **unused)
{
    bl_bln_chunk chunk;

    (void)unused;
    fill(BL_F8_E4M3, MOST);
    chunk = encode(BL_BLN_BEST, MOST, BL_BLN_TENSOR, BL_F8_E4M3);
    assert_int_equal(chunk.codec, BL_BLN_FP8);
    assert_true(chunk.n_stored < MOST * 0.83);
    check_back(&chunk, MOST);
    fill(BL_BF16, MOST);
    chunk = encode(BL_BLN_BEST, MOST, BL_BLN_TENSOR, BL_BF16);
    assert_int_equal(chunk.codec, BL_BLN_BF16);
    assert_true(chunk.n_stored < MOST * 0.67);
    check_back(&chunk, MOST);
    chunk = encode(BL_BLN_PORTABLE, MOST, BL_BLN_TENSOR, BL_BF16);
    assert_int_equal(chunk.codec, BL_BLN_ZLIB);
    check_back(&chunk, MOST);
}

static void keeps_noise_raw(void **unused)
{
    (void)unused;
    for (int style = BL_BLN_BEST; style <= BL_BLN_PORTABLE; style++) {
        bl_bln_chunk chunk;

        for (size_t i = 0; i < MOST; i++)
            in[i] = (unsigned char)next();
        chunk = encode((bl_bln_style)style, MOST, BL_BLN_TENSOR, BL_F8_E4M3);
        assert_int_equal(chunk.codec, BL_BLN_RAW);
        check_back(&chunk, MOST);
    }
}

/* Rows that repeat leave planes half of their bytes, whole bytes next to nothing. */
static void finds_repeats_where_planes_would_hide_them(void **unused)
{
    bl_bln_chunk chunk;

    (void)unused;
    fill(BL_F8_E4M3, MOST);
    memset(in + 4096, 0, MOST - 4096);
    chunk = encode(BL_BLN_BEST, MOST, BL_BLN_TENSOR, BL_F8_E4M3);
    assert_int_equal(chunk.codec, BL_BLN_ZSTD);
    assert_true(chunk.n_stored < MOST / 20);
    check_back(&chunk, MOST);
}

static void codes_one_value_as_itself(void **unused)
{
    bl_bln_chunk chunk;

    (void)unused;
    for (size_t i = 0; i < MOST; i++)
        in[i] = (unsigned char)(i % 4);
    chunk = encode(BL_BLN_PORTABLE, MOST, BL_BLN_TENSOR, BL_F32);
    assert_int_equal(chunk.codec, BL_BLN_CONST);
    assert_int_equal(chunk.n_stored, 4);
    check_back(&chunk, MOST);
}

static void packed_int4_loses_its_slack(void **unused)
{
    bl_bln_chunk chunk;

    (void)unused;
    for (size_t i = 0; i < MOST; i++) { /* sums of three dice: a bell of 4-bit codes */
        unsigned a = next() % 6 + next() % 6 + next() % 6, b = next() % 6 + next() % 6 + next() % 6;

        in[i] = (unsigned char)(a | b << 4);
    }
    chunk = encode(BL_BLN_BEST, MOST, BL_BLN_TENSOR, BL_I32);
    assert_int_equal(chunk.codec, BL_BLN_ZSTD);
    assert_true(chunk.n_stored < MOST * 0.92);
    check_back(&chunk, MOST);
}

/* Every byte of small chunks changed: noticed, or the same bytes come back. */
static void notices_every_damaged_byte(void **unused)
{
    static const bl_dtype dtype[] = { BL_F8_E4M3, BL_BF16, BL_I32 };

    (void)unused;
    for (size_t d = 0; d < 3; d++)
        for (int style = BL_BLN_BEST; style <= BL_BLN_PORTABLE; style++) {
            bl_bln_chunk chunk;

            fill(dtype[d] == BL_I32 ? BL_BF16 : dtype[d], 2048);
            chunk = encode((bl_bln_style)style, 2048, BL_BLN_TENSOR, dtype[d]);
            assert_int_not_equal(chunk.codec, BL_BLN_RAW);
            for (size_t i = 0; i < chunk.n_stored; i++) {
                stored[i] ^= (unsigned char)(1 + next() % 255);
                if (decode(&chunk) == BL_OK)
                    assert_memory_equal(in, out, 2048);
                stored[i] = 0;
                if (decode(&chunk) == BL_OK)
                    assert_memory_equal(in, out, 2048);
                chunk = encode((bl_bln_style)style, 2048, BL_BLN_TENSOR, dtype[d]);
            }
        }
}

static void refuses_a_frame_that_is_cut(void **unused)
{
    bl_bln_chunk chunk;

    (void)unused;
    fill(BL_F8_E4M3, 4096);
    chunk = encode(BL_BLN_BEST, 4096, BL_BLN_TENSOR, BL_F8_E4M3);
    while (chunk.n_stored > 2049) {
        chunk.n_stored--;
        assert_int_equal(decode(&chunk), BL_E_MISMATCH);
    }
}

static void survives_every_failed_allocation(void **unused)
{
    int64_t live = bl_alloc_live();

    (void)unused;
    fill(BL_BF16, 4096);
    for (int style = BL_BLN_BEST; style <= BL_BLN_PORTABLE; style++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            struct bl_err err = { 0 };
            bl_bln_encoder *encoder = NULL;
            bl_bln_decoder *decoder = NULL;
            const unsigned char *coded = NULL;
            bl_bln_chunk chunk;

            bl_alloc_fail_at(k);
            rc = bl_bln_encoder_new(&encoder, (bl_bln_style)style, &err);
            if (rc == BL_OK)
                rc = bl_bln_encode(&chunk, &coded, encoder, stored, in, 4096, BL_BLN_TENSOR,
                                   BL_BF16, &err);
            if (rc == BL_OK)
                rc = bl_bln_decoder_new(&decoder, &err);
            if (rc == BL_OK)
                rc = bl_bln_decode(out, decoder, &chunk, coded, &err);
            bl_alloc_fail_at(0);
            assert_true(rc == BL_OK || rc == BL_E_NOMEM);
            bl_bln_encoder_free(encoder);
            bl_bln_decoder_free(decoder);
            assert_true(bl_alloc_live() == live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_size_back),
        cmocka_unit_test(splits_weights_by_their_type),
        cmocka_unit_test(keeps_noise_raw),
        cmocka_unit_test(finds_repeats_where_planes_would_hide_them),
        cmocka_unit_test(codes_one_value_as_itself),
        cmocka_unit_test(packed_int4_loses_its_slack),
        cmocka_unit_test(notices_every_damaged_byte),
        cmocka_unit_test(refuses_a_frame_that_is_cut),
        cmocka_unit_test(survives_every_failed_allocation),
    };

    stored = malloc(bl_bln_encode_bound(MOST));
    if (!stored)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
