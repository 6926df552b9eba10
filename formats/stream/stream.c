/*
 * stream.c - the only file that includes zstd.h and zlib.h.
 *
 * ZSTD_STATIC_LINKING_ONLY gives the two constructors that take an allocator, and the parameter
 * that forces Huffman coding; every other parameter that decides a byte belongs to zstd's stable
 * interface.
 */
#include "formats/stream/stream.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define ZLIB_CONST
#define ZSTD_STATIC_LINKING_ONLY
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct bl_compressor {
    bl_stream_format format;
    ZSTD_CCtx *zstd;
    z_stream zlib;
    bool zlib_ready;
};

struct bl_decompressor {
    bl_stream_format format;
    ZSTD_DCtx *zstd;
    z_stream zlib;
    bool zlib_ready;
};

static void *zstd_alloc(void *opaque, size_t n)
{
    (void)opaque;
    return bl_alloc(n, 1);
}

static void zstd_free(void *opaque, void *p)
{
    (void)opaque;
    bl_free(p);
}

static voidpf zlib_alloc(voidpf opaque, uInt n, uInt size)
{
    (void)opaque;
    return bl_alloc(n, size);
}

static void zlib_free(voidpf opaque, voidpf p)
{
    (void)opaque;
    bl_free(p);
}

static const ZSTD_customMem zstd_memory = { zstd_alloc, zstd_free, NULL };

size_t bl_stream_bound(bl_stream_format format, size_t n)
{
    assert(n <= BL_STREAM_MAX_BYTES);
    return format == BL_STREAM_ZSTD ? ZSTD_compressBound(n) : compressBound(n);
}

bl_status bl_compressor_new(bl_compressor **out, bl_stream_format format, struct bl_err *err)
{
    bl_compressor *c = bl_calloc(1, sizeof(*c));

    if (!c)
        return bl_fail_nomem(err, "compressor");
    c->format = format;
    if (format == BL_STREAM_ZSTD) {
        c->zstd = ZSTD_createCCtx_advanced(zstd_memory);
    } else {
        c->zlib.zalloc = zlib_alloc;
        c->zlib.zfree = zlib_free;
        c->zlib_ready = deflateInit(&c->zlib, Z_DEFAULT_COMPRESSION) == Z_OK;
    }
    if (!c->zstd && !c->zlib_ready) {
        bl_compressor_free(c);
        return bl_fail_nomem(err, "compressor");
    }
    *out = c;
    return BL_OK;
}

void bl_compressor_free(bl_compressor *compressor)
{
    if (!compressor)
        return;
    ZSTD_freeCCtx(compressor->zstd);
    if (compressor->zlib_ready)
        deflateEnd(&compressor->zlib);
    bl_free(compressor);
}

static bl_status zstd_failed(size_t code, const char *doing, struct bl_err *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return bl_fail_nomem(err, doing);
    return bl_fail(err, BL_E_FORMAT, "zstd: %s: %s", doing, ZSTD_getErrorName(code));
}

/*
 * What repeats in weights is too short to be worth a match, so the table that finds repeats is
 * made tiny and seven equal bytes are asked for: the size of level 1 at up to a quarter more
 * speed. With "fast" a target length is the step of the search; a huge one all but ends it. zstd
 * then also stops coding literals, unless it is told to: a version that cannot be told searches.
 */
static size_t set_effort(ZSTD_CCtx *zstd, bl_stream_effort effort)
{
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } weights[] = {
        { ZSTD_c_compressionLevel, 1 }, { ZSTD_c_strategy, ZSTD_fast }, { ZSTD_c_hashLog, 6 },
        { ZSTD_c_minMatch, 7 },         { ZSTD_c_targetLength, 0 },
    };
    size_t code = ZSTD_CCtx_reset(zstd, ZSTD_reset_session_and_parameters);
    bool force_huffman = false;

    if (effort == BL_STREAM_TEXT)
        return ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, 9);
    if (effort == BL_STREAM_ENTROPY)
        force_huffman = !ZSTD_isError(
            ZSTD_CCtx_setParameter(zstd, ZSTD_c_literalCompressionMode, ZSTD_lcm_huffman));
    for (size_t i = 0; !ZSTD_isError(code) && i < sizeof(weights) / sizeof(*weights); i++)
        code = ZSTD_CCtx_setParameter(zstd, weights[i].parameter, weights[i].value);
    if (!ZSTD_isError(code) && force_huffman)
        code = ZSTD_CCtx_setParameter(zstd, ZSTD_c_targetLength, ZSTD_TARGETLENGTH_MAX);
    return code;
}

static bl_status zlib_compress(void *out, size_t size, size_t *n_out, z_stream *zlib,
                               const void *in, size_t n, bl_stream_effort effort,
                               struct bl_err *err)
{
    bool weights = effort != BL_STREAM_TEXT;
    int code = deflateReset(zlib);

    if (code == Z_OK)
        code = deflateParams(zlib, weights ? 1 : Z_DEFAULT_COMPRESSION,
                             weights ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY);
    zlib->next_in = in;
    zlib->avail_in = (uInt)n;
    zlib->next_out = out;
    zlib->avail_out = (uInt)(size < UINT32_MAX ? size : UINT32_MAX);
    if (code == Z_OK)
        code = deflate(zlib, Z_FINISH);
    if (code != Z_STREAM_END)
        return bl_fail(err, BL_E_FORMAT, "zlib: compression ended with code %d", code);
    *n_out = zlib->total_out;
    return BL_OK;
}

bl_status bl_stream_compress(void *out, size_t size, size_t *n_out, bl_compressor *compressor,
                             const void *in, size_t n, bl_stream_effort effort, struct bl_err *err)
{
    size_t code;

    assert(size >= bl_stream_bound(compressor->format, n));
    if (compressor->format == BL_STREAM_ZLIB)
        return zlib_compress(out, size, n_out, &compressor->zlib, in, n, effort, err);
    code = set_effort(compressor->zstd, effort);
    if (!ZSTD_isError(code))
        code = ZSTD_compress2(compressor->zstd, out, size, in, n);
    if (ZSTD_isError(code))
        return zstd_failed(code, "compress", err);
    *n_out = code;
    return BL_OK;
}

bl_status bl_decompressor_new(bl_decompressor **out, bl_stream_format format, struct bl_err *err)
{
    bl_decompressor *d = bl_calloc(1, sizeof(*d));

    if (!d)
        return bl_fail_nomem(err, "decompressor");
    d->format = format;
    if (format == BL_STREAM_ZSTD) {
        d->zstd = ZSTD_createDCtx_advanced(zstd_memory);
    } else {
        d->zlib.zalloc = zlib_alloc;
        d->zlib.zfree = zlib_free;
        d->zlib_ready = inflateInit(&d->zlib) == Z_OK;
    }
    if (!d->zstd && !d->zlib_ready) {
        bl_decompressor_free(d);
        return bl_fail_nomem(err, "decompressor");
    }
    *out = d;
    return BL_OK;
}

void bl_decompressor_free(bl_decompressor *decompressor)
{
    if (!decompressor)
        return;
    ZSTD_freeDCtx(decompressor->zstd);
    if (decompressor->zlib_ready)
        inflateEnd(&decompressor->zlib);
    bl_free(decompressor);
}

static bl_status zlib_decompress(void *out, size_t n_out, z_stream *zlib, const void *in, size_t n,
                                 struct bl_err *err)
{
    int code = inflateReset(zlib);

    zlib->next_in = in;
    zlib->avail_in = (uInt)n;
    zlib->next_out = out;
    zlib->avail_out = (uInt)n_out;
    if (code == Z_OK)
        code = inflate(zlib, Z_FINISH);
    if (code == Z_MEM_ERROR)
        return bl_fail_nomem(err, "decompress");
    if (code != Z_STREAM_END)
        return bl_fail(err, BL_E_FORMAT, "zlib: %s", zlib->msg ? zlib->msg : "wrong size");
    if (zlib->avail_out != 0 || zlib->avail_in != 0)
        return bl_fail(err, BL_E_FORMAT, "zlib: the stream does not end where it should");
    return BL_OK;
}

/*
 * One frame, one pass, straight into out: a window size claimed by the frame is never allocated.
 * zstd itself would also take several frames in a row, and skippable ones, as one block.
 */
static bl_status zstd_decompress(void *out, size_t n_out, ZSTD_DCtx *zstd, const void *in, size_t n,
                                 struct bl_err *err)
{
    size_t code = ZSTD_findFrameCompressedSize(in, n);

    if (ZSTD_isError(code))
        return zstd_failed(code, "decompress", err);
    if (code != n || ZSTD_isSkippableFrame(in, n))
        return bl_fail(err, BL_E_FORMAT, "zstd: %zu bytes are not one frame", n);
    code = ZSTD_decompressDCtx(zstd, out, n_out, in, n);
    if (ZSTD_isError(code))
        return zstd_failed(code, "decompress", err);
    if (code != n_out)
        return bl_fail(err, BL_E_FORMAT, "zstd: the frame holds %zu bytes, not %zu", code, n_out);
    return BL_OK;
}

bl_status bl_stream_decompress(void *out, size_t n_out, bl_decompressor *decompressor,
                               const void *in, size_t n, struct bl_err *err)
{
    assert(n_out <= BL_STREAM_MAX_BYTES);
    if (n > BL_STREAM_MAX_BYTES)
        return bl_fail(err, BL_E_FORMAT, "a compressed block of %zu bytes is absurd", n);
    if (decompressor->format == BL_STREAM_ZLIB)
        return zlib_decompress(out, n_out, &decompressor->zlib, in, n, err);
    return zstd_decompress(out, n_out, decompressor->zstd, in, n, err);
}
