/* tile.c - see tile.h. */
#include "convert/tile.h"

#include "base/alloc.h"
#include "base/size.h"
#include "convert/loss.h"
#include "formats/dtype/amax.h"

static bl_status grow(void **block, size_t *room, uint64_t need, size_t size, struct bl_err *err)
{
    void *grown;

    if (need <= *room)
        return BL_OK;
    bl_free(*block);
    *block = NULL;
    *room = 0;
    grown = need <= SIZE_MAX ? bl_alloc((size_t)need, size) : NULL;
    if (!grown)
        return bl_fail_nomem(err, "conversion buffers");
    *block = grown;
    *room = (size_t)need;
    return BL_OK;
}

bl_status bl_tile_work_reserve(bl_tile_work *work, const bl_job *job, uint64_t n_rows,
                               struct bl_err *err)
{
    const uint64_t n = n_rows * job->rows.n_cols;
    bl_status rc = BL_OK;

    if (job->rows.read)
        rc = grow((void **)&work->value, &work->n_value, n, sizeof(float), err);
    if (rc == BL_OK && job->loss && job->rows.read)
        rc = grow((void **)&work->decoded, &work->n_decoded, n, sizeof(float), err);
    if (rc == BL_OK && job->importance.read) {
        const size_t room = work->n_importance;

        rc = grow((void **)&work->importance, &work->n_importance, job->rows.n_cols, sizeof(float),
                  err);
        if (work->n_importance != room)
            work->job = NULL;
    }
    return rc;
}

uint64_t bl_tile_unit_rows(const bl_job *job)
{
    const uint32_t unit = job->encoder->unit_rows;

    if (unit == BL_ALL_ROWS)
        return bl_max_u64(job->n_rows, 1);
    return bl_max_u64(unit, 1);
}

uint64_t bl_tile_part_bytes(uint64_t *offset, const bl_job *job, uint32_t k, uint64_t row,
                            uint64_t n_rows)
{
    const uint64_t unit = bl_tile_unit_rows(job), bytes = job->unit_bytes[k];

    *offset = row / unit * bytes;
    if (bytes == 0)
        return 0;
    return bl_min_u64(bl_ceil_div_u64(n_rows, unit) * bytes, job->part[k].n_bytes - *offset);
}

bl_status bl_tile_reserve(bl_tile *tile, const bl_job *job, uint64_t n_rows, struct bl_err *err)
{
    const uint64_t n_units = bl_ceil_div_u64(n_rows, bl_tile_unit_rows(job));
    bl_status rc = BL_OK;

    for (uint32_t k = 0; k < job->n_parts && rc == BL_OK; k++)
        rc = grow((void **)&tile->part[k], &tile->part_size[k], n_units * job->unit_bytes[k], 1,
                  err);
    return rc;
}

void bl_tile_work_release(bl_tile_work *work)
{
    bl_free(work->value);
    bl_free(work->decoded);
    bl_free(work->importance);
    *work = (bl_tile_work){ 0 };
}

void bl_tile_release(bl_tile *tile)
{
    for (int k = 0; k < BL_JOB_MAX_PARTS; k++)
        bl_free(tile->part[k]);
    *tile = (bl_tile){ 0 };
}

static bl_status check_magnitude(const bl_job *job, const float *x, uint64_t n, struct bl_err *err)
{
    const float limit = job->encoder->max_abs;
    float largest = bl_f32_from_bits(bl_amax_bits_of_run(x, (size_t)n));

    if (largest <= limit)
        return BL_OK;
    return bl_fail(err, BL_E_UNSUPPORTED, "a value of magnitude %g does not fit %s (at most %g)",
                   (double)largest, job->encoder->name, (double)limit);
}

/* The importance that the rows meet, in work->importance. */
static bl_status read_importance(bl_tile_work *work, const bl_job *job, uint64_t row,
                                 struct bl_err *err)
{
    const bl_rows *from = &job->importance;
    bl_status rc;

    if (work->job == job && work->importance_row == row)
        return BL_OK;
    work->job = NULL;
    rc = from->read(from->context, from->tensor, row, 1, work->importance, err);
    if (rc == BL_OK) {
        work->job = job;
        work->importance_row = row;
    }
    return rc;
}

static bl_status read_raw(const bl_tile *tile, const bl_job *job, uint64_t row, uint64_t n_rows,
                          struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t k = 0; k < job->n_parts && rc == BL_OK; k++) {
        uint64_t offset, n = bl_tile_part_bytes(&offset, job, k, row, n_rows);

        if (n > 0)
            rc = job->raw.read(job->raw.context, job->raw.index[k], offset, tile->part[k],
                               (size_t)n, err);
    }
    return rc;
}

static void decode(float *out, void *const part[BL_JOB_MAX_PARTS], const bl_job *job,
                   const bl_encode_rows *rows)
{
    const bl_encoder *encoder = job->encoder;

    if (encoder->in_parts)
        encoder->in_parts->decode(out, part, rows->n_rows, rows->n_cols, encoder->form);
    else if (encoder->decode)
        encoder->decode(out, part, rows->n_rows, rows->n_cols);
    else
        bl_dtype_traits_of(job->encoder->dtype)
            ->to_f32(out, part[0], (size_t)(rows->n_rows * rows->n_cols));
}

static void encode(void *const part[BL_JOB_MAX_PARTS], const bl_job *job,
                   const bl_encode_rows *rows)
{
    const bl_encoder *encoder = job->encoder;

    if (encoder->in_parts)
        encoder->in_parts->encode(part, rows, encoder->form);
    else
        encoder->encode(part, rows);
}

/* Rows that meet the same input, `at` rows behind the tile's first. */
static bl_status encode_run(bl_tile *tile, bl_tile_work *work, const bl_job *job, uint64_t row,
                            uint64_t at, uint64_t n_rows, struct bl_err *err)
{
    bl_encode_rows rows = { work->value + at * job->rows.n_cols, n_rows, job->rows.n_cols, NULL };
    void *part[BL_JOB_MAX_PARTS] = { NULL };
    bl_status rc = BL_OK;

    if (job->importance.read) {
        rc = read_importance(work, job, row / job->importance_rows, err);
        rows.importance = work->importance;
    }
    if (rc != BL_OK)
        return rc;
    for (uint32_t k = 0; k < job->n_parts; k++)
        part[k] = tile->part[k] + at / bl_tile_unit_rows(job) * job->unit_bytes[k];
    if (!job->raw.read)
        encode(part, job, &rows);
    if (job->loss) {
        decode(work->decoded, part, job, &rows);
        bl_loss_measure(&tile->loss, &rows, work->decoded);
    }
    return BL_OK;
}

bl_status bl_tile_encode(bl_tile *tile, bl_tile_work *work, const bl_job *job, uint64_t row,
                         uint64_t n_rows, struct bl_err *err)
{
    uint64_t at = 0;
    bl_status rc = job->raw.read ? read_raw(tile, job, row, n_rows, err) : BL_OK;

    tile->loss = (bl_loss){ 0 };
    if (rc != BL_OK || !job->rows.read || (job->raw.read && !job->loss))
        return rc;
    rc = job->rows.read(job->rows.context, job->rows.tensor, row, n_rows, work->value, err);
    if (rc == BL_OK && !job->raw.read)
        rc = check_magnitude(job, work->value, n_rows * job->rows.n_cols, err);
    while (at < n_rows && rc == BL_OK) {
        uint64_t n = n_rows - at;

        if (job->importance.read)
            n = bl_min_u64(n, job->importance_rows - (row + at) % job->importance_rows);
        rc = encode_run(tile, work, job, row + at, at, n, err);
        at += n;
    }
    return rc;
}
