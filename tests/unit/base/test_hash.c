/*
 * XXH3 is part of file formats, so its values are pinned here. They come from the Python package
 * xxhash 4.1 (tests/oracle/hash.py).
 */
#include "base/alloc.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
    size_t n;
    uint64_t h64, low, high;
} rows[] = {
    { 0, UINT64_C(0x2d06800538d394c2), UINT64_C(0x6001c324468d497f), UINT64_C(0x99aa06d3014798d8) },
    { 1, UINT64_C(0xc44bdff4074eecdb), UINT64_C(0xc44bdff4074eecdb), UINT64_C(0xa6cd5e9392000f6a) },
    { 3, UINT64_C(0xc3abf7ae2e250b5a), UINT64_C(0xc3abf7ae2e250b5a), UINT64_C(0x1cef1b449ba11392) },
    { 4, UINT64_C(0x6e5c9679d43c1e41), UINT64_C(0x83ff77177049cd39), UINT64_C(0xf475185dd40eb686) },
    { 8, UINT64_C(0x2c2127bbb99b325e), UINT64_C(0xb97ca908010cab60), UINT64_C(0xc37b9c609b812e65) },
    { 9, UINT64_C(0x8436430b381f7fd6), UINT64_C(0x4635f1fc751fe5fd), UINT64_C(0x3d031e2d389ed58d) },
    { 16, UINT64_C(0xbea42f62eac454d0), UINT64_C(0xdeb840adcd7a040), UINT64_C(0x7bf040f53be48d8c) },
    { 17, UINT64_C(0xc5bc95c990fc83b4), UINT64_C(0xa10cdcc2393322b0),
      UINT64_C(0xae2ff3252c52ad5e) },
    { 128, UINT64_C(0x3d41caa0b80a4385), UINT64_C(0xf5f648d02c5ea199),
      UINT64_C(0xace2e3f98ca779b2) },
    { 129, UINT64_C(0x287795aec899cb57), UINT64_C(0x189d01656e6adaee),
      UINT64_C(0x494edab225dff56e) },
    { 240, UINT64_C(0x4da2ab7921d06c5e), UINT64_C(0x64acbec064796cc2),
      UINT64_C(0x79eeb64cc139b65a) },
    { 241, UINT64_C(0x179ead905bf75a05), UINT64_C(0x179ead905bf75a05),
      UINT64_C(0x8c10a157d96fb846) },
    { 1024, UINT64_C(0x89afebe614a926d7), UINT64_C(0x89afebe614a926d7),
      UINT64_C(0xb42ec12dd784ee70) },
    { 1025, UINT64_C(0x6d6273cffcf616f7), UINT64_C(0x6d6273cffcf616f7),
      UINT64_C(0x2ab8e9872a79e19e) },
    { 100000, UINT64_C(0xe870c3db450b9247), UINT64_C(0xe870c3db450b9247),
      UINT64_C(0xe71185eadf3c8e17) },
};

enum { N_ROWS = sizeof(rows) / sizeof(*rows), LARGEST = 100000 };

static unsigned char data[LARGEST];

static int make_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < LARGEST; i++)
        data[i] = (unsigned char)(i * 131 % 251);
    return 0;
}

static void equals_the_published_values(void **state)
{
    bl_hasher *hasher = NULL;

    (void)state;
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK);
    for (size_t i = 0; i < N_ROWS; i++) {
        bl_hash128 h;

        assert_true(bl_hash64(data, rows[i].n) == rows[i].h64);
        bl_hasher_reset(hasher);
        bl_hasher_add(hasher, data, rows[i].n);
        h = bl_hasher_digest(hasher);
        assert_true(h.low == rows[i].low && h.high == rows[i].high);
    }
    bl_hasher_free(hasher);
    bl_hasher_free(NULL);
}

static void does_not_care_how_the_data_is_cut(void **state)
{
    static const size_t step[] = { 1, 7, 255, 256, 257, 4096 };
    bl_hasher *hasher = NULL;

    (void)state;
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK); /* a new one needs no reset */
    for (size_t i = 0; i < sizeof(step) / sizeof(*step); i++) {
        bl_hash128 h;

        for (size_t at = 0; at < LARGEST; at += step[i])
            bl_hasher_add(hasher, data + at, step[i] < LARGEST - at ? step[i] : LARGEST - at);
        h = bl_hasher_digest(hasher);
        assert_true(h.low == rows[N_ROWS - 1].low && h.high == rows[N_ROWS - 1].high);
        bl_hasher_reset(hasher);
    }
    bl_hasher_free(hasher);
}

static void a_digest_may_be_taken_on_the_way(void **state)
{
    bl_hasher *hasher = NULL;
    bl_hash128 h;

    (void)state;
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK);
    bl_hasher_add(hasher, data, 128);
    h = bl_hasher_digest(hasher);
    assert_true(h.low == rows[8].low);
    bl_hasher_add(hasher, data + 128, 1024 - 128);
    h = bl_hasher_digest(hasher);
    assert_true(h.low == rows[12].low && h.high == rows[12].high);
    bl_hasher_free(hasher);
}

static void another_seed_is_another_hash(void **state)
{
    (void)state;
    assert_true(bl_hash64_seeded(data, 100, 0) == bl_hash64(data, 100));
    assert_true(bl_hash64_seeded(data, 100, 1) != bl_hash64(data, 100));
}

/* Values of Python's hashlib (tests/oracle/hash.py); 55, 56 and 64: where the padding turns over. */
static const struct {
    size_t n;
    const char *hex;
} sha_rows[] = {
    { 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
    { 3, "479fd20ef8e85b595a553da27c656fa575458d4adebfb6c101184af1ddeb6e8d" },
    { 55, "11f49e5a3251c91547c7644471ddfa847b9e36a6954aabae2a87dc61be2d5385" },
    { 56, "33cb953b70ac5a397072fc05e14d2b08ab5ed46b6865b11ae77ac1b17f1cddc8" },
    { 64, "9f58228f097f7a046a6db122f2d085f84825639bcc63daac24249c0b67b070d8" },
    { 1024, "10b23b414b7de417757ed10233cd0a225b2469a410f540d8abab906cf449e57c" },
    { 100000, "aa4b786c6ea39e2bb03c017380e7473d3920d0545df4ed925e4155391c4b7fbb" },
    { 2 * (1 << 20) + 5, "7ae411f2af8d06fbcf18298c1aa53ac06673fc022a07638876131f2b71ec268b" },
};

static void sha256_of_a_source_equals_the_published_values(void **state)
{
    unsigned char *bytes = bl_alloc(2 * (1 << 20) + 5, 1);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < 2 * (1 << 20) + 5; i++)
        bytes[i] = (unsigned char)(i * 131 % 251);
    for (size_t i = 0; i < sizeof(sha_rows) / sizeof(*sha_rows); i++) {
        bl_source *source = NULL;
        uint8_t sum[BL_SHA256_BYTES];
        char hex[2 * BL_SHA256_BYTES + 1];

        assert_int_equal(bl_source_memory(&source, "x", bytes, sha_rows[i].n, NULL), BL_OK);
        assert_int_equal(bl_sha256_source(sum, source, NULL, NULL), BL_OK);
        for (size_t k = 0; k < sizeof(sum); k++)
            snprintf(hex + 2 * k, 3, "%02x", sum[k]);
        assert_string_equal(hex, sha_rows[i].hex);
        bl_alloc_fail_at(1);
        assert_int_equal(bl_sha256_source(sum, source, NULL, NULL), BL_E_NOMEM);
        bl_alloc_fail_at(0);
        bl_source_close(source);
    }
    bl_free(bytes);
}

static void says_so_when_memory_is_out(void **state)
{
    bl_hasher *hasher = NULL;
    int64_t live = bl_alloc_live();

    (void)state;
    bl_alloc_fail_at(1);
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_E_NOMEM);
    bl_alloc_fail_at(0);
    assert_null(hasher);
    assert_true(bl_alloc_live() == live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_published_values),
        cmocka_unit_test(does_not_care_how_the_data_is_cut),
        cmocka_unit_test(a_digest_may_be_taken_on_the_way),
        cmocka_unit_test(another_seed_is_another_hash),
        cmocka_unit_test(sha256_of_a_source_equals_the_published_values),
        cmocka_unit_test(says_so_when_memory_is_out),
    };

    return cmocka_run_group_tests(tests, make_data, NULL);
}
