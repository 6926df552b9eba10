/* cache_file.c - see cache_file.h. */
#include "formats/logits/cache_file.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/finite.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/cache_values.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

bl_status bl_cache_file_look(bl_cache_file *out, bl_source *source, struct bl_err *err)
{
    unsigned char header[BL_CACHE_HEADER_BYTES];
    bl_status rc;

    if (source->size < sizeof(header))
        return bl_fail(err, BL_E_FORMAT, "%s: not a shard of a cache", source->name);
    rc = bl_source_read(source, 0, header, sizeof(header), err);
    if (rc != BL_OK)
        return rc;
    return bl_cache_unpack_header(&out->header, &out->layout, header, source->size, source->name,
                                  err);
}

static bl_status read_new(unsigned char **out, bl_source *source, uint64_t offset, size_t n,
                          struct bl_err *err)
{
    unsigned char *bytes = bl_alloc(n, 1);
    bl_status rc =
        bytes ? bl_source_read(source, offset, bytes, n, err) : bl_fail_nomem(err, source->name);

    if (rc == BL_OK)
        *out = bytes;
    else
        bl_free(bytes);
    return rc;
}

/* Sequences lie end to end and fill the data, and their numbers add up to the header's. */
static bl_status check_index(const bl_cache_file *f, const char *path, struct bl_err *err)
{
    const bl_cache_info *info = &f->header.info;
    const uint64_t state_bytes = 2 * (uint64_t)info->hidden_size;
    uint64_t n_scored = 0, n_entries = 0;
    bool sound = f->index[0].offset == 0;

    for (uint32_t i = 0; i < f->layout.n_seqs && sound; i++) {
        const bl_cache_index *x = &f->index[i];
        const uint64_t least = x->n_scored * (f->layout.stat_bytes + state_bytes);
        const uint64_t most = x->n_scored * (uint64_t)(info->n_draws + info->n_top);

        n_scored += x->n_scored;
        n_entries += x->n_entries;
        sound = x[1].offset >= x->offset && x[1].offset <= f->header.data_bytes &&
                x[1].offset - x->offset >= least && x->n_scored < info->n_positions &&
                x->n_entries <= most &&
                (info->kind != BL_CACHE_HIDDEN || x[1].offset - x->offset == least);
    }
    if (!sound || n_scored != f->header.n_scored || n_entries != f->header.n_entries)
        return bl_fail(err, BL_E_FORMAT, "%s: the index of its sequences contradicts itself", path);
    return BL_OK;
}

static bl_status read_index(bl_cache_file *f, bl_source *source, struct bl_err *err)
{
    const uint32_t n = f->layout.n_seqs;
    unsigned char *bytes = NULL;
    bl_status rc = read_new(&bytes, source, f->layout.index, (size_t)n * BL_CACHE_INDEX_BYTES, err);

    if (rc != BL_OK)
        return rc;
    f->index = bl_alloc((size_t)n + 1, sizeof(*f->index));
    if (!f->index)
        rc = bl_fail_nomem(err, source->name);
    else if (bl_hash64(bytes, (size_t)n * BL_CACHE_INDEX_BYTES) != f->header.index)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index of its sequences is damaged", source->name);
    if (rc == BL_OK) {
        for (uint32_t i = 0; i < n; i++)
            bl_cache_unpack_index(&f->index[i], bytes + (size_t)i * BL_CACHE_INDEX_BYTES);
        f->index[n] = (bl_cache_index){ .offset = f->header.data_bytes };
        rc = check_index(f, source->name, err);
    }
    bl_free(bytes);
    return rc;
}

/* One sequence at a time: their hash, and how often each id is there. */
static bl_status read_rows(bl_cache_file *f, bl_source *source, bl_cache_seq *seq,
                           unsigned char *row, bl_hasher *hasher, struct bl_err *err)
{
    const bl_cache_info *info = &f->header.info;
    const size_t n = f->layout.row_bytes;
    const char *fault = NULL;
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < f->layout.n_seqs && rc == BL_OK && !fault; i++) {
        rc = bl_source_read(source, f->layout.tokens + i * (uint64_t)n, row, n, err);
        if (rc != BL_OK)
            return rc;
        bl_hasher_add(hasher, row, n);
        fault = bl_cache_unpack_tokens(seq, row, info->n_positions, info->vocab_size);
        for (uint32_t k = 0; k < info->n_positions && f->text && !fault; k++)
            f->text[seq->token[k]]++;
        rc = bl_cancel_check(err);
    }
    if (rc == BL_OK && !fault && !bl_hash128_equal(bl_hasher_digest(hasher), f->header.tokens))
        fault = "has damaged tokens";
    return fault ? bl_fail(err, BL_E_FORMAT, "%s: %s", source->name, fault) : rc;
}

static bl_status read_tokens(bl_cache_file *f, bl_source *source, struct bl_err *err)
{
    unsigned char *row = bl_alloc(f->layout.row_bytes, 1);
    bl_hasher *hasher = NULL;
    bl_cache_seq seq = { 0 };
    bl_status rc = row ? BL_OK : bl_fail_nomem(err, source->name);

    if (rc == BL_OK)
        rc = bl_cache_seq_reserve(&seq, f->header.info.n_positions, 0, 0, err);
    if (rc == BL_OK && f->header.widths.b > 0) {
        f->text = bl_calloc(f->header.info.vocab_size, sizeof(*f->text));
        rc = f->text ? BL_OK : bl_fail_nomem(err, source->name);
    }
    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    if (rc == BL_OK)
        rc = read_rows(f, source, &seq, row, hasher, err);
    bl_hasher_free(hasher);
    bl_cache_seq_release(&seq);
    bl_free(row);
    return rc;
}

static bl_status read_tables(bl_cache_file *f, bl_source *source, struct bl_err *err)
{
    const size_t n = f->header.table_bytes;
    unsigned char *bytes = NULL;
    bl_status rc = read_new(&bytes, source, f->layout.tables, n, err);

    if (rc == BL_OK && bl_hash64(bytes, n) != f->header.tables)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the tables of codes are damaged", source->name);
    if (rc == BL_OK && f->header.info.kind != BL_CACHE_HIDDEN)
        rc = bl_cache_codes_unpack(&f->codes, bytes, n, source->name, err);
    bl_free(bytes);
    return rc;
}

bl_status bl_cache_file_open(bl_cache_file *out, bl_source *source, struct bl_err *err)
{
    bl_cache_file f = { 0 };
    bl_status rc = bl_cache_file_look(&f, source, err);

    if (rc == BL_OK)
        rc = read_index(&f, source, err);
    if (rc == BL_OK)
        rc = read_tables(&f, source, err);
    if (rc == BL_OK)
        rc = read_tokens(&f, source, err);
    if (rc == BL_OK)
        *out = f;
    else
        bl_cache_file_release(&f);
    return rc;
}

void bl_cache_file_release(bl_cache_file *file)
{
    bl_free(file->index);
    bl_free(file->text);
    bl_cache_codes_free(file->codes);
    *file = (bl_cache_file){ 0 };
}

/* Tokens and data of a sequence, end to end, compared with their hash. */
static bl_status read_bytes(unsigned char **out, size_t *n_data, const bl_cache_file *f,
                            bl_source *source, uint32_t i, struct bl_err *err)
{
    const size_t n_row = f->layout.row_bytes;
    const size_t n = (size_t)(f->index[i + 1].offset - f->index[i].offset);
    unsigned char *bytes = n <= SIZE_MAX - n_row ? bl_alloc(n_row + n, 1) : NULL;
    bl_status rc = bytes ? BL_OK : bl_fail_nomem(err, source->name);

    if (rc == BL_OK)
        rc = bl_source_read(source, f->layout.tokens + i * (uint64_t)n_row, bytes, n_row, err);
    if (rc == BL_OK)
        rc = bl_source_read(source, BL_CACHE_HEADER_BYTES + f->index[i].offset, bytes + n_row, n,
                            err);
    if (rc == BL_OK && bl_hash64(bytes, n_row + n) != f->index[i].hash)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: sequence %" PRIu32 " is damaged", source->name,
                     f->layout.first_seq + i);
    if (rc == BL_OK) {
        *out = bytes;
        *n_data = n;
    } else {
        bl_free(bytes);
    }
    return rc;
}

/* Statistics of scored positions, zeros of the others. False when they are not n_scored. */
static bool take_statistics(bl_cache_seq *seq, const bl_cache_file *f, const unsigned char *bytes,
                            uint32_t n_scored)
{
    const bl_cache_kind kind = f->header.info.kind;
    const bool has_tail = f->layout.stat_bytes > BL_CACHE_STAT_BYTES;
    uint32_t n = 0;

    for (uint32_t i = 0; i < seq->n_positions; i++) {
        const unsigned char *b = bytes + (size_t)n * f->layout.stat_bytes;

        seq->first[i] = 0;
        seq->log_p[i] = seq->entropy[i] = seq->log_sum[i] = seq->tail[i] = 0;
        if (seq->target[i] < 0)
            continue;
        if (n++ == n_scored)
            return false;
        seq->log_p[i] = bl_cache_log_p_of(bl_get_u24(b));
        seq->entropy[i] = bl_cache_entropy_of(bl_get_u16(b + 3));
        seq->log_sum[i] = bl_cache_log_sum_of(bl_get_u24(b + 5));
        seq->tail[i] = kind == BL_CACHE_SAMPLED ? 1.0f : 0.0f;
        if (has_tail)
            seq->tail[i] = bl_cache_tail_of(bl_get_u24(b + BL_CACHE_STAT_BYTES));
    }
    seq->first[seq->n_positions] = 0;
    return n == n_scored;
}

static bool take_states(bl_cache_seq *seq, const bl_cache_info *info, const unsigned char *bytes,
                        uint32_t n_scored)
{
    const size_t n = info->hidden_size;

    if (!bl_dtype_check_finite(BL_BF16, bytes, n * n_scored * 2, NULL))
        return false;
    for (uint32_t i = 0; i < seq->n_positions; i++)
        for (size_t k = 0; k < n; k++) {
            seq->hidden[i * n + k] =
                seq->target[i] < 0 ? 0.0f : bl_f32_from_bf16(bl_get_u16(bytes));
            bytes += seq->target[i] < 0 ? 0 : 2;
        }
    return true;
}

static void take_answer(bl_cache_seq *seq, uint32_t at, const bl_cache_answer *a,
                        const bl_cache_info *info)
{
    for (uint32_t k = 0; k < a->n; k++, at++) {
        const uint16_t code = a->code[k];

        seq->id[at] = a->id[k];
        seq->weight[at] = info->kind == BL_CACHE_SAMPLED ? (float)code / (float)info->n_draws
                                                         : bl_cache_weight_of(code);
        seq->count[at] = info->kind == BL_CACHE_SAMPLED ? code : a->drawn[k];
    }
}

/* What the codes say of every scored position. False when they end early, late or elsewhere. */
static bool take_entries(bl_cache_seq *seq, const bl_cache_file *f, bl_cache_line *line,
                         const unsigned char *statistics, bl_range_decoder *decoder,
                         uint32_t n_entries)
{
    bl_cache_answer answer;
    uint32_t at = 0;

    for (uint32_t i = 0; i < seq->n_positions && !decoder->bad; i++) {
        seq->first[i] = at;
        if (seq->target[i] < 0)
            continue;
        answer.log_p = bl_get_u24(statistics);
        answer.entropy = bl_get_u16(statistics + 3);
        answer.target = (uint32_t)seq->target[i];
        statistics += f->layout.stat_bytes;
        bl_cache_record_get(&answer, decoder, f->codes, line, &f->header.info);
        if (answer.n > n_entries - at)
            return false;
        take_answer(seq, at, &answer, &f->header.info);
        at += answer.n;
    }
    seq->first[seq->n_positions] = at;
    return at == n_entries && bl_range_done(decoder);
}

static bl_status decode(bl_cache_seq *seq, const bl_cache_file *f, const unsigned char *data,
                        size_t n, const bl_cache_index *index, const char **fault,
                        struct bl_err *err)
{
    const size_t n_stat = (size_t)index->n_scored * f->layout.stat_bytes;
    bl_cache_line line = { 0 };
    bl_range_decoder decoder;
    bl_status rc;

    *fault = NULL;
    if (!take_statistics(seq, f, data, index->n_scored)) {
        *fault = "scores other positions than its tokens have";
        return BL_OK;
    }
    if (f->header.info.kind == BL_CACHE_HIDDEN) {
        if (!take_states(seq, &f->header.info, data + n_stat, index->n_scored))
            *fault = "has a value that is not finite";
        return BL_OK;
    }
    if (index->n_scored == 0) {
        *fault = n > 0 ? "has answers to nothing" : NULL;
        return BL_OK;
    }
    rc = bl_cache_line_set(&line, &f->header.widths, f->header.info.vocab_size, f->text, seq->token,
                           seq->n_positions, err);
    if (rc == BL_OK) {
        bl_range_open(&decoder, data + n_stat, n - n_stat);
        if (!take_entries(seq, f, &line, data, &decoder, index->n_entries))
            *fault = "has codes that cannot be";
    }
    bl_cache_line_release(&line);
    return rc;
}

bl_status bl_cache_file_read(bl_cache_seq *out, const bl_cache_file *file, bl_source *source,
                             uint32_t i, struct bl_err *err)
{
    const bl_cache_info *info = &file->header.info;
    const bl_cache_index *index = &file->index[i];
    unsigned char *bytes = NULL;
    const char *fault = NULL;
    size_t n = 0;
    bl_status rc;

    assert(i < file->layout.n_seqs);
    rc = read_bytes(&bytes, &n, file, source, i, err);
    if (rc == BL_OK)
        rc = bl_cache_seq_reserve(out, info->n_positions, index->n_entries, info->hidden_size, err);
    if (rc == BL_OK)
        fault = bl_cache_unpack_tokens(out, bytes, info->n_positions, info->vocab_size);
    if (rc == BL_OK && !fault)
        rc = decode(out, file, bytes + file->layout.row_bytes, n, index, &fault, err);
    if (rc == BL_OK && fault)
        rc = bl_fail(err, BL_E_FORMAT, "%s: sequence %" PRIu32 " %s", source->name,
                     file->layout.first_seq + i, fault);
    bl_free(bytes);
    return rc;
}

bl_status bl_cache_file_check(const bl_cache_file *file, bl_source *source, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < file->layout.n_seqs && rc == BL_OK; i++) {
        unsigned char *bytes = NULL;
        size_t n;

        rc = read_bytes(&bytes, &n, file, source, i, err);
        bl_free(bytes);
        if (rc == BL_OK)
            rc = bl_cancel_check(err);
    }
    return rc;
}
