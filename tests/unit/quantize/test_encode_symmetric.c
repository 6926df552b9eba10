/*
 * test_encode_symmetric.c - the encoders of one scale and a grid of fixed levels: plain bytes are
 * those of the Python package gguf (tests/oracle/make_plain_vectors.py).
 */
#include "tests/unit/golden_records.h"

#include "formats/block/mxfp4.h"
#include "formats/block/q5_0.h"
#include "quantize/encode_mxfp4.h"
#include "quantize/encode_q5_0.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes_are_those_of_gguf_py),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
