/*
 * rows.h - a parallel loop over the tokens of an activation, in blocks of fixed size.
 */
#ifndef BL_MODEL_ROWS_H
#define BL_MODEL_ROWS_H

#include "base/err.h"

#include <stddef.h>

enum { BL_ROWS_BLOCK = 64 };

/* Work on rows [row, row + n_rows); i_thread as in bl_par_for(). */
typedef void (*bl_rows_fn)(void *context, size_t row, size_t n_rows, int i_thread);

/* Fails only with BL_E_CANCELLED. */
BL_MUST_USE bl_status bl_rows_for(size_t n_rows, int n_threads, bl_rows_fn fn, void *context,
                                  struct bl_err *err);

#endif
