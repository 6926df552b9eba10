/* logits_writer.c - header and text, then rows as they come, each 64 with their hash. */
#include "formats/logits/logits_writer.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/size.h"

#include <assert.h>
#include <string.h>

enum { TEXT_STEP = 4096 }; /* tokens packed at a time */

struct bl_logits_writer {
    bl_sink *sink;
    bl_hasher *end; /* over the header and the hashes of blocks */
    bl_logits_layout layout;
    uint64_t n_head, n_records; /* rows that are still to come */
    unsigned char *block;       /* [BL_LOGITS_BLOCK_ROWS] rows, n_block of them filled */
    size_t n_block;
    unsigned char *hash; /* [n_blocks] u64 */
    uint64_t n_hashes;
};

/* Tokens as bytes, to the hasher and, when there is one, to the sink. */
static bl_status put_tokens(bl_sink *sink, bl_hasher *hasher, const int32_t *token, uint64_t n,
                            struct bl_err *err)
{
    unsigned char bytes[4 * TEXT_STEP];
    bl_status rc = BL_OK;

    for (uint64_t i = 0; i < n && rc == BL_OK; i += TEXT_STEP) {
        size_t step = (size_t)bl_min_u64(TEXT_STEP, n - i);

        for (size_t j = 0; j < step; j++)
            bl_put_u32(bytes + 4 * j, (uint32_t)token[i + j]);
        if (sink)
            rc = bl_sink_write(sink, bytes, 4 * step, err);
        else
            bl_hasher_add(hasher, bytes, 4 * step);
    }
    return rc;
}

/* Header, tokens, sequences. */
static bl_status put_front(bl_logits_writer *w, const bl_logits_info *info, const int32_t *token,
                           const bl_logits_seq *seq, struct bl_err *err)
{
    const uint64_t n_tokens = (uint64_t)info->n_seqs * info->n_positions;
    unsigned char header[BL_LOGITS_HEADER_BYTES];
    unsigned char *seqs = bl_alloc(info->n_seqs, BL_LOGITS_SEQ_BYTES);
    const size_t n_seq_bytes = (size_t)info->n_seqs * BL_LOGITS_SEQ_BYTES;
    bl_logits_info full = *info;
    bl_status rc = seqs ? BL_OK : bl_fail_nomem(err, "kept logits");

    for (size_t i = 0; i < info->n_seqs && rc == BL_OK; i++)
        bl_logits_pack_seq(seqs + i * BL_LOGITS_SEQ_BYTES, &seq[i]);
    if (rc == BL_OK)
        rc = put_tokens(NULL, w->end, token, n_tokens, err);
    if (rc == BL_OK) {
        full.tokens = bl_hasher_digest(w->end);
        bl_hasher_reset(w->end);
        bl_logits_pack_header(header, &full, bl_hash64(seqs, n_seq_bytes));
        bl_hasher_add(w->end, header, sizeof(header));
        rc = bl_sink_write(w->sink, header, sizeof(header), err);
    }
    if (rc == BL_OK)
        rc = put_tokens(w->sink, NULL, token, n_tokens, err);
    if (rc == BL_OK)
        rc = bl_sink_write(w->sink, seqs, n_seq_bytes, err);
    bl_free(seqs);
    return rc;
}

bl_status bl_logits_begin(bl_logits_writer **out, const char *path, bool force,
                          const bl_logits_info *info, const int32_t *token,
                          const bl_logits_seq *seq, struct bl_err *err)
{
    bl_logits_writer *w = bl_calloc(1, sizeof(*w));
    bl_status rc = BL_OK;

    if (!w)
        return bl_fail_nomem(err, path);
    if (!bl_logits_layout_of(&w->layout, info)) {
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: logits of this size cannot be kept", path);
        goto failed;
    }
    w->n_head = w->layout.n_head;
    w->n_records = info->n_scored;
    w->block = bl_alloc(BL_LOGITS_BLOCK_ROWS,
                        (size_t)bl_max_u64(w->layout.head_bytes, w->layout.record_bytes));
    w->hash = bl_alloc((size_t)w->layout.n_blocks, 8);
    if (!w->block || !w->hash)
        rc = bl_fail_nomem(err, path);
    if (rc == BL_OK)
        rc = bl_hasher_new(&w->end, err);
    if (rc == BL_OK)
        rc = bl_space_check(path, w->layout.file_bytes, err);
    if (rc == BL_OK)
        rc = bl_sink_begin(&w->sink, path, force, err);
    if (rc == BL_OK)
        rc = put_front(w, info, token, seq, err);
    if (rc != BL_OK)
        goto failed;
    *out = w;
    return BL_OK;
failed:
    bl_logits_abort(&w);
    return rc;
}

static bl_status put_block(bl_logits_writer *w, uint64_t row_bytes, struct bl_err *err)
{
    size_t n = w->n_block * (size_t)row_bytes;

    bl_put_u64(w->hash + 8 * w->n_hashes, bl_hash64(w->block, n));
    w->n_hashes++;
    w->n_block = 0;
    return bl_sink_write(w->sink, w->block, n, err);
}

bl_status bl_logits_put(bl_logits_writer *writer, const unsigned char *rows, uint64_t n_rows,
                        struct bl_err *err)
{
    bl_logits_writer *w = writer;
    const uint64_t row_bytes = w->n_head ? w->layout.head_bytes : w->layout.record_bytes;
    uint64_t *left = w->n_head ? &w->n_head : &w->n_records;
    bl_status rc = BL_OK;

    assert(n_rows <= *left);
    while (n_rows > 0 && rc == BL_OK) {
        size_t step = (size_t)bl_min_u64(n_rows, BL_LOGITS_BLOCK_ROWS - w->n_block);

        memcpy(w->block + w->n_block * row_bytes, rows, step * (size_t)row_bytes);
        w->n_block += step;
        *left -= step;
        rows += step * row_bytes;
        n_rows -= step;
        if (w->n_block == BL_LOGITS_BLOCK_ROWS || *left == 0)
            rc = put_block(w, row_bytes, err);
    }
    return rc;
}

static bl_status finish(bl_logits_writer *w, struct bl_err *err)
{
    const size_t n = 8 * (size_t)w->layout.n_blocks;
    unsigned char end[BL_LOGITS_END_BYTES];
    bl_hash128 hash;
    bl_status rc = bl_sink_write(w->sink, w->hash, n, err);

    assert(w->n_head == 0 && w->n_records == 0 && w->n_hashes == w->layout.n_blocks);
    bl_hasher_add(w->end, w->hash, n);
    hash = bl_hasher_digest(w->end);
    bl_put_u64(end, hash.low);
    bl_put_u64(end + 8, hash.high);
    if (rc == BL_OK)
        rc = bl_sink_write(w->sink, end, sizeof(end), err);
    return rc;
}

bl_status bl_logits_commit(bl_logits_writer **writer, struct bl_err *err)
{
    bl_status rc = finish(*writer, err);

    if (rc == BL_OK)
        rc = bl_sink_commit(&(*writer)->sink, err);
    bl_logits_abort(writer); /* the sink is gone when it was committed: this only frees */
    return rc;
}

void bl_logits_abort(bl_logits_writer **writer)
{
    bl_logits_writer *w = *writer;

    if (!w)
        return;
    bl_sink_abort(&w->sink);
    bl_hasher_free(w->end);
    bl_free(w->block);
    bl_free(w->hash);
    bl_free(w);
    *writer = NULL;
}
