/*
 * bln_codec.c - raw, zstd and const chunks. FP8 nibble split and BF16 plane split have numbers in
 * the format, but no code yet.
 */
#include "formats/bln/bln_codec.h"

#include "base/alloc.h"
#include "formats/stream/stream.h"

#include <assert.h>
#include <string.h>

enum {
    WORTH_PERCENT = 97
}; /* coded data must be smaller than this, else decoding costs for nothing */

struct bl_bln_encoder {
    bl_compressor *zstd;
};

struct bl_bln_decoder {
    bl_decompressor *zstd;
};

bl_status bl_bln_encoder_new(bl_bln_encoder **out, struct bl_err *err)
{
    bl_bln_encoder *encoder = bl_calloc(1, sizeof(*encoder));
    bl_status rc;

    if (!encoder)
        return bl_fail_nomem(err, "encoder");
    rc = bl_compressor_new(&encoder->zstd, BL_STREAM_ZSTD, err);
    if (rc != BL_OK) {
        bl_free(encoder);
        return rc;
    }
    *out = encoder;
    return BL_OK;
}

void bl_bln_encoder_free(bl_bln_encoder *encoder)
{
    if (!encoder)
        return;
    bl_compressor_free(encoder->zstd);
    bl_free(encoder);
}

size_t bl_bln_encode_bound(size_t n)
{
    return bl_stream_bound(BL_STREAM_ZSTD, n);
}

/* The bytes of the value that all n repeat; 0 when there is none. */
static uint32_t find_period(const unsigned char *in, size_t n)
{
    for (uint32_t period = 1; period <= BL_BLN_MAX_CONST; period *= 2)
        if (n > period && n % period == 0 && memcmp(in, in + period, n - period) == 0)
            return period;
    return 0;
}

/*
 * Files are read into memory whole, so their chunks keep a proportion to what the archive stores:
 * megabytes of blanks are kept as they are.
 */
static bool may_expand(int kind, size_t n_stored, size_t n)
{
    return kind == BL_BLN_TENSOR || n <= n_stored * BL_BLN_MAX_RATIO;
}

bl_status bl_bln_encode(bl_bln_chunk *chunk, const unsigned char **out, bl_bln_encoder *encoder,
                        unsigned char *stored, const unsigned char *in, size_t n, int kind,
                        struct bl_err *err)
{
    bl_stream_effort effort = kind == BL_BLN_TENSOR ? BL_STREAM_WEIGHTS : BL_STREAM_TEXT;
    uint32_t period = find_period(in, n);
    size_t n_stored = 0;
    bl_status rc;

    assert(n > 0 && n <= BL_BLN_CHUNK_BYTES);
    *chunk = (bl_bln_chunk){ .n_decoded = (uint32_t)n, .hash = bl_hash64(in, n) };
    if (period > 0 && may_expand(kind, period, n)) {
        chunk->codec = BL_BLN_CONST;
        chunk->n_stored = period;
        *out = in;
        return BL_OK;
    }
    rc = bl_stream_compress(stored, bl_bln_encode_bound(n), &n_stored, encoder->zstd, in, n, effort,
                            err);
    if (rc != BL_OK)
        return rc;
    if (n_stored < n * WORTH_PERCENT / 100 && may_expand(kind, n_stored, n)) {
        chunk->codec = BL_BLN_ZSTD;
        chunk->n_stored = (uint32_t)n_stored;
        *out = stored;
    } else {
        chunk->codec = BL_BLN_RAW;
        chunk->n_stored = (uint32_t)n;
        *out = in;
    }
    return BL_OK;
}

bl_status bl_bln_decoder_new(bl_bln_decoder **out, struct bl_err *err)
{
    bl_bln_decoder *decoder = bl_calloc(1, sizeof(*decoder));
    bl_status rc;

    if (!decoder)
        return bl_fail_nomem(err, "decoder");
    rc = bl_decompressor_new(&decoder->zstd, BL_STREAM_ZSTD, err);
    if (rc != BL_OK) {
        bl_free(decoder);
        return rc;
    }
    *out = decoder;
    return BL_OK;
}

void bl_bln_decoder_free(bl_bln_decoder *decoder)
{
    if (!decoder)
        return;
    bl_decompressor_free(decoder->zstd);
    bl_free(decoder);
}

static void repeat(unsigned char *out, size_t n, const unsigned char *value, size_t n_value)
{
    for (size_t at = 0; at < n; at += n_value)
        memcpy(out + at, value, n_value);
}

bl_status bl_bln_decode(unsigned char *out, bl_bln_decoder *decoder, const bl_bln_chunk *chunk,
                        const unsigned char *stored, struct bl_err *err)
{
    bl_status rc = BL_OK;

    switch (chunk->codec) {
    case BL_BLN_RAW:
        if (stored != out)
            memcpy(out, stored, chunk->n_decoded);
        break;
    case BL_BLN_ZSTD:
        rc = bl_stream_decompress(out, chunk->n_decoded, decoder->zstd, stored, chunk->n_stored,
                                  err);
        break;
    default:
        assert(chunk->codec == BL_BLN_CONST && chunk->n_decoded % chunk->n_stored == 0);
        repeat(out, chunk->n_decoded, stored, chunk->n_stored);
    }
    if (rc == BL_E_FORMAT) { /* what lies in a chunk is data: damaged, not malformed */
        if (err)
            err->status = BL_E_MISMATCH;
        return BL_E_MISMATCH;
    }
    if (rc == BL_OK && bl_hash64(out, chunk->n_decoded) != chunk->hash)
        return bl_fail(err, BL_E_MISMATCH, "its bytes do not have the checksum of the index");
    return rc;
}
