/*
 * test_encode.c - the block encoders: bytes of the Python packages gguf and compressed-tensors
 * (tests/oracle/make_block_vectors.py), and the fast forms against their definitions.
 */
#include "tests/unit/golden_records.h"

#include "formats/block/int4_group.h"
#include "formats/block/q4_0.h"
#include "formats/block/q8_0.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_int4_group.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q8_0.h"

#include <math.h>

typedef void (*encode_fn)(void *out, const float *x, size_t n);
typedef void (*encode_group_fn)(void *packed, void *scales, const float *row, size_t n_cols,
                                size_t group_size);

static struct golden golden;

static int open_golden(void **state)
{
    (void)state;
    golden = golden_open("data/golden/blocks.bin");
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    golden_close(&golden);
    return 0;
}

static void assert_blocks(const unsigned char *have, const unsigned char *want, size_t n_blocks,
                          size_t block_bytes)
{
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t i = 0; i < block_bytes; i++) {
            if (have[b * block_bytes + i] != want[b * block_bytes + i])
                fail_msg("block %zu, byte %zu: 0x%02x, not 0x%02x", b, i, have[b * block_bytes + i],
                         want[b * block_bytes + i]);
        }
    }
}

static void check_blocks(const char *record, encode_fn encode, size_t block_bytes)
{
    size_t n, n_bytes;
    float *x = golden_record(&n, &golden, "x32", sizeof(*x));
    unsigned char *want = golden_record(&n_bytes, &golden, record, 1);
    unsigned char *have = bl_alloc(n_bytes + 1, 1);

    assert_int_equal(n / 32 * block_bytes, n_bytes);
    encode(have + 1, x, n); /* unaligned */
    assert_blocks(have + 1, want, n / 32, block_bytes);
    bl_free(x);
    bl_free(want);
    bl_free(have);
}

static void q8_0_bytes_are_those_of_gguf_py(void **state)
{
    (void)state;
    check_blocks("q8_0", bl_q8_0_encode_ref, sizeof(bl_q8_0));
    check_blocks("q8_0", bl_q8_0_encode, sizeof(bl_q8_0));
}

static void q4_0_bytes_are_those_of_gguf_py(void **state)
{
    (void)state;
    check_blocks("q4_0", bl_q4_0_encode_ref, sizeof(bl_q4_0));
    check_blocks("q4_0", bl_q4_0_encode, sizeof(bl_q4_0));
}

static void check_groups(size_t group, const char *packed_name, const char *scale_name,
                         encode_group_fn encode)
{
    enum { ROWS = 12, COLS = 256 };
    size_t n, n_packed, n_scales;
    float *x = golden_record(&n, &golden, "int4_x", sizeof(*x));
    unsigned char *packed = golden_record(&n_packed, &golden, packed_name, 1);
    unsigned char *scales = golden_record(&n_scales, &golden, scale_name, 1);
    unsigned char have[COLS / 2 + 1], have_scales[COLS / 32 * 2 + 1];

    assert_int_equal(n, ROWS * COLS);
    for (size_t row = 0; row < ROWS; row++) {
        encode(have + 1, have_scales + 1, x + row * COLS, COLS, group);
        assert_blocks(have_scales + 1, scales + row * COLS / group * 2, COLS / group, 2);
        assert_blocks(have + 1, packed + row * COLS / 2, COLS / group, group / 2);
    }
    bl_free(x);
    bl_free(packed);
    bl_free(scales);
}

static void int4_words_and_scales_are_those_of_compressed_tensors(void **state)
{
    (void)state;
    check_groups(32, "int4_packed_32", "int4_scale_32", bl_int4_group_encode_ref);
    check_groups(32, "int4_packed_32", "int4_scale_32", bl_int4_group_encode);
    check_groups(128, "int4_packed_128", "int4_scale_128", bl_int4_group_encode_ref);
    check_groups(128, "int4_packed_128", "int4_scale_128", bl_int4_group_encode);
}

/* A fixed sequence of numbers; the same on every machine. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/*
 * Finite values of one style: any bit pattern, subnormals, a few steps (many ties), weights with a
 * narrow range of exponents, mostly zeros of both signs.
 */
static void fill(float *x, size_t n, int style, uint64_t *random)
{
    uint32_t base = next_random(random);

    for (size_t i = 0; i < n; i++) {
        uint32_t r = next_random(random), bits = r;

        if (style == 1)
            bits = (r & 0x807fffffu) | (r >> 3 & 0x1800000u);
        else if (style == 2)
            bits = bl_bits_from_f32((float)((int32_t)(r % 65) - 32) * 0.25f);
        else if (style == 3)
            bits = (r & 0x81ffffffu) + ((base % 250) << 23);
        else if (style == 4)
            bits = r % 16 ? r & 0x80000000u : r;
        if ((bits & 0x7f800000u) == 0x7f800000u)
            bits ^= 0x40000000u;
        x[i] = bl_f32_from_bits(bits);
    }
}

static void fast_block_encoders_equal_their_definitions(void **state)
{
    enum { N = 32 * 33 };
    float x[N];
    unsigned char have[N / 32 * sizeof(bl_q8_0)], want[sizeof(have)];
    uint64_t random = 1;

    (void)state;
    for (int round = 0; round < 500; round++) {
        fill(x, N, round % 5, &random);
        bl_q8_0_encode(have, x, N);
        bl_q8_0_encode_ref(want, x, N);
        assert_blocks(have, want, N / 32, sizeof(bl_q8_0));
        bl_q4_0_encode(have, x, N);
        bl_q4_0_encode_ref(want, x, N);
        assert_blocks(have, want, N / 32, sizeof(bl_q4_0));
    }
}

static void fast_int4_encoder_equals_its_definition_at_every_group_size(void **state)
{
    enum { N = 1920 };
    static const size_t groups[] = { 8, 16, 24, 32, 40, 64, 128, 640, 1920 };
    float x[N];
    unsigned char have[N / 2], want[N / 2], have_scales[N / 8 * 2], want_scales[N / 8 * 2];
    uint64_t random = 2;

    (void)state;
    for (int round = 0; round < 500; round++) {
        size_t group = groups[(size_t)round % (sizeof(groups) / sizeof(*groups))];

        fill(x, N, round % 5, &random);
        bl_int4_group_encode(have, have_scales, x, N, group);
        bl_int4_group_encode_ref(want, want_scales, x, N, group);
        assert_blocks(have_scales, want_scales, N / group, 2);
        assert_blocks(have, want, N / group, group / 2);
    }
}

static void no_value_at_all_gives_no_block_at_all(void **state)
{
    unsigned char byte = 0xa5;
    const float x = 1.0f;

    (void)state;
    bl_q8_0_encode(&byte, &x, 0);
    bl_q4_0_encode(&byte, &x, 0);
    bl_int4_group_encode(&byte, &byte, &x, 0, 128);
    assert_int_equal(byte, 0xa5);
}

/* A value that is not finite must not come back as one that is: nobody would notice. */
static void assert_lost(float value)
{
    if (isfinite(value))
        fail_msg("%a came back", (double)value);
}

/* What the caller must refuse still has a defined result: the sanitizer build watches. */
static void values_that_are_not_finite_are_harmless(void **state)
{
    static const uint32_t bad[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc12345u };
    float x[32], back[32];
    unsigned char out[34];
    uint16_t scale;

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        for (int i = 0; i < 32; i++)
            x[i] = (float)(i - 7);
        x[11] = bl_f32_from_bits(bad[k]);
        bl_q8_0_encode_ref(out, x, 32);
        bl_q8_0_encode(out, x, 32);
        bl_q8_0_to_f32(back, out, 32);
        assert_lost(back[11]);
        bl_q4_0_encode_ref(out, x, 32);
        bl_q4_0_encode(out, x, 32);
        bl_q4_0_to_f32(back, out, 32);
        assert_lost(back[11]);
        bl_int4_group_encode_ref(out, &scale, x, 32, 32);
        bl_int4_group_encode(out, &scale, x, 32, 32);
        bl_int4_group_to_f32(back, out, &scale, BL_BF16, 32, 32);
        assert_lost(back[11]);
    }
}

static void a_scale_past_f16_is_infinite(void **state)
{
    float x[32] = { 127.0f * 65520.0f };
    bl_q8_0 q8;
    bl_q4_0 q4;

    (void)state;
    bl_q8_0_encode(&q8, x, 32);
    assert_int_equal(q8.d, 0x7c00);
    x[0] = nextafterf(x[0], 0.0f);
    bl_q8_0_encode(&q8, x, 32);
    assert_int_equal(q8.d, 0x7bff);
    x[0] = 8.0f * 65520.0f;
    bl_q4_0_encode(&q4, x, 32);
    assert_int_equal(q4.d, 0xfc00);
    x[0] = nextafterf(x[0], 0.0f);
    bl_q4_0_encode(&q4, x, 32);
    assert_int_equal(q4.d, 0xfbff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q8_0_bytes_are_those_of_gguf_py),
        cmocka_unit_test(q4_0_bytes_are_those_of_gguf_py),
        cmocka_unit_test(int4_words_and_scales_are_those_of_compressed_tensors),
        cmocka_unit_test(fast_block_encoders_equal_their_definitions),
        cmocka_unit_test(fast_int4_encoder_equals_its_definition_at_every_group_size),
        cmocka_unit_test(no_value_at_all_gives_no_block_at_all),
        cmocka_unit_test(values_that_are_not_finite_are_harmless),
        cmocka_unit_test(a_scale_past_f16_is_infinite),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
