/*
 * ggml_logits.h - llama.cpp's file of log-probabilities, read and written
 * (`llama-perplexity --kl-divergence-base`): every token of the vocabulary at every scored place.
 *
 * Little-endian, nothing aligned:
 *     "_logits_"   i32 n_ctx   i32 n_vocab   i32 n_chunks   i32 tokens[n_chunks][n_ctx]
 *     for each chunk, for positions n_ctx/2 .. n_ctx - 2:
 *         f32 scale   f32 min   u16 code[n_vocab], and one more where n_vocab is odd
 * ln p of token v is min + scale * code; what is more than 16 nats below the likeliest has code 0.
 * At 129,280 tokens a place costs 258,568 bytes, the clipped tail is gone, and neither model nor text
 * are named: docs/format-logits.md has what to use instead. There is no checksum either.
 */
#ifndef BL_FORMATS_GGML_LOGITS_H
#define BL_FORMATS_GGML_LOGITS_H

#include "base/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_ggml_logits {
    bl_source *source;
    uint32_t n_ctx, vocab_size, n_chunks;
    uint32_t n_scored; /* of one chunk */
    int32_t *token;    /* [n_chunks][n_ctx] as tokenised: BOS replaces none of them */
    uint64_t records, record_bytes;
} bl_ggml_logits;

/* Whether the file begins as one; false when it cannot be read. */
bool bl_ggml_logits_is(const char *path);

/* Fails with BL_E_FORMAT (not such a file, truncated), BL_E_IO or BL_E_NOMEM. */
BL_MUST_USE bl_status bl_ggml_logits_open(bl_ggml_logits **out, const char *path,
                                          struct bl_err *err);
/* The same from any source, which now belongs to the reader: it is closed on failure too. */
BL_MUST_USE bl_status bl_ggml_logits_open_source(bl_ggml_logits **out, bl_source *source,
                                                 struct bl_err *err);
void bl_ggml_logits_close(bl_ggml_logits *reader); /* NULL is allowed */

/* ln p of scored place i (chunk * n_scored + place) to out[vocab_size]. Thread-safe. */
BL_MUST_USE bl_status bl_ggml_logits_read(float *out, const bl_ggml_logits *reader, uint64_t i,
                                          struct bl_err *err);

uint64_t bl_ggml_logits_record_bytes(uint32_t vocab_size);

/* bytes[bl_ggml_logits_record_bytes()] of one place, from its logits. */
void bl_ggml_logits_pack(unsigned char *bytes, const float *logits, uint32_t vocab_size);

typedef struct bl_ggml_logits_writer bl_ggml_logits_writer;

/*
 * token[n_chunks][n_ctx]. As bl_sink_begin(); then the packed places in order, then commit. Nothing
 * appears under the name before (base/sink.h).
 */
BL_MUST_USE bl_status bl_ggml_logits_begin(bl_ggml_logits_writer **out, const char *path,
                                           bool force, uint32_t n_ctx, uint32_t vocab_size,
                                           uint32_t n_chunks, const int32_t *token,
                                           struct bl_err *err);
BL_MUST_USE bl_status bl_ggml_logits_put(bl_ggml_logits_writer *writer, const unsigned char *places,
                                         size_t n_places, struct bl_err *err);
BL_MUST_USE bl_status bl_ggml_logits_commit(bl_ggml_logits_writer **writer, struct bl_err *err);
void bl_ggml_logits_abort(bl_ggml_logits_writer **writer); /* *writer may be NULL */

#endif
