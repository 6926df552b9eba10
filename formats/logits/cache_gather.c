/* cache_gather.c - see cache_gather.h. */
#include "formats/logits/cache_gather.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/le.h"
#include "formats/logits/cache_values.h"

#include <assert.h>
#include <string.h>

enum { ENTRY_BYTES = 6, TRIAL_ENTRIES = 1 << 16, TRIAL_SEQS = 16 };

static const uint32_t drawn_bit = 1u << 31;

bl_status bl_cache_gather_begin(bl_cache_gather *out, const bl_cache_info *info,
                                const bl_cache_layout *layout, struct bl_err *err)
{
    bl_cache_gather g = { .info = info, .layout = layout };
    bl_status rc = BL_OK;

    if (info->kind != BL_CACHE_HIDDEN)
        rc = bl_cache_codes_begin(&g.codes, err);
    g.rows = bl_calloc(layout->n_seqs, layout->row_bytes);
    g.first = bl_calloc((size_t)layout->n_seqs + 1, sizeof(*g.first));
    if (rc == BL_OK && (!g.rows || !g.first))
        rc = bl_fail_nomem(err, "a shard of a cache");
    if (rc == BL_OK)
        rc = bl_cache_seq_reserve(&g.text, info->n_positions, 0, 0, err);
    if (rc == BL_OK)
        *out = g;
    else
        bl_cache_gather_release(&g);
    return rc;
}

void bl_cache_gather_release(bl_cache_gather *gather)
{
    bl_cache_codes_free(gather->codes);
    bl_free(gather->rows);
    bl_free(gather->first);
    bl_text_release(&gather->answers);
    bl_cache_seq_release(&gather->text);
    bl_free(gather->n_of);
    *gather = (bl_cache_gather){ 0 };
}

void bl_cache_pack_statistics(unsigned char *bytes, const bl_cache_seq *seq, uint32_t position,
                              uint32_t stat_bytes)
{
    bl_put_u24(bytes, bl_cache_log_p_code(seq->log_p[position]));
    bl_put_u16(bytes + 3, (uint16_t)bl_cache_entropy_code(seq->entropy[position]));
    bl_put_u24(bytes + 5, bl_cache_log_sum_code(seq->log_sum[position]));
    if (stat_bytes > BL_CACHE_STAT_BYTES)
        bl_put_u24(bytes + BL_CACHE_STAT_BYTES, bl_cache_tail_code(seq->tail[position]));
}

/* Tokens, documents and targets are as cache.h says. */
static void check_text(const bl_cache_seq *seq, const bl_cache_info *info)
{
    assert(seq->n_positions == info->n_positions);
    for (uint32_t i = 0; i < seq->n_positions; i++) {
        const bool goes_on = i + 1 < seq->n_positions && seq->start[i + 1] == seq->start[i];

        assert(seq->token[i] >= 0 && (uint32_t)seq->token[i] < info->vocab_size);
        assert(seq->start[i] == i || (i > 0 && seq->start[i] == seq->start[i - 1]));
        assert(seq->target[i] == (goes_on ? seq->token[i + 1] : -1));
    }
}

static void check_entries(const bl_cache_seq *seq, uint32_t first, uint32_t end,
                          const bl_cache_info *info)
{
    uint64_t n_draws = 0, n_drawn = 0;

    assert(first <= end && end - first <= info->n_draws + info->n_top);
    for (uint32_t k = first; k < end; k++) {
        assert(seq->id[k] < info->vocab_size && (k == first || seq->id[k] > seq->id[k - 1]));
        n_draws += seq->count[k];
        n_drawn += seq->count[k] > 0;
    }
    if (info->kind == BL_CACHE_SAMPLED)
        assert(n_draws == info->n_draws && n_drawn == end - first);
    else
        assert(n_drawn == n_draws && end - first - n_drawn <= info->n_top &&
               n_drawn <= (info->kind == BL_CACHE_MIXED ? info->n_draws : 0));
}

/* The answer at the bytes, and where the next one begins. */
static size_t load_answer(bl_cache_answer *a, const bl_cache_gather *g, size_t at, int32_t target)
{
    const unsigned char *b = (const unsigned char *)g->answers.bytes + at;

    a->log_p = bl_get_u24(b);
    a->entropy = bl_get_u16(b + 3);
    a->target = (uint32_t)target;
    b += g->layout->stat_bytes;
    a->n = bl_get_u16(b);
    b += 2;
    for (uint32_t k = 0; k < a->n; k++, b += ENTRY_BYTES) {
        const uint32_t id = bl_get_u32(b);

        a->id[k] = id & ~drawn_bit;
        a->drawn[k] = (id & drawn_bit) != 0;
        a->code[k] = bl_get_u16(b + 4);
    }
    return at + g->layout->stat_bytes + 2 + (size_t)a->n * ENTRY_BYTES;
}

static void keep_answer(bl_cache_gather *g, const bl_cache_seq *seq, uint32_t position)
{
    const bool sampled = g->info->kind == BL_CACHE_SAMPLED;
    const uint32_t first = seq->first[position], n = seq->first[position + 1] - first;
    unsigned char bytes[BL_CACHE_STAT_BYTES_MAX + 2 + (size_t)BL_CACHE_MAX_KEPT * ENTRY_BYTES];
    unsigned char *b = bytes;

    check_entries(seq, first, first + n, g->info);
    bl_cache_pack_statistics(b, seq, position, g->layout->stat_bytes);
    b += g->layout->stat_bytes;
    bl_put_u16(b, (uint16_t)n);
    b += 2;
    for (uint32_t k = first; k < first + n; k++, b += ENTRY_BYTES) {
        bl_put_u32(b, seq->id[k] | (!sampled && seq->count[k] > 0 ? drawn_bit : 0));
        bl_put_u16(b + 4,
                   (uint16_t)(sampled ? seq->count[k] : bl_cache_weight_code(seq->weight[k])));
    }
    bl_text_add(&g->answers, (const char *)bytes, (size_t)(b - bytes));
}

void bl_cache_gather_text(bl_cache_gather *gather, const bl_cache_seq *seq)
{
    bl_cache_gather *g = gather;

    check_text(seq, g->info);
    bl_cache_pack_tokens(g->rows + (size_t)g->n_seqs * g->layout->row_bytes, seq,
                         g->info->vocab_size);
    g->first[++g->n_seqs] = g->answers.n;
}

bl_status bl_cache_gather_add(bl_cache_index *index, bl_cache_gather *gather,
                              const bl_cache_seq *seq, struct bl_err *err)
{
    bl_cache_gather *g = gather;
    const bl_cache_coder counting = { .codes = g->codes };
    bl_cache_answer answer;

    *index = (bl_cache_index){ 0 };
    for (uint32_t i = 0; i < seq->n_positions; i++) {
        const size_t at = g->answers.n;

        if (seq->target[i] < 0)
            continue;
        keep_answer(g, seq, i);
        if (g->answers.failed)
            return bl_text_check(&g->answers, err);
        (void)load_answer(&answer, g, at, seq->target[i]);
        bl_cache_record_put(&counting, g->info, &answer);
        index->n_scored++;
        index->n_entries += answer.n;
    }
    bl_cache_gather_text(g, seq);
    return BL_OK;
}

/* Into g->text. */
static void unpack_text(bl_cache_gather *g, uint32_t i)
{
    const char *fault = bl_cache_unpack_tokens(&g->text, g->rows + (size_t)i * g->layout->row_bytes,
                                               g->info->n_positions, g->info->vocab_size);

    assert(!fault);
    (void)fault;
}

static bl_status count_text(bl_cache_gather *g, struct bl_err *err)
{
    g->n_of = bl_calloc(g->info->vocab_size, sizeof(*g->n_of));
    if (!g->n_of)
        return bl_fail_nomem(err, "how often each id is in a text");
    for (uint32_t i = 0; i < g->n_seqs; i++) {
        unpack_text(g, i);
        for (uint32_t k = 0; k < g->info->n_positions; k++)
            g->n_of[g->text.token[k]]++;
    }
    return BL_OK;
}

/* Bits that the ids of some sequences take, spread over the shard; the last one may be cut. */
static bl_status measure(double *bits, bl_cache_gather *g, const bl_cache_widths *widths,
                         bl_cache_line *line, struct bl_err *err)
{
    const bl_cache_coder coder = { .line = line, .id_bits = bits };
    const uint32_t step = g->n_seqs / TRIAL_SEQS + 1;
    bl_cache_answer answer;
    uint32_t n_entries = 0;
    bl_status rc = BL_OK;

    *bits = 0;
    for (uint32_t i = step / 2; i < g->n_seqs && rc == BL_OK && n_entries < TRIAL_ENTRIES;
         i += step) {
        size_t at = g->first[i];

        unpack_text(g, i);
        rc = bl_cache_line_set(line, widths, g->info->vocab_size, g->n_of, g->text.token,
                               g->info->n_positions, err);
        for (uint32_t k = 0; k < g->info->n_positions && rc == BL_OK; k++) {
            if (g->text.target[k] < 0 || n_entries >= TRIAL_ENTRIES)
                continue;
            at = load_answer(&answer, g, at, g->text.target[k]);
            bl_cache_record_put(&coder, g->info, &answer);
            n_entries += answer.n;
        }
        if (rc == BL_OK)
            rc = bl_cancel_check(err);
    }
    return rc;
}

struct search {
    bl_cache_gather *gather;
    bl_cache_line line;
    bl_cache_widths best;
    double bits; /* of the best; negative: none was tried */
};

static bl_status try_widths(struct search *s, bl_cache_widths widths, struct bl_err *err)
{
    const bl_cache_gather *g = s->gather;
    double bits = 0;
    bl_status rc;

    if (!bl_cache_widths_fit(&widths, g->info->vocab_size,
                             (uint64_t)g->n_seqs * g->info->n_positions, g->info->n_positions))
        return BL_OK;
    rc = measure(&bits, s->gather, &widths, &s->line, err);
    if (rc == BL_OK && (s->bits < 0 || bits < s->bits)) {
        s->bits = bits;
        s->best = widths;
    }
    return rc;
}

/* First what the shard's text is worth, then what the sequence's own is beside it. */
bl_status bl_cache_gather_widths(bl_cache_widths *out, bl_cache_gather *gather, struct bl_err *err)
{
    static const bl_cache_widths of_text[] = { { 1, 0, 0 }, { 16, 1, 0 }, { 4, 1, 0 },
                                               { 1, 1, 0 }, { 1, 4, 0 },  { 1, 16, 0 } };
    static const uint32_t of_seq[] = { 4, 32, 256, 2048 };
    struct search s = { .gather = gather, .bits = -1 };
    bl_status rc = count_text(gather, err);
    bl_cache_widths best;

    for (size_t i = 0; i < sizeof(of_text) / sizeof(*of_text) && rc == BL_OK; i++)
        rc = try_widths(&s, of_text[i], err);
    best = s.best;
    for (size_t i = 0; i < sizeof(of_seq) / sizeof(*of_seq) && rc == BL_OK; i++) {
        best.c = of_seq[i];
        rc = try_widths(&s, best, err);
    }
    if (rc == BL_OK)
        *out = s.best;
    bl_cache_line_release(&s.line);
    return rc;
}

bl_status bl_cache_gather_code(bl_text *out, bl_cache_gather *gather, const bl_cache_widths *widths,
                               uint32_t i, bl_cache_line *line, bl_range_encoder *encoder,
                               struct bl_err *err)
{
    bl_cache_gather *g = gather;
    const bl_cache_coder coder = { .codes = g->codes, .encoder = encoder, .line = line };
    bl_cache_answer answer;
    size_t at = g->first[i];
    bl_status rc;

    if (at == g->first[i + 1])
        return BL_OK;
    unpack_text(g, i);
    rc = bl_cache_line_set(line, widths, g->info->vocab_size, g->n_of, g->text.token,
                           g->info->n_positions, err);
    if (rc != BL_OK)
        return rc;
    bl_range_begin(encoder);
    for (uint32_t k = 0; k < g->info->n_positions; k++) {
        if (g->text.target[k] < 0)
            continue;
        bl_text_add(out, g->answers.bytes + at, g->layout->stat_bytes);
        at = load_answer(&answer, g, at, g->text.target[k]);
        bl_cache_record_put(&coder, g->info, &answer);
    }
    if (!bl_range_end(encoder))
        return bl_fail_nomem(err, "the codes of a sequence");
    bl_text_add(out, (const char *)encoder->bytes, encoder->n);
    return bl_text_check(out, err);
}
