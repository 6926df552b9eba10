/* ggml_logits.c - see ggml_logits.h. */
#include "formats/logits/ggml_logits.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { HEADER_BYTES = 20, SCALE_BYTES = 8, MAX_CODE = 65535, MAX_VOCAB = 1 << 24 };

static const char magic[8] = { '_', 'l', 'o', 'g', 'i', 't', 's', '_' };
static const float range_nats = 16.0f;

uint64_t bl_ggml_logits_record_bytes(uint32_t vocab_size)
{
    return SCALE_BYTES + 2 * ((uint64_t)vocab_size + vocab_size % 2);
}

static uint32_t scored_of(uint32_t n_ctx)
{
    return n_ctx - 1 - n_ctx / 2;
}

static bool has_magic(bl_source *source)
{
    char bytes[sizeof(magic)];

    return source->size >= sizeof(bytes) &&
           bl_source_read(source, 0, bytes, sizeof(bytes), NULL) == BL_OK &&
           memcmp(bytes, magic, sizeof(magic)) == 0;
}

bool bl_ggml_logits_is(const char *path)
{
    bl_source *source = NULL;
    bool is;

    if (bl_source_open(&source, path, NULL) != BL_OK)
        return false;
    is = has_magic(source);
    bl_source_close(source);
    return is;
}

static bl_status read_tokens(bl_ggml_logits *r, struct bl_err *err)
{
    const size_t n = (size_t)r->n_chunks * r->n_ctx;
    unsigned char *bytes = bl_alloc(n, 4);
    bl_status rc = BL_OK;

    r->token = bl_alloc(n, sizeof(*r->token));
    if (!bytes || !r->token)
        rc = bl_fail_nomem(err, r->source->name);
    if (rc == BL_OK)
        rc = bl_source_read(r->source, HEADER_BYTES, bytes, 4 * n, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        uint32_t id = bl_get_u32(bytes + 4 * i);

        if (id >= r->vocab_size)
            rc = bl_fail(err, BL_E_FORMAT, "%s: token %u is not in the vocabulary of %u",
                         r->source->name, id, r->vocab_size);
        else
            r->token[i] = (int32_t)id;
    }
    bl_free(bytes);
    return rc;
}

static bl_status read_front(bl_ggml_logits *r, struct bl_err *err)
{
    unsigned char header[HEADER_BYTES];
    uint64_t bytes, need;
    bl_status rc;

    if (r->source->size < HEADER_BYTES || !has_magic(r->source))
        return bl_fail(err, BL_E_FORMAT, "%s: not a file of log-probabilities of llama.cpp",
                       r->source->name);
    rc = bl_source_read(r->source, 0, header, sizeof(header), err);
    if (rc != BL_OK)
        return rc;
    r->n_ctx = bl_get_u32(header + 8);
    r->vocab_size = bl_get_u32(header + 12);
    r->n_chunks = bl_get_u32(header + 16);
    if (r->n_ctx < 4 || r->n_ctx > INT32_MAX || r->vocab_size == 0 || r->vocab_size > MAX_VOCAB ||
        r->n_chunks == 0 || r->n_chunks > INT32_MAX)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: a context of %u, a vocabulary of %u and %u chunks cannot be",
                       r->source->name, r->n_ctx, r->vocab_size, r->n_chunks);
    r->n_scored = scored_of(r->n_ctx);
    r->record_bytes = bl_ggml_logits_record_bytes(r->vocab_size);
    r->records = HEADER_BYTES + 4 * (uint64_t)r->n_chunks * r->n_ctx;
    if (!bl_mul_u64(&bytes, (uint64_t)r->n_chunks * r->n_scored, r->record_bytes) ||
        !bl_add_u64(&need, bytes, r->records) || need != r->source->size)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %u chunks of %u tokens do not fill its %" PRIu64
                       " bytes: was llama.cpp interrupted?",
                       r->source->name, r->n_chunks, r->n_ctx, r->source->size);
    return read_tokens(r, err);
}

bl_status bl_ggml_logits_open_source(bl_ggml_logits **out, bl_source *source, struct bl_err *err)
{
    bl_ggml_logits *r = bl_calloc(1, sizeof(*r));
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
        bl_ggml_logits_close(r);
    return rc;
}

bl_status bl_ggml_logits_open(bl_ggml_logits **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? bl_ggml_logits_open_source(out, source, err) : rc;
}

void bl_ggml_logits_close(bl_ggml_logits *reader)
{
    if (!reader)
        return;
    bl_source_close(reader->source);
    bl_free(reader->token);
    bl_free(reader);
}

bl_status bl_ggml_logits_read(float *out, const bl_ggml_logits *reader, uint64_t i,
                              struct bl_err *err)
{
    const size_t n = (size_t)reader->record_bytes;
    unsigned char *bytes = bl_alloc(n, 1);
    bl_status rc = bytes ? bl_source_read(reader->source, reader->records + i * n, bytes, n, err)
                         : bl_fail_nomem(err, reader->source->name);

    if (rc == BL_OK) {
        float scale = bl_f32_from_bits(bl_get_u32(bytes));
        float min = bl_f32_from_bits(bl_get_u32(bytes + 4));

        if (!(scale >= 0 && scale < 1 && min <= 0 && min > -1000))
            rc = bl_fail(err, BL_E_FORMAT, "%s: scored token %" PRIu64 " has no log-probabilities",
                         reader->source->name, i);
        for (size_t v = 0; v < reader->vocab_size && rc == BL_OK; v++)
            out[v] = scale * (float)bl_get_u16(bytes + SCALE_BYTES + 2 * v) + min;
    }
    bl_free(bytes);
    return rc;
}

void bl_ggml_logits_pack(unsigned char *bytes, const float *logits, uint32_t vocab_size)
{
    float top = logits[0], least = logits[0], scale, per_step;
    double sum = 0;

    for (uint32_t v = 1; v < vocab_size; v++) {
        top = fmaxf(top, logits[v]);
        least = fminf(least, logits[v]);
    }
    for (uint32_t v = 0; v < vocab_size; v++)
        sum += exp((double)logits[v] - (double)top);
    least = fmaxf(least, top - range_nats);
    scale = (top - least) / (float)MAX_CODE;
    per_step = scale > 0 ? 1.0f / scale : 0.0f;
    memset(bytes, 0, (size_t)bl_ggml_logits_record_bytes(vocab_size));
    bl_put_u32(bytes, bl_bits_from_f32(scale));
    bl_put_u32(bytes + 4, bl_bits_from_f32((float)((double)least - (double)top - log(sum))));
    for (uint32_t v = 0; v < vocab_size; v++) {
        float code = rintf(per_step * (logits[v] - least));

        bl_put_u16(bytes + SCALE_BYTES + 2 * (size_t)v,
                   (uint16_t)fminf(fmaxf(code, 0.0f), (float)MAX_CODE));
    }
}

struct bl_ggml_logits_writer {
    bl_sink *sink;
    size_t record_bytes;
    uint64_t n_left; /* places that are still to come */
};

static bl_status put_front(bl_ggml_logits_writer *w, uint32_t n_ctx, uint32_t vocab_size,
                           uint32_t n_chunks, const int32_t *token, struct bl_err *err)
{
    unsigned char header[HEADER_BYTES], *row = bl_alloc(n_ctx, 4);
    bl_status rc = row ? BL_OK : bl_fail_nomem(err, "logits");

    memcpy(header, magic, sizeof(magic));
    bl_put_u32(header + 8, n_ctx);
    bl_put_u32(header + 12, vocab_size);
    bl_put_u32(header + 16, n_chunks);
    if (rc == BL_OK)
        rc = bl_sink_write(w->sink, header, sizeof(header), err);
    for (size_t c = 0; c < n_chunks && rc == BL_OK; c++) {
        for (size_t i = 0; i < n_ctx; i++)
            bl_put_u32(row + 4 * i, (uint32_t)token[c * n_ctx + i]);
        rc = bl_sink_write(w->sink, row, 4 * (size_t)n_ctx, err);
    }
    bl_free(row);
    return rc;
}

bl_status bl_ggml_logits_begin(bl_ggml_logits_writer **out, const char *path, bool force,
                               uint32_t n_ctx, uint32_t vocab_size, uint32_t n_chunks,
                               const int32_t *token, struct bl_err *err)
{
    bl_ggml_logits_writer *w = bl_calloc(1, sizeof(*w));
    bl_status rc;

    if (!w)
        return bl_fail_nomem(err, path);
    w->record_bytes = (size_t)bl_ggml_logits_record_bytes(vocab_size);
    w->n_left = (uint64_t)n_chunks * scored_of(n_ctx);
    rc = bl_space_check(
        path, HEADER_BYTES + 4 * (uint64_t)n_chunks * n_ctx + w->n_left * w->record_bytes, err);
    if (rc == BL_OK)
        rc = bl_sink_begin(&w->sink, path, force, err);
    if (rc == BL_OK)
        rc = put_front(w, n_ctx, vocab_size, n_chunks, token, err);
    if (rc == BL_OK)
        *out = w;
    else
        bl_ggml_logits_abort(&w);
    return rc;
}

bl_status bl_ggml_logits_put(bl_ggml_logits_writer *writer, const unsigned char *places,
                             size_t n_places, struct bl_err *err)
{
    assert(n_places <= writer->n_left);
    writer->n_left -= n_places;
    return bl_sink_write(writer->sink, places, n_places * writer->record_bytes, err);
}

bl_status bl_ggml_logits_commit(bl_ggml_logits_writer **writer, struct bl_err *err)
{
    bl_status rc;

    assert((*writer)->n_left == 0);
    rc = bl_sink_commit(&(*writer)->sink, err);
    bl_ggml_logits_abort(writer); /* the sink is gone when it was committed: this only frees */
    return rc;
}

void bl_ggml_logits_abort(bl_ggml_logits_writer **writer)
{
    if (!*writer)
        return;
    bl_sink_abort(&(*writer)->sink);
    bl_free(*writer);
    *writer = NULL;
}
