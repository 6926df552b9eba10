/*
 * test_gguf_blocks.c - the block encodings that only sources have, against the Python package gguf
 * (tests/oracle/make_gguf_block_vectors.py), at unaligned addresses, bit for bit.
 */
#include "tests/unit/golden_records.h"

#include "formats/dtype/dtype.h"

#include <math.h>

static const bl_dtype kinds[] = { BL_Q4_1, BL_Q5_0, BL_Q5_1,   BL_Q2_K,   BL_Q3_K, BL_Q4_K,
                                  BL_Q5_K, BL_Q6_K, BL_IQ4_NL, BL_IQ4_XS, BL_MXFP4 };
enum { N_KINDS = sizeof(kinds) / sizeof(*kinds) };

static void check(const struct golden *golden, const bl_dtype_traits *t)
{
    char name[24];
    size_t n_bytes, n;
    unsigned char *blocks = golden_record(&n_bytes, golden, t->name, 1);
    unsigned char *unaligned = bl_alloc(n_bytes + 1, 1);
    float *want, *have;

    snprintf(name, sizeof(name), "%s_f32", t->name);
    want = golden_record(&n, golden, name, sizeof(*want));
    have = bl_alloc(n, sizeof(*have));
    assert_non_null(unaligned);
    assert_non_null(have);
    assert_int_equal(n_bytes / t->block_bytes * t->block_len, n);
    memcpy(unaligned + 1, blocks, n_bytes);
    t->to_f32(have, unaligned + 1, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&have[i], &want[i], sizeof(have[i])) != 0)
            fail_msg("%s: value %zu is %a, not %a", t->name, i, (double)have[i], (double)want[i]);
    bl_free(blocks);
    bl_free(unaligned);
    bl_free(want);
    bl_free(have);
}

static void every_encoding_decodes_as_gguf_py_does(void **state)
{
    struct golden golden = golden_open("data/golden/gguf_blocks.bin");

    (void)state;
    for (int i = 0; i < N_KINDS; i++)
        check(&golden, bl_dtype_traits_of(kinds[i]));
    golden_close(&golden);
}

/* A scale that is not finite leaves no finite value in its block: readers check values. */
static void scales_that_are_not_finite_show_in_the_values(void **state)
{
    static const size_t scale_at[N_KINDS] = { 0, 0, 0, 80, 108, 0, 0, 208, 0, 0, 0 };

    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        const bl_dtype_traits *t = bl_dtype_traits_of(kinds[i]);
        unsigned char block[256] = { 0 };
        float value[256];
        bool seen = false;

        if (kinds[i] == BL_MXFP4)
            continue; /* has powers of two only */
        for (size_t k = 0; k < 256; k++)
            block[k] = (unsigned char)(k * 7 + 1);
        block[scale_at[i]] = 0x01;
        block[scale_at[i] + 1] = 0x7e; /* NaN */
        t->to_f32(value, block, t->block_len);
        for (uint32_t k = 0; k < t->block_len; k++)
            seen = seen || !isfinite(value[k]);
        assert_true(seen);
    }
}

static void gguf_numbers_lead_back_to_the_types(void **state)
{
    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        bl_dtype found;

        assert_true(bl_dtype_from_ggml(&found, (uint32_t)bl_dtype_traits_of(kinds[i])->ggml_type));
        assert_int_equal(found, kinds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoding_decodes_as_gguf_py_does),
        cmocka_unit_test(scales_that_are_not_finite_show_in_the_values),
        cmocka_unit_test(gguf_numbers_lead_back_to_the_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
