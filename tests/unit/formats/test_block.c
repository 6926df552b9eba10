/*
 * test_block.c - block decoders against the Python packages gguf, ml_dtypes and compressed-tensors
 * (tests/oracle/make_block_vectors.py), at unaligned addresses and awkward lengths.
 */
#include "tests/unit/golden_records.h"

#include "formats/block/fp8_block.h"
#include "formats/block/int4_group.h"
#include "formats/block/q4_0.h"
#include "formats/block/q8_0.h"
#include "formats/dtype/float_bits.h"

#include <math.h>

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

/* The same bits, or both NaN of one sign. */
static void assert_f32s(const float *have, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t h = bl_bits_from_f32(have[i]), w = bl_bits_from_f32(want[i]);

        if (isnan(want[i]) ? !isnan(have[i]) || (h ^ w) >> 31 : h != w)
            fail_msg("value %zu is %a, not %a", i, (double)have[i], (double)want[i]);
    }
}

/* A copy one byte off any alignment; free the returned base. */
static unsigned char *misalign(unsigned char **base, const void *bytes, size_t n)
{
    *base = bl_alloc(n + 1, 1);
    assert_non_null(*base);
    return memcpy(*base + 1, bytes, n);
}

static void check_blocks(const char *codes, const char *values, bl_decode_fn decode,
                         size_t block_bytes)
{
    size_t n_bytes, n;
    unsigned char *in = golden_record(&n_bytes, &golden, codes, 1), *base;
    float *want = golden_record(&n, &golden, values, sizeof(*want));
    float *have = bl_alloc(n, sizeof(*have));

    assert_int_equal(n_bytes / block_bytes * 32, n);
    decode(have, misalign(&base, in, n_bytes), n);
    assert_f32s(have, want, n);
    bl_free(base);
    bl_free(in);
    bl_free(want);
    bl_free(have);
}

static void decodes_q8_0_as_gguf_py_does(void **state)
{
    (void)state;
    check_blocks("q8_0_any", "q8_0_any_f32", bl_q8_0_to_f32, sizeof(bl_q8_0));
}

static void decodes_q4_0_as_gguf_py_does(void **state)
{
    (void)state;
    check_blocks("q4_0_any", "q4_0_any_f32", bl_q4_0_to_f32, sizeof(bl_q4_0));
}

static void check_int4(size_t group, const char *packed_name, const char *scale_name,
                       const char *value_name)
{
    enum { ROWS = 12, COLS = 256 };
    size_t n_packed, n_scales, n;
    unsigned char *packed = golden_record(&n_packed, &golden, packed_name, 1), *base;
    unsigned char *scales = golden_record(&n_scales, &golden, scale_name, 1), *scale_base;
    float *want = golden_record(&n, &golden, value_name, sizeof(*want)), have[COLS];
    const unsigned char *p = misalign(&base, packed, n_packed);
    const unsigned char *s = misalign(&scale_base, scales, n_scales);

    assert_int_equal(n, ROWS * COLS);
    assert_int_equal(n_packed, ROWS * COLS / 2);
    assert_int_equal(n_scales, ROWS * COLS / group * 2);
    for (size_t row = 0; row < ROWS; row++) {
        bl_int4_group_to_f32(have, p + row * COLS / 2, s + row * COLS / group * 2, BL_BF16, COLS,
                             group);
        assert_f32s(have, want + row * COLS, COLS);
    }
    bl_free(base);
    bl_free(scale_base);
    bl_free(packed);
    bl_free(scales);
    bl_free(want);
}

static void decodes_int4_groups_as_compressed_tensors_does(void **state)
{
    (void)state;
    check_int4(32, "int4_packed_32", "int4_scale_32", "int4_f32_32");
    check_int4(128, "int4_packed_128", "int4_scale_128", "int4_f32_128");
}

static void reads_int4_scales_of_each_type(void **state)
{
    const uint32_t packed = 0xfedcba98; /* 0 to 7 */
    const uint16_t bf16 = 0x3fc0, f16 = 0x3e00;
    const float f32 = 1.5f;
    const float want[8] = { 0.0f, 1.5f, 3.0f, 4.5f, 6.0f, 7.5f, 9.0f, 10.5f };
    float have[8];

    (void)state;
    bl_int4_group_to_f32(have, &packed, &bf16, BL_BF16, 8, 8);
    assert_f32s(have, want, 8);
    bl_int4_group_to_f32(have, &packed, &f16, BL_F16, 8, 8);
    assert_f32s(have, want, 8);
    bl_int4_group_to_f32(have, &packed, &f32, BL_F32, 8, 8);
    assert_f32s(have, want, 8);
}

static void decodes_fp8_rows_with_a_partial_last_block_as_ml_dtypes_does(void **state)
{
    enum { ROWS = 3, COLS = 300, BLOCKS = 3 };
    size_t n_codes, n_scales, n;
    uint8_t *codes = golden_record(&n_codes, &golden, "fp8_codes", 1);
    float *scale = golden_record(&n_scales, &golden, "fp8_scale", sizeof(*scale));
    float *want = golden_record(&n, &golden, "fp8_f32", sizeof(*want)), have[COLS];

    (void)state;
    assert_int_equal(n_codes, ROWS * COLS);
    assert_int_equal(n_scales, ROWS * BLOCKS);
    assert_int_equal(n, ROWS * COLS);
    for (size_t row = 0; row < ROWS; row++) {
        (void)bl_fp8_block_to_f32(have, codes + row * COLS, scale + row * BLOCKS, COLS, 128);
        assert_f32s(have, want + row * COLS, COLS);
    }
    bl_free(codes);
    bl_free(scale);
    bl_free(want);
}

static void fast_fp8_decoding_equals_the_definition_at_every_length(void **state)
{
    static const size_t lengths[] = { 0, 1, 2, 3, 31, 32, 33, 127, 128, 129, 1023 };
    static const size_t blocks[] = { 1, 7, 64, 128, 1024 };
    uint8_t codes[1024];
    float scale[1024], have[1024], want[1024];

    (void)state;
    for (size_t i = 0; i < 1024; i++) {
        codes[i] = (uint8_t)(i * 37 + i / 256);
        scale[i] = (float)(i + 1) * 0.37e-3f;
    }
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        for (size_t k = 0; k < sizeof(blocks) / sizeof(*blocks); k++) {
            have[lengths[i]] = want[lengths[i]] = 12345.0f; /* one past the end stays */
            bl_fp8_block_to_f32(have, codes + 1, scale, lengths[i], blocks[k]);
            bl_fp8_block_to_f32_ref(want, codes + 1, scale, lengths[i], blocks[k]);
            assert_memory_equal(have, want, (lengths[i] + 1) * sizeof(*have));
        }
    }
}

static void the_fp8_table_holds_the_values_of_float_bits(void **state)
{
    const float one = 1.0f;

    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        float want = bl_f32_from_f8e4m3((uint8_t)code), have;
        uint8_t byte = (uint8_t)code;

        bl_fp8_block_to_f32_ref(&have, &byte, &one, 1, 1);
        assert_f32s(&have, &want, 1);
    }
}

static void fp8_without_nan_takes_the_short_way_to_the_same_bits(void **state)
{
    const float scale[2] = { 0x1.6a09e6p-13f, 3.0f };
    uint8_t codes[254];
    float have[254], want[254];
    size_t n = 0;

    (void)state;
    for (unsigned code = 0; code < 256; code++)
        if ((code & 0x7f) != 0x7f)
            codes[n++] = (uint8_t)code;
    assert_true(bl_fp8_block_to_f32(have, codes, scale, n, 128));
    bl_fp8_block_to_f32_ref(want, codes, scale, n, 128);
    assert_f32s(have, want, n);
    codes[253] = 0xff;
    assert_false(bl_fp8_block_to_f32(have, codes, scale, n, 128));
    bl_fp8_block_to_f32_ref(want, codes, scale, n, 128);
    assert_f32s(have, want, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_without_nan_takes_the_short_way_to_the_same_bits),
        cmocka_unit_test(decodes_q8_0_as_gguf_py_does),
        cmocka_unit_test(decodes_q4_0_as_gguf_py_does),
        cmocka_unit_test(decodes_int4_groups_as_compressed_tensors_does),
        cmocka_unit_test(reads_int4_scales_of_each_type),
        cmocka_unit_test(decodes_fp8_rows_with_a_partial_last_block_as_ml_dtypes_does),
        cmocka_unit_test(fast_fp8_decoding_equals_the_definition_at_every_length),
        cmocka_unit_test(the_fp8_table_holds_the_values_of_float_bits),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
