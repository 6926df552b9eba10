/*
 * tile.h - a tile: some rows of a job, read, encoded and measured by one thread. Internal to
 * convert/.
 */
#ifndef BL_CONVERT_TILE_H
#define BL_CONVERT_TILE_H

#include "convert/job.h"

/* Where one thread works, on one tile after the other. Zero-initialise. */
typedef struct bl_tile_work {
    float *value;   /* the rows */
    float *decoded; /* the rows as they will be read again, where the loss is wanted */
    float *importance;
    size_t n_value, n_decoded, n_importance; /* room, in values */
    const bl_job *job;                       /* whose importance it holds: */
    uint64_t importance_row;
} bl_tile_work;

/* What becomes of a tile. Zero-initialise. */
typedef struct bl_tile {
    unsigned char *part[BL_JOB_MAX_PARTS];
    size_t part_size[BL_JOB_MAX_PARTS]; /* room, in bytes */
    bl_loss loss;
} bl_tile;

/* Make room for tiles of n_rows rows of the job. */
BL_MUST_USE bl_status bl_tile_work_reserve(bl_tile_work *work, const bl_job *job, uint64_t n_rows,
                                           struct bl_err *err);
BL_MUST_USE bl_status bl_tile_reserve(bl_tile *tile, const bl_job *job, uint64_t n_rows,
                                      struct bl_err *err);
void bl_tile_work_release(bl_tile_work *work);
void bl_tile_release(bl_tile *tile);

/* Rows [row, row + n_rows): whole units of the encoder, but for the end of the matrix. */
BL_MUST_USE bl_status bl_tile_encode(bl_tile *tile, bl_tile_work *work, const bl_job *job,
                                     uint64_t row, uint64_t n_rows, struct bl_err *err);

/* Where the bytes of these rows lie in part k: *offset and how many; 0 for a constant part. */
uint64_t bl_tile_part_bytes(uint64_t *offset, const bl_job *job, uint32_t k, uint64_t row,
                            uint64_t n_rows);

/* Rows that this job's encoder takes together: 1, its unit, or all. */
uint64_t bl_tile_unit_rows(const bl_job *job);

#endif
