/* pipeline.c - tiles in parallel, bytes in order. */
#include "convert/pipeline.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TILE_VALUES = 1 << 20, TILES_PER_THREAD = 2 };

/* Memory for one tile in flight. */
struct tile {
    float *rows;
    size_t rows_size; /* values */
    unsigned char *part[BL_JOB_MAX_PARTS];
    size_t part_size[BL_JOB_MAX_PARTS];
};

struct run {
    bl_pipe_end end;
    int n_threads;
    bl_progress *progress;
    struct tile *tile;
    size_t n_tiles; /* in a batch */
    /* later parts of the current tensor, kept until part 0 is complete */
    unsigned char *later[BL_JOB_MAX_PARTS];
    size_t later_size[BL_JOB_MAX_PARTS];
};

/* A batch of tiles of one job. */
struct batch {
    struct run *run;
    const bl_job *job;
    uint64_t first_row, tile_rows;
};

static uint64_t rows_of_tile(const struct batch *b, size_t i)
{
    return bl_min_u64(b->tile_rows, b->job->n_rows - b->first_row - i * b->tile_rows);
}

static bl_status check_magnitude(const bl_job *job, const float *x, uint64_t n, struct bl_err *err)
{
    const float limit = job->encoder->max_abs;
    float largest = 0;

    for (uint64_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    if (largest <= limit)
        return BL_OK;
    return bl_fail(err, BL_E_UNSUPPORTED, "a value of magnitude %g does not fit %s (at most %g)",
                   (double)largest, job->encoder->name, (double)limit);
}

static bl_status encode_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct batch *b = context;
    const bl_job *job = b->job;
    struct tile *t = &b->run->tile[i];
    uint64_t n = rows_of_tile(b, i);
    bl_status rc = job->rows.read(job->rows.context, job->rows.tensor,
                                  b->first_row + i * b->tile_rows, n, t->rows, err);

    (void)i_thread;
    if (rc == BL_OK)
        rc = check_magnitude(job, t->rows, n * job->rows.n_cols, err);
    if (rc == BL_OK)
        job->encoder->encode((void *const *)t->part, t->rows, n, job->rows.n_cols);
    return rc;
}

static bl_status grow(void **block, size_t *size, uint64_t need, size_t unit, struct bl_err *err)
{
    void *grown;

    if (need <= *size)
        return BL_OK;
    bl_free(*block);
    *block = NULL;
    *size = 0;
    grown = need <= SIZE_MAX ? bl_alloc((size_t)need, unit) : NULL;
    if (!grown)
        return bl_fail_nomem(err, "conversion buffers");
    *block = grown;
    *size = (size_t)need;
    return BL_OK;
}

/* Rows in a tile: about TILE_VALUES values, whole units, at least one. */
static uint64_t choose_tile_rows(const bl_job *job)
{
    uint64_t rows = TILE_VALUES / bl_max_u64(job->rows.n_cols, 1);

    rows = rows / job->row_unit * job->row_unit;
    return bl_max_u64(rows, job->row_unit);
}

static bl_status make_room(struct run *r, const bl_job *job, uint64_t tile_rows, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < r->n_tiles && rc == BL_OK; i++) {
        struct tile *t = &r->tile[i];

        rc = grow((void **)&t->rows, &t->rows_size, tile_rows * job->rows.n_cols, sizeof(float),
                  err);
        for (uint32_t k = 0; k < job->n_parts && rc == BL_OK; k++)
            rc =
                grow((void **)&t->part[k], &t->part_size[k], tile_rows * job->row_bytes[k], 1, err);
    }
    for (uint32_t k = 1; k < job->n_parts && rc == BL_OK; k++)
        rc = grow((void **)&r->later[k], &r->later_size[k], job->part[k].n_bytes, 1, err);
    return rc;
}

static bl_status write_batch(struct batch *b, size_t n_tiles, struct bl_err *err)
{
    const bl_job *job = b->job;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < n_tiles && rc == BL_OK; i++) {
        const struct tile *t = &b->run->tile[i];
        uint64_t row = b->first_row + i * b->tile_rows, n = rows_of_tile(b, i);

        rc = b->run->end.write(b->run->end.context, t->part[0], (size_t)(n * job->row_bytes[0]),
                               err);
        for (uint32_t k = 1; k < job->n_parts; k++)
            if (job->row_bytes[k] > 0)
                memcpy(b->run->later[k] + row * job->row_bytes[k], t->part[k],
                       (size_t)(n * job->row_bytes[k]));
        bl_progress_add(b->run->progress,
                        (uint64_t)((double)job->source_bytes * (double)n / (double)job->n_rows));
    }
    return rc;
}

static bl_status write_later_parts(struct run *r, const bl_job *job, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t k = 1; k < job->n_parts && rc == BL_OK; k++)
        rc = r->end.write(r->end.context,
                          job->row_bytes[k] > 0 ? (const void *)r->later[k] : job->constant,
                          (size_t)job->part[k].n_bytes, err);
    return rc;
}

static bl_status run_job(struct run *r, const bl_job *job, struct bl_err *err)
{
    struct batch b = { r, job, 0, bl_min_u64(choose_tile_rows(job), bl_max_u64(job->n_rows, 1)) };
    bl_status rc = make_room(r, job, b.tile_rows, err);

    while (rc == BL_OK && b.first_row < job->n_rows) {
        size_t n =
            (size_t)bl_min_u64(bl_ceil_div_u64(job->n_rows - b.first_row, b.tile_rows), r->n_tiles);

        rc = bl_par_for(n, r->n_threads, encode_tile, &b, err);
        if (rc == BL_OK)
            rc = write_batch(&b, n, err);
        b.first_row += n * b.tile_rows;
    }
    if (rc == BL_OK)
        rc = write_later_parts(r, job, err);
    if (rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED || rc == BL_E_NOMEM)
        bl_err_prefix(err, "writing '%s'", job->part[0].name);
    return rc;
}

bl_status bl_pipeline_run(const bl_plan *plan, bl_pipe_end end, int n_threads,
                          bl_progress *progress, struct bl_err *err)
{
    struct run r = { .end = end, .n_threads = n_threads, .progress = progress };
    bl_status rc = BL_OK;

    r.n_tiles = (size_t)n_threads * TILES_PER_THREAD;
    r.tile = bl_calloc(r.n_tiles, sizeof(*r.tile));
    if (!r.tile)
        return bl_fail_nomem(err, "conversion buffers");
    for (size_t i = 0; i < plan->n_jobs && rc == BL_OK; i++)
        rc = run_job(&r, &plan->job[i], err);
    for (size_t i = 0; i < r.n_tiles; i++) {
        bl_free(r.tile[i].rows);
        for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
            bl_free(r.tile[i].part[k]);
    }
    for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
        bl_free(r.later[k]);
    bl_free(r.tile);
    return rc;
}
