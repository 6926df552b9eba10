/*
 * hfquant_read.h - what the files that decode rows share. Internal to formats/hfquant.
 */
#ifndef BL_FORMATS_HFQUANT_READ_H
#define BL_FORMATS_HFQUANT_READ_H

#include "formats/hfquant/hfquant.h"

/* One call's view: what is read, where it goes. */
typedef struct bl_reading {
    const bl_container *container;
    const bl_parts *parts;
    uint64_t row, n_rows, n_cols;
    float *out;
    struct bl_err *err;
} bl_reading;

/* n bytes of stored tensor i from offset, in memory that the caller frees. */
BL_MUST_USE bl_status bl_reading_fetch(void **out, const bl_reading *r, size_t i, uint64_t offset,
                                       uint64_t n);

/*
 * Rows [first, first + n) of the matrix of scales, per_row of them each, all finite, as F32 that
 * the caller frees.
 */
BL_MUST_USE bl_status bl_reading_fetch_scales(float **out, const bl_reading *r, uint64_t first,
                                              uint64_t n, uint64_t per_row);

/* Fail where a decoded value is not finite; what: "value", "FP8 code". */
BL_MUST_USE bl_status bl_reading_check_finite(const bl_reading *r, const char *what);

/* Fail because the number at [i, j] of a stored tensor is not finite. */
BL_MUST_USE bl_status bl_reading_fail(const bl_reading *r, size_t stored, const char *what,
                                      uint64_t i, uint64_t j);

/* Index of the first value that is not finite, n when all are. */
size_t bl_find_nonfinite(const float *x, size_t n);

/* Whether limit times the largest of n finite scales is finite too. */
bool bl_scales_are_below(const float *scales, size_t n, float limit);

/* Rows of int4 matrices: packed by row or transposed, symmetric or with zero points, in any order. */
BL_MUST_USE bl_status bl_reading_int4(const bl_reading *r);

#endif
