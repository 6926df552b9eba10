/*
 * test_float_bits.c - every code of every small float, and F32 values at every place where a
 * conversion decides something, against numpy and ml_dtypes (tests/oracle/make_block_vectors.py).
 */
#include "tests/unit/golden_records.h"

#include "formats/dtype/dtype.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <stdbool.h>

static struct golden golden;

static int open_golden(void **state)
{
    (void)state;
    golden = golden_open("data/golden/float_bits.bin");
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    golden_close(&golden);
    return 0;
}

/* Bit for bit, but any NaN of the same sign is as good as another. */
static void assert_value(float have, uint32_t want, unsigned code)
{
    uint32_t bits = bl_bits_from_f32(have);

    if (isnan(bl_f32_from_bits(want)) ? !isnan(have) || (bits ^ want) >> 31 : bits != want)
        fail_msg("code 0x%x gives 0x%08x, not 0x%08x", code, (unsigned)bits, (unsigned)want);
}

static void decodes_every_f16_code(void **state)
{
    size_t n;
    uint32_t *want = golden_record(&n, &golden, "f16_values", sizeof(*want));

    (void)state;
    assert_int_equal(n, 0x8000);
    for (unsigned code = 0; code < n; code++) {
        assert_value(bl_f32_from_f16((uint16_t)code), want[code], code);
        assert_value(bl_f32_from_f16((uint16_t)(code | 0x8000)), want[code] | 0x80000000u,
                     code | 0x8000);
    }
    bl_free(want);
}

static void encodes_every_f16_value_back_to_its_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 0x10000; code++) {
        uint16_t back = bl_f16_from_f32(bl_f32_from_f16((uint16_t)code));

        if ((code & 0x7fff) > 0x7c00)
            assert_true((back & 0x7fff) > 0x7c00);
        else
            assert_int_equal(back, code);
    }
}

static void decodes_and_encodes_every_bf16_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 0x10000; code++) {
        float value = bl_f32_from_bf16((uint16_t)code);
        uint16_t back = bl_bf16_from_f32(value);

        assert_int_equal(bl_bits_from_f32(value), code << 16); /* the upper half of an F32 */
        if ((code & 0x7fff) > 0x7f80)
            assert_int_equal(back, code | 0x40); /* quiet, payload kept */
        else
            assert_int_equal(back, code);
    }
}

static void check_bytes(const char *record, float (*decode)(uint8_t), size_t n_codes)
{
    size_t n;
    uint32_t *want = golden_record(&n, &golden, record, sizeof(*want));

    assert_int_equal(n, n_codes);
    for (unsigned code = 0; code < n; code++)
        assert_value(decode((uint8_t)code), want[code], code);
    bl_free(want);
}

static void decodes_every_e4m3_code(void **state)
{
    (void)state;
    check_bytes("f8e4m3_values", bl_f32_from_f8e4m3, 256);
}

static void decodes_every_e5m2_code(void **state)
{
    (void)state;
    check_bytes("f8e5m2_values", bl_f32_from_f8e5m2, 256);
}

static void decodes_every_e8m0_code(void **state)
{
    (void)state;
    check_bytes("f8e8m0_values", bl_f32_from_f8e8m0, 256);
}

static void decodes_every_fnuz_code(void **state)
{
    (void)state;
    check_bytes("f8e4m3fnuz_values", bl_f32_from_f8e4m3fnuz, 256);
    check_bytes("f8e5m2fnuz_values", bl_f32_from_f8e5m2fnuz, 256);
}

/* 64 codes, then as a stream: code i begins at bit 6 i. */
static void decodes_every_code_of_six_bits(void **state)
{
    static const struct {
        bl_dtype dtype;
        float (*decode)(uint8_t code);
    } kinds[] = { { BL_F6_E2M3, bl_f32_from_f6e2m3 }, { BL_F6_E3M2, bl_f32_from_f6e3m2 } };

    (void)state;
    check_bytes("f6e2m3_values", bl_f32_from_f6e2m3, 64);
    check_bytes("f6e3m2_values", bl_f32_from_f6e3m2, 64);
    for (size_t k = 0; k < 2; k++) {
        unsigned char *stream = bl_calloc(48, 1); /* not a byte more */
        float values[64];

        assert_non_null(stream);
        for (unsigned i = 0; i < 64; i++)
            for (unsigned bit = 0; bit < 6; bit++)
                if ((i * 29 + 5) % 64 & 1u << bit)
                    stream[(6 * i + bit) / 8] |= (unsigned char)(1u << (6 * i + bit) % 8);
        bl_dtype_traits_of(kinds[k].dtype)->to_f32(values, stream, 64);
        for (unsigned i = 0; i < 64; i++)
            assert_true(values[i] == kinds[k].decode((uint8_t)((i * 29 + 5) % 64)));
        bl_free(stream);
    }
}

static void every_type_of_real_numbers_is_decoded(void **state)
{
    (void)state;
    for (int i = 0; i < BL_DTYPE_COUNT; i++)
        assert_true((bl_dtype_traits_of((bl_dtype)i)->to_f32 != NULL) ==
                    (i != BL_BOOL && i != BL_C64));
}

static void decodes_every_e2m1_code_and_ignores_the_high_bits(void **state)
{
    (void)state;
    check_bytes("f4e2m1_values", bl_f32_from_f4e2m1, 16);
    for (unsigned code = 0; code < 256; code++)
        assert_value(bl_f32_from_f4e2m1((uint8_t)code),
                     bl_bits_from_f32(bl_f32_from_f4e2m1(code & 15)), code);
}

static void encodes_every_e4m3_value_back_to_its_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++)
        assert_int_equal(bl_f8e4m3_from_f32(bl_f32_from_f8e4m3((uint8_t)code)), code);
}

static void rounds_to_f16_as_numpy_does(void **state)
{
    size_t n, n_want;
    uint32_t *bits = golden_record(&n, &golden, "case_f32", sizeof(*bits));
    uint16_t *want = golden_record(&n_want, &golden, "case_f16", sizeof(*want));

    (void)state;
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        uint16_t have = bl_f16_from_f32(bl_f32_from_bits(bits[i]));
        bool nan = (want[i] & 0x7fff) > 0x7c00;

        if (nan ? (have & 0x7fff) <= 0x7c00 || (have ^ want[i]) >> 15 : have != want[i])
            fail_msg("0x%08x gives F16 0x%04x, not 0x%04x", (unsigned)bits[i], have, want[i]);
    }
    bl_free(bits);
    bl_free(want);
}

static void rounds_to_bf16_as_ml_dtypes_does(void **state)
{
    size_t n, n_want;
    uint32_t *bits = golden_record(&n, &golden, "case_f32", sizeof(*bits));
    uint16_t *want = golden_record(&n_want, &golden, "case_bf16", sizeof(*want));

    (void)state;
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        uint16_t have = bl_bf16_from_f32(bl_f32_from_bits(bits[i]));
        bool nan = (want[i] & 0x7fff) > 0x7f80;

        if (nan ? (have & 0x7fff) <= 0x7f80 || (have ^ want[i]) >> 15 : have != want[i])
            fail_msg("0x%08x gives BF16 0x%04x, not 0x%04x", (unsigned)bits[i], have, want[i]);
    }
    bl_free(bits);
    bl_free(want);
}

static void rounds_to_e4m3_as_ml_dtypes_does_and_saturates(void **state)
{
    size_t n, n_want;
    uint32_t *bits = golden_record(&n, &golden, "case_f32", sizeof(*bits));
    uint8_t *want = golden_record(&n_want, &golden, "case_f8e4m3", sizeof(*want));

    (void)state;
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        uint8_t have = bl_f8e4m3_from_f32(bl_f32_from_bits(bits[i]));

        if (have != want[i])
            fail_msg("0x%08x gives E4M3 0x%02x, not 0x%02x", (unsigned)bits[i], have, want[i]);
    }
    bl_free(bits);
    bl_free(want);
}

/* Every exponent with many mantissas; all 2^32 patterns were compared once, they are equal. */
static void encodes_f16_as_the_definition_does(void **state)
{
    (void)state;
    for (uint64_t bits = 0; bits < 0x100000000u; bits += 1021) {
        float x = bl_f32_from_bits((uint32_t)bits);

        if (bl_f16_from_f32(x) != bl_f16_from_f32_ref(x))
            fail_msg("0x%08x gives 0x%04x, not 0x%04x", (unsigned)bits, bl_f16_from_f32(x),
                     bl_f16_from_f32_ref(x));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_f16_code),
        cmocka_unit_test(encodes_every_f16_value_back_to_its_code),
        cmocka_unit_test(decodes_and_encodes_every_bf16_code),
        cmocka_unit_test(decodes_every_e4m3_code),
        cmocka_unit_test(decodes_every_e5m2_code),
        cmocka_unit_test(decodes_every_e8m0_code),
        cmocka_unit_test(decodes_every_fnuz_code),
        cmocka_unit_test(decodes_every_code_of_six_bits),
        cmocka_unit_test(every_type_of_real_numbers_is_decoded),
        cmocka_unit_test(decodes_every_e2m1_code_and_ignores_the_high_bits),
        cmocka_unit_test(encodes_every_e4m3_value_back_to_its_code),
        cmocka_unit_test(encodes_f16_as_the_definition_does),
        cmocka_unit_test(rounds_to_f16_as_numpy_does),
        cmocka_unit_test(rounds_to_bf16_as_ml_dtypes_does),
        cmocka_unit_test(rounds_to_e4m3_as_ml_dtypes_does_and_saturates),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
