/*
 * logits_writer.h - write a file of kept logits (docs/format-logits.md), front to back.
 *
 * Calling sequence:
 *     bl_logits_begin(&writer, "x.logits", force, &info, token, seq, err);
 *     bl_logits_put(writer, rows, n_rows, err);   hidden: the head's rows; then the records
 *     bl_logits_commit(&writer, err);             when all of them came
 * or  bl_logits_abort(&writer);
 *
 * The bytes depend on what is given only: no time, no path. Nothing appears under the name before
 * the commit (base/sink.h). Memory: 64 rows and the hashes, 8 bytes for 64 rows.
 */
#ifndef BL_FORMATS_LOGITS_WRITER_H
#define BL_FORMATS_LOGITS_WRITER_H

#include "formats/logits/logits_layout.h"

typedef struct bl_logits_writer bl_logits_writer;

/*
 * token[n_seqs][n_positions], seq[n_seqs]. info->tokens is filled in here. BL_E_UNSUPPORTED when
 * the numbers make no file; else as bl_sink_begin().
 */
BL_MUST_USE bl_status bl_logits_begin(bl_logits_writer **out, const char *path, bool force,
                                      const bl_logits_info *info, const int32_t *token,
                                      const bl_logits_seq *seq, struct bl_err *err);

/* The next n_rows rows, packed; a call ends where the head does at the latest. */
BL_MUST_USE bl_status bl_logits_put(bl_logits_writer *writer, const unsigned char *rows,
                                    uint64_t n_rows, struct bl_err *err);

BL_MUST_USE bl_status bl_logits_commit(bl_logits_writer **writer, struct bl_err *err);
void bl_logits_abort(bl_logits_writer **writer); /* *writer may be NULL */

#endif
