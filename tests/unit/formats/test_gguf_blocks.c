/*
 * test_gguf_blocks.c - the block encodings that only sources have, against the Python package gguf
 * (tests/oracle/make_gguf_block_vectors.py), at unaligned addresses, bit for bit.
 */
#include "tests/unit/golden_records.h"

#include "base/hash.h"
#include "formats/dtype/dtype.h"

#include <math.h>

/* The encodings, with the bytes where scales begin: F16 unless it says otherwise. */
static const struct kind {
    bl_dtype dtype;
    int scales[2]; /* -1: no such scale */
} kinds[] = {
    { BL_Q4_1, { 0, 2 } },     { BL_Q5_0, { 0, -1 } },    { BL_Q5_1, { 0, 2 } },
    { BL_Q2_K, { 80, 82 } },   { BL_Q3_K, { 108, -1 } },  { BL_Q4_K, { 0, 2 } },
    { BL_Q5_K, { 0, 2 } },     { BL_Q6_K, { 208, -1 } },  { BL_IQ4_NL, { 0, -1 } },
    { BL_IQ4_XS, { 0, -1 } },  { BL_IQ2_XXS, { 0, -1 } }, { BL_IQ2_XS, { 0, -1 } },
    { BL_IQ3_XXS, { 0, -1 } }, { BL_IQ1_S, { 0, -1 } },   { BL_IQ3_S, { 0, -1 } },
    { BL_IQ2_S, { 0, -1 } },   { BL_IQ1_M, { 54, -1 } },  { BL_TQ1_0, { 52, -1 } },
    { BL_TQ2_0, { 64, -1 } },  { BL_Q1_0, { 0, -1 } },    { BL_Q2_0, { 0, -1 } },
    { BL_Q8_1, { 0, 2 } },     { BL_Q8_K, { 2, -1 } }, /* of an F32, the upper half */
    { BL_NVFP4, { -1, -1 } },  { BL_MXFP4, { -1, -1 } },
};
enum { N_KINDS = sizeof(kinds) / sizeof(*kinds), MOST_BYTES = 292 };

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
        check(&golden, bl_dtype_traits_of(kinds[i].dtype));
    golden_close(&golden);
}

/* 2048 blocks of the bytes of random_bytes() there, scales made finite as there. */
static unsigned char *many_blocks(const struct kind *kind, size_t size)
{
    unsigned char *blocks = bl_alloc(2048, size);
    uint64_t state = 1;

    assert_non_null(blocks);
    for (size_t i = 0; i < 2048 * size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        blocks[i] = (unsigned char)(state >> 56);
    }
    for (size_t b = 0; b < 2048; b++) {
        for (int i = 0; i < 2; i++)
            if (kind->scales[i] >= 0)
                blocks[b * size + (size_t)kind->scales[i] + 1] &= 0xbf;
        if (kind->dtype == BL_MXFP4)
            blocks[b * size] %= 253;
    }
    return blocks;
}

/* Random blocks enough to meet every entry of every codebook. */
static void every_entry_of_the_codebooks_is_right(void **state)
{
    struct golden golden = golden_open("data/golden/gguf_blocks.bin");

    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        const bl_dtype_traits *t = bl_dtype_traits_of(kinds[i].dtype);
        unsigned char *blocks = many_blocks(&kinds[i], t->block_bytes);
        size_t n = (size_t)2048 * t->block_len, n_hashes;
        float *values = bl_alloc(n, sizeof(*values));
        char name[24];
        uint64_t *want;

        assert_non_null(values);
        snprintf(name, sizeof(name), "%s_hash", t->name);
        want = golden_record(&n_hashes, &golden, name, sizeof(*want));
        t->to_f32(values, blocks, n);
        if (bl_hash64(values, n * sizeof(*values)) != *want)
            fail_msg("%s decodes to other values", t->name);
        bl_free(blocks);
        bl_free(values);
        bl_free(want);
    }
    golden_close(&golden);
}

/* A scale that is not finite leaves no finite value in its block: readers check values. */
static void scales_that_are_not_finite_show_in_the_values(void **state)
{
    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        const bl_dtype_traits *t = bl_dtype_traits_of(kinds[i].dtype);
        unsigned char block[MOST_BYTES] = { 0 };
        float value[256];
        bool seen = false;

        if (kinds[i].scales[0] < 0)
            continue; /* MXFP4, NVFP4: every scale is finite */
        for (size_t k = 0; k < MOST_BYTES; k++)
            block[k] = (unsigned char)(k * 7 + 1);
        block[kinds[i].scales[0]] = 0xc1;
        block[kinds[i].scales[0] + 1] = 0x7f; /* NaN, in F16 and in F32 */
        if (kinds[i].dtype == BL_IQ1_M)
            memset(block + 48, 0xf1, 8); /* its four nibbles are apart */
        t->to_f32(value, block, t->block_len);
        for (uint32_t k = 0; k < t->block_len; k++)
            seen = seen || !isfinite(value[k]);
        if (!seen)
            fail_msg("%s: every value is finite", t->name);
    }
}

static void gguf_numbers_lead_back_to_the_types(void **state)
{
    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        bl_dtype found;

        assert_true(
            bl_dtype_from_ggml(&found, (uint32_t)bl_dtype_traits_of(kinds[i].dtype)->ggml_type));
        assert_int_equal(found, kinds[i].dtype);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoding_decodes_as_gguf_py_does),
        cmocka_unit_test(every_entry_of_the_codebooks_is_right),
        cmocka_unit_test(scales_that_are_not_finite_show_in_the_values),
        cmocka_unit_test(gguf_numbers_lead_back_to_the_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
