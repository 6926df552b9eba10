/*
 * test_encode_affine.c - the GGUF encoders with a least value: against their definitions, the bytes
 * of the Python package gguf (tests/oracle/make_affine_vectors.py), grids whose best codes are
 * known, and where numbers end.
 */
#include "tests/unit/golden_records.h"

#include "base/hash.h"
#include "formats/block/q2_k.h"
#include "formats/block/q4_1.h"
#include "formats/block/q4_k.h"
#include "formats/block/q5_1.h"
#include "formats/block/q5_k.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_q2_k.h"
#include "quantize/encode_q4_1.h"
#include "quantize/encode_q4_k.h"
#include "quantize/encode_q5_1.h"
#include "quantize/encode_q5_k.h"

#include <math.h>
#include <string.h>

struct type {
    const char *name;
    size_t len, bytes, n_codes, group;
    size_t d_at[2]; /* where its F16 numbers lie */
    float max_abs;
    void (*encode)(void *out, const float *x, size_t n);
    void (*encode_ref)(void *out, const float *x, size_t n);
    void (*search)(void *out, const float *row, const float *importance, size_t n_cols);
    void (*search_ref)(void *out, const float *row, const float *importance, size_t n_cols);
    void (*put_codes)(void *block, const uint8_t *code);
    void (*decode)(float *out, const void *in, size_t n);
    uint64_t hash; /* of what all methods make of fixed values, on every machine */
};

static const struct type types[] = {
    { "q4_k",
      256,
      144,
      16,
      32,
      { 0, 2 },
      BL_Q4_K_MAX_ABS,
      bl_q4_k_encode,
      bl_q4_k_encode_ref,
      bl_q4_k_search,
      bl_q4_k_search_ref,
      bl_q4_k_put_codes,
      bl_q4_k_to_f32,
      0xc4904848775eb937u },
    { "q5_k",
      256,
      176,
      32,
      32,
      { 0, 2 },
      BL_Q5_K_MAX_ABS,
      bl_q5_k_encode,
      bl_q5_k_encode_ref,
      bl_q5_k_search,
      bl_q5_k_search_ref,
      bl_q5_k_put_codes,
      bl_q5_k_to_f32,
      0x6b465faf76c5d47au },
    { "q2_k",
      256,
      84,
      4,
      16,
      { 80, 82 },
      BL_Q2_K_MAX_ABS,
      bl_q2_k_encode,
      bl_q2_k_encode_ref,
      bl_q2_k_search,
      bl_q2_k_search_ref,
      bl_q2_k_put_codes,
      bl_q2_k_to_f32,
      0x9cc8affc0b5cf924u },
    { "q4_1",
      32,
      20,
      16,
      32,
      { 0, 2 },
      BL_Q4_1_MAX_ABS,
      bl_q4_1_encode,
      bl_q4_1_encode_ref,
      bl_q4_1_search,
      bl_q4_1_search_ref,
      bl_q4_1_put_codes,
      bl_q4_1_to_f32,
      0x938aa501cd67fe6au },
    { "q5_1",
      32,
      24,
      32,
      32,
      { 0, 2 },
      BL_Q5_1_MAX_ABS,
      bl_q5_1_encode,
      bl_q5_1_encode_ref,
      bl_q5_1_search,
      bl_q5_1_search_ref,
      bl_q5_1_put_codes,
      bl_q5_1_to_f32,
      0x6dcb9f874fc493ffu },
};

enum { N_TYPES = sizeof(types) / sizeof(*types), MAX_COLS = 1280, MAX_BYTES = MAX_COLS };

/* A fixed sequence of numbers; the same on every machine. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* About normal: the sum of four. */
static float next_bell(uint64_t *state)
{
    float sum = 0.0f;

    for (int i = 0; i < 4; i++)
        sum += (float)(int32_t)next_random(state) * 0x1p-31f;
    return sum;
}

enum style { BELL, OUTLIERS, STEPS, POSITIVE, NEGATIVE, MOSTLY_ZERO, ANY_BITS, N_STYLES };

static void fill(float *x, size_t n, int style, uint64_t *random)
{
    for (size_t i = 0; i < n; i++) {
        float v = next_bell(random) * 0.03f;
        uint32_t r = next_random(random);

        if (style == OUTLIERS)
            v *= r % 50 == 0 ? 20.0f : 1.0f;
        else if (style == STEPS)
            v = (float)((int32_t)(r % 33) - 16) * 0.25f;
        else if (style == POSITIVE || style == NEGATIVE)
            v = (style == POSITIVE ? 1.0f : -1.0f) * (0.5f + fabsf(v));
        else if (style == MOSTLY_ZERO)
            v = r % 32 ? bl_f32_from_bits(r & 0x80000000u) : v;
        else if (style == ANY_BITS)
            v = bl_f32_from_bits((r & 0x7f800000u) == 0x7f800000u ? r ^ 0x40000000u : r);
        x[i] = v;
    }
}

static void fill_importance(float *h, size_t n, uint64_t *random)
{
    for (size_t i = 0; i < n; i++) {
        float v = next_bell(random);

        h[i] = next_random(random) % 16 ? v * v * v * v : 0.0f;
    }
}

static void assert_bytes(const struct type *t, const unsigned char *have, const unsigned char *want,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (have[i] != want[i])
            fail_msg("%s: block %zu, byte %zu: 0x%02x, not 0x%02x", t->name, i / t->bytes,
                     i % t->bytes, have[i], want[i]);
}

/* Rows of every number of superblocks and blocks, so that lanes stay idle in all ways. */
static void fast_encoders_equal_their_definitions(void **state)
{
    float x[MAX_COLS], h[MAX_COLS];
    unsigned char have[MAX_BYTES + 1], want[MAX_BYTES];
    uint64_t random = 1;

    (void)state;
    for (size_t round = 0; round < 70; round++) {
        fill(x, MAX_COLS, (int)(round % N_STYLES), &random);
        fill_importance(h, MAX_COLS, &random);
        if (round % 5 == 0)
            memset(h + 96, 0, 300 * sizeof(*h));
        for (const struct type *t = types; t < types + N_TYPES; t++) {
            size_t n = 256 * (1 + round % 5) - (t->len == 32 ? 32 * (round % 8) : 0);

            t->encode(have + 1, x, n);
            t->encode_ref(want, x, n);
            assert_bytes(t, have + 1, want, n / t->len * t->bytes);
            for (int known = 0; known < 2; known++) {
                t->search(have + 1, x, known ? h : NULL, n);
                t->search_ref(want, x, known ? h : NULL, n);
                assert_bytes(t, have + 1, want, n / t->len * t->bytes);
            }
        }
    }
}

static void check_golden(const struct type *t)
{
    struct golden golden = golden_open("data/golden/affine.bin");
    size_t n, n_bytes;
    float *x = golden_record(&n, &golden, "x32", sizeof(*x));
    unsigned char *want = golden_record(&n_bytes, &golden, t->name, 1);
    unsigned char *have = bl_alloc(n_bytes + 1, 1);

    assert_int_equal(n / 32 * t->bytes, n_bytes);
    t->encode(have + 1, x, n); /* unaligned */
    assert_bytes(t, have + 1, want, n_bytes);
    bl_free(x);
    bl_free(want);
    bl_free(have);
    golden_close(&golden);
}

static void plain_blocks_of_32_are_those_of_gguf_py(void **state)
{
    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++)
        if (t->len == 32)
            check_golden(t);
}

static void bytes_are_the_same_on_every_machine(void **state)
{
    float x[MAX_COLS], h[MAX_COLS];
    unsigned char out[3 * MAX_BYTES];

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        const size_t n_bytes = MAX_COLS / t->len * t->bytes;
        uint64_t random = 7, hash;

        fill(x, MAX_COLS, OUTLIERS, &random);
        fill_importance(h, MAX_COLS, &random);
        t->encode(out, x, MAX_COLS);
        t->search(out + n_bytes, x, NULL, MAX_COLS);
        t->search(out + 2 * n_bytes, x, h, MAX_COLS);
        hash = bl_hash64(out, 3 * n_bytes);
        if (hash != t->hash)
            fail_msg("%s: 0x%016llx", t->name, (unsigned long long)hash);
    }
}

/* A block of random bytes with the F16 numbers given, so that decoding gives a known grid. */
static void random_block(unsigned char *block, const struct type *t, const float d[2],
                         uint64_t *random)
{
    for (size_t i = 0; i < t->bytes; i++)
        block[i] = (unsigned char)(next_random(random) >> 24);
    for (size_t k = 0; k < 2; k++) {
        uint16_t bits = bl_f16_from_f32(d[k]);

        memcpy(block + t->d_at[k], &bits, sizeof(bits));
    }
}

/* Every group gets both its ends. */
static void random_codes(uint8_t *code, const struct type *t, uint64_t *random)
{
    for (size_t i = 0; i < t->len; i++)
        code[i] = (uint8_t)(next_random(random) % t->n_codes);
    for (size_t g = 0; g < t->len; g += t->group) {
        size_t at = next_random(random) % (t->group - 1);

        code[g + at] = 0;
        code[g + at + 1] = (uint8_t)(t->n_codes - 1);
    }
}

static void codes_come_back_at_their_places(void **state)
{
    static const float d[2] = { 0.5f, 0.25f };
    unsigned char block[256], before[256];
    float base[256], one[256], value[256];
    uint8_t code[256];
    uint64_t random = 3;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        random_block(block, t, d, &random);
        memset(code, 0, sizeof(code));
        t->put_codes(block, code);
        t->decode(base, block, t->len);
        memset(code, 1, sizeof(code));
        t->put_codes(block, code);
        t->decode(one, block, t->len);
        random_codes(code, t, &random);
        memcpy(before, block, sizeof(before));
        t->put_codes(block, code);
        t->decode(value, block, t->len);
        for (size_t i = 0; i < t->len; i++) /* small multiples of 1/4: exact */
            assert_true(value[i] == base[i] + (one[i] - base[i]) * (float)code[i]);
        memset(code, 1, sizeof(code));
        t->put_codes(block, code);
        assert_memory_equal(block, before, t->bytes);
    }
}

/* Set the integers of group 0 to the largest: then d and dmin are the only ones that fit. */
static void fix_largest(unsigned char *block, const struct type *t)
{
    if (strcmp(t->name, "q2_k") == 0) {
        block[0] = 0xff;
    } else if (t->len == 256) {
        block[4] |= 63;
        block[8] |= 63;
    }
}

static void search_finds_the_grid_that_the_values_lie_on(void **state)
{
    static const float d[2] = { 0.0123f, 0.0456f };
    unsigned char block[256], found[256];
    float x[256], back[256];
    uint8_t code[256];
    uint64_t random = 4;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        for (int round = 0; round < 50; round++) {
            random_block(block, t, d, &random);
            fix_largest(block, t);
            random_codes(code, t, &random);
            t->put_codes(block, code);
            t->decode(x, block, t->len);
            t->search(found, x, NULL, t->len);
            t->decode(back, found, t->len);
            for (size_t i = 0; i < t->len; i++)
                if (back[i] != x[i])
                    fail_msg("%s, round %d, value %zu: %a, not %a", t->name, round, i,
                             (double)back[i], (double)x[i]);
        }
    }
}

static double error_of(const struct type *t, const unsigned char *blocks, const float *x,
                       const float *h, size_t n)
{
    float back[MAX_COLS];
    double sum = 0;

    t->decode(back, blocks, n);
    for (size_t i = 0; i < n; i++) {
        double off = (double)x[i] - (double)back[i];

        sum += (h ? (double)h[i] : 1.0) * off * off;
    }
    return sum;
}

/* The bounds are what was measured for the worst type (0.79, 0.45, 0.59), and some room. */
static void search_leaves_less_error_than_plain(void **state)
{
    float x[MAX_COLS], h[MAX_COLS];
    unsigned char plain[MAX_BYTES], equal[MAX_BYTES], weighted[MAX_BYTES];

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        double error_plain[2] = { 0 }, error_equal[2] = { 0 }, error_weighted = 0;
        uint64_t random = 5;

        for (int round = 0; round < 20; round++) {
            fill(x, MAX_COLS, round % 2 ? OUTLIERS : BELL, &random);
            fill_importance(h, MAX_COLS, &random);
            t->encode(plain, x, MAX_COLS);
            t->search(equal, x, NULL, MAX_COLS);
            t->search(weighted, x, h, MAX_COLS);
            error_plain[0] += error_of(t, plain, x, NULL, MAX_COLS);
            error_plain[1] += error_of(t, plain, x, h, MAX_COLS);
            error_equal[0] += error_of(t, equal, x, NULL, MAX_COLS);
            error_equal[1] += error_of(t, equal, x, h, MAX_COLS);
            error_weighted += error_of(t, weighted, x, h, MAX_COLS);
        }
        assert_true(error_equal[0] < 0.85 * error_plain[0]);
        assert_true(error_weighted < 0.5 * error_plain[1]);
        assert_true(error_weighted < 0.65 * error_equal[1]);
    }
}

/* Half a step, and where codes were chosen before d and m were rounded, what that moves. */
static void plain_codes_are_the_nearest(void **state)
{
    float x[MAX_COLS], back[MAX_COLS], steps[MAX_COLS], zero[MAX_COLS];
    unsigned char block[MAX_BYTES], codes[256];
    uint64_t random = 6;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        fill(x, MAX_COLS, OUTLIERS, &random);
        t->encode(block, x, MAX_COLS);
        t->decode(back, block, MAX_COLS);
        for (size_t code = 0; code < 2; code++) {
            memset(codes, (int)code, sizeof(codes));
            for (size_t b = 0; b < MAX_COLS / t->len; b++)
                t->put_codes(block + b * t->bytes, codes);
            t->decode(code ? steps : zero, block, MAX_COLS);
        }
        for (size_t i = 0; i < MAX_COLS; i++) {
            float step = steps[i] - zero[i], top = zero[i] + step * (float)(t->n_codes - 1);
            float slack = 0.51f * step + 2.5e-4f, nearest = x[i];

            nearest = nearest < zero[i] ? zero[i] : nearest;
            nearest = nearest > top ? top : nearest;
            assert_true(fabsf(back[i] - nearest) <= slack);
        }
    }
}

static void a_power_of_two_moves_nothing_but_the_exponents(void **state)
{
    float x[256], y[256], h[256], h2[256];
    unsigned char a[256], b[256];
    uint64_t random = 8;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        fill(x, t->len, BELL, &random);
        for (size_t i = 0; i < t->len; i++) {
            h[i] = next_bell(&random) * 0.5f + 2.0f;
            h2[i] = h[i] * 0x1p90f;
            y[i] = x[i] * 0x1p6f;
        }
        t->search(a, x, h, t->len);
        t->search(b, y, h2, t->len);
        for (size_t k = 0; k < 2; k++) {
            uint16_t bits;

            memcpy(&bits, a + t->d_at[k], sizeof(bits));
            assert_true((bits & 0x7c00) > 0); /* no subnormal */
            bits = (uint16_t)(bits + (6 << 10));
            memcpy(a + t->d_at[k], &bits, sizeof(bits));
        }
        assert_memory_equal(a, b, t->bytes);
    }
}

static void zeros_and_what_is_too_small_for_f16_decode_to_zeros(void **state)
{
    static const float small[] = { 0.0f, -0.0f, 0x1p-149f, 1e-38f, -1e-12f };
    float x[256], back[256];
    unsigned char block[256];

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        for (size_t k = 0; k < sizeof(small) / sizeof(*small); k++) {
            for (int method = 0; method < 2; method++) {
                for (size_t i = 0; i < t->len; i++)
                    x[i] = i % 3 ? small[k] : 0.0f;
                if (method)
                    t->search(block, x, NULL, t->len);
                else
                    t->encode(block, x, t->len);
                t->decode(back, block, t->len);
                for (size_t i = 0; i < t->len; i++)
                    assert_true(back[i] == 0.0f);
            }
        }
    }
}

/* Up to max_abs nothing becomes infinite, wherever the largest values lie. */
static void the_largest_values_stay_finite(void **state)
{
    float x[256], back[256];
    unsigned char block[256];
    uint64_t random = 9;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        for (int round = 0; round < 60; round++) {
            for (size_t i = 0; i < t->len; i++) {
                uint32_t r = next_random(&random);

                x[i] = round % 3 == 2 ? -t->max_abs : next_bell(&random) * 0.2f * t->max_abs;
                if (r % 16 == 0 || round % 3 == 1)
                    x[i] = r & 0x80000000u ? -t->max_abs : t->max_abs;
            }
            if (round % 2)
                t->search(block, x, NULL, t->len);
            else
                t->encode(block, x, t->len);
            t->decode(back, block, t->len);
            for (size_t i = 0; i < t->len; i++)
                if (!isfinite(back[i]) || fabsf(back[i] - x[i]) > 0.7f * t->max_abs)
                    fail_msg("%s: %g for %g", t->name, (double)back[i], (double)x[i]);
        }
    }
}

static void importance_that_is_zero_everywhere_counts_as_equal(void **state)
{
    float x[256], h[256] = { 0 }, back[256];
    unsigned char block[256];
    uint64_t random = 10;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        double without, with;

        fill(x, t->len, BELL, &random);
        t->search(block, x, NULL, t->len);
        without = error_of(t, block, x, NULL, t->len);
        t->search(block, x, h, t->len);
        t->decode(back, block, t->len);
        with = error_of(t, block, x, NULL, t->len);
        assert_true(with < 1.1 * without);
    }
}

/* What the caller must refuse still has a defined result: the sanitizer build watches. */
static void values_that_are_not_finite_are_harmless(void **state)
{
    static const uint32_t bad[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f7fffffu };
    float x[256], h[256];
    unsigned char block[256], again[256];
    uint64_t random = 11;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        for (size_t k = 0; k < 4; k++) {
            fill(x, t->len, BELL, &random);
            fill_importance(h, t->len, &random);
            x[17] = bl_f32_from_bits(bad[k]);
            t->encode(block, x, t->len);
            t->search(block, x, h, t->len);
            x[17] = 1.0f;
            h[9] = bl_f32_from_bits(bad[k]);
            t->search(again, x, h, t->len);
        }
    }
}

static void no_value_at_all_gives_no_block_at_all(void **state)
{
    unsigned char byte = 0xa5;
    const float x = 1.0f;

    (void)state;
    for (const struct type *t = types; t < types + N_TYPES; t++) {
        t->encode(&byte, &x, 0);
        t->search(&byte, &x, NULL, 0);
    }
    assert_int_equal(byte, 0xa5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_encoders_equal_their_definitions),
        cmocka_unit_test(plain_blocks_of_32_are_those_of_gguf_py),
        cmocka_unit_test(bytes_are_the_same_on_every_machine),
        cmocka_unit_test(codes_come_back_at_their_places),
        cmocka_unit_test(search_finds_the_grid_that_the_values_lie_on),
        cmocka_unit_test(search_leaves_less_error_than_plain),
        cmocka_unit_test(plain_codes_are_the_nearest),
        cmocka_unit_test(a_power_of_two_moves_nothing_but_the_exponents),
        cmocka_unit_test(zeros_and_what_is_too_small_for_f16_decode_to_zeros),
        cmocka_unit_test(the_largest_values_stay_finite),
        cmocka_unit_test(importance_that_is_zero_everywhere_counts_as_equal),
        cmocka_unit_test(values_that_are_not_finite_are_harmless),
        cmocka_unit_test(no_value_at_all_gives_no_block_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
