/*
 * hf_listing.h - the plain files of a checkpoint folder.
 */
#ifndef BL_FORMATS_HF_LISTING_H
#define BL_FORMATS_HF_LISTING_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bl_hf_listing {
    const char *const *name; /* sorted by byte value */
    size_t n;
} bl_hf_listing;

/*
 * All regular files at the top level of a folder, symbolic links followed. Everything in *out is
 * allocated from the arena. Fails with BL_E_IO, BL_E_NOMEM, or BL_E_FORMAT for a name with a
 * control character.
 */
BL_MUST_USE bl_status bl_hf_list_files(bl_hf_listing *out, bl_arena *arena, const char *path,
                                       struct bl_err *err);
bool bl_hf_listing_has(const bl_hf_listing *listing, const char *name);

#endif
