/*
 * spill.h - bytes that do not fit in memory: a nameless file in a scratch folder.
 *
 * The file has no name, so it disappears with the process however that ends. Its space is reserved
 * when it is made (where the file system can), so a full disk is a sentence at the start and not
 * after hours. What the machine has free keeps it in the page cache. Reads and writes of disjoint
 * ranges are thread-safe.
 */
#ifndef BL_BASE_SPILL_H
#define BL_BASE_SPILL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bl_spill bl_spill;

/* n_bytes of zeros in folder. Fails with BL_E_IO, naming the folder. */
BL_MUST_USE bl_status bl_spill_new(bl_spill **out, const char *folder, uint64_t n_bytes,
                                   struct bl_err *err);
void bl_spill_free(bl_spill *spill); /* NULL is allowed */

/* [offset, offset + n) must lie inside. */
BL_MUST_USE bl_status bl_spill_read(const bl_spill *spill, uint64_t offset, void *out, size_t n,
                                    struct bl_err *err);
BL_MUST_USE bl_status bl_spill_write(bl_spill *spill, uint64_t offset, const void *bytes, size_t n,
                                     struct bl_err *err);

#endif
