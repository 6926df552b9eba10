/*
 * stream.h - the door to zstd (RFC 8878) and zlib (RFC 1950): one block of bytes at a time.
 *
 * A block is compressed into one frame and decompressed into exactly the size that the caller
 * knows beforehand, so no size that a file claims ever leads to an allocation here. Contexts are
 * expensive to make and cheap to use again: a caller owns one per thread. Their memory comes from
 * base/alloc.h. Long streams (a pipe, a window kept between calls) are left out: nobody has one.
 */
#ifndef BL_FORMATS_STREAM_H
#define BL_FORMATS_STREAM_H

#include "base/err.h"

#include <stddef.h>

typedef enum bl_stream_format { BL_STREAM_ZSTD, BL_STREAM_ZLIB } bl_stream_format;

typedef enum bl_stream_effort {
    BL_STREAM_WEIGHTS, /* entropy coding, all but no search for repeats: weights have none */
    BL_STREAM_ENTROPY, /* entropy coding alone: one plane of weights */
    BL_STREAM_TEXT     /* search for repeats: JSON, tables, small integers */
} bl_stream_effort;

typedef struct bl_compressor bl_compressor;
typedef struct bl_decompressor bl_decompressor;

enum { BL_STREAM_MAX_BYTES = 1 << 30 }; /* of a block, decompressed: zlib counts in 32 bits */

/* Bytes that a block of n <= BL_STREAM_MAX_BYTES needs at most once it is compressed. */
size_t bl_stream_bound(bl_stream_format format, size_t n);

BL_MUST_USE bl_status bl_compressor_new(bl_compressor **out, bl_stream_format format,
                                        struct bl_err *err);
void bl_compressor_free(bl_compressor *compressor);

/*
 * Compress n bytes into out (size bytes, at least bl_stream_bound) and set *n_out. The same bytes
 * and effort give the same result with the same version of the library, whatever was compressed
 * before.
 */
BL_MUST_USE bl_status bl_stream_compress(void *out, size_t size, size_t *n_out,
                                         bl_compressor *compressor, const void *in, size_t n,
                                         bl_stream_effort effort, struct bl_err *err);

BL_MUST_USE bl_status bl_decompressor_new(bl_decompressor **out, bl_stream_format format,
                                          struct bl_err *err);
void bl_decompressor_free(bl_decompressor *decompressor);

/*
 * Decompress one whole frame of n bytes into exactly n_out bytes. BL_E_FORMAT when the frame is
 * damaged, ends before or after byte n, or holds another number of bytes; out is then undefined.
 */
BL_MUST_USE bl_status bl_stream_decompress(void *out, size_t n_out, bl_decompressor *decompressor,
                                           const void *in, size_t n, struct bl_err *err);

#endif
