/*
 * pipeline.c - tiles in parallel, bytes in order. While a batch of tiles is encoded, one iteration
 * of the same loop writes the batch before it: no thread waits for the disk alone.
 */
#include "convert/pipeline.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "convert/loss.h"
#include "convert/tile.h"

#include <string.h>

enum { TILE_VALUES = 1 << 18, TILES_PER_THREAD = 4 };

/* Tiles of one job that are encoded together, then written together. */
struct batch {
    const bl_job *job;
    uint64_t first_row, tile_rows;
    size_t n_tiles;
    bool ends_job;
    bl_tile *tile;
};

struct run {
    bl_pipe_end end;
    int n_threads;
    bl_progress *progress;
    bl_tile_work *work;     /* [n_threads] */
    size_t n_tiles;         /* of a batch, at most */
    struct batch batch[2];  /* one is encoded while the one before it is written */
    struct batch *encoding; /* one of the two */
    struct batch *writing;  /* the other, or NULL at the start */
    /* later parts of the tensor that is written, kept until part 0 is complete */
    unsigned char *later[BL_JOB_MAX_PARTS];
    size_t later_size[BL_JOB_MAX_PARTS];
};

/* Say which tensor it was, where the sentence cannot know. */
static bl_status name_tensor(bl_status rc, const bl_job *job, struct bl_err *err)
{
    if (rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED || rc == BL_E_NOMEM)
        bl_err_prefix(err, "writing '%s'", job->part[0].name);
    return rc;
}

static uint64_t rows_of_tile(const struct batch *b, size_t i)
{
    return bl_min_u64(b->tile_rows, b->job->n_rows - b->first_row - i * b->tile_rows);
}

static bl_status encode_tile(const struct run *r, size_t i, int i_thread, struct bl_err *err)
{
    const struct batch *b = r->encoding;

    return name_tensor(bl_tile_encode(&b->tile[i], &r->work[i_thread], b->job,
                                      b->first_row + i * b->tile_rows, rows_of_tile(b, i), err),
                       b->job, err);
}

static bool is_placed(const bl_job *job)
{
    return job->encoder->in_parts && job->encoder->in_parts->place;
}

/* The first part that waits: part 0 is written as it comes, where rows lie one behind the other. */
static uint32_t first_later(const bl_job *job)
{
    return is_placed(job) ? 0 : 1;
}

/* Room for all of each later part. */
static bl_status keep_later_parts(struct run *r, const bl_job *job, struct bl_err *err)
{
    for (uint32_t k = first_later(job); k < job->n_parts; k++) {
        if (job->unit_bytes[k] == 0 || job->part[k].n_bytes <= r->later_size[k])
            continue;
        bl_free(r->later[k]);
        r->later_size[k] = 0;
        r->later[k] = bl_alloc((size_t)job->part[k].n_bytes, 1);
        if (!r->later[k])
            return bl_fail_nomem(err, "conversion buffers");
        r->later_size[k] = (size_t)job->part[k].n_bytes;
    }
    return BL_OK;
}

static bl_status write_later_parts(struct run *r, const bl_job *job, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t k = first_later(job); k < job->n_parts && rc == BL_OK; k++)
        rc = r->end.write(r->end.context, job->unit_bytes[k] > 0 ? r->later[k] : job->constant[k],
                          (size_t)job->part[k].n_bytes, err);
    return rc;
}

/* The bytes of a tile: part 0 goes out, later parts to where they wait until the job ends. */
static bl_status take_tile(struct run *r, const bl_job *job, const bl_tile *t, uint64_t row,
                           uint64_t n_rows, struct bl_err *err)
{
    uint64_t at, n_bytes;

    if (is_placed(job)) {
        const uint64_t dim[2] = { job->n_rows, job->rows.n_cols };
        void *whole[BL_JOB_MAX_PARTS], *part[BL_JOB_MAX_PARTS];

        for (int k = 0; k < BL_JOB_MAX_PARTS; k++) {
            whole[k] = r->later[k];
            part[k] = t->part[k];
        }
        job->encoder->in_parts->place(whole, part, row, n_rows, dim, job->encoder->form);
        return BL_OK;
    }
    for (uint32_t k = 1; k < job->n_parts; k++) {
        n_bytes = bl_tile_part_bytes(&at, job, k, row, n_rows);
        if (n_bytes > 0)
            memcpy(r->later[k] + at, t->part[k], (size_t)n_bytes);
    }
    n_bytes = bl_tile_part_bytes(&at, job, 0, row, n_rows);
    return r->end.write(r->end.context, t->part[0], (size_t)n_bytes, err);
}

static bl_status write_batch(struct run *r, const struct batch *b, struct bl_err *err)
{
    const bl_job *job = b->job;
    bl_status rc = keep_later_parts(r, job, err);

    for (size_t i = 0; i < b->n_tiles && rc == BL_OK; i++) {
        uint64_t n = rows_of_tile(b, i);

        rc = take_tile(r, job, &b->tile[i], b->first_row + i * b->tile_rows, n, err);
        if (job->loss)
            bl_loss_add(job->loss, &b->tile[i].loss);
        bl_progress_add(r->progress,
                        (uint64_t)((double)job->source_bytes * (double)n / (double)job->n_rows));
    }
    if (rc == BL_OK && b->ends_job)
        rc = write_later_parts(r, job, err);
    return name_tensor(rc, job, err);
}

/* Iteration 0 writes the batch before, the others encode a tile each. */
static bl_status write_or_encode(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct run *r = context;

    if (i > 0)
        return encode_tile(r, i - 1, i_thread, err);
    return r->writing ? write_batch(r, r->writing, err) : BL_OK;
}

/* Rows in a tile: about TILE_VALUES values, whole units of source and encoder, at least one. */
static uint64_t choose_tile_rows(const bl_job *job)
{
    uint64_t a = bl_tile_unit_rows(job), b = job->row_unit;
    /* the encoder's unit has to be kept, the source's only saves reading twice */
    uint64_t unit = a % b == 0 ? a : b % a == 0 ? b : a;
    uint64_t rows = TILE_VALUES / bl_max_u64(job->rows.n_cols, 1);

    return bl_min_u64(bl_max_u64(rows / unit * unit, unit), bl_max_u64(job->n_rows, 1));
}

static bl_status make_room(struct run *r, const struct batch *b, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (int i = 0; i < r->n_threads && rc == BL_OK; i++)
        rc = bl_tile_work_reserve(&r->work[i], b->job, b->tile_rows, err);
    for (size_t i = 0; i < b->n_tiles && rc == BL_OK; i++)
        rc = bl_tile_reserve(&b->tile[i], b->job, b->tile_rows, err);
    return rc;
}

/* Encode the batch that was set up, write the one before. */
static bl_status step(struct run *r, struct bl_err *err)
{
    struct batch *b = r->encoding;
    bl_status rc = name_tensor(make_room(r, b, err), b->job, err);

    if (rc == BL_OK)
        rc = bl_par_for(b->n_tiles + 1, r->n_threads, write_or_encode, r, err);
    r->writing = b;
    r->encoding = b == r->batch ? r->batch + 1 : r->batch;
    return rc;
}

static bl_status run_job(struct run *r, const bl_job *job, struct bl_err *err)
{
    uint64_t tile_rows = choose_tile_rows(job), row = 0;
    bl_status rc;

    do {
        struct batch *b = r->encoding;

        b->job = job;
        b->first_row = row;
        b->tile_rows = tile_rows;
        b->n_tiles = (size_t)bl_min_u64(bl_ceil_div_u64(job->n_rows - row, tile_rows), r->n_tiles);
        row += b->n_tiles * tile_rows;
        b->ends_job = row >= job->n_rows;
        rc = step(r, err);
    } while (rc == BL_OK && row < job->n_rows);
    return rc;
}

static bl_status run_init(struct run *r, struct bl_err *err)
{
    r->n_tiles = (size_t)r->n_threads * TILES_PER_THREAD;
    r->work = bl_calloc((size_t)r->n_threads, sizeof(*r->work));
    for (int i = 0; i < 2; i++)
        r->batch[i].tile = bl_calloc(r->n_tiles, sizeof(*r->batch[i].tile));
    r->encoding = r->batch;
    if (!r->work || !r->batch[0].tile || !r->batch[1].tile)
        return bl_fail_nomem(err, "conversion buffers");
    return BL_OK;
}

static void run_release(struct run *r)
{
    for (int i = 0; r->work && i < r->n_threads; i++)
        bl_tile_work_release(&r->work[i]);
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; r->batch[i].tile && j < r->n_tiles; j++)
            bl_tile_release(&r->batch[i].tile[j]);
        bl_free(r->batch[i].tile);
    }
    for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
        bl_free(r->later[k]);
    bl_free(r->work);
}

bl_status bl_pipeline_run(const bl_plan *plan, bl_pipe_end end, int n_threads,
                          bl_progress *progress, struct bl_err *err)
{
    struct run r = { .end = end, .n_threads = n_threads, .progress = progress };
    bl_status rc = run_init(&r, err);

    for (size_t i = 0; i < plan->n_jobs && rc == BL_OK; i++)
        rc = run_job(&r, &plan->job[i], err);
    if (rc == BL_OK && r.writing)
        rc = write_batch(&r, r.writing, err);
    run_release(&r);
    return rc;
}
