/* quantize_gptq.c - see quantize_gptq.h. */
#include "cli/quantize_gptq.h"

#include "base/alloc.h"
#include "base/publish.h"
#include "base/size.h"
#include "cli/read_text.h"
#include "model/forward.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bl_status bl_cli_gptq_check(const bl_cli_gptq_options *o, struct bl_err *err)
{
    const bool given =
        o->text || o->scratch || o->max_tokens || o->memory || o->shared_hessian || o->sequential;

    if (!o->wanted && given)
        return bl_fail(err, BL_E_USAGE,
                       "--text, --tokens, --memory, --scratch, --shared-hessian and --sequential "
                       "are for --method gptq");
    if (o->wanted && !o->text)
        return bl_fail(err, BL_E_USAGE, "--method gptq needs --text");
    if (o->ctx < 2 || o->ctx > UINT16_MAX)
        return bl_fail(err, BL_E_USAGE, "--ctx is 2 to %u", UINT16_MAX);
    return BL_OK;
}

/* Sequences of ctx tokens, each beginning with BOS where the model wants one; the rest is dropped. */
static bl_status make_sequences(bl_cli_gptq *g, bl_gptq_options *run, const bl_ckpt *ckpt,
                                const bl_cli_gptq_options *o, struct bl_err *err)
{
    bl_cli_text text = { 0 };
    bl_status rc = bl_cli_read_text(&text, ckpt, o->text, err);
    uint64_t n = o->max_tokens ? bl_min_u64(o->max_tokens, text.tokens.n) : text.tokens.n;

    run->n_positions = (uint32_t)o->ctx;
    run->n_seqs = (uint32_t)bl_min_u64(n / o->ctx, UINT32_MAX);
    if (rc == BL_OK && run->n_seqs == 0)
        rc = bl_fail(err, BL_E_USAGE, "%s: %" PRIu64 " tokens, a sequence is %" PRIu64, o->text, n,
                     o->ctx);
    n = (uint64_t)run->n_seqs * o->ctx;
    if (rc == BL_OK) {
        g->token = bl_alloc((size_t)n, sizeof(*g->token));
        rc = g->token ? BL_OK : bl_fail_nomem(err, "tokens");
    }
    if (rc == BL_OK) {
        memcpy(g->token, text.tokens.id, (size_t)n * sizeof(*g->token));
        for (uint64_t i = 0; i < n && text.bos >= 0; i += o->ctx)
            g->token[i] = (int32_t)text.bos;
        run->token = g->token;
    }
    bl_cli_text_release(&text);
    return rc;
}

static bl_status say_plan(const bl_cli_gptq *g, const bl_gptq_options *run, struct bl_err *err)
{
    const bl_gptq_report *r = bl_gptq_report_of(g->run);
    bl_text out = { 0 };
    char memory[32];
    bl_status rc;

    bl_text_printf(&out,
                   "GPTQ of %zu matrices on %u tokens: %s of memory, %zu experts at a time%s\n\n",
                   bl_gptq_n_matrices(g->run), run->n_seqs * run->n_positions,
                   bl_text_bytes(memory, r->memory), r->batch_experts,
                   r->room.scratch ? ", hidden states in scratch" : "");
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

bl_status bl_cli_gptq_run(bl_cli_gptq *g, const bl_ckpt *ckpt, bl_plan *plan,
                          const bl_cli_gptq_options *o, const bl_common *common, const char *output,
                          struct bl_err *err)
{
    bl_gptq_options run = { .n_threads = (int)common->n_threads,
                            .memory = o->memory,
                            .resume = common->resume,
                            .force = common->force && !common->resume,
                            .shared_hessian = o->shared_hessian,
                            .sequential = o->sequential };
    bl_status rc = make_sequences(g, &run, ckpt, o, err);

    if (rc != BL_OK)
        return rc;
    g->scratch = o->scratch ? bl_strdup(o->scratch) : bl_publish_parent(output);
    if (!g->scratch)
        return bl_fail_nomem(err, "the scratch folder's name");
    run.scratch = g->scratch;
    run.progress = bl_progress_new("quantize: gptq", bl_forward_bytes(ckpt), common->progress);
    rc = bl_gptq_begin(&g->run, ckpt, plan, &run, err);
    if (rc == BL_OK && common->dry_run)
        rc = common->json ? BL_OK : say_plan(g, &run, err);
    else if (rc == BL_OK)
        rc = bl_gptq_run(g->run, err);
    bl_progress_free(run.progress);
    return rc;
}

/* Of a role: how many by GPTQ, and the error on held-out tokens in units of the search's. */
static void put_count(bl_text *out, const char *role, const bl_gptq_count *c)
{
    const uint64_t n_judged = c->n_matrices - c->n_unjudged - c->n_unfactored;

    bl_text_printf(out, "%-14s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64, role,
                   c->n_matrices, c->n_accepted, c->n_unjudged, c->n_unfactored);
    if (c->search_error > 0 && n_judged > 0)
        bl_text_printf(out, " %9.3f %9.3f\n", c->gptq_error / c->search_error,
                       exp(c->log_ratio / (double)n_judged));
    else
        bl_text_printf(out, " %9s %9s\n", "-", "-");
}

bl_status bl_cli_gptq_print(const bl_cli_gptq *g, struct bl_err *err)
{
    const bl_gptq_report *r = bl_gptq_report_of(g->run);
    bl_text out = { 0 };
    bl_status rc;

    bl_text_printf(&out, "\n%-14s %9s %9s %9s %9s %9s %9s\n", "gptq", "matrices", "taken",
                   "no tokens", "no factor", "error", "each");
    for (int i = 0; i < BL_ROLE_COUNT; i++)
        if (r->role[i].n_matrices > 0)
            put_count(&out, bl_role_name((bl_role)i), &r->role[i]);
    bl_text_printf(&out,
                   "error: on held-out tokens, search's = 1, as written; each: geometric mean "
                   "of the matrices', before the choice\n");
    if (r->n_layers_before > 0)
        bl_text_printf(&out, "not counted: %u layers of the run that was cut off\n",
                       r->n_layers_before);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static void put_json_count(bl_json_writer *w, const char *role, const bl_gptq_count *c)
{
    bl_json_begin_object(w);
    bl_json_pair_string(w, "role", role);
    bl_json_pair_u64(w, "matrices", c->n_matrices);
    bl_json_pair_u64(w, "taken", c->n_accepted);
    bl_json_pair_u64(w, "no_tokens", c->n_unjudged);
    bl_json_pair_u64(w, "no_factor", c->n_unfactored);
    bl_json_pair_f64(w, "search_error", c->search_error);
    bl_json_pair_f64(w, "gptq_error", c->gptq_error);
    bl_json_end_object(w);
}

void bl_cli_gptq_put_json(bl_json_writer *w, const bl_cli_gptq *g)
{
    const bl_gptq_report *r = bl_gptq_report_of(g->run);

    bl_json_put_key(w, "gptq");
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "layers_before", r->n_layers_before);
    bl_json_put_key(w, "roles");
    bl_json_begin_array(w);
    for (int i = 0; i < BL_ROLE_COUNT; i++)
        if (r->role[i].n_matrices > 0)
            put_json_count(w, bl_role_name((bl_role)i), &r->role[i]);
    bl_json_end_array(w);
    bl_json_end_object(w);
}

void bl_cli_gptq_release(bl_cli_gptq *gptq)
{
    bl_gptq_free(gptq->run);
    bl_free(gptq->token);
    bl_free(gptq->scratch);
    *gptq = (bl_cli_gptq){ 0 };
}
