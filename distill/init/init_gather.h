/*
 * init_gather.h - a matrix out of parts of others: matrices under or beside each other, each times a number, and
 * of what that gives some rows and columns. Internal to distill/.
 *
 * Memory of a read: 1 MiB beside the rows asked for, or one row of a source where that is longer.
 */
#ifndef BL_DISTILL_INIT_GATHER_H
#define BL_DISTILL_INIT_GATHER_H

#include "formats/ckpt/ckpt.h"

typedef struct bl_init_part {
    const bl_tensor *tensor;
    float scale;
} bl_init_part;

typedef struct bl_init_gather {
    const bl_ckpt *ckpt;
    const bl_init_part *part; /* [n_parts] */
    uint32_t n_parts;
    bool beside; /* columns follow each other, and rows are shared; else rows do, and columns are */
    /*
     * Which rows and columns of the whole, ascending; NULL: all, in order, and zeros behind the last.
     */
    const uint32_t *row, *col;
    uint64_t n_cols; /* of the result */
} bl_init_gather;

/* The reading function of a bl_rows; tensor: the bl_init_gather. */
BL_MUST_USE bl_status bl_init_gather_read(const void *context, const void *tensor, uint64_t row,
                                          uint64_t n_rows, float *out, struct bl_err *err);

#endif
