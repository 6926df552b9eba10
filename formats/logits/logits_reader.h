/*
 * logits_reader.h - open a file of kept logits (docs/format-logits.md) and read any of it.
 *
 * Opening reads and checks everything but the head and the records; these are read by whole blocks
 * of 64 rows, whose hashes are compared each time. Thread-safe: a reader does not change.
 */
#ifndef BL_FORMATS_LOGITS_READER_H
#define BL_FORMATS_LOGITS_READER_H

#include "base/source.h"
#include "formats/logits/logits_layout.h"
#include "formats/logits/logits_sparse.h"

typedef struct bl_logits_reader {
    bl_source *source;
    bl_logits_info info;
    bl_logits_layout layout;
    int32_t *token;      /* [n_seqs][n_positions] */
    bl_logits_seq *seq;  /* [n_seqs] */
    unsigned char *hash; /* [n_blocks] u64 */
} bl_logits_reader;

/*
 * Fails with BL_E_FORMAT (not such a file, damaged, truncated), BL_E_UNSUPPORTED (a later version),
 * BL_E_IO or BL_E_NOMEM. Reading damaged rows later fails with BL_E_MISMATCH.
 */
BL_MUST_USE bl_status bl_logits_open(bl_logits_reader **out, const char *path, struct bl_err *err);

/* The same from any source, which now belongs to the reader: it is closed on failure too. */
BL_MUST_USE bl_status bl_logits_open_source(bl_logits_reader **out, bl_source *source,
                                            struct bl_err *err);
void bl_logits_close(bl_logits_reader *reader); /* NULL is allowed */

/* Sparse: records [first, first + n). */
BL_MUST_USE bl_status bl_logits_read_sparse(bl_logits_sparse *out, const bl_logits_reader *reader,
                                            uint64_t first, uint64_t n, struct bl_err *err);

/* Hidden: states of records [first, first + n) to out[n][hidden_size]. */
BL_MUST_USE bl_status bl_logits_read_hidden(float *out, const bl_logits_reader *reader,
                                            uint64_t first, uint64_t n, struct bl_err *err);

/* Hidden: rows [first, first + n) of the output head to out[n][hidden_size]. */
BL_MUST_USE bl_status bl_logits_read_head(float *out, const bl_logits_reader *reader,
                                          uint64_t first, uint64_t n, struct bl_err *err);

#endif
