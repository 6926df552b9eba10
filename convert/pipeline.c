/*
 * pipeline.c - a plan as a flow of tiles: cut in order, encoded by whoever is free, written in order.
 */
#include "convert/pipeline.h"

#include "base/alloc.h"
#include "base/flow.h"
#include "base/size.h"
#include "convert/loss.h"
#include "convert/tile.h"

#include <string.h>

enum { TILE_VALUES = 1 << 18, TILES_PER_THREAD = 6 };

/* A tile on its way. */
struct slot {
    const bl_job *job;
    size_t i_job;
    uint64_t row, n_rows;
    bl_tile tile;
};

struct run {
    const bl_plan *plan;
    bl_pipe_end end;
    const bl_pipe_options *options;
    bl_pipe_position next; /* tile to be cut */
    bl_tile_work *work;    /* [n_threads] */
    struct slot *slot;
    size_t n_slots;
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

/* Rows in a tile: about TILE_VALUES values, whole units of source and encoder, at least one. */
static uint64_t choose_tile_rows(const bl_job *job)
{
    uint64_t a = bl_tile_unit_rows(job), b = job->row_unit;
    /* the encoder's unit has to be kept, the source's only saves reading twice */
    uint64_t unit = a % b == 0 ? a : b % a == 0 ? b : a;
    uint64_t rows = TILE_VALUES / bl_max_u64(job->rows.n_cols, 1);

    return bl_min_u64(bl_max_u64(rows / unit * unit, unit), bl_max_u64(job->n_rows, 1));
}

/* Have the disk begin with what these rows are made of. */
static void ask_for_rows(const struct run *r, const struct slot *s)
{
    const bl_job *job = s->job;
    uint64_t end = s->row + s->n_rows;

    if (!r->options->ckpt || !job->source || job->view == BL_VIEW_NONE)
        return;
    if (job->view != BL_VIEW_ROWS) { /* heads of one small tensor */
        if (s->row == 0)
            bl_ckpt_prefetch_rows(r->options->ckpt, job->source[0], 0, job->source[0]->n_rows);
        return;
    }
    for (uint64_t row = s->row; row < end;) {
        uint64_t k = row / job->rows_each, first = row - k * job->rows_each;
        uint64_t n = bl_min_u64(end - row, job->rows_each - first);

        bl_ckpt_prefetch_rows(r->options->ckpt, job->source[k], first, n);
        row += n;
    }
}

/* Cut the next tile. A job without rows is one empty tile. */
static bl_status cut_tile(void *context, size_t i, bool *end, struct bl_err *err)
{
    struct run *r = context;
    struct slot *s = &r->slot[i];
    bl_status rc;

    if (r->next.job == r->plan->n_jobs) {
        *end = true;
        return BL_OK;
    }
    s->i_job = r->next.job;
    s->job = &r->plan->job[s->i_job];
    s->row = r->next.row;
    s->n_rows = bl_min_u64(choose_tile_rows(s->job), s->job->n_rows - s->row);
    r->next.row += s->n_rows;
    if (r->next.row == s->job->n_rows)
        r->next = (bl_pipe_position){ s->i_job + 1, 0 };
    rc = name_tensor(bl_tile_reserve(&s->tile, s->job, s->n_rows, err), s->job, err);
    if (rc == BL_OK)
        ask_for_rows(r, s);
    return rc;
}

static bool has_nonzero(const float *x, uint64_t n)
{
    uint64_t i = 0;

    while (i < n && x[i] == 0) /* mostly the first value ends it */
        i++;
    return i < n;
}

/* The scales of a tensor in FP8 blocks: they are small, and read once more for this. */
static bl_status look_at_scales(const struct run *r, size_t i, const bl_tensor *t,
                                struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(r->options->ckpt);
    const bl_parts *parts = bl_ckpt_parts(r->options->ckpt, t);
    const bl_stored *scales;
    unsigned char *bytes;
    bl_status rc;

    if (!parts || parts->coding != BL_CODING_FP8_BLOCK || c->stored[parts->scales].dtype != BL_F32)
        return BL_OK;
    scales = &c->stored[parts->scales];
    bytes = bl_alloc((size_t)scales->n_bytes, 1);
    rc = bytes ? bl_container_read(c, parts->scales, 0, bytes, (size_t)scales->n_bytes, err)
               : bl_fail_nomem(err, scales->name);
    if (rc == BL_OK)
        bl_sanity_scales_f32(r->options->sanity, i, bytes, (size_t)scales->n_bytes / sizeof(float));
    bl_free(bytes);
    return rc;
}

/* Tell of the values that were read for a tile, tensor by tensor. */
static bl_status look_at_values(const struct run *r, const struct slot *s, const float *value,
                                struct bl_err *err)
{
    const bl_job *job = s->job;
    const uint64_t n_cols = job->rows.n_cols;
    uint64_t end = s->row + s->n_rows;
    bl_status rc = BL_OK;

    for (uint64_t row = s->row; row < end && rc == BL_OK;) {
        bool whole = job->view != BL_VIEW_ROWS; /* heads of one tensor */
        uint64_t k = whole ? 0 : row / job->rows_each;
        uint64_t n = whole ? end - row : bl_min_u64(end - row, (k + 1) * job->rows_each - row);
        size_t i = (size_t)(job->source[k] - bl_ckpt_tensor(r->options->ckpt, 0));

        if (job->source[k]->ndim >= 2)
            bl_sanity_values(r->options->sanity, i,
                             has_nonzero(value + (row - s->row) * n_cols, n * n_cols));
        if (row == (whole ? 0 : k * job->rows_each))
            rc = look_at_scales(r, i, job->source[k], err);
        row += n;
    }
    return rc;
}

static bl_status encode_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct run *r = context;
    struct slot *s = &r->slot[i];
    bl_tile_work *work = &r->work[i_thread];
    bl_status rc = bl_tile_work_reserve(work, s->job, s->n_rows, err);

    if (rc == BL_OK)
        rc = bl_tile_encode(&s->tile, work, s->job, s->row, s->n_rows, err);
    if (rc == BL_OK && r->options->sanity && s->job->source && s->job->view != BL_VIEW_NONE &&
        s->job->rows.read && (!s->job->raw.read || s->job->loss))
        rc = look_at_values(r, s, work->value, err);
    return name_tensor(rc, s->job, err);
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

static bool has_later_parts(const bl_job *job)
{
    for (uint32_t k = first_later(job); k < job->n_parts; k++)
        if (job->unit_bytes[k] > 0)
            return true;
    return false;
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
static bl_status put_tile(struct run *r, const struct slot *s, struct bl_err *err)
{
    const bl_job *job = s->job;
    uint64_t at, n_bytes;

    if (is_placed(job)) {
        const uint64_t dim[2] = { job->n_rows, job->rows.n_cols };
        void *whole[BL_JOB_MAX_PARTS], *part[BL_JOB_MAX_PARTS];

        for (int k = 0; k < BL_JOB_MAX_PARTS; k++) {
            whole[k] = r->later[k];
            part[k] = s->tile.part[k];
        }
        job->encoder->in_parts->place(whole, part, s->row, s->n_rows, dim, job->encoder->form);
        return BL_OK;
    }
    for (uint32_t k = 1; k < job->n_parts; k++) {
        n_bytes = bl_tile_part_bytes(&at, job, k, s->row, s->n_rows);
        if (n_bytes > 0)
            memcpy(r->later[k] + at, s->tile.part[k], (size_t)n_bytes);
    }
    n_bytes = bl_tile_part_bytes(&at, job, 0, s->row, s->n_rows);
    return r->end.write(r->end.context, s->tile.part[0], (size_t)n_bytes, err);
}

static bl_status write_tile(void *context, size_t i, struct bl_err *err)
{
    struct run *r = context;
    const struct slot *s = &r->slot[i];
    const bl_job *job = s->job;
    bl_pipe_position position = { s->i_job, s->row + s->n_rows };
    bool ends_job = position.row == job->n_rows;
    bl_status rc = s->row == 0 ? keep_later_parts(r, job, err) : BL_OK;

    if (rc == BL_OK)
        rc = put_tile(r, s, err);
    if (job->loss)
        bl_loss_add(job->loss, &s->tile.loss);
    bl_progress_add(r->options->progress, (uint64_t)((double)job->source_bytes * (double)s->n_rows /
                                                     (double)bl_max_u64(job->n_rows, 1)));
    if (rc == BL_OK && ends_job)
        rc = write_later_parts(r, job, err);
    if (rc != BL_OK)
        return name_tensor(rc, job, err);
    if (ends_job)
        position = (bl_pipe_position){ s->i_job + 1, 0 };
    if (r->end.passed && (ends_job || !has_later_parts(job)))
        rc = r->end.passed(r->end.context, position, err);
    return rc;
}

static bl_status run_init(struct run *r, struct bl_err *err)
{
    r->n_slots = (size_t)r->options->n_threads * TILES_PER_THREAD;
    r->work = bl_calloc((size_t)r->options->n_threads, sizeof(*r->work));
    r->slot = bl_calloc(r->n_slots, sizeof(*r->slot));
    return r->work && r->slot ? BL_OK : bl_fail_nomem(err, "conversion buffers");
}

static void run_release(struct run *r)
{
    for (int i = 0; r->work && i < r->options->n_threads; i++)
        bl_tile_work_release(&r->work[i]);
    for (size_t i = 0; r->slot && i < r->n_slots; i++)
        bl_tile_release(&r->slot[i].tile);
    for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
        bl_free(r->later[k]);
    bl_free(r->work);
    bl_free(r->slot);
}

bl_status bl_pipeline_run(const bl_plan *plan, bl_pipe_end end, const bl_pipe_options *options,
                          struct bl_err *err)
{
    struct run r = { .plan = plan, .end = end, .options = options, .next = options->start };
    bl_status rc = run_init(&r, err);
    const bl_flow flow = { .next = cut_tile,
                           .make = encode_tile,
                           .take = write_tile,
                           .context = &r,
                           .n_slots = r.n_slots,
                           .n_threads = options->n_threads };

    if (rc == BL_OK)
        rc = bl_flow_run(&flow, err);
    run_release(&r);
    return rc;
}

uint64_t bl_pipeline_bytes_before(const bl_plan *plan, bl_pipe_position position)
{
    uint64_t sum = 0, at = 0;

    for (size_t i = 0; i < position.job; i++)
        for (uint32_t k = 0; k < plan->job[i].n_parts; k++)
            sum += plan->job[i].part[k].n_bytes;
    if (position.row > 0)
        sum += bl_tile_part_bytes(&at, &plan->job[position.job], 0, 0, position.row);
    return sum;
}

uint64_t bl_pipeline_memory(const bl_plan *plan, int n_threads)
{
    uint64_t work = 0, tile[BL_JOB_MAX_PARTS] = { 0 }, later[BL_JOB_MAX_PARTS] = { 0 };
    uint64_t n_slots = (uint64_t)n_threads * TILES_PER_THREAD, sum = 0;

    for (size_t i = 0; i < plan->n_jobs; i++) {
        const bl_job *job = &plan->job[i];
        uint64_t rows = choose_tile_rows(job), at;

        /* values, and decoded again; what reading them takes is about as much */
        work = bl_max_u64(work, 3 * rows * job->rows.n_cols * sizeof(float));
        for (uint32_t k = 0; k < job->n_parts; k++) {
            tile[k] = bl_max_u64(tile[k], bl_tile_part_bytes(&at, job, k, 0, rows));
            if (k >= first_later(job) && job->unit_bytes[k] > 0)
                later[k] = bl_max_u64(later[k], job->part[k].n_bytes);
        }
    }
    for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
        sum += n_slots * tile[k] + later[k];
    return sum + (uint64_t)n_threads * work;
}
