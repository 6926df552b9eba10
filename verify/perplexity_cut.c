/* perplexity_cut.c - the two rules of perplexity.h; see perplexity_parts.h. */
#include "verify/perplexity_parts.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { DEFAULT_CTX = 512 };

void bl_ppl_cut_release(bl_ppl_cut *c)
{
    bl_free(c->token);
    bl_free(c->row);
    bl_free(c->target);
    bl_free(c->place);
    bl_free(c->first);
    *c = (bl_ppl_cut){ 0 };
}

static uint32_t ctx_of(const bl_ppl_options *options)
{
    return options->ctx ? options->ctx : DEFAULT_CTX;
}

static size_t used_tokens(const bl_ppl_options *options, size_t n_tokens)
{
    return (size_t)bl_min_u64(n_tokens, options->max_tokens ? options->max_tokens : n_tokens);
}

/* Sequences of the rule: whole chunks, or windows until one reaches the end of the text. */
static size_t count_sequences(const bl_ppl_options *options, size_t n_tokens)
{
    size_t ctx = ctx_of(options), n = used_tokens(options, n_tokens);

    if (options->stride == 0)
        return n / ctx;
    return n <= ctx ? 1 : 1 + (size_t)bl_ceil_div_u64(n - ctx, options->stride);
}

/* Positions [from, to) of sequence s, which is text[begin ..], score the tokens that follow them. */
static void score_positions(bl_ppl_cut *c, size_t *n_scored, size_t ctx, size_t s, size_t from,
                            size_t to, const int32_t *text, size_t begin)
{
    for (size_t p = from; p < to; p++, ++*n_scored) {
        c->row[*n_scored] = s * ctx + p;
        c->target[*n_scored] = text[begin + p + 1];
        c->place[*n_scored] = begin + p + 1;
    }
}

/* llama.cpp's rule: chunks, BOS in their first places, the second half scored. */
static size_t cut_chunks(bl_ppl_cut *c, size_t n_seqs, const int32_t *tokens,
                         const bl_ppl_options *options)
{
    size_t ctx = ctx_of(options), n = 0;

    for (size_t s = 0; s < n_seqs; s++) {
        memcpy(c->token + s * ctx, tokens + s * ctx, ctx * sizeof(*tokens));
        if (options->bos >= 0)
            c->token[s * ctx] = (int32_t)options->bos;
        c->first[s] = n;
        score_positions(c, &n, ctx, s, ctx / 2, ctx - 1, tokens, s * ctx);
    }
    c->first[n_seqs] = n;
    return n;
}

/* The papers' rule: windows that overlap, each scoring what the one before did not reach. */
static size_t cut_windows(bl_ppl_cut *c, size_t n_seqs, const int32_t *tokens, size_t n_tokens,
                          const bl_ppl_options *options)
{
    size_t ctx = ctx_of(options), n = 0, done = 1; /* nothing comes before the first token */

    for (size_t s = 0; s < n_seqs; s++) {
        size_t begin = s * options->stride, end = (size_t)bl_min_u64(begin + ctx, n_tokens);

        memcpy(c->token + s * ctx, tokens + begin, (end - begin) * sizeof(*tokens));
        for (size_t p = end - begin; p < ctx; p++) /* seen by nothing that is scored */
            c->token[s * ctx + p] = tokens[0];
        c->first[s] = n;
        /* with stride = ctx the first token of a window has nothing before it */
        score_positions(c, &n, ctx, s, done > begin ? done - 1 - begin : 0, end - 1 - begin, tokens,
                        begin);
        done = end;
    }
    c->first[n_seqs] = n;
    return n;
}

bl_status bl_ppl_allocate(bl_ppl_result *r, struct bl_err *err)
{
    bool ok = true;

    assert(r->n_models <= 2);
    for (size_t m = 0; m < r->n_models; m++) {
        r->model[m].nll = bl_alloc(r->n_scored, sizeof(double));
        r->model[m].running = bl_alloc(r->n_chunks, sizeof(double));
        ok = ok && r->model[m].nll && r->model[m].running;
    }
    if (r->n_models == 2) {
        r->kl = bl_alloc(r->n_scored, sizeof(double));
        ok = ok && r->kl;
    }
    return ok ? BL_OK : bl_fail_nomem(err, "token scores");
}

bl_status bl_ppl_cut_text(bl_ppl_cut *out, bl_ppl_result *r, const int32_t *tokens, size_t n_tokens,
                          const bl_ppl_options *options, struct bl_err *err)
{
    size_t n_seqs = r->n_chunks, n = used_tokens(options, n_tokens);
    bl_ppl_cut c = { 0 };

    c.token = bl_alloc(n_seqs, r->ctx * sizeof(*c.token));
    c.row = bl_alloc(n_seqs, r->ctx * sizeof(*c.row));
    c.target = bl_alloc(n_seqs, r->ctx * sizeof(*c.target));
    c.place = bl_alloc(n_seqs, r->ctx * sizeof(*c.place));
    c.first = bl_alloc(n_seqs + 1, sizeof(*c.first));
    if (!c.token || !c.row || !c.target || !c.place || !c.first) {
        bl_ppl_cut_release(&c);
        return bl_fail_nomem(err, "scored tokens");
    }
    r->n_scored = options->stride ? cut_windows(&c, n_seqs, tokens, n, options)
                                  : cut_chunks(&c, n_seqs, tokens, options);
    *out = c;
    return BL_OK;
}

/* Everything that can be known before the first weight is read. */
bl_status bl_ppl_check(bl_ppl_result *r, size_t n_models, size_t n_tokens, const bl_ppl_options *o,
                       struct bl_err *err)
{
    size_t n = used_tokens(o, n_tokens);

    r->ctx = ctx_of(o);
    r->n_models = n_models;
    if (r->ctx < 4)
        return bl_fail(err, BL_E_USAGE, "a context of %u tokens: at least 4", r->ctx);
    if (o->stride > r->ctx)
        return bl_fail(err, BL_E_USAGE, "a stride of %u leaves out tokens between contexts of %u",
                       o->stride, r->ctx);
    if (o->stride == 0 && n < 2 * (size_t)r->ctx)
        return bl_fail(err, BL_E_USAGE,
                       "the text has %zu tokens: perplexity needs at least two contexts, %" PRIu64,
                       n, 2 * (uint64_t)r->ctx);
    if (n < 2)
        return bl_fail(err, BL_E_USAGE, "the text has %zu tokens: nothing to predict", n);
    r->n_chunks = count_sequences(o, n_tokens);
    /* windows overlap, and every token but the first is scored in one of them */
    r->n_scored = o->stride ? n - 1 : r->n_chunks * (r->ctx - 1 - r->ctx / 2);
    return BL_OK;
}
