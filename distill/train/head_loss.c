/* head_loss.c - see head_loss.h. Sums are taken in the order of the tokens. */
#include "distill/train/head_loss.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"
#include "model/head.h"
#include "model/linear_backward.h"

#include <inttypes.h>
#include <math.h>

enum { TILE_ROWS = 512, TILE_TOKENS = 512 };

struct chunk {
    const bl_head_loss *job;
    const bl_tensor *table;
    const float *w; /* [vocab][hidden] */
    float *decoded; /* w where the head is BF16, else NULL */
    size_t vocab, hidden;
    size_t first, n;      /* scored tokens of this chunk */
    float *z, *u;         /* [n][vocab] logits of the student, of the teacher */
    float *teacher_x;     /* [n][teacher_hidden], gathered */
    float *teacher_tile;  /* [n_threads][TILE_ROWS][teacher_hidden] */
    float *scratch;       /* [n_threads][3][vocab] */
    bl_loss_value *value; /* [n] */
};

size_t bl_head_loss_tokens(size_t n_vocab)
{
    size_t n = BL_HEAD_LOSS_FLOATS / n_vocab / BL_HEAD_LOSS_TOKENS * BL_HEAD_LOSS_TOKENS;

    return n > BL_HEAD_LOSS_TOKENS ? n : BL_HEAD_LOSS_TOKENS;
}

static bool wants_teacher(const bl_head_loss *job)
{
    return job->loss->kd > 0 && job->batch->hidden;
}

/* Columns [row, row + n_rows) of the logits of all tokens of the chunk: z = x w^T. */
static void multiply(float *z, const float *x, const float *w, size_t row, size_t n_rows,
                     size_t hidden, const struct chunk *c)
{
    for (size_t t = 0; t < c->n; t += TILE_TOKENS)
        bl_sgemm_nt((size_t)bl_min_u64(TILE_TOKENS, c->n - t), n_rows, hidden, 1.0f, x + t * hidden,
                    hidden, w, hidden, 0.0f, z + t * c->vocab + row, c->vocab);
}

static bl_status logits_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct chunk *c = context;
    const bl_batch *b = c->job->batch;
    const size_t row = i * TILE_ROWS, n_rows = (size_t)bl_min_u64(TILE_ROWS, c->vocab - row);
    float *tile;
    bl_status rc;

    multiply(c->z, c->job->x + c->first * c->hidden, c->w + row * c->hidden, row, n_rows, c->hidden,
             c);
    if (!c->u)
        return BL_OK;
    tile = c->teacher_tile + (size_t)i_thread * TILE_ROWS * b->teacher_hidden;
    rc = b->teacher_head(b->teacher_context, tile, row, n_rows, err);
    if (rc == BL_OK)
        multiply(c->u, c->teacher_x, tile, row, n_rows, b->teacher_hidden, c);
    return rc;
}

/* What the batch knows of token `row`. */
static bl_loss_target target_of(const bl_batch *b, size_t row, const float *teacher)
{
    bl_loss_target t = { .target = b->target[row], .entropy = (double)NAN, .teacher = teacher };

    if (b->first) {
        t.n = b->first[row + 1] - b->first[row];
        t.id = b->id + b->first[row];
        t.weight = b->weight + b->first[row];
    }
    if (b->tail)
        t.tail = (double)b->tail[row];
    if (b->entropy)
        t.entropy = (double)b->entropy[row];
    return t;
}

static bl_status token_loss(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct chunk *c = context;
    const bl_head_loss *job = c->job;
    const size_t row = job->row[c->first + i];
    const bl_loss_target target = target_of(job->batch, row, c->u ? c->u + i * c->vocab : NULL);
    float *z = c->z + i * c->vocab;

    c->value[i] = bl_loss_token(z, c->vocab, job->loss, &target,
                                c->scratch + (size_t)i_thread * 3 * c->vocab);
    if (!isfinite(c->value[i].loss) || !isfinite(c->value[i].ce))
        return bl_fail(err, BL_E_MISMATCH,
                       "the loss of token %zu of sequence %zu of the step is not finite",
                       row % job->batch->n_positions, row / job->batch->n_positions);
    for (size_t j = 0; job->dx && j < c->vocab; j++)
        z[j] *= (float)job->scale;
    return BL_OK;
}

static void gather_teacher(const struct chunk *c)
{
    const bl_batch *b = c->job->batch;

    for (size_t i = 0; i < c->n; i++) {
        const float *from = b->hidden + c->job->row[c->first + i] * b->teacher_hidden;

        for (size_t j = 0; j < b->teacher_hidden; j++)
            c->teacher_x[i * b->teacher_hidden + j] = from[j];
    }
}

static bl_status back(const struct chunk *c, struct bl_err *err)
{
    const int n_threads = c->job->weights->n_threads;
    const float *x = c->job->x + c->first * c->hidden;
    float *gradient = bl_resident_get(c->job->weights->resident, c->table)->gradient;
    bl_status rc = bl_linear_dx(c->job->dx + c->first * c->hidden, c->hidden, c->z, c->vocab, c->n,
                                c->w, c->vocab, c->hidden, false, n_threads, err);

    return rc == BL_OK ? bl_linear_dw(gradient, c->z, c->vocab, x, c->hidden, c->n, c->vocab,
                                      c->hidden, n_threads, err)
                       : rc;
}

static bl_status run_chunk(bl_step_sums *sums, struct chunk *c, struct bl_err *err)
{
    const int n_threads = c->job->weights->n_threads;
    bl_status rc;

    if (c->u)
        gather_teacher(c);
    rc = bl_par_for((size_t)bl_ceil_div_u64(c->vocab, TILE_ROWS), n_threads, logits_tile, c, err);
    if (rc == BL_OK)
        rc = bl_par_for(c->n, n_threads, token_loss, c, err);
    for (size_t i = 0; rc == BL_OK && i < c->n; i++) {
        sums->loss += c->value[i].loss;
        sums->ce += c->value[i].ce;
        sums->kd += c->value[i].kd;
    }
    sums->n_tokens += c->n;
    return rc == BL_OK && c->job->dx ? back(c, err) : rc;
}

static bl_status allocate(struct chunk *c, size_t n_tokens, struct bl_err *err)
{
    const bl_weights *weights = c->job->weights;
    const size_t n_threads = (size_t)weights->n_threads, H = c->job->batch->teacher_hidden;
    bool ok;

    c->z = bl_alloc(n_tokens, c->vocab * sizeof(float));
    c->scratch = bl_alloc(n_threads, 3 * c->vocab * sizeof(float));
    c->value = bl_alloc(n_tokens, sizeof(*c->value));
    ok = c->z && c->scratch && c->value;
    if (wants_teacher(c->job)) {
        c->u = bl_alloc(n_tokens, c->vocab * sizeof(float));
        c->teacher_x = bl_alloc(n_tokens, H * sizeof(float));
        c->teacher_tile = bl_alloc(n_threads * TILE_ROWS, H * sizeof(float));
        ok = ok && c->u && c->teacher_x && c->teacher_tile;
    }
    c->w = bl_resident_get(weights->resident, c->table)->value;
    if (ok && !c->w) {
        c->decoded = bl_alloc(c->vocab, c->hidden * sizeof(float));
        ok = c->decoded != NULL;
        if (ok)
            bl_resident_read(c->decoded, weights->resident, c->table, 0, c->table->n_rows);
        c->w = c->decoded;
    }
    return ok ? BL_OK : bl_fail_nomem(err, "logits");
}

bl_status bl_head_loss_run(bl_step_sums *out, const bl_head_loss *job, struct bl_err *err)
{
    struct chunk c = { .job = job };
    bl_step_sums sums = { 0 };
    size_t step;
    bl_status rc = bl_head_table(&c.table, job->weights, err);

    if (rc != BL_OK)
        return rc;
    c.vocab = (size_t)c.table->n_rows;
    c.hidden = (size_t)c.table->n_cols;
    step = (size_t)bl_min_u64(bl_head_loss_tokens(c.vocab), job->n);
    rc = allocate(&c, step, err);
    for (c.first = 0; c.first < job->n && rc == BL_OK; c.first += c.n) {
        c.n = (size_t)bl_min_u64(step, job->n - c.first);
        rc = run_chunk(&sums, &c, err);
    }
    bl_free(c.z);
    bl_free(c.u);
    bl_free(c.teacher_x);
    bl_free(c.teacher_tile);
    bl_free(c.scratch);
    bl_free(c.value);
    bl_free(c.decoded);
    if (rc == BL_OK)
        *out = sums;
    return rc;
}
