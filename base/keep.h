/*
 * keep.h - what is kept of an unfinished output, so that a later run can go on. sink.c and outdir.c
 * run it; whoever writes gives the options and asks for the states.
 *
 * Beside NAME.partial lies NAME.partial.journal (journal.h). A record says of one file that its bytes
 * [from, to) are on the disk, with their XXH3-128; one that ends a checkpoint also has the caller's
 * state. The journal is made at the first checkpoint: an output that has none leaves nothing.
 *
 *   u16 length of the file's name in its folder ("" for a lone file), name, u64 from, u64 to,
 *   u64 hash low, u64 hash high, state to the end of the record
 */
#ifndef BL_BASE_KEEP_H
#define BL_BASE_KEEP_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How an output that can be resumed is begun; see sink.h. */
typedef struct bl_keep_options {
    bool resume;    /* go on from what an unfinished run left, if it did */
    bl_hash128 key; /* of everything that decides the output's bytes */
    uint64_t loose; /* bytes at the start of a lone file that will be patched when it is complete */
} bl_keep_options;

typedef struct bl_keep bl_keep;

/* What a file had been written to: its bytes up to `to` were there, [from, to) are new. */
typedef struct bl_keep_segment {
    const char *name;
    uint64_t from, to;
    bl_hash128 hash;
} bl_keep_segment;

/*
 * partial: the lone file, or the folder (is_folder). With options->resume the journal is read and every
 * byte that it speaks of verified; what is not sound is forgotten, back to the last checkpoint before
 * it. Otherwise a journal that lies there is removed. BL_E_USAGE when it is of another output.
 */
BL_MUST_USE bl_status bl_keep_begin(bl_keep **out, const char *partial, bool is_folder,
                                    const bl_keep_options *options, struct bl_err *err);

/* Bytes of a file that an earlier run left and that are sound; 0: none. */
uint64_t bl_keep_verified(const bl_keep *keep, const char *name);

/* The same of all files together. */
uint64_t bl_keep_verified_bytes(const bl_keep *keep);

/* The states of the earlier run's checkpoints, in order. */
size_t bl_keep_n_states(const bl_keep *keep);
const void *bl_keep_state(size_t *n, const bl_keep *keep, size_t i);

/*
 * Note a segment that is on the disk. With a state (not NULL) it ends a checkpoint: when this
 * returns, the checkpoint is on the disk, the names of files in the folder too.
 */
BL_MUST_USE bl_status bl_keep_note(bl_keep *keep, const bl_keep_segment *segment, const void *state,
                                   size_t n_state, struct bl_err *err);

/* Whether there is a checkpoint, of this run or of an earlier one. */
bool bl_keep_is_worth_it(const bl_keep *keep);

/* The output is complete, or nobody wants it: remove the journal. */
void bl_keep_remove(bl_keep *keep);
void bl_keep_free(bl_keep *keep); /* NULL is allowed; the journal stays */

#endif
