/*
 * journal.h - a log beside an unfinished output: what of it is on the disk for good.
 *
 * A file: "BLJOURN1", a key of 16 bytes, their XXH3-64; then records: length u32, bytes, and the
 * XXH3-64 of both, seeded by the checksum before, so that records cannot change places. Records are
 * appended and synced one at a time. What a power cut tears off the end is found and dropped.
 * Integers are little-endian. Not thread-safe.
 */
#ifndef BL_BASE_JOURNAL_H
#define BL_BASE_JOURNAL_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bl_journal bl_journal;

typedef struct bl_journal_record {
    const unsigned char *bytes; /* owned by the journal, until the next append or cut */
    size_t n;
} bl_journal_record;

/* Create a journal, or empty the one that is there. */
BL_MUST_USE bl_status bl_journal_create(bl_journal **out, const char *path, bl_hash128 key,
                                        struct bl_err *err);

/*
 * Open one to go on with: its sound records are read, the rest is cut off. *out is NULL when there is
 * none, or none with a whole head. BL_E_USAGE when it has another key.
 */
BL_MUST_USE bl_status bl_journal_open(bl_journal **out, const char *path, bl_hash128 key,
                                      struct bl_err *err);

size_t bl_journal_n(const bl_journal *journal);
bl_journal_record bl_journal_at(const bl_journal *journal, size_t i);

/* Append a record; when this returns it is on the disk. */
BL_MUST_USE bl_status bl_journal_append(bl_journal *journal, const void *bytes, size_t n,
                                        struct bl_err *err);

/* Keep the first n records only. */
BL_MUST_USE bl_status bl_journal_cut(bl_journal *journal, size_t n, struct bl_err *err);

void bl_journal_close(bl_journal *journal); /* NULL is allowed; the file stays */

#endif
