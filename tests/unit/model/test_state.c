/* A saved state comes back bit by bit, and a damaged one never does. */
#include "base/alloc.h"
#include "model/state.h"
#include "stream.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bl_state make_state(void)
{
    const int32_t tokens[6] = { 5, 6, 7, 0, 1, 2 };
    bl_state s;

    assert_int_equal(bl_state_init(&s, tokens, 2, 3, 11, NULL, NULL), BL_OK);
    fill_stream(s.hidden.values, 66, 1);
    s.n_layers_done = 40;
    s.run_id = (bl_hash128){ 123, 456 };
    return s;
}

static void save(const bl_state *s, const char *path)
{
    bl_sink *sink = NULL;

    assert_int_equal(bl_sink_begin(&sink, path, true, NULL), BL_OK);
    assert_int_equal(bl_state_save(s, sink, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
}

static bl_status load(bl_state *out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_state_load(out, source, NULL, err);
    bl_source_close(source);
    return rc;
}

static void comes_back_as_it_was_saved(void **state)
{
    bl_state s = make_state(), back = { 0 };

    (void)state;
    save(&s, "s");
    assert_int_equal(load(&back, "s", NULL), BL_OK);
    assert_int_equal(back.n_seqs, 2);
    assert_int_equal(back.n_positions, 3);
    assert_int_equal(back.hidden_size, 11);
    assert_int_equal(back.n_layers_done, 40);
    assert_int_equal(back.n_tokens, 6);
    assert_true(back.run_id.low == 123 && back.run_id.high == 456);
    assert_memory_equal(back.token, s.token, 6 * sizeof(*s.token));
    assert_memory_equal(back.hidden.values, s.hidden.values, 66 * sizeof(float));
    bl_state_release(&back);
    bl_state_release(&s);
    bl_state_release(&s);
}

/* Every byte counts: flip each one, cut after each one. */
static void a_damaged_file_is_refused(void **state)
{
    bl_state s = make_state(), back = { 0 };
    unsigned char bytes[512];
    size_t n;
    FILE *f;

    (void)state;
    save(&s, "s");
    bl_state_release(&s);
    f = fopen("s", "rb");
    assert_non_null(f);
    n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    assert_int_equal(n, 56 + 24 + 264 + 16);
    for (size_t i = 0; i < n; i++) {
        bl_source *source = NULL;
        struct bl_err err = { 0 };

        bytes[i] ^= 0x10;
        assert_int_equal(bl_source_memory(&source, "flipped", bytes, n, NULL), BL_OK);
        assert_int_equal(bl_state_load(&back, source, NULL, &err), BL_E_FORMAT);
        bl_source_close(source);
        bytes[i] ^= 0x10;
        assert_int_equal(bl_source_memory(&source, "cut", bytes, i, NULL), BL_OK);
        assert_int_equal(bl_state_load(&back, source, NULL, &err), BL_E_FORMAT);
        bl_source_close(source);
    }
}

static void sizes_past_the_file_allocate_nothing(void **state)
{
    unsigned char bytes[80] = "BLSTATE\1";
    const uint32_t counts[4] = { 1 << 15, 1 << 15, 1 << 20, 0 };
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    bl_state back = { 0 };

    (void)state;
    memcpy(bytes + 8, counts, sizeof(counts));
    assert_int_equal(bl_source_memory(&source, "m", bytes, sizeof(bytes), NULL), BL_OK);
    assert_int_equal(bl_state_load(&back, source, NULL, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "m: 80 bytes do not hold 32768 sequences of 32768 tokens of "
                                  "1048576 values");
    bl_source_close(source);
}

static void memory_that_fails_is_a_status(void **state)
{
    int64_t live = bl_alloc_live();
    bl_state s = make_state();

    (void)state;
    save(&s, "s");
    bl_state_release(&s);
    for (uint64_t k = 1;; k++) {
        bl_state back = { 0 };
        bl_status rc;

        bl_alloc_fail_at(k);
        rc = load(&back, "s", NULL);
        bl_alloc_fail_at(0);
        bl_state_release(&back);
        assert_int_equal(bl_alloc_live(), live);
        if (rc == BL_OK)
            break;
        assert_int_equal(rc, BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(comes_back_as_it_was_saved, scratch_clear),
        cmocka_unit_test_teardown(a_damaged_file_is_refused, scratch_clear),
        cmocka_unit_test(sizes_past_the_file_allocate_nothing),
        cmocka_unit_test_teardown(memory_that_fails_is_a_status, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
