/*
 * test_encode_layouts.c - the encoders of a folder's layouts against independent code
 * (tests/oracle/make_layout_vectors.py), against their definitions, and search against plain.
 */
#include "../golden_records.h"

#include "formats/block/fp8_block.h"
#include "formats/block/int4_affine.h"
#include "formats/block/int8_row.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_fp8_block.h"
#include "quantize/encode_int4_zero.h"
#include "quantize/encode_int8_row.h"

#include <math.h>

enum { N = 140, K = 192, BLOCK_ROWS = 2, BLOCK_COLS = 2 };

static struct golden golden;
static float *x; /* [N][K] */

static int open_golden(void **state)
{
    size_t n;

    (void)state;
    golden = golden_open("data/golden/layout_encoders.bin");
    x = golden_record(&n, &golden, "x", sizeof(*x));
    return n == N * K ? 0 : -1;
}

static int close_golden(void **state)
{
    (void)state;
    bl_free(x);
    golden_close(&golden);
    return 0;
}

static void check_record(const char *name, const void *have, size_t n_bytes)
{
    size_t n;
    unsigned char *want = golden_record(&n, &golden, name, 1);

    assert_int_equal(n, n_bytes);
    for (size_t i = 0; i < n; i++)
        if (want[i] != ((const unsigned char *)have)[i])
            fail_msg("%s: byte %zu is %u, not %u", name, i, ((const unsigned char *)have)[i],
                     want[i]);
    bl_free(want);
}

typedef void (*encode_blocks)(uint8_t *codes, float *scales, const float *rows, size_t n_rows,
                              size_t n_cols, bool power_of_two);

static void check_fp8(encode_blocks encode, bool power_of_two, const char *codes_name,
                      const char *scales_name)
{
    static uint8_t codes[N][K];
    float scales[BLOCK_ROWS][BLOCK_COLS];

    encode(codes[0], scales[0], x, 128, K, power_of_two);
    encode(codes[128], scales[1], x + 128 * K, N - 128, K, power_of_two);
    check_record(codes_name, codes, sizeof(codes));
    check_record(scales_name, scales, sizeof(scales));
}

static void fp8_blocks_are_those_of_ml_dtypes(void **state)
{
    (void)state;
    check_fp8(bl_fp8_block_encode, false, "fp8_codes", "fp8_scales");
    check_fp8(bl_fp8_block_encode_ref, false, "fp8_codes", "fp8_scales");
}

static void fp8_scales_of_v31_are_the_next_powers_of_two(void **state)
{
    (void)state;
    check_fp8(bl_fp8_block_encode, true, "ue8m0_codes", "ue8m0_scales");
    check_fp8(bl_fp8_block_encode_ref, true, "ue8m0_codes", "ue8m0_scales");
}

/* Every exponent, around every place where rounding to E4M3 decides something. */
static void fast_fp8_rounds_as_the_definition_everywhere(void **state)
{
    float row[128], scale, scale_ref;
    uint8_t codes[128], codes_ref[128];

    (void)state;
    for (uint32_t exponent = 0; exponent < 0xfe; exponent++)
        for (uint32_t part = 0; part < 32; part++) {
            for (uint32_t i = 0; i < 128; i++) {
                /* sixteenths of the mantissa, one bit less and one more, and random ones */
                uint32_t mantissa = ((part * 8 + i / 16) << 15) + (i % 16 - 8) * (i % 16 - 8);

                row[i] = bl_f32_from_bits(exponent << 23 | (mantissa & 0x7fffff) |
                                          (i % 2 ? 0x80000000u : 0));
            }
            row[0] =
                bl_f32_from_bits((exponent + (part % 16 < 254 - exponent ? part % 16 : 0)) << 23);
            bl_fp8_block_encode(codes, &scale, row, 1, 128, part % 2);
            bl_fp8_block_encode_ref(codes_ref, &scale_ref, row, 1, 128, part % 2);
            assert_memory_equal(codes, codes_ref, sizeof(codes));
            assert_memory_equal(&scale, &scale_ref, sizeof(scale));
        }
}

/* What was decoded from FP8 in F32 becomes the same codes again. */
static void fp8_codes_survive_a_way_through_f32(void **state)
{
    static uint8_t codes[128][K], again[128][K];
    static float values[128][K];
    float scales[2], scales_again[2];

    (void)state;
    bl_fp8_block_encode(codes[0], scales, x, 128, K, true);
    for (int i = 0; i < 128; i++)
        assert_true(bl_fp8_block_to_f32(values[i], codes[i], scales, K, 128));
    bl_fp8_block_encode(again[0], scales_again, values[0], 128, K, true);
    for (int i = 0; i < 128; i++) {
        static float back[K];

        assert_true(bl_fp8_block_to_f32(back, again[i], scales_again, K, 128));
        assert_memory_equal(back, values[i], sizeof(back));
    }
}

typedef void (*encode_row)(int8_t *codes, uint16_t *scale, const float *row, size_t n, float half);

static void check_int8(encode_row encode, float half_range, const char *codes_name,
                       const char *scales_name)
{
    static int8_t codes[N][K];
    static uint16_t scales[N];

    for (int i = 0; i < N; i++)
        encode(codes[i], &scales[i], x + i * K, K, half_range);
    check_record(codes_name, codes, sizeof(codes));
    check_record(scales_name, scales, sizeof(scales));
}

static void int8_rows_are_those_of_compressed_tensors(void **state)
{
    (void)state;
    check_int8(bl_int8_row_encode, 127.5f, "int8_codes", "int8_scales");
    check_int8(bl_int8_row_encode_ref, 127.5f, "int8_codes", "int8_scales");
}

static void int8_rows_of_ascend_divide_by_127(void **state)
{
    (void)state;
    check_int8(bl_int8_row_encode, 127.0f, "ascend_codes", "ascend_scales");
    check_int8(bl_int8_row_encode_ref, 127.0f, "ascend_codes", "ascend_scales");
}

static void check_int4(size_t group, const char *packed_name, const char *scales_name,
                       const char *zeros_name)
{
    static uint8_t packed[N][K / 2], zeros[N * K / 32];
    static uint16_t scales[N * K / 32];
    const size_t n_groups = K / group;

    for (size_t i = 0; i < N; i++) {
        const bl_int4_zero_row to = { packed[i], scales + i * n_groups, zeros + i * n_groups };

        bl_int4_zero_encode(&to, x + i * K, K, group, 0);
    }
    check_record(packed_name, packed, sizeof(packed));
    check_record(scales_name, scales, N * n_groups * sizeof(*scales));
    check_record(zeros_name, zeros, N * n_groups);
}

static void int4_with_zero_points_is_that_of_compressed_tensors(void **state)
{
    (void)state;
    check_int4(32, "int4_packed_32", "int4_scales_32", "int4_zeros_32");
    check_int4(64, "int4_packed_64", "int4_scales_64", "int4_zeros_64");
}

/* sum h (x - y)^2 */
static double error_of(const float *row, const float *y, const float *h)
{
    double sum = 0;

    for (int j = 0; j < K; j++)
        sum += (h ? (double)h[j] : 1.0) * pow((double)row[j] - (double)y[j], 2);
    return sum;
}

static void decode_int4(float *y, const bl_int4_zero_row *row)
{
    float scales[K / 32];
    uint8_t codes[K];

    for (int g = 0; g < K / 32; g++)
        scales[g] = bl_f32_from_bf16(row->scale[g]);
    bl_int4_unpack(codes, row->packed, K);
    bl_int4_affine_to_f32(y, codes, scales, row->zero, NULL, K, 32);
}

static void search_is_never_worse_than_plain_and_better_in_sum(void **state)
{
    uint8_t packed[K / 2], zero[K / 32];
    uint16_t scale[K / 32], scale8;
    const bl_int4_zero_row to = { packed, scale, zero };
    float h[K], y[K];
    int8_t codes[K];

    (void)state;
    for (int j = 0; j < K; j++)
        h[j] = (float)(1 + j % 7 * (j % 5));
    for (int weighted = 0; weighted < 2; weighted++) {
        const float *importance = weighted ? h : NULL;
        double plain4 = 0, search4 = 0, plain8 = 0, search8 = 0;

        for (int i = 0; i < N; i++) {
            const float *row = x + i * K;
            double power = error_of(row, (const float[K]){ 0 }, importance), plain, search;

            if (power < 1e-30) /* below the least scale */
                continue;
            bl_int4_zero_encode(&to, row, K, 32, 0);
            decode_int4(y, &to);
            plain = error_of(row, y, importance);
            bl_int4_zero_search(&to, row, importance, K, 32, 0);
            decode_int4(y, &to);
            search = error_of(row, y, importance);
            assert_true(search <= plain * (1 + 1e-5));
            plain4 += plain / power;
            search4 += search / power;
            bl_int8_row_encode(codes, &scale8, row, K, 127.5f);
            bl_int8_row_to_f32(y, codes, bl_f32_from_bf16(scale8), K);
            plain = error_of(row, y, importance);
            bl_int8_row_search(codes, &scale8, row, importance, K);
            bl_int8_row_to_f32(y, codes, bl_f32_from_bf16(scale8), K);
            search = error_of(row, y, importance);
            assert_true(search <= plain * (1 + 1e-5));
            plain8 += plain / power;
            search8 += search / power;
        }
        assert_true(search4 < 0.95 * plain4);
        assert_true(search8 < 0.97 * plain8);
    }
}

static void zero_points_keep_to_the_least_that_a_format_can_say(void **state)
{
    uint8_t packed[K / 2], zero[K / 32];
    uint16_t scale[K / 32];
    const bl_int4_zero_row to = { packed, scale, zero };

    (void)state;
    bl_int4_zero_encode(&to, x + 5 * K, K, 32, 0); /* values above 1: zero is the smallest code */
    assert_int_equal(zero[0], 0);
    for (int i = 0; i < N; i++) {
        bl_int4_zero_encode(&to, x + i * K, K, 32, 1);
        for (int g = 0; g < K / 32; g++)
            assert_true(zero[g] >= 1 && zero[g] <= 15);
        bl_int4_zero_search(&to, x + i * K, NULL, K, 32, 1);
        for (int g = 0; g < K / 32; g++)
            assert_true(zero[g] >= 1 && zero[g] <= 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_blocks_are_those_of_ml_dtypes),
        cmocka_unit_test(fp8_scales_of_v31_are_the_next_powers_of_two),
        cmocka_unit_test(fast_fp8_rounds_as_the_definition_everywhere),
        cmocka_unit_test(fp8_codes_survive_a_way_through_f32),
        cmocka_unit_test(int8_rows_are_those_of_compressed_tensors),
        cmocka_unit_test(int8_rows_of_ascend_divide_by_127),
        cmocka_unit_test(int4_with_zero_points_is_that_of_compressed_tensors),
        cmocka_unit_test(search_is_never_worse_than_plain_and_better_in_sum),
        cmocka_unit_test(zero_points_keep_to_the_least_that_a_format_can_say),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
