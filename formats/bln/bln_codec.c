/*
 * bln_codec.c - which codec a chunk gets, and how each is written and read.
 *
 * Weights are noise but for their exponents: coding these alone by Huffman codes, and leaving the
 * rest as it is, costs little size and is twice as fast as coding whole bytes. What repeats in
 * longer pieces (padding, tables of equal rows) shows in exponents that take next to nothing; it is
 * then tried as whole bytes too.
 */
#include "formats/bln/bln_codec.h"

#include "base/alloc.h"
#include "formats/bln/bln_planes.h"
#include "formats/stream/stream.h"

#include <assert.h>
#include <string.h>

enum {
    WORTH_PERCENT = 97, /* coded data must be smaller than this, else decoding costs for nothing */
    /* exponents of weights take more than this: two of 2.6 bits in a byte, or one */
    SUSPECT_FP8_PERCENT = 40,
    SUSPECT_BF16_PERCENT = 20,
    PLANE_BYTES = BL_BLN_CHUNK_BYTES / 2
};

struct bl_bln_encoder {
    bl_bln_style style;
    bl_compressor *stream; /* of zlib, where the style is portable */
    unsigned char *plane;  /* PLANE_BYTES; NULL where nothing is split */
};

struct bl_bln_decoder {
    bl_decompressor *zstd, *zlib; /* zlib: made when it is met */
    unsigned char *plane;         /* the same */
};

bl_status bl_bln_encoder_new(bl_bln_encoder **out, bl_bln_style style, struct bl_err *err)
{
    bl_bln_encoder *encoder = bl_calloc(1, sizeof(*encoder));
    bl_status rc = BL_OK;

    if (!encoder)
        return bl_fail_nomem(err, "encoder");
    encoder->style = style;
    if (style == BL_BLN_BEST) {
        encoder->plane = bl_alloc(PLANE_BYTES, 1);
        rc = encoder->plane ? bl_compressor_new(&encoder->stream, BL_STREAM_ZSTD, err)
                            : bl_fail_nomem(err, "encoder");
    } else {
        rc = bl_compressor_new(&encoder->stream, BL_STREAM_ZLIB, err);
    }
    if (rc != BL_OK) {
        bl_bln_encoder_free(encoder);
        return rc;
    }
    *out = encoder;
    return BL_OK;
}

void bl_bln_encoder_free(bl_bln_encoder *encoder)
{
    if (!encoder)
        return;
    bl_compressor_free(encoder->stream);
    bl_free(encoder->plane);
    bl_free(encoder);
}

size_t bl_bln_encode_bound(size_t n)
{
    size_t zstd = bl_stream_bound(BL_STREAM_ZSTD, n), zlib = bl_stream_bound(BL_STREAM_ZLIB, n);
    size_t planes = n / 2 + bl_stream_bound(BL_STREAM_ZSTD, n / 2);

    zstd = zstd > zlib ? zstd : zlib;
    return zstd > planes ? zstd : planes;
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

/* Whole bytes. */
static bl_status encode_bytes(bl_bln_chunk *chunk, bl_bln_encoder *encoder, unsigned char *stored,
                              const unsigned char *in, size_t n, int kind, struct bl_err *err)
{
    bl_stream_effort effort = kind == BL_BLN_TENSOR ? BL_STREAM_WEIGHTS : BL_STREAM_TEXT;
    size_t n_stored = 0;
    bl_status rc = bl_stream_compress(stored, bl_bln_encode_bound(n), &n_stored, encoder->stream,
                                      in, n, effort, err);

    chunk->codec = encoder->style == BL_BLN_PORTABLE ? BL_BLN_ZLIB : BL_BLN_ZSTD;
    chunk->n_stored = (uint32_t)n_stored;
    return rc;
}

/* Planes: signs and mantissas as they are, then exponents as a frame. */
static bl_status encode_planes(bl_bln_chunk *chunk, bl_bln_encoder *encoder, unsigned char *stored,
                               const unsigned char *in, size_t n, bl_dtype dtype,
                               struct bl_err *err)
{
    size_t half = n / 2, n_frame = 0;
    bl_status rc;

    (dtype == BL_BF16 ? bl_bln_split_bf16 : bl_bln_split_fp8)(encoder->plane, stored, in, half);
    rc = bl_stream_compress(stored + half, bl_bln_encode_bound(n) - half, &n_frame, encoder->stream,
                            encoder->plane, half, BL_STREAM_ENTROPY, err);
    chunk->codec = dtype == BL_BF16 ? BL_BLN_BF16 : BL_BLN_FP8;
    chunk->n_stored = (uint32_t)(half + n_frame);
    return rc;
}

static bool has_planes(const bl_bln_encoder *encoder, size_t n, int kind, bl_dtype dtype)
{
    return encoder->style == BL_BLN_BEST && kind == BL_BLN_TENSOR && n % 2 == 0 &&
           (dtype == BL_BF16 || dtype == BL_F8_E4M3);
}

static bl_status encode_best(bl_bln_chunk *chunk, bl_bln_encoder *encoder, unsigned char *stored,
                             const unsigned char *in, size_t n, int kind, bl_dtype dtype,
                             struct bl_err *err)
{
    size_t percent = dtype == BL_BF16 ? SUSPECT_BF16_PERCENT : SUSPECT_FP8_PERCENT;
    bl_bln_chunk bytes = *chunk;
    bl_status rc;

    if (!has_planes(encoder, n, kind, dtype))
        return encode_bytes(chunk, encoder, stored, in, n, kind, err);
    rc = encode_planes(chunk, encoder, stored, in, n, dtype, err);
    if (rc != BL_OK || chunk->n_stored - n / 2 >= n / 2 * percent / 100)
        return rc;
    rc = encode_bytes(&bytes, encoder, stored, in, n, kind, err);
    if (rc == BL_OK && bytes.n_stored >= chunk->n_stored)
        return encode_planes(chunk, encoder, stored, in, n, dtype, err);
    *chunk = bytes;
    return rc;
}

bl_status bl_bln_encode(bl_bln_chunk *chunk, const unsigned char **out, bl_bln_encoder *encoder,
                        unsigned char *stored, const unsigned char *in, size_t n, int kind,
                        bl_dtype dtype, struct bl_err *err)
{
    uint32_t period = find_period(in, n);
    bl_status rc;

    assert(n > 0 && n <= BL_BLN_CHUNK_BYTES);
    *chunk = (bl_bln_chunk){ .n_decoded = (uint32_t)n, .hash = bl_hash64(in, n) };
    if (period > 0 && may_expand(kind, period, n)) {
        chunk->codec = BL_BLN_CONST;
        chunk->n_stored = period;
        *out = in;
        return BL_OK;
    }
    rc = encode_best(chunk, encoder, stored, in, n, kind, dtype, err);
    if (rc != BL_OK)
        return rc;
    *out = stored;
    if (chunk->n_stored >= n * WORTH_PERCENT / 100 || !may_expand(kind, chunk->n_stored, n)) {
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
    bl_decompressor_free(decoder->zlib);
    bl_free(decoder->plane);
    bl_free(decoder);
}

/* Twice as much with each step: memcpy() at its own speed, whatever the value's size. */
static void repeat(unsigned char *out, size_t n, const unsigned char *value, size_t n_value)
{
    memcpy(out, value, n_value);
    for (size_t done = n_value; done < n;) {
        size_t step = done < n - done ? done : n - done;

        memcpy(out + done, out, step);
        done += step;
    }
}

static bl_status decode_planes(unsigned char *out, bl_bln_decoder *decoder,
                               const bl_bln_chunk *chunk, const unsigned char *stored,
                               struct bl_err *err)
{
    size_t half = chunk->n_decoded / 2;
    bl_status rc;

    assert(chunk->n_decoded % 2 == 0 && chunk->n_stored > half);
    if (!decoder->plane)
        decoder->plane = bl_alloc(PLANE_BYTES, 1);
    if (!decoder->plane)
        return bl_fail_nomem(err, "decoder");
    rc = bl_stream_decompress(decoder->plane, half, decoder->zstd, stored + half,
                              chunk->n_stored - half, err);
    if (rc == BL_OK)
        (chunk->codec == BL_BLN_BF16 ? bl_bln_merge_bf16 : bl_bln_merge_fp8)(out, decoder->plane,
                                                                             stored, half);
    return rc;
}

static bl_status decode_zlib(unsigned char *out, bl_bln_decoder *decoder, const bl_bln_chunk *chunk,
                             const unsigned char *stored, struct bl_err *err)
{
    bl_status rc = decoder->zlib ? BL_OK : bl_decompressor_new(&decoder->zlib, BL_STREAM_ZLIB, err);

    return rc == BL_OK ? bl_stream_decompress(out, chunk->n_decoded, decoder->zlib, stored,
                                              chunk->n_stored, err)
                       : rc;
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
    case BL_BLN_FP8:
    case BL_BLN_BF16:
        rc = decode_planes(out, decoder, chunk, stored, err);
        break;
    case BL_BLN_ZLIB:
        rc = decode_zlib(out, decoder, chunk, stored, err);
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
