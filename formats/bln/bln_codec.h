/*
 * bln_codec.h - one chunk of at most BL_BLN_CHUNK_BYTES, coded and decoded by itself.
 *
 * Encoders and decoders hold what is expensive to make: one per thread, by its owner.
 */
#ifndef BL_FORMATS_BLN_CODEC_H
#define BL_FORMATS_BLN_CODEC_H

#include "base/err.h"
#include "formats/bln/bln_layout.h"

typedef struct bl_bln_encoder bl_bln_encoder;
typedef struct bl_bln_decoder bl_bln_decoder;

/* Which codecs an encoder may take. */
typedef enum bl_bln_style {
    BL_BLN_BEST,    /* zstd, by planes where the type has them */
    BL_BLN_PORTABLE /* zlib, which every language has */
} bl_bln_style;

BL_MUST_USE bl_status bl_bln_encoder_new(bl_bln_encoder **out, bl_bln_style style,
                                         struct bl_err *err);
void bl_bln_encoder_free(bl_bln_encoder *encoder);

/* Bytes that bl_bln_encode() needs in `stored` for n decoded bytes. */
size_t bl_bln_encode_bound(size_t n);

/*
 * Code n > 0 bytes of an entry of this kind, and of a tensor of this type. The chunk's codec, sizes
 * and hash are set. *out is where the coded bytes are: in `stored`, or `in` itself when coding does
 * not pay. The same bytes give the same chunk, whatever was coded before.
 */
BL_MUST_USE bl_status bl_bln_encode(bl_bln_chunk *chunk, const unsigned char **out,
                                    bl_bln_encoder *encoder, unsigned char *stored,
                                    const unsigned char *in, size_t n, int kind, bl_dtype dtype,
                                    struct bl_err *err);

BL_MUST_USE bl_status bl_bln_decoder_new(bl_bln_decoder **out, struct bl_err *err);
void bl_bln_decoder_free(bl_bln_decoder *decoder);

/*
 * Decode chunk->n_stored bytes, whose record has been checked, into out[chunk->n_decoded] and
 * compare the hash. For a raw chunk, stored may be out. BL_E_MISMATCH when the data is damaged;
 * the sentence does not know the file.
 */
BL_MUST_USE bl_status bl_bln_decode(unsigned char *out, bl_bln_decoder *decoder,
                                    const bl_bln_chunk *chunk, const unsigned char *stored,
                                    struct bl_err *err);

#endif
