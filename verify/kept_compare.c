/*
 * kept_compare.c - a model against a file, group by group, and whether the file is about the same
 * text at all.
 */
#include "verify/kept_kind.h"

#include "base/alloc.h"
#include "base/par.h"
#include "verify/logit_stats.h"

#include <inttypes.h>
#include <math.h>

/* How the file's text was cut, and this one. */
static bl_status check_rule(const bl_kept *k, struct bl_err *err)
{
    const bl_kept_text *t = &k->text;
    const bl_kept_rule rule = bl_kept_rule_of(k);
    const uint32_t n_seqs = k->ggml ? k->ggml->n_chunks : k->info.n_seqs;

    if (rule.ctx != t->n_positions)
        return bl_fail(err, BL_E_MISMATCH, "%s was made with contexts of %u, not %u: use --ctx %u",
                       k->path, rule.ctx, t->n_positions, rule.ctx);
    if (rule.stride != t->stride)
        return rule.stride == 0
                   ? bl_fail(err, BL_E_MISMATCH,
                             "%s was made with chunks, not windows: leave out --stride", k->path)
                   : bl_fail(err, BL_E_MISMATCH, "%s was made with windows: use --stride %u",
                             k->path, rule.stride);
    if (!k->ggml && rule.bos != t->bos)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: its chunks begin with token %" PRId64 ", here with %" PRId64
                       " (-1: as the text does): another tokenizer",
                       k->path, rule.bos, t->bos);
    if (n_seqs != t->n_seqs)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s is about %u sequences of %u tokens, the text has %u: another text or "
                       "another --tokens",
                       k->path, n_seqs, rule.ctx, t->n_seqs);
    return BL_OK;
}

static bl_status check_tokens(const bl_kept *k, struct bl_err *err)
{
    const bl_kept_text *t = &k->text;
    const int32_t *token = k->ggml ? k->ggml->token : k->reader->token;
    const size_t ctx = t->n_positions;

    for (size_t i = 0; i < t->n_seqs * ctx; i++) {
        if (k->ggml && t->bos >= 0 && i % ctx == 0)
            continue; /* the file has what BOS replaces */
        if (token[i] != t->token[i])
            return bl_fail(err, BL_E_MISMATCH,
                           "%s is about another text, or other tokens of it: token %zu of sequence "
                           "%zu is %d there and %d here",
                           k->path, i % ctx, i / ctx, token[i], t->token[i]);
    }
    for (size_t s = 0; s < t->n_seqs && !k->ggml; s++) {
        const bl_logits_seq here = bl_kept_seq(t, s), *there = &k->reader->seq[s];

        if (here.first_record != there->first_record || here.n_records != there->n_records ||
            (here.n_records > 0 && here.first_position != there->first_position))
            return bl_fail(err, BL_E_MISMATCH, "%s scores other tokens of sequence %zu", k->path,
                           s);
    }
    return BL_OK;
}

bl_status bl_kept_check_text(const bl_kept *kept, const bl_ckpt *ckpt, struct bl_err *err)
{
    const uint32_t vocab = kept->ggml ? kept->ggml->vocab_size : kept->info.vocab_size;
    bl_status rc;

    if (vocab != bl_ckpt_config(ckpt)->vocab_size)
        return bl_fail(err, BL_E_MISMATCH, "%s is about a vocabulary of %u, %s has one of %u",
                       kept->path, vocab, bl_ckpt_path(ckpt), bl_ckpt_config(ckpt)->vocab_size);
    rc = check_rule(kept, err);
    return rc == BL_OK ? check_tokens(kept, err) : rc;
}

static bl_status compare_sparse(bl_kept *k, const bl_head *head, size_t first, size_t n,
                                struct bl_err *err)
{
    bl_logits_sparse *record = bl_alloc(n, sizeof(*record));
    bl_logit_compare compare = { 0 };
    bl_status rc = record ? bl_logits_read_sparse(record, k->reader, first, n, err)
                          : bl_fail_nomem(err, "kept logits");

    if (rc == BL_OK)
        rc = bl_logit_compare_init(&compare, record, k->text.target + first, n, err);
    if (rc == BL_OK)
        rc = bl_head_run(head, 1, n, bl_logit_compare_add, &compare, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        k->verdict[first + i] = bl_logit_compare_verdict(&compare, i);
    bl_logit_compare_release(&compare);
    bl_free(record);
    return rc;
}

static bl_status read_head(void *context, float *out, uint64_t row, uint64_t n_rows,
                           struct bl_err *err)
{
    const bl_logits_reader *reader = context;

    return bl_logits_read_head(out, reader, row, n_rows, err);
}

/* Both models' logits, the reference's from its states and its head in the file. */
static bl_status compare_hidden(bl_kept *k, const bl_head *head, size_t first, size_t n,
                                struct bl_err *err)
{
    const bl_tensor shape = { .n_rows = k->info.vocab_size, .n_cols = k->info.hidden_size };
    float *x = bl_alloc(n, k->info.hidden_size * sizeof(*x));
    const bl_head pair[2] = { { .weights = head->weights,
                                .table = &shape,
                                .x = x,
                                .read = read_head,
                                .read_context = k->reader },
                              *head };
    bl_logit_stats stats = { 0 };
    bl_status rc = x ? bl_logits_read_hidden(x, k->reader, first, n, err)
                     : bl_fail_nomem(err, "hidden states");

    if (rc == BL_OK)
        rc = bl_logit_stats_init(&stats, 2, k->text.target + first, n, err);
    if (rc == BL_OK)
        rc = bl_head_run(pair, 2, n, bl_logit_stats_add, &stats, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        k->verdict[first + i] =
            (bl_logit_verdict){ .kl = bl_logit_stats_kl(&stats, i),
                                .nll_base = bl_logit_stats_nll(&stats, i, 0),
                                .nll = bl_logit_stats_nll(&stats, i, 1),
                                .same_top = bl_logit_stats_same_top(&stats, i) };
    bl_logit_stats_release(&stats);
    bl_free(x);
    return rc;
}

struct places {
    bl_kept *kept;
    const float *z;
    size_t first, vocab;
};

static size_t largest(const float *x, size_t n)
{
    size_t top = 0;

    for (size_t v = 1; v < n; v++)
        top = x[v] > x[top] ? v : top;
    return top;
}

/* As llama.cpp compares: what the reference gives less than e^-16 is left out of the divergence. */
static bl_logit_verdict compare_rows(const float *log_p, const float *z, size_t n, size_t target)
{
    const size_t top = largest(z, n);
    double sum = 0, lse;
    bl_logit_verdict v = { .same_top = top == largest(log_p, n) };

    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - (double)z[top]);
    lse = log(sum) + (double)z[top];
    for (size_t i = 0; i < n; i++)
        if (log_p[i] > -16.0f)
            v.kl += exp((double)log_p[i]) * ((double)log_p[i] - (double)z[i] + lse);
    v.nll_base = -(double)log_p[target];
    v.nll = lse - (double)z[target];
    return v;
}

static bl_status compare_place(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct places *p = context;
    const size_t at = p->first + i;
    float *log_p = bl_alloc(p->vocab, sizeof(*log_p));
    bl_status rc = log_p ? bl_ggml_logits_read(log_p, p->kept->ggml, at, err)
                         : bl_fail_nomem(err, "kept logits");

    (void)i_thread;
    if (rc == BL_OK)
        p->kept->verdict[at] =
            compare_rows(log_p, p->z + i * p->vocab, p->vocab, (size_t)p->kept->text.target[at]);
    bl_free(log_p);
    return rc;
}

static bl_status compare_ggml(bl_kept *k, const bl_head *head, size_t first, size_t n,
                              struct bl_err *err)
{
    struct places p = { .kept = k, .first = first, .vocab = (size_t)head->table->n_rows };
    float *rows = NULL;
    bl_status rc = bl_kept_whole_rows(&rows, head, n, err);

    if (rc != BL_OK)
        return rc;
    p.z = rows;
    rc = bl_par_for(n, head->weights->n_threads, compare_place, &p, err);
    bl_free(rows);
    return rc;
}

bl_status bl_kept_compare_group(bl_kept *kept, const bl_head *head, size_t first, size_t n,
                                struct bl_err *err)
{
    static const bl_kept_group_fn compare[BL_KEPT_N_KINDS] = { compare_sparse, compare_hidden,
                                                               compare_ggml };

    return compare[kept->kind](kept, head, first, n, err);
}
