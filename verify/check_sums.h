/*
 * check_sums.h - the files of a checkpoint against a list of SHA-256 sums, as sha256sum(1) writes
 * it and publishers of checkpoints give it.
 *
 * A line is 64 hexadecimal digits, two spaces or a space and '*', and a file name; CRLF, empty lines
 * and lines that begin with '#' are allowed. Names are relative to the folder, "./" in front is
 * allowed, ".." and absolute ones are refused.
 *
 * Nothing of the checkpoint is opened but read: a damaged file is named, whatever else is wrong.
 */
#ifndef BL_VERIFY_CHECK_SUMS_H
#define BL_VERIFY_CHECK_SUMS_H

#include "verify/check.h"

typedef struct bl_sums_result {
    size_t n_files;        /* compared */
    uint64_t n_bytes;      /* of these */
    bl_check_result check; /* faults: another sum, not there; notes: files that are not listed */
} bl_sums_result;

/*
 * path: a folder, of which every listed file must be there and equal, or one file, which must be
 * listed. Different files are hashed at the same time by n_threads threads, 1 MiB each.
 * BL_OK when it could be done, whatever was found. The caller releases *out. Fails with BL_E_IO,
 * BL_E_FORMAT (the list), BL_E_NOMEM or BL_E_CANCELLED.
 */
BL_MUST_USE bl_status bl_check_sums(bl_sums_result *out, const char *path, const char *list,
                                    int n_threads, bool progress, struct bl_err *err);
void bl_sums_release(bl_sums_result *result);

#endif
