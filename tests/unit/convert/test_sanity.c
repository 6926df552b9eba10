/* What looks wrong in a source: each kind found, nothing found in what is right, told in order. */
#include "convert/sanity.h"

#include "base/alloc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 40 };

static char names[N][8];

static const char *name(const void *context, size_t i)
{
    (void)context;
    (void)snprintf(names[i], sizeof(names[i]), "t%zu", i);
    return names[i];
}

static bl_sanity *make(void)
{
    bl_sanity *s = NULL;

    assert_int_equal(bl_sanity_new(&s, N, name, NULL, NULL), BL_OK);
    return s;
}

static void scales(bl_sanity *s, size_t i, const float *scale, size_t n)
{
    unsigned char bytes[4 * 64 + 1]; /* at an odd place, as in the published shards */

    memcpy(bytes + 1, scale, n * sizeof(float));
    bl_sanity_scales_f32(s, i, bytes + 1, n);
}

static void check_report(const bl_sanity *s, const char *want)
{
    bl_text text = { 0 };

    bl_sanity_report(&text, s);
    assert_string_equal(text.bytes ? text.bytes : "", want);
    bl_text_release(&text);
}

static void finds_nothing_in_ordinary_weights(void **state)
{
    float scale[64];
    bl_sanity *s = make();

    (void)state;
    for (int i = 0; i < 64; i++) /* 2^-6 to 2^6 around the mean */
        scale[i] = ldexpf(1e-4F, i % 13 - 6);
    scales(s, 3, scale, 64);
    bl_sanity_values(s, 4, false);
    bl_sanity_values(s, 4, true);
    bl_sanity_values(s, 4, false);
    check_report(s, "");
    assert_int_equal(bl_sanity_refuse(s, NULL), BL_OK);
    bl_sanity_free(s);
}

static void finds_each_kind_and_names_it(void **state)
{
    float outlier[32], zero[] = { 1, 0, 1 }, negative[] = { -1, 1 }, nan[] = { 1, NAN };
    struct bl_err err = { 0 };
    bl_sanity *s = make();

    (void)state;
    for (int i = 0; i < 32; i++)
        outlier[i] = i == 20 ? 1e3F : 1e-4F;
    scales(s, 9, nan, 2);
    scales(s, 7, zero, 3);
    scales(s, 5, negative, 2);
    scales(s, 2, outlier, 32);
    bl_sanity_values(s, 11, false);
    bl_sanity_not_finite(s, 1);
    check_report(s, "2 tensors have values that are not finite: t1, t9\n"
                    "1 tensor is all zeros: t11\n"
                    "2 tensors have scales that are zero or negative: t5, t7\n"
                    "1 tensor has scales far from all others: t2\n");
    assert_int_equal(bl_sanity_refuse(s, &err), BL_E_MISMATCH);
    assert_string_equal(err.text,
                        "refused by --strict: 2 tensors have values that are not finite: t1, t9");
    bl_sanity_free(s);
}

static void a_small_outlier_is_one_too(void **state)
{
    float scale[32];
    bl_sanity *s = make();

    (void)state;
    for (int i = 0; i < 32; i++)
        scale[i] = i == 20 ? 1e-9F : 1e-4F;
    scales(s, 0, scale, 32);
    assert_int_equal(bl_sanity_count(s, BL_ODD_OUTLIERS), 1);
    bl_sanity_free(s);
}

static void sums_up_past_ten(void **state)
{
    bl_sanity *s = make();

    (void)state;
    for (size_t i = N; i-- > 0;)
        if (i % 3 == 0)
            bl_sanity_values(s, i, false);
    check_report(s, "14 tensors are all zeros: t0, t3, t6, t9, t12, t15, t18, t21, t24, t27 and 4 "
                    "more\n");
    bl_sanity_free(s);
}

static void fails_cleanly_without_memory(void **state)
{
    int64_t live = bl_alloc_live();

    (void)state;
    for (uint64_t k = 1; k <= 2; k++) {
        bl_sanity *s = NULL;

        bl_alloc_fail_at(k);
        assert_int_equal(bl_sanity_new(&s, N, name, NULL, NULL), BL_E_NOMEM);
        bl_alloc_fail_at(0);
        assert_null(s);
        assert_true(bl_alloc_live() == live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_in_ordinary_weights),
        cmocka_unit_test(finds_each_kind_and_names_it),
        cmocka_unit_test(a_small_outlier_is_one_too),
        cmocka_unit_test(sums_up_past_ten),
        cmocka_unit_test(fails_cleanly_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
