/* cache_writer.c - one shard: gathered, coded, published. See cache_writer.h. */
#include "formats/logits/cache_writer.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/le.h"
#include "base/sink.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/cache_file.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_gather.h"
#include "formats/logits/cache_values.h"

#include <assert.h>
#include <string.h>

struct bl_cache_shard {
    char *path;
    bl_sink *sink;
    bl_cache_header header;
    bl_cache_layout layout;
    bl_cache_gather gather;
    bl_cache_index *index; /* [layout.n_seqs] */
    bl_text bytes;         /* tokens and data of one sequence */
};

static bl_status begin(bl_cache_shard *s, const char *folder, bool force, struct bl_err *err)
{
    const bl_cache_info *info = &s->header.info;
    bl_status rc;

    s->path = bl_cache_shard_path(folder, s->header.i_shard, info->n_shards);
    s->index = bl_calloc(s->layout.n_seqs, sizeof(*s->index));
    if (!s->path || !s->index)
        return bl_fail_nomem(err, folder);
    rc = bl_cache_gather_begin(&s->gather, info, &s->layout, err);
    if (rc == BL_OK)
        rc = bl_cache_folder_make(folder, err);
    if (rc == BL_OK)
        rc = bl_sink_begin(&s->sink, s->path, force, err);
    if (rc == BL_OK)
        rc = bl_sink_write_zeros(s->sink, BL_CACHE_HEADER_BYTES, err);
    return rc;
}

bl_status bl_cache_shard_begin(bl_cache_shard **out, const char *folder, const bl_cache_info *info,
                               uint32_t i_shard, bool force, struct bl_err *err)
{
    const char *fault = bl_cache_info_fault(info);
    bl_cache_shard *s;
    bl_status rc;

    if (fault)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a cache cannot have %s", folder, fault);
    assert(i_shard < info->n_shards);
    s = bl_calloc(1, sizeof(*s));
    if (!s)
        return bl_fail_nomem(err, folder);
    s->header = (bl_cache_header){ .info = *info, .i_shard = i_shard, .widths = { 1, 0, 0 } };
    (void)bl_cache_layout_of(&s->layout, &s->header);
    rc = begin(s, folder, force, err);
    if (rc == BL_OK)
        *out = s;
    else
        bl_cache_shard_abort(&s);
    return rc;
}

/* Tokens, then what data() appends: hashed together, the data written. */
static bl_status write_bytes(bl_cache_shard *s, uint32_t i, struct bl_err *err)
{
    const size_t n_row = s->layout.row_bytes;
    bl_status rc = bl_text_check(&s->bytes, err);

    if (rc != BL_OK)
        return rc;
    s->index[i].offset = s->header.data_bytes;
    s->index[i].hash = bl_hash64(s->bytes.bytes, s->bytes.n);
    s->header.data_bytes += s->bytes.n - n_row;
    s->header.n_scored += s->index[i].n_scored;
    s->header.n_entries += s->index[i].n_entries;
    return bl_sink_write(s->sink, s->bytes.bytes + n_row, s->bytes.n - n_row, err);
}

static void begin_bytes(bl_cache_shard *s, uint32_t i)
{
    const size_t n_row = s->layout.row_bytes;

    s->bytes.n = 0;
    bl_text_add(&s->bytes, (const char *)s->gather.rows + i * n_row, n_row);
}

static bl_status add_states(bl_cache_shard *s, const bl_cache_seq *seq, struct bl_err *err)
{
    const size_t hidden_size = s->header.info.hidden_size;
    unsigned char bytes[BL_CACHE_STAT_BYTES_MAX];
    const uint32_t i = s->gather.n_seqs;

    bl_cache_gather_text(&s->gather, seq);
    begin_bytes(s, i);
    for (uint32_t k = 0; k < seq->n_positions; k++) {
        if (seq->target[k] < 0)
            continue;
        bl_cache_pack_statistics(bytes, seq, k, s->layout.stat_bytes);
        bl_text_add(&s->bytes, (const char *)bytes, s->layout.stat_bytes);
        s->index[i].n_scored++;
    }
    for (uint32_t k = 0; k < seq->n_positions; k++) {
        const float *x = seq->hidden + k * hidden_size;

        for (size_t j = 0; seq->target[k] >= 0 && j < hidden_size; j++) {
            bl_put_u16(bytes, bl_bf16_from_f32(x[j]));
            bl_text_add(&s->bytes, (const char *)bytes, 2);
        }
    }
    return write_bytes(s, i, err);
}

bl_status bl_cache_shard_add(bl_cache_shard *shard, const bl_cache_seq *seq, struct bl_err *err)
{
    assert(shard->gather.n_seqs < shard->layout.n_seqs);
    if (shard->header.info.kind == BL_CACHE_HIDDEN)
        return add_states(shard, seq, err);
    return bl_cache_gather_add(&shard->index[shard->gather.n_seqs], &shard->gather, seq, err);
}

/* Widths, tables, and with them the data of all sequences. */
static bl_status code_all(bl_cache_shard *s, bl_text *tables, struct bl_err *err)
{
    bl_range_encoder encoder = { 0 };
    bl_cache_line line = { 0 };
    bl_status rc = bl_cache_gather_widths(&s->header.widths, &s->gather, err);

    if (rc == BL_OK)
        rc = bl_cache_codes_pack(tables, s->gather.codes, err);
    for (uint32_t i = 0; i < s->layout.n_seqs && rc == BL_OK; i++) {
        begin_bytes(s, i);
        rc =
            bl_cache_gather_code(&s->bytes, &s->gather, &s->header.widths, i, &line, &encoder, err);
        if (rc == BL_OK)
            rc = write_bytes(s, i, err);
        if (rc == BL_OK)
            rc = bl_cancel_check(err);
    }
    bl_cache_line_release(&line);
    bl_free(encoder.bytes);
    return rc;
}

/* Tokens, index, tables; and the header in front of all. */
static bl_status write_back(bl_cache_shard *s, const bl_text *tables, struct bl_err *err)
{
    const size_t n_rows = (size_t)s->layout.n_seqs * s->layout.row_bytes;
    const size_t n_index = (size_t)s->layout.n_seqs * BL_CACHE_INDEX_BYTES;
    unsigned char header[BL_CACHE_HEADER_BYTES];
    unsigned char *index = bl_alloc(n_index, 1);
    bl_status rc = index ? BL_OK : bl_fail_nomem(err, s->path);

    if (rc == BL_OK) {
        for (uint32_t i = 0; i < s->layout.n_seqs; i++)
            bl_cache_pack_index(index + (size_t)i * BL_CACHE_INDEX_BYTES, &s->index[i]);
        s->header.tokens = bl_hash128_of(s->gather.rows, n_rows);
        s->header.index = bl_hash64(index, n_index);
        s->header.tables = bl_hash64(tables->bytes ? tables->bytes : "", tables->n);
        s->header.table_bytes = (uint32_t)tables->n;
        bl_cache_pack_header(header, &s->header);
        rc = bl_sink_write(s->sink, s->gather.rows, n_rows, err);
    }
    if (rc == BL_OK)
        rc = bl_sink_write(s->sink, index, n_index, err);
    if (rc == BL_OK && tables->n > 0)
        rc = bl_sink_write(s->sink, tables->bytes, tables->n, err);
    if (rc == BL_OK)
        rc = bl_sink_patch(s->sink, 0, header, sizeof(header), err);
    bl_free(index);
    return rc;
}

bl_status bl_cache_shard_commit(bl_cache_shard **shard, struct bl_err *err)
{
    bl_cache_shard *s = *shard;
    bl_text tables = { 0 };
    bl_status rc = BL_OK;

    if (s->gather.n_seqs < s->layout.n_seqs)
        rc = bl_fail(err, BL_E_USAGE, "%s: has %u of its %u sequences", s->path, s->gather.n_seqs,
                     s->layout.n_seqs);
    if (rc == BL_OK && s->header.info.kind != BL_CACHE_HIDDEN)
        rc = code_all(s, &tables, err);
    if (rc == BL_OK)
        rc = write_back(s, &tables, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&s->sink, err);
    bl_text_release(&tables);
    bl_cache_shard_abort(shard); /* the sink is gone when it was committed: this only frees */
    return rc;
}

void bl_cache_shard_abort(bl_cache_shard **shard)
{
    bl_cache_shard *s = *shard;

    if (!s)
        return;
    bl_sink_abort(&s->sink);
    bl_cache_gather_release(&s->gather);
    bl_text_release(&s->bytes);
    bl_free(s->index);
    bl_free(s->path);
    bl_free(s);
    *shard = NULL;
}

/* A shard of another cache is no damage; one in another place of the same is. */
static bl_status check_done(bl_source *source, const bl_cache_info *info, uint32_t i_shard,
                            struct bl_err *err)
{
    bl_cache_file file = { 0 };
    const char *difference;
    bl_status rc = bl_cache_file_look(&file, source, err);

    difference = rc == BL_OK ? bl_cache_info_difference(&file.header.info, info) : NULL;
    if (difference)
        rc = bl_fail(err, BL_E_MISMATCH,
                     "%s: is of another cache: its %s differs; remove it or use --force",
                     source->name, difference);
    else if (rc == BL_OK && file.header.i_shard != i_shard)
        rc = bl_fail(err, BL_E_FORMAT, "%s: says that it is shard %u", source->name,
                     file.header.i_shard + 1);
    if (rc == BL_OK)
        rc = bl_cache_file_open(&file, source, err);
    if (rc == BL_OK) {
        rc = bl_cache_file_check(&file, source, err);
        if (rc == BL_E_MISMATCH) {
            rc = BL_E_FORMAT;
            if (err)
                err->status = rc;
        }
    }
    bl_cache_file_release(&file);
    return rc;
}

bl_status bl_cache_shard_done(bool *out, const char *folder, const bl_cache_info *info,
                              uint32_t i_shard, struct bl_err *err)
{
    char *path = bl_cache_shard_path(folder, i_shard, info->n_shards);
    bl_source *source = NULL;
    bl_status rc = path ? bl_cache_open_if_there(&source, path, err) : bl_fail_nomem(err, folder);

    if (rc == BL_OK && source)
        rc = check_done(source, info, i_shard, err);
    if (rc == BL_OK)
        *out = source != NULL;
    bl_source_close(source);
    bl_free(path);
    return rc;
}
