/*
 * test_cache_corpus.c - our reader finds in the shards of tests/corpus/cache what a reader in Python
 * found there that was written from docs/format-cache.md alone.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "base/text.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/cache_file.h"
#include "formats/logits/cache_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void print_entries(bl_text *out, const bl_cache_seq *s, uint32_t i, bl_cache_kind kind)
{
    for (uint32_t k = s->first[i]; k < s->first[i + 1]; k++)
        if (kind == BL_CACHE_SAMPLED)
            bl_text_printf(out, " %u:%u", s->id[k], s->count[k]);
        else
            bl_text_printf(out, " %u:%u:%u", s->id[k], bl_cache_weight_code(s->weight[k]),
                           s->count[k]);
}

/* Codes, as the oracle prints them: a float that was read gives back the code that it was made of. */
static void print_seq(bl_text *out, const bl_cache_seq *s, uint32_t seq, const bl_cache_info *info)
{
    const bool tail = info->n_top > 0;

    for (uint32_t i = 0; i < s->n_positions; i++) {
        if (s->target[i] < 0)
            continue;
        bl_text_printf(out, "%u %u %d %u %u %u %u", seq, i, s->target[i],
                       bl_cache_log_p_code(s->log_p[i]), bl_cache_entropy_code(s->entropy[i]),
                       bl_cache_log_sum_code(s->log_sum[i]),
                       tail ? bl_cache_tail_code(s->tail[i]) : 0);
        for (uint32_t k = 0; k < info->hidden_size; k++)
            bl_text_printf(out, " %04x", bl_bf16_from_f32(s->hidden[i * info->hidden_size + k]));
        if (info->hidden_size == 0)
            print_entries(out, s, i, info->kind);
        bl_text_puts(out, "\n");
    }
}

static void check_shard(const char *kind)
{
    char *path = bl_format("corpus/cache/%s.blc", kind);
    char *want_path = bl_format("corpus/cache/%s.txt", kind);
    bl_cache_file file = { 0 };
    bl_cache_seq seq = { 0 };
    bl_source *source = NULL;
    bl_text got = { 0 };
    char *want = NULL;

    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_file(&want, NULL, want_path, 1 << 20, NULL), BL_OK);
    assert_int_equal(bl_cache_file_open(&file, source, NULL), BL_OK);
    assert_string_equal(bl_cache_kind_name(file.header.info.kind), kind);
    for (uint32_t i = 0; i < file.layout.n_seqs; i++) {
        assert_int_equal(bl_cache_file_read(&seq, &file, source, i, NULL), BL_OK);
        print_seq(&got, &seq, file.layout.first_seq + i, &file.header.info);
    }
    assert_int_equal(bl_text_check(&got, NULL), BL_OK);
    assert_string_equal(got.bytes, want);
    bl_cache_file_release(&file);
    bl_cache_seq_release(&seq);
    bl_source_close(source);
    bl_text_release(&got);
    bl_free(want);
    bl_free(want_path);
    bl_free(path);
}

static void draws_are_those_that_the_oracle_finds(void **state)
{
    (void)state;
    check_shard("sampled");
}

static void weights_are_those_that_the_oracle_finds(void **state)
{
    (void)state;
    check_shard("top-k");
    check_shard("mixed");
}

static void states_are_those_that_the_oracle_finds(void **state)
{
    (void)state;
    check_shard("hidden");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_that_the_oracle_finds),
        cmocka_unit_test(weights_are_those_that_the_oracle_finds),
        cmocka_unit_test(states_are_those_that_the_oracle_finds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
