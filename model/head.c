/* head.c - see head.h. */
#include "model/head.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"
#include "model/norm.h"
#include "model/slab.h"

#include <inttypes.h>

struct head_job {
    const bl_head *head;
    size_t n_models, n_tokens;
    bl_logits_fn fn;
    void *context;
    uint64_t row, n_rows;            /* of this slice */
    size_t slice_rows;               /* of the longest slice */
    float *slab[BL_HEAD_MAX_MODELS]; /* [slice_rows][hidden] */
    float *logits;                   /* [n_threads][n_models][BL_HEAD_TOKENS][slice_rows] */
};

static bl_status run_block(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct head_job *job = context;
    const float *logits[BL_HEAD_MAX_MODELS] = { 0 };
    size_t token = i * BL_HEAD_TOKENS, n_rows = (size_t)job->n_rows;
    size_t n_tokens = (size_t)bl_min_u64(BL_HEAD_TOKENS, job->n_tokens - token);
    size_t n_place = BL_HEAD_TOKENS * job->slice_rows;

    for (size_t m = 0; m < job->n_models; m++) {
        float *y = job->logits + ((size_t)i_thread * job->n_models + m) * n_place;
        size_t k = (size_t)job->head[m].table->n_cols;

        bl_sgemm_nt(n_tokens, n_rows, k, 1.0f, job->head[m].x + token * k, k, job->slab[m], k, 0.0f,
                    y, n_rows);
        logits[m] = y;
    }
    return job->fn(job->context, token, n_tokens, job->row, job->n_rows, logits, err);
}

static bl_status read_slice(struct head_job *job, size_t m, struct bl_err *err)
{
    const bl_head *head = &job->head[m];

    if (head->read)
        return head->read(head->read_context, job->slab[m], job->row, job->n_rows, err);
    return bl_slab_decode(job->slab[m], head->weights, head->table, job->row, job->n_rows, err);
}

static bl_status run_slices(struct head_job *job, uint64_t vocab, struct bl_err *err)
{
    int n_threads = job->head[0].weights->n_threads;
    size_t n_blocks = (size_t)bl_ceil_div_u64(job->n_tokens, BL_HEAD_TOKENS);
    bl_status rc = BL_OK;

    for (job->row = 0; job->row < vocab && rc == BL_OK; job->row += job->n_rows) {
        job->n_rows = bl_min_u64(job->slice_rows, vocab - job->row);
        for (size_t m = 0; m < job->n_models && rc == BL_OK; m++)
            rc = read_slice(job, m, err);
        if (rc == BL_OK)
            rc = bl_par_for(n_blocks, n_threads, run_block, job, err);
    }
    return rc;
}

bl_status bl_head_run(const bl_head *head, size_t n_models, size_t n_tokens, bl_logits_fn fn,
                      void *context, struct bl_err *err)
{
    struct head_job job = { .head = head,
                            .n_models = n_models,
                            .n_tokens = n_tokens,
                            .fn = fn,
                            .context = context,
                            .slice_rows = BL_HEAD_ROWS };
    uint64_t vocab = head[0].table->n_rows;
    size_t n_threads = (size_t)head[0].weights->n_threads;
    bl_status rc = BL_OK;

    for (size_t m = 0; m < n_models; m++) {
        if (head[m].table->n_rows != vocab)
            return bl_fail(err, BL_E_MISMATCH,
                           "%s has a vocabulary of %" PRIu64 ", %s one of %" PRIu64,
                           bl_ckpt_path(head[0].weights->ckpt), vocab,
                           bl_ckpt_path(head[m].weights->ckpt), head[m].table->n_rows);
        job.slice_rows = (size_t)bl_min_u64(job.slice_rows, bl_slab_rows(head[m].table));
    }
    job.slice_rows = (size_t)bl_min_u64(job.slice_rows, vocab);
    job.logits =
        bl_alloc(n_threads * n_models * BL_HEAD_TOKENS, job.slice_rows * sizeof(*job.logits));
    if (!job.logits)
        rc = bl_fail_nomem(err, "logits");
    for (size_t m = 0; m < n_models && rc == BL_OK; m++) {
        job.slab[m] = bl_alloc(job.slice_rows, (size_t)head[m].table->n_cols * sizeof(float));
        if (!job.slab[m])
            rc = bl_fail_nomem(err, "output head");
    }
    if (rc == BL_OK)
        rc = run_slices(&job, vocab, err);
    for (size_t m = 0; m < n_models; m++)
        bl_free(job.slab[m]);
    bl_free(job.logits);
    return rc;
}

bl_status bl_head_table(const bl_tensor **out, const bl_weights *weights, struct bl_err *err)
{
    const bl_config *c = weights->network->config;

    return bl_ckpt_expect(out, weights->ckpt,
                          c->tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                          c->vocab_size, c->hidden_size, err);
}

bl_status bl_final_norm_with(float *out, const bl_state *state, const size_t *rows, size_t n,
                             const float *w, const bl_weights *weights, struct bl_err *err)
{
    size_t hidden = state->hidden_size;
    bl_norm norm = { .y = out,
                     .ldy = hidden,
                     .x = out,
                     .ldx = hidden,
                     .n_rows = n,
                     .n = hidden,
                     .w = w,
                     .eps = weights->network->norm_eps };

    bl_status rc = BL_OK;

    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = bl_matrix_read(out + i * hidden, &state->hidden, rows ? rows[i] : i, 1, err);
    return rc == BL_OK ? bl_norm_run(&norm, weights->n_threads, err) : rc;
}

bl_status bl_final_norm(float *out, const bl_state *state, const size_t *rows, size_t n,
                        const bl_weights *weights, struct bl_err *err)
{
    float *w = NULL;
    bl_status rc =
        bl_weights_global_vector(&w, weights, "model.norm.weight", state->hidden_size, err);

    if (rc == BL_OK)
        rc = bl_final_norm_with(out, state, rows, n, w, weights, err);
    bl_free(w);
    return rc;
}
