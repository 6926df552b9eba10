/*
 * calibrate.c - see calibrate.h. The road of the tokens is verify/score.c's; here the text is cut,
 * and each layer's sums go to the scratch folder and to the output as the layer is done.
 */
#include "quantize/calibrate.h"

#include "base/alloc.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/ckpt/fingerprint.h"
#include "formats/ckpt/identity.h"
#include "formats/stats/stats_writer.h"
#include "quantize/calibrate_keep.h"
#include "quantize/calibrate_layer.h"

#include <inttypes.h>
#include <string.h>

enum { DEFAULT_CTX = 512 };

struct run {
    const bl_ckpt *ckpt;
    const bl_config *config;
    const bl_calibrate_options *options;
    bl_stats_info info;
    size_t n_seqs;  /* of this part */
    int32_t *token; /* [n_seqs][ctx] */
    size_t *row;    /* [n_seqs * ctx]: every position */
    bl_layer_sums *sums;
    bl_taps taps;
    bl_kept_layers kept; /* folder NULL: nothing is kept */
    bl_stats_writer *writer;
    bl_text bytes; /* of a layer */
};

static void release(struct run *r)
{
    bl_layer_sums_free(r->sums);
    bl_stats_writer_abort(&r->writer);
    bl_text_release(&r->bytes);
    bl_free(r->token);
    bl_free(r->row);
}

/* Everything that follows from the options and the number of tokens. */
static bl_status begin(struct run *r, const bl_ckpt *ckpt, size_t n_tokens,
                       const bl_calibrate_options *o, struct bl_err *err)
{
    const uint32_t ctx = o->ctx ? o->ctx : DEFAULT_CTX, n_parts = o->n_parts ? o->n_parts : 1;
    const size_t n = (size_t)bl_min_u64(n_tokens, o->max_tokens ? o->max_tokens : n_tokens);

    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: without a configuration it cannot be run",
                       bl_ckpt_path(ckpt));
    if (ctx < 2)
        return bl_fail(err, BL_E_USAGE, "a context of %" PRIu32 " tokens: at least 2", ctx);
    if (n_parts > BL_STATS_MAX_PARTS || o->part >= n_parts)
        return bl_fail(err, BL_E_USAGE, "part %" PRIu32 " of %" PRIu32 ": from 1, of at most %d",
                       o->part + 1, n_parts, BL_STATS_MAX_PARTS);
    if (n / ctx < n_parts)
        return bl_fail(err, BL_E_USAGE,
                       "the text has %zu tokens: %" PRIu32 " part%s need%s %" PRIu64, n, n_parts,
                       n_parts == 1 ? "" : "s", n_parts == 1 ? "s" : "", (uint64_t)n_parts * ctx);
    r->ckpt = ckpt;
    r->config = bl_ckpt_config(ckpt);
    r->options = o;
    r->n_seqs = (n / ctx - o->part - 1) / n_parts + 1;
    r->info.has_model = true;
    r->info.text = o->text;
    r->info.ctx = ctx;
    r->info.n_tokens = (uint64_t)r->n_seqs * ctx;
    r->info.n_layers = r->config->n_layers;
    r->info.n_heads = r->config->n_heads;
    r->info.n_parts = n_parts;
    r->info.part[o->part / 8] = (unsigned char)(1u << o->part % 8);
    return BL_OK;
}

/* The part's sequences, BOS in their first places. */
static bl_status cut(struct run *r, const int32_t *tokens, struct bl_err *err)
{
    const size_t ctx = r->info.ctx, n_parts = r->info.n_parts;

    r->token = bl_alloc(r->n_seqs, ctx * sizeof(*r->token));
    r->row = bl_alloc(r->n_seqs, ctx * sizeof(*r->row));
    if (!r->token || !r->row)
        return bl_fail_nomem(err, "tokens");
    for (size_t s = 0; s < r->n_seqs; s++) {
        memcpy(r->token + s * ctx, tokens + (r->options->part + s * n_parts) * ctx,
               ctx * sizeof(*tokens));
        if (r->options->bos >= 0)
            r->token[s * ctx] = (int32_t)r->options->bos;
    }
    for (size_t i = 0; i < r->n_seqs * ctx; i++)
        r->row[i] = i;
    return BL_OK;
}

/* Model and text, and the name of the run: what would make other statistics makes another. */
static bl_status identify(struct run *r, const int32_t *tokens, size_t n_tokens, struct bl_err *err)
{
    const bl_calibrate_options *o = r->options;
    const size_t n = (size_t)bl_min_u64(n_tokens, o->max_tokens ? o->max_tokens : n_tokens);
    uint64_t what[8];
    bl_hash128 own;
    bl_status rc = bl_ckpt_identity(&r->info.identity, r->ckpt, err);

    if (rc == BL_OK)
        rc = bl_container_fingerprint(&r->info.fingerprint, bl_ckpt_container(r->ckpt), err);
    if (rc != BL_OK)
        return rc;
    r->info.token_ids = bl_hash128_of(tokens, n * sizeof(*tokens));
    own = bl_hash128_of(r->token, r->n_seqs * r->info.ctx * sizeof(*r->token));
    what[0] = r->info.fingerprint.low;
    what[1] = r->info.fingerprint.high;
    what[2] = own.low;
    what[3] = own.high;
    what[4] = r->info.token_ids.low;
    what[5] = r->info.ctx;
    what[6] = r->info.n_parts;
    what[7] = o->part;
    r->kept =
        (bl_kept_layers){ .folder = o->run.scratch, .run = bl_hash128_of(what, sizeof(what)) };
    return BL_OK;
}

static bl_status write_bytes(struct run *r, struct bl_err *err)
{
    return bl_stats_writer_write(r->writer, r->bytes.bytes, r->bytes.n, err);
}

/* The layers that an earlier run has finished go to the output first. */
static bl_status begin_run(void *context, const bl_state *state, struct bl_err *err)
{
    struct run *r = context;
    bl_status rc = bl_layer_sums_new(&r->sums, r->config, state, r->options->run.n_threads, err);

    for (uint32_t layer = 0; layer < state->n_layers_done && rc == BL_OK; layer++) {
        r->bytes.n = 0;
        rc = bl_kept_layer_read(&r->bytes, &r->kept, layer,
                                bl_layer_sums_packed_bytes(r->config, layer), err);
        if (rc == BL_OK)
            rc = write_bytes(r, err);
    }
    if (rc != BL_OK)
        return rc;
    r->taps.context = r->sums;
    return bl_layer_sums_begin(r->sums, state->n_layers_done, err);
}

static bl_status layer_done(void *context, const bl_state *state, struct bl_err *err)
{
    struct run *r = context;
    bl_status rc;

    r->bytes.n = 0;
    rc = bl_layer_sums_pack(&r->bytes, r->sums, err);
    if (rc == BL_OK && r->kept.folder)
        rc = bl_kept_layer_write(&r->kept, state->n_layers_done - 1, &r->bytes, err);
    if (rc == BL_OK)
        rc = write_bytes(r, err);
    return rc == BL_OK ? bl_layer_sums_begin(r->sums, state->n_layers_done, err) : rc;
}

/* The output head's input; with its last row the file is complete, and published. */
static bl_status see_final(void *context, const bl_head *head, size_t n_models, size_t first,
                           size_t n, struct bl_err *err)
{
    struct run *r = context;
    bl_status rc = bl_layer_sums_see_final(r->sums, head[0].x, n, err);

    (void)n_models;
    if (rc != BL_OK || first + n < r->n_seqs * r->info.ctx)
        return rc;
    r->bytes.n = 0;
    rc = bl_layer_sums_pack(&r->bytes, r->sums, err);
    if (rc == BL_OK)
        rc = write_bytes(r, err);
    return rc == BL_OK ? bl_stats_writer_commit(&r->writer, err) : rc;
}

/* Begun before anything is read. A killed run may have left its unfinished output. */
static bl_status begin_output(struct run *r, const char *path, struct bl_err *err)
{
    const size_t n_layers = r->config->n_layers;
    const bool replace = r->options->force || (r->options->run.resume && !bl_source_exists(path));
    bl_stats_shape(*shape)[BL_SITE_COUNT] = bl_alloc(n_layers + 1, sizeof(*shape));
    bl_stats_plan plan = { .info = r->info, .saliency = true, .angle = true };
    bl_status rc;

    if (!shape)
        return bl_fail_nomem(err, path);
    for (uint32_t layer = 0; layer <= n_layers; layer++)
        for (int i = 0; i < BL_SITE_COUNT; i++)
            shape[layer][i] = bl_stats_site_shape(r->config, (bl_stats_site)i, layer);
    plan.shape = shape[0];
    rc = bl_stats_writer_begin(&r->writer, path, replace, &plan, err);
    bl_free(shape);
    return rc;
}

static bl_watch watch_of(struct run *r)
{
    r->taps = (bl_taps){ .fn = bl_layer_sums_see, .wanted = bl_layer_sums_wanted() };
    return (bl_watch){ .taps = &r->taps,
                       .begin = begin_run,
                       .layer = layer_done,
                       .context = r,
                       .held = bl_layer_sums_bytes(r->config, r->info.n_tokens,
                                                   r->options->run.n_threads),
                       .n_copies = BL_LAYER_SUMS_COPIES,
                       .purpose = "calibrate" };
}

static bl_score score_of(struct run *r, const bl_watch *watch)
{
    bl_score score = { .token = r->token,
                       .n_seqs = (uint32_t)r->n_seqs,
                       .n_positions = r->info.ctx,
                       .row = r->row,
                       .n_rows = r->n_seqs * r->info.ctx,
                       .heads = see_final,
                       .context = r,
                       .watch = watch };

    bl_score_set_models(&score, r->ckpt, NULL, NULL);
    return score;
}

static bl_score_options options_of(const bl_calibrate_options *o)
{
    bl_score_options run = o->run;

    run.keep = run.scratch != NULL;
    run.force = o->force && !run.resume;
    return run;
}

bl_status bl_calibrate_plan(bl_score_plan *out, const bl_ckpt *ckpt, size_t n_tokens,
                            const bl_calibrate_options *options, struct bl_err *err)
{
    const bl_score_options run = options_of(options);
    struct run r = { 0 };
    bl_watch watch;
    bl_score score;
    bl_status rc = begin(&r, ckpt, n_tokens, options, err);

    if (rc != BL_OK)
        return rc;
    watch = watch_of(&r);
    score = score_of(&r, &watch);
    rc = bl_score_plan_make(out, &score, &run, err);
    for (uint32_t layer = 0; layer < r.config->n_layers && rc == BL_OK && run.keep; layer++)
        out->scratch += bl_layer_sums_packed_bytes(r.config, layer);
    return rc;
}

bl_status bl_calibrate_run(const char *path, const bl_ckpt *ckpt, const int32_t *tokens,
                           size_t n_tokens, const bl_calibrate_options *options, struct bl_err *err)
{
    const bl_score_options run = options_of(options);
    struct run r = { 0 };
    bl_status rc = begin(&r, ckpt, n_tokens, options, err);

    if (rc == BL_OK)
        rc = cut(&r, tokens, err);
    if (rc == BL_OK)
        rc = identify(&r, tokens, n_tokens, err);
    if (rc == BL_OK)
        rc = begin_output(&r, path, err);
    if (rc == BL_OK) {
        const bl_watch watch = watch_of(&r);
        const bl_score score = score_of(&r, &watch);

        rc = bl_score_run(&score, &run, err);
    }
    if (rc == BL_OK && r.kept.folder)
        rc = bl_kept_layers_remove(&r.kept, r.config->n_layers, err);
    release(&r);
    return rc;
}
