/* test_finite.c - every code of every small type against its decoder, larger types by example. */
#include "formats/dtype/finite.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The traits table's decoder is another way to ask: NaN and infinity come out as F32. */
static void agrees_with_the_decoder_on_every_code(void **state)
{
    static const bl_dtype types[] = { BL_F8_E4M3, BL_F8_E5M2, BL_F8_E8M0, BL_F16,
                                      BL_BF16,    BL_U8,      BL_I8,      BL_U16 };

    (void)state;
    for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
        const bl_dtype_traits *traits = bl_dtype_traits_of(types[t]);
        uint32_t n_codes = traits->block_bytes == 1 ? 256 : 65536;

        assert_non_null(traits->to_f32);
        for (uint32_t code = 0; code < n_codes; code++) {
            unsigned char bytes[2] = { (unsigned char)code, (unsigned char)(code >> 8) };
            size_t index = 99;
            float x;

            traits->to_f32(&x, bytes, 1);
            assert_int_equal(bl_dtype_check_finite(types[t], bytes, traits->block_bytes, &index),
                             isfinite(x) != 0);
            assert_int_equal(index, isfinite(x) ? 99 : 0);
        }
    }
}

static void knows_the_one_code_of_the_fnuz_types(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        unsigned char byte = (unsigned char)code;

        assert_int_equal(bl_dtype_check_finite(BL_F8_E4M3FNUZ, &byte, 1, NULL), code != 0x80);
        assert_int_equal(bl_dtype_check_finite(BL_F8_E5M2FNUZ, &byte, 1, NULL), code != 0x80);
    }
}

static void finds_the_first_of_several_anywhere(void **state)
{
    static const size_t where[] = { 0, 1, 15, 16, 1023, 1024, 2500, 4999 };
    float *x = malloc(5001 * sizeof(*x));
    unsigned char *unaligned = malloc(5001 * sizeof(*x));

    (void)state;
    for (size_t k = 0; k < sizeof(where) / sizeof(*where); k++) {
        size_t index = 0;

        for (size_t i = 0; i < 5000; i++)
            x[i] = i % 2 ? 3.4e38f : -0.0f;
        x[where[k]] = k % 2 ? NAN : -INFINITY;
        x[4999] = NAN;
        memcpy(unaligned + 1, x, 5000 * sizeof(*x));
        assert_false(bl_dtype_check_finite(BL_F32, unaligned + 1, 5000 * sizeof(*x), &index));
        assert_int_equal(index, where[k]);
        assert_true(bl_dtype_check_finite(BL_F32, unaligned + 1, where[k] * sizeof(*x), NULL));
    }
    free(x);
    free(unaligned);
}

static void looks_at_doubles_and_at_both_halves_of_complex_numbers(void **state)
{
    double d[3] = { 1.7e308, -1.0, (double)INFINITY };
    float c[4] = { 1.0f, 2.0f, 3.0f, NAN };
    size_t index = 0;

    (void)state;
    assert_true(bl_dtype_check_finite(BL_F64, d, 16, &index));
    assert_false(bl_dtype_check_finite(BL_F64, d, 24, &index));
    assert_int_equal(index, 2);
    assert_true(bl_dtype_check_finite(BL_C64, c, 8, &index));
    assert_false(bl_dtype_check_finite(BL_C64, c, 16, &index));
    assert_int_equal(index, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_decoder_on_every_code),
        cmocka_unit_test(knows_the_one_code_of_the_fnuz_types),
        cmocka_unit_test(finds_the_first_of_several_anywhere),
        cmocka_unit_test(looks_at_doubles_and_at_both_halves_of_complex_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
