/*
 * test_encode_symmetric.c - the encoders of fixed levels times a step: plain bytes are those of the
 * Python package gguf (tests/oracle/make_plain_vectors.py), codes can be replaced, blocks that ask
 * for a decision come out finite. What the search reaches is in test_search_symmetric.c.
 */
#include "tests/unit/golden_records.h"

#include "tests/unit/quantize/symmetric_types.h"

#include "formats/block/int4_group.h"
#include "quantize/encode_int4_group.h"

#include <float.h>
#include <math.h>

typedef void (*encode_fn)(void *out, const float *x, size_t n);

static void check_plain(const char *values, const char *blocks, encode_fn encode,
                        size_t block_bytes)
{
    struct golden golden = golden_open("data/golden/plain_blocks.bin");
    size_t n, n_bytes;
    float *x = golden_record(&n, &golden, values, sizeof(*x));
    unsigned char *want = golden_record(&n_bytes, &golden, blocks, 1);
    unsigned char *have = bl_alloc(n_bytes + 1, 1);

    assert_non_null(have);
    assert_int_equal(n / 32 * block_bytes, n_bytes);
    encode(have + 1, x, n); /* unaligned */
    for (size_t i = 0; i < n_bytes; i++) {
        if (have[1 + i] != want[i])
            fail_msg("block %zu, byte %zu: 0x%02x, not 0x%02x", i / block_bytes, i % block_bytes,
                     have[1 + i], want[i]);
    }
    bl_free(x);
    bl_free(want);
    bl_free(have);
    golden_close(&golden);
}

static void plain_bytes_are_those_of_gguf_py(void **state)
{
    (void)state;
    check_plain("Q5_0_x", "Q5_0", bl_q5_0_encode, sizeof(bl_q5_0));
    check_plain("MXFP4_x", "MXFP4", bl_mxfp4_encode, sizeof(bl_mxfp4));
}

/* The levels of a block, from its decoder: what every value is when all codes are the same. */
static void codes_are_replaced_one_by_one_and_scales_stay(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        const struct type *type = &types[t];
        static float level[256][MAX_BLOCK];
        float x[MAX_BLOCK], importance[MAX_BLOCK], back[MAX_BLOCK];
        unsigned char block[MAX_BLOCK_BYTES];
        uint8_t code[MAX_BLOCK];

        fill_row(x, importance, type->len, &random);
        type->search(block, x, importance, type->len);
        for (int c = 0; c < type->n_levels; c++) {
            memset(code, c, sizeof(code));
            type->put_codes(block, code);
            type->decode(level[c], block, type->len);
        }
        for (size_t i = 0; i < type->len; i++)
            code[i] = (uint8_t)(next_random(&random) % (uint32_t)type->n_levels);
        type->put_codes(block, code);
        type->decode(back, block, type->len);
        for (size_t i = 0; i < type->len; i++) {
            if (back[i] != level[code[i]][i] || (i > 0 && level[1][i] == level[0][i]))
                fail_msg("%s: code %d of value %zu", type->name, code[i], i);
        }
    }
}

/* Largest difference between x and what comes back, as a part of the largest |x|. */
static double worst(const struct type *type, const unsigned char *block, const float *x)
{
    float back[MAX_BLOCK], amax = 0.0f;
    double most = 0.0;

    type->decode(back, block, type->len);
    for (size_t i = 0; i < type->len; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    for (size_t i = 0; i < type->len; i++) {
        if (!isfinite(back[i]))
            fail_msg("%s: value %zu is %g", type->name, i, (double)back[i]);
        most = fmax(most, fabs((double)back[i] - (double)x[i]));
    }
    return amax > 0.0f ? most / (double)amax : most;
}

static void check_block(const struct type *type, const float *x, const float *importance,
                        double tolerance, const char *what)
{
    unsigned char block[MAX_BLOCK_BYTES];

    type->plain(block, x, type->len);
    if (worst(type, block, x) > tolerance)
        fail_msg("%s, plain, %s: off by %g", type->name, what, worst(type, block, x));
    for (int known = 0; known < 2; known++) {
        type->search(block, x, known ? importance : NULL, type->len);
        if (worst(type, block, x) > tolerance)
            fail_msg("%s, search, %s: off by %g", type->name, what, worst(type, block, x));
    }
}

/* The levels of Q3_K are a third of the largest magnitude apart at most, those of MXFP4 too. */
static void blocks_of_every_magnitude_come_back(void **state)
{
    float x[MAX_BLOCK], even[MAX_BLOCK];

    (void)state;
    for (size_t i = 0; i < MAX_BLOCK; i++)
        even[i] = 1.0f;
    for (size_t t = 0; t < N_TYPES; t++) {
        const struct type *type = &types[t];

        memset(x, 0, sizeof(x));
        check_block(type, x, even, 0.0, "zeros");
        for (size_t i = 0; i < MAX_BLOCK; i++)
            x[i] = -0.0f;
        check_block(type, x, even, 0.0, "zeros with a sign");
        for (size_t i = 0; i < MAX_BLOCK; i++)
            x[i] = 0.37f;
        check_block(type, x, even, type == &types[7] ? 0.3 : 0.01, "all equal");
        for (size_t i = 0; i < MAX_BLOCK; i++)
            x[i] = (i % 2 ? type->max_abs : -type->max_abs) * (i < 32 ? 1.0f : 0x1p-6f);
        check_block(type, x, even, 0.34, "the largest");
        for (size_t i = 0; i < MAX_BLOCK; i++)
            x[i] = i % 3 ? FLT_TRUE_MIN * (float)i : -0x1p-130f;
        check_block(type, x, even, 1.01, "subnormal");
        memset(x, 0, sizeof(x));
        x[17] = -1.25f;
        check_block(type, x, even, type == &types[7] ? 0.3 : 0.01, "a single value");
    }
}

/* F16 scales below 2^-14 have few bits: weights of magnitude 1e-4 in super-blocks meet them. */
static void small_weights_keep_their_precision(void **state)
{
    float x[MAX_BLOCK], importance[MAX_BLOCK];
    uint64_t random = 3;

    (void)state;
    fill_row(x, importance, MAX_BLOCK, &random);
    for (size_t i = 0; i < MAX_BLOCK; i++)
        x[i] *= 0.03f;
    for (size_t t = 0; t < N_TYPES; t++)
        check_block(&types[t], x, importance, 0.34, "small weights");
}

static void unknown_importance_is_the_same_as_none(void **state)
{
    float x[MAX_BLOCK], importance[MAX_BLOCK], zero[MAX_BLOCK] = { 0 };
    unsigned char block[MAX_BLOCK_BYTES], want[MAX_BLOCK_BYTES];
    uint64_t random = 4;

    (void)state;
    fill_row(x, importance, MAX_BLOCK, &random);
    for (size_t t = 0; t < N_TYPES; t++) {
        types[t].search(want, x, NULL, MAX_BLOCK / 2 < types[t].len ? types[t].len : 32);
        types[t].search(block, x, zero, MAX_BLOCK / 2 < types[t].len ? types[t].len : 32);
        assert_memory_equal(block, want, types[t].bytes);
    }
}

/* Columns that no token of the calibration met: fitting codes all the same. */
static void a_group_without_importance_beside_others_is_not_lost(void **state)
{
    float x[MAX_BLOCK], importance[MAX_BLOCK];
    uint64_t random = 5;

    (void)state;
    fill_row(x, importance, MAX_BLOCK, &random);
    for (size_t i = 0; i < 40; i++)
        importance[i] = 0.0f;
    for (size_t t = 0; t < N_TYPES; t++)
        check_block(&types[t], x, importance, 0.34, "some importance is zero");
}

static void no_value_at_all_gives_no_block_at_all(void **state)
{
    unsigned char byte = 0xa5;
    const float x = 1.0f;

    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        types[t].plain(&byte, &x, 0);
        types[t].search(&byte, &x, &x, 0);
    }
    bl_int4_group_search(&byte, &byte, &x, &x, 0, 128);
    assert_int_equal(byte, 0xa5);
}

/* The caller refuses them; the sanitizer build watches that nothing undefined happens before. */
static void values_that_are_not_finite_are_harmless(void **state)
{
    static const uint32_t bad[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc12345u };
    unsigned char block[MAX_BLOCK_BYTES], scales[16];
    float x[MAX_BLOCK], importance[MAX_BLOCK];
    uint64_t random = 6;

    (void)state;
    fill_row(x, importance, MAX_BLOCK, &random);
    for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
        x[11] = bl_f32_from_bits(bad[k]);
        for (size_t t = 0; t < N_TYPES; t++) {
            types[t].plain(block, x, types[t].len);
            types[t].search(block, x, importance, types[t].len);
        }
        bl_int4_group_search(block, scales, x, importance, MAX_BLOCK, 128);
    }
}

static void int4_codes_are_replaced_and_zeros_stay_zeros(void **state)
{
    uint8_t code[128], packed[64];
    float x[128] = { 0 }, back[128];
    uint16_t scale[4];
    uint64_t random = 7;

    (void)state;
    bl_int4_group_search(packed, scale, x, NULL, 128, 32);
    bl_int4_group_to_f32(back, packed, scale, BL_BF16, 128, 32);
    for (size_t i = 0; i < 128; i++)
        assert_true(back[i] == 0.0f);
    assert_int_equal(scale[3], 0x3400); /* 2^-23, as plain has it */
    for (size_t i = 0; i < 128; i++)
        code[i] = (uint8_t)(next_random(&random) % 16);
    bl_int4_group_put_codes(packed, code, 128);
    bl_int4_group_to_f32(back, packed, scale, BL_BF16, 128, 32);
    for (size_t i = 0; i < 128; i++)
        assert_true(back[i] == (float)(code[i] - 8) * 0x1p-23f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes_are_those_of_gguf_py),
        cmocka_unit_test(codes_are_replaced_one_by_one_and_scales_stay),
        cmocka_unit_test(blocks_of_every_magnitude_come_back),
        cmocka_unit_test(small_weights_keep_their_precision),
        cmocka_unit_test(unknown_importance_is_the_same_as_none),
        cmocka_unit_test(a_group_without_importance_beside_others_is_not_lost),
        cmocka_unit_test(no_value_at_all_gives_no_block_at_all),
        cmocka_unit_test(values_that_are_not_finite_are_harmless),
        cmocka_unit_test(int4_codes_are_replaced_and_zeros_stay_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
