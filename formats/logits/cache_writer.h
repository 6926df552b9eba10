/*
 * cache_writer.h - write the shards of a teacher's cache (formats/logits/cache.h).
 *
 * A shard is gathered in memory and coded when it is whole, as its tables of codes are made from its
 * own counts: about 6 bytes an entry and 13 a token. Hidden states are written as they come. Calling
 * sequence:
 *
 *     bl_cache_shard_begin(&shard, folder, &info, i, force, err);   makes the folder where it is not
 *     bl_cache_shard_add(shard, &seq, err);                         its sequences in order
 *     bl_cache_shard_commit(&shard, err);                           now the file is there
 * or  bl_cache_shard_abort(&shard);
 */
#ifndef BL_FORMATS_LOGITS_CACHE_WRITER_H
#define BL_FORMATS_LOGITS_CACHE_WRITER_H

#include "formats/logits/cache.h"

typedef struct bl_cache_shard bl_cache_shard;

/*
 * What another run left unfinished (shard-*.blc.partial) is refused without `force`, as bl_sink_begin()
 * does; it is worth nothing. BL_E_UNSUPPORTED when the numbers of info make no cache.
 */
BL_MUST_USE bl_status bl_cache_shard_begin(bl_cache_shard **out, const char *folder,
                                           const bl_cache_info *info, uint32_t i_shard, bool force,
                                           struct bl_err *err);
/* Copied. Entries must be as cache.h says; asserted. */
BL_MUST_USE bl_status bl_cache_shard_add(bl_cache_shard *shard, const bl_cache_seq *seq,
                                         struct bl_err *err);
/* BL_E_USAGE when sequences are missing. Ends the shard and sets it to NULL, on failure too. */
BL_MUST_USE bl_status bl_cache_shard_commit(bl_cache_shard **shard, struct bl_err *err);
void bl_cache_shard_abort(bl_cache_shard **shard);

/*
 * Is shard i there, whole, and of this cache? *out says so. BL_E_MISMATCH when one is there that
 * is of another cache (which field differs), BL_E_FORMAT when it is damaged.
 */
BL_MUST_USE bl_status bl_cache_shard_done(bool *out, const char *folder, const bl_cache_info *info,
                                          uint32_t i_shard, struct bl_err *err);

/*
 * Hidden: the output head [vocab_size][hidden_size] into the folder, rows in ascending order from
 * `rows`, in the type that keeps the teacher's values (BF16 or F32). Nothing when it is there.
 */
typedef bl_status (*bl_cache_rows_fn)(void *context, float *out, uint64_t row, uint64_t n_rows,
                                      struct bl_err *err);
BL_MUST_USE bl_status bl_cache_write_head(const char *folder, const bl_cache_info *info, bool bf16,
                                          bool force, bl_cache_rows_fn rows, void *context,
                                          struct bl_err *err);

/*
 * Gather the shards of several folders (parts of one cache, made on several machines) in `folder`:
 * each is checked whole, then copied. BL_E_MISMATCH when they are of different caches, twice there
 * with other bytes, or one is missing.
 */
BL_MUST_USE bl_status bl_cache_merge(const char *folder, const char *const *part, size_t n_parts,
                                     bool force, struct bl_err *err);

#endif
