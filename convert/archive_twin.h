/*
 * archive_twin.h - tensors that hold the same bytes (R1 keeps its embedding and its head twice).
 * Internal to convert/.
 *
 * Candidates agree in type, size and the hash of their first bytes; then they are compared byte by
 * byte, because what an archive drops must not hang on a hash. Memory: 32 bytes for each tensor.
 */
#ifndef BL_CONVERT_ARCHIVE_TWIN_H
#define BL_CONVERT_ARCHIVE_TWIN_H

#include "base/err.h"
#include "formats/ckpt/container.h"

#include <stdbool.h>

typedef struct bl_twins bl_twins;

BL_MUST_USE bl_status bl_twins_new(bl_twins **out, const bl_container *container, int n_threads,
                                   struct bl_err *err);

/*
 * Whether an earlier tensor, *first, holds the bytes of tensor i. Asked once for each tensor, in
 * ascending order. The earliest of several is found.
 */
BL_MUST_USE bl_status bl_twins_find(bool *found, size_t *first, bl_twins *twins, size_t i,
                                    struct bl_err *err);
/* Tensor i is written: know it, without asking. */
BL_MUST_USE bl_status bl_twins_note(bl_twins *twins, size_t i, struct bl_err *err);
void bl_twins_free(bl_twins *twins);

#endif
