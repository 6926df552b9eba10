/* logits_reader.c - see logits_reader.h. */
#include "formats/logits/logits_reader.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/finite.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* n bytes at offset in memory that the caller frees. */
static bl_status read_new(unsigned char **out, const bl_logits_reader *r, uint64_t offset, size_t n,
                          struct bl_err *err)
{
    unsigned char *bytes = bl_alloc(n, 1);
    bl_status rc = bytes ? bl_source_read(r->source, offset, bytes, n, err)
                         : bl_fail_nomem(err, r->source->name);

    if (rc == BL_OK)
        *out = bytes;
    else
        bl_free(bytes);
    return rc;
}

static bl_status read_tokens(bl_logits_reader *r, struct bl_err *err)
{
    const size_t n = (size_t)r->info.n_seqs * r->info.n_positions;
    unsigned char *bytes = NULL;
    bl_status rc = read_new(&bytes, r, BL_LOGITS_HEADER_BYTES, 4 * n, err);

    if (rc != BL_OK)
        return rc;
    if (!bl_hash128_equal(bl_hash128_of(bytes, 4 * n), r->info.tokens)) {
        rc = bl_fail(err, BL_E_FORMAT, "%s: the tokens of the text are damaged", r->source->name);
        goto done;
    }
    r->token = bl_alloc(n, sizeof(*r->token));
    if (!r->token)
        rc = bl_fail_nomem(err, r->source->name);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        uint32_t id = bl_get_u32(bytes + 4 * i);

        if (id >= r->info.vocab_size)
            rc = bl_fail(err, BL_E_FORMAT, "%s: token %u is not in the vocabulary of %u",
                         r->source->name, id, r->info.vocab_size);
        else
            r->token[i] = (int32_t)id;
    }
done:
    bl_free(bytes);
    return rc;
}

/* Records belong to sequences in order, and every scored position has a token behind it. */
static bl_status check_seqs(const bl_logits_reader *r, struct bl_err *err)
{
    uint64_t next = 0;

    for (uint32_t i = 0; i < r->info.n_seqs; i++) {
        const bl_logits_seq *s = &r->seq[i];

        if (s->first_record != next || s->n_records >= r->info.n_positions ||
            s->first_position >= r->info.n_positions - s->n_records)
            return bl_fail(err, BL_E_FORMAT, "%s: sequence %u scores what it does not have",
                           r->source->name, i);
        next += s->n_records;
    }
    if (next != r->info.n_scored)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: the sequences score %" PRIu64 " tokens, the header says %" PRIu64,
                       r->source->name, next, r->info.n_scored);
    return BL_OK;
}

static bl_status read_seqs(bl_logits_reader *r, uint64_t seqs_hash, struct bl_err *err)
{
    const size_t n_bytes = (size_t)r->info.n_seqs * BL_LOGITS_SEQ_BYTES;
    unsigned char *bytes = NULL;
    bl_status rc = read_new(&bytes, r, r->layout.seqs, n_bytes, err);

    if (rc == BL_OK && bl_hash64(bytes, n_bytes) != seqs_hash)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the table of sequences is damaged", r->source->name);
    if (rc == BL_OK) {
        r->seq = bl_alloc(r->info.n_seqs, sizeof(*r->seq));
        if (!r->seq)
            rc = bl_fail_nomem(err, r->source->name);
    }
    for (size_t i = 0; i < r->info.n_seqs && rc == BL_OK; i++)
        bl_logits_unpack_seq(&r->seq[i], bytes + i * BL_LOGITS_SEQ_BYTES);
    bl_free(bytes);
    return rc == BL_OK ? check_seqs(r, err) : rc;
}

/* The hashes of blocks, and the hash over them and the header that ends the file. */
static bl_status read_hashes(bl_logits_reader *r, const unsigned char *header, struct bl_err *err)
{
    const size_t n = 8 * (size_t)r->layout.n_blocks;
    bl_hasher *hasher = NULL;
    bl_hash128 hash;
    bl_status rc = read_new(&r->hash, r, r->layout.hashes, n + BL_LOGITS_END_BYTES, err);

    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    if (rc != BL_OK)
        return rc;
    bl_hasher_add(hasher, header, BL_LOGITS_HEADER_BYTES);
    bl_hasher_add(hasher, r->hash, n);
    hash = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    if (!bl_hash128_equal(hash,
                          (bl_hash128){ bl_get_u64(r->hash + n), bl_get_u64(r->hash + n + 8) }))
        return bl_fail(err, BL_E_FORMAT, "%s: the table of hashes is damaged", r->source->name);
    return BL_OK;
}

static bl_status read_front(bl_logits_reader *r, struct bl_err *err)
{
    unsigned char header[BL_LOGITS_HEADER_BYTES];
    uint64_t seqs_hash = 0;
    bl_status rc;

    if (r->source->size < sizeof(header))
        return bl_fail(err, BL_E_FORMAT, "%s: not a file of kept logits", r->source->name);
    rc = bl_source_read(r->source, 0, header, sizeof(header), err);
    if (rc == BL_OK)
        rc = bl_logits_unpack_header(&r->info, &r->layout, &seqs_hash, header, r->source->size,
                                     r->source->name, err);
    if (rc == BL_OK)
        rc = read_tokens(r, err);
    if (rc == BL_OK)
        rc = read_seqs(r, seqs_hash, err);
    if (rc == BL_OK)
        rc = read_hashes(r, header, err);
    return rc;
}

bl_status bl_logits_open_source(bl_logits_reader **out, bl_source *source, struct bl_err *err)
{
    bl_logits_reader *r = bl_calloc(1, sizeof(*r));
    bl_status rc;

    if (!r) {
        rc = bl_fail_nomem(err, source->name);
        bl_source_close(source);
        return rc;
    }
    r->source = source;
    rc = read_front(r, err);
    if (rc == BL_OK)
        *out = r;
    else
        bl_logits_close(r);
    return rc;
}

bl_status bl_logits_open(bl_logits_reader **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? bl_logits_open_source(out, source, err) : rc;
}

void bl_logits_close(bl_logits_reader *reader)
{
    if (!reader)
        return;
    bl_source_close(reader->source);
    bl_free(reader->token);
    bl_free(reader->seq);
    bl_free(reader->hash);
    bl_free(reader);
}

/* One of the two tables that lie in blocks: the head's rows, or the records. */
struct table {
    const char *what;
    uint64_t offset, n_rows, row_bytes, first_hash;
};

static struct table head_of(const bl_logits_reader *r)
{
    return (struct table){ .what = "the output head",
                           .offset = r->layout.head,
                           .n_rows = r->layout.n_head,
                           .row_bytes = r->layout.head_bytes };
}

static struct table records_of(const bl_logits_reader *r)
{
    return (struct table){ .what = "the records",
                           .offset = r->layout.records,
                           .n_rows = r->info.n_scored,
                           .row_bytes = r->layout.record_bytes,
                           .first_hash = bl_ceil_div_u64(r->layout.n_head, BL_LOGITS_BLOCK_ROWS) };
}

/* Takes rows [row, row + n_rows) as they lie in the file. */
typedef const char *(*take_fn)(void *out, const bl_logits_reader *reader,
                               const unsigned char *bytes, uint64_t n_rows);

/* Through the blocks that rows [first, first + n) touch; row i of them goes to out + i * stride. */
static bl_status read_rows(unsigned char *out, size_t stride, const bl_logits_reader *r,
                           const struct table *t, uint64_t first, uint64_t n, take_fn take,
                           struct bl_err *err)
{
    unsigned char *block =
        bl_alloc((size_t)bl_min_u64(BL_LOGITS_BLOCK_ROWS, t->n_rows), (size_t)t->row_bytes);
    bl_status rc = block ? BL_OK : bl_fail_nomem(err, r->source->name);

    assert(bl_range_fits(first, n, t->n_rows));
    while (n > 0 && rc == BL_OK) {
        uint64_t i = first / BL_LOGITS_BLOCK_ROWS, skip = first % BL_LOGITS_BLOCK_ROWS;
        uint64_t at = first - skip, n_block = bl_min_u64(BL_LOGITS_BLOCK_ROWS, t->n_rows - at);
        uint64_t step = bl_min_u64(n, n_block - skip);
        const size_t n_bytes = (size_t)(n_block * t->row_bytes);
        const char *fault = NULL;

        rc = bl_source_read(r->source, t->offset + at * t->row_bytes, block, n_bytes, err);
        if (rc == BL_OK &&
            bl_hash64(block, n_bytes) != bl_get_u64(r->hash + 8 * (t->first_hash + i)))
            rc = bl_fail(err, BL_E_MISMATCH, "%s: %s are damaged from %" PRIu64 " to %" PRIu64,
                         r->source->name, t->what, at, at + n_block - 1);
        if (rc == BL_OK)
            fault = take(out, r, block + skip * t->row_bytes, step);
        if (fault)
            rc = bl_fail(err, BL_E_FORMAT,
                         "%s: one of the records from %" PRIu64 " to %" PRIu64 " %s",
                         r->source->name, first, first + step - 1, fault);
        out += step * stride;
        first += step;
        n -= step;
    }
    bl_free(block);
    return rc;
}

static const char *take_sparse(void *out, const bl_logits_reader *r, const unsigned char *bytes,
                               uint64_t n)
{
    const char *fault = NULL;

    for (uint64_t i = 0; i < n && !fault; i++)
        fault = bl_logits_unpack_sparse((bl_logits_sparse *)out + i,
                                        bytes + i * r->layout.record_bytes, &r->info);
    return fault;
}

static const char not_finite[] = "has a value that is not finite";

static const char *take_bf16(void *out, const bl_logits_reader *r, const unsigned char *bytes,
                             uint64_t n)
{
    const uint64_t n_values = n * r->info.hidden_size;
    float *x = out;

    if (!bl_dtype_check_finite(BL_BF16, bytes, (size_t)n_values * 2, NULL))
        return not_finite;
    for (uint64_t i = 0; i < n_values; i++)
        x[i] = bl_f32_from_bf16(bl_get_u16(bytes + 2 * i));
    return NULL;
}

static const char *take_f32(void *out, const bl_logits_reader *r, const unsigned char *bytes,
                            uint64_t n)
{
    const uint64_t n_values = n * r->info.hidden_size;
    float *x = out;

    if (!bl_dtype_check_finite(BL_F32, bytes, (size_t)n_values * 4, NULL))
        return not_finite;
    for (uint64_t i = 0; i < n_values; i++)
        x[i] = bl_f32_from_bits(bl_get_u32(bytes + 4 * i));
    return NULL;
}

bl_status bl_logits_read_sparse(bl_logits_sparse *out, const bl_logits_reader *reader,
                                uint64_t first, uint64_t n, struct bl_err *err)
{
    const struct table records = records_of(reader);

    assert(reader->info.kind == BL_LOGITS_SPARSE);
    return read_rows((unsigned char *)out, sizeof(*out), reader, &records, first, n, take_sparse,
                     err);
}

bl_status bl_logits_read_hidden(float *out, const bl_logits_reader *reader, uint64_t first,
                                uint64_t n, struct bl_err *err)
{
    const struct table records = records_of(reader);

    assert(reader->info.kind == BL_LOGITS_HIDDEN);
    return read_rows((unsigned char *)out, reader->info.hidden_size * sizeof(*out), reader,
                     &records, first, n, take_bf16, err);
}

bl_status bl_logits_read_head(float *out, const bl_logits_reader *reader, uint64_t first,
                              uint64_t n, struct bl_err *err)
{
    const struct table head = head_of(reader);

    assert(reader->info.kind == BL_LOGITS_HIDDEN);
    return read_rows((unsigned char *)out, reader->info.hidden_size * sizeof(*out), reader, &head,
                     first, n, reader->info.head_type == BL_F32 ? take_f32 : take_bf16, err);
}
