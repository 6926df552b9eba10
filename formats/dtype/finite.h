/*
 * finite.h - whether stored numbers are numbers: no NaN code, no infinity.
 *
 * Works on the bytes as they lie in the file. Types without such codes (integers, F4, F6) always
 * pass. Block encodings pass unseen: their scales are checked where they are decoded.
 */
#ifndef BL_FORMATS_FINITE_H
#define BL_FORMATS_FINITE_H

#include "formats/dtype/dtype.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * True when every value in n_bytes (unaligned; whole elements) is finite. Otherwise false and
 * *index is the first element that is not. index may be NULL.
 */
bool bl_dtype_check_finite(bl_dtype dtype, const void *bytes, size_t n_bytes, size_t *index);

#endif
