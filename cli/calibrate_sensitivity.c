/* calibrate_sensitivity.c - see the header. */
#include "cli/calibrate_sensitivity.h"

#include "base/alloc.h"
#include "base/size.h"
#include "quantize/quant.h"
#include "quantize/sensitivity_store.h"

#include <inttypes.h>
#include <string.h>

enum { LAYERS_OF_A_GROUP = 4 };

/* Sequences of ctx tokens, evenly spread over the text. */
static bl_status choose_sequences(int32_t **out, uint32_t *n_seqs, const bl_probe_options *o,
                                  const bl_tokens *tokens, struct bl_err *err)
{
    const uint64_t all = tokens->n / o->ctx, wanted = bl_max_u64(o->n_tokens / o->ctx, 1);
    const uint64_t n = bl_min_u64(all, wanted);
    int32_t *token;

    if (n == 0)
        return bl_fail(err, BL_E_USAGE, "the text has %zu tokens, a sequence needs %" PRIu32,
                       tokens->n, o->ctx);
    token = bl_alloc((size_t)(n * o->ctx), sizeof(*token));
    if (!token)
        return bl_fail_nomem(err, "tokens");
    for (uint64_t s = 0; s < n; s++) {
        memcpy(token + s * o->ctx, tokens->id + s * all / n * o->ctx, o->ctx * sizeof(*token));
        if (o->bos >= 0)
            token[s * o->ctx] = (int32_t)o->bos;
    }
    *out = token;
    *n_seqs = (uint32_t)n;
    return BL_OK;
}

static bl_status measure(bl_sensitivity *out, const bl_probe_options *o, const bl_ckpt *ckpt,
                         const bl_tokens *tokens, struct bl_err *err)
{
    bl_sensitivity_options options = { .reference = bl_encoder_of(BL_Q4_0, BL_METHOD_PLAIN),
                                       .grouped = o->grouped,
                                       .layers_together = o->grouped ? LAYERS_OF_A_GROUP : 1,
                                       .n_threads = o->n_threads,
                                       .memory = o->memory,
                                       .scratch = o->scratch };
    bl_sensitivity_plan plan;
    int32_t *token = NULL;
    uint32_t n_seqs = 0;
    bl_status rc = choose_sequences(&token, &n_seqs, o, tokens, err);

    if (rc == BL_OK)
        rc = bl_sensitivity_plan_make(&plan, bl_ckpt_config(ckpt), &options, err);
    if (rc == BL_OK) {
        options.progress = bl_progress_new("sensitivity", plan.steps, o->show_progress);
        rc = bl_sensitivity_measure(out, ckpt, token, n_seqs, o->ctx, &options, err);
        bl_progress_free(options.progress);
    }
    bl_free(token);
    return rc;
}

bl_status bl_calibrate_sensitivity(const bl_probe_options *o, const bl_ckpt *ckpt,
                                   const bl_tokens *tokens, struct bl_err *err)
{
    bl_sensitivity sensitivity = { 0 };
    bl_stats *stats = NULL;
    bool other_precision;
    bl_status rc = bl_stats_open(&stats, o->from, err);

    if (rc == BL_OK)
        rc = bl_stats_check(&other_precision, stats, ckpt, err);
    if (rc == BL_OK)
        rc = measure(&sensitivity, o, ckpt, tokens, err);
    /* Written beside and renamed; `stats` goes on reading the file it has open. */
    if (rc == BL_OK)
        rc = bl_sensitivity_save(o->output, o->force, stats, &sensitivity, err);
    bl_sensitivity_release(&sensitivity);
    bl_stats_close(stats);
    return rc;
}
