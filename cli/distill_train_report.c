/* distill_train_report.c - what a training will need, and what came of it. */
#include "cli/distill_train.h"

#include <inttypes.h>
#include <math.h>

/* Bytes of the folder: weights, and little beside them. */
static uint64_t output_bytes(const bl_train_command *c, const bl_train_needs *needs)
{
    return needs->n_values * (c->dtype[0] == 'f' ? 4 : 2);
}

static void put_bytes(bl_text *out, const char *what, uint64_t n)
{
    char bytes[32];

    bl_text_printf(out, "%-18s %12s\n", what, bl_text_bytes(bytes, n));
}

/* The same lines in front of both reports. */
static void put_head(bl_text *out, const bl_train_command *c, uint64_t n_values)
{
    const bl_recipe *r = &c->recipe;
    const uint64_t n_seqs = (uint64_t)r->batch * r->accumulate;
    const double epochs = (double)(n_seqs * r->schedule.n_steps) / r->cache.n_seqs;

    bl_text_put_name(out, c->output);
    bl_text_puts(out, ": a student of ");
    bl_text_put_name(out, r->cache.name);
    bl_text_printf(out, ", %s, answers: %s\n", bl_recipe_loss_name(&r->loss),
                   bl_cache_kind_name(r->cache.kind));
    bl_text_printf(out, "parameters         %12" PRIu64 "\n", n_values);
    bl_text_printf(out, "steps              %12" PRIu64 ", %.2f epochs\n", r->schedule.n_steps,
                   epochs);
    bl_text_printf(out, "tokens a step      %12" PRIu64 ", %" PRIu64 " sequences of %" PRIu32 "\n",
                   n_seqs * r->cache.n_positions, n_seqs, r->cache.n_positions);
}

static void put_json_head(bl_json_writer *w, const bl_train_command *c, uint64_t n_values,
                          const bl_text *recipe)
{
    const bl_recipe *r = &c->recipe;

    bl_json_pair_string(w, "output", c->output);
    bl_json_pair_string(w, "teacher", r->cache.name);
    bl_json_pair_u64(w, "parameters", n_values);
    bl_json_pair_u64(w, "steps", r->schedule.n_steps);
    bl_json_pair_u64(w, "tokens_per_step",
                     (uint64_t)r->batch * r->accumulate * r->cache.n_positions);
    bl_json_put_key(w, "recipe");
    bl_json_put_raw(w, recipe->bytes ? recipe->bytes : "null");
}

static void put_json_needs(bl_json_writer *w, const bl_train_command *c, const bl_train_needs *n)
{
    bl_json_put_key(w, "needs");
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "memory_bytes", n->memory);
    bl_json_pair_u64(w, "weights_bytes", n->weights);
    bl_json_pair_u64(w, "gradients_bytes", n->gradients);
    bl_json_pair_u64(w, "moments_bytes", n->moments);
    bl_json_pair_u64(w, "activations_bytes", n->activations);
    bl_json_pair_u64(w, "head_bytes", n->head);
    bl_json_pair_u64(w, "batch_bytes", n->batch);
    bl_json_pair_u64(w, "output_bytes", output_bytes(c, n));
    bl_json_pair_u64(w, "checkpoints_bytes", 2 * n->checkpoint);
    bl_json_end_object(w);
}

static void put_needs(bl_text *out, const bl_train_command *c, const bl_train_needs *n)
{
    put_bytes(out, "memory, about", n->memory);
    put_bytes(out, "  weights", n->weights);
    put_bytes(out, "  gradients", n->gradients);
    put_bytes(out, "  moments", n->moments);
    put_bytes(out, "  activations", n->activations);
    put_bytes(out, "  head", n->head);
    put_bytes(out, "  batch", n->batch);
    put_bytes(out, "disk", output_bytes(c, n));
    put_bytes(out, "  checkpoints", 2 * n->checkpoint);
}

bl_status bl_train_print_plan(const bl_train_command *c, const bl_train_needs *needs,
                              struct bl_err *err)
{
    bl_text out = { 0 }, recipe = { 0 };
    bl_json_writer w = { .text = &out };
    bl_status rc = bl_recipe_text(&recipe, &c->recipe, err);

    if (c->common.json) {
        bl_json_begin_object(&w);
        put_json_head(&w, c, needs->n_values, &recipe);
        put_json_needs(&w, c, needs);
        bl_json_end_object(&w);
        bl_text_puts(&out, "\n");
    } else {
        put_head(&out, c, needs->n_values);
        put_needs(&out, c, needs);
    }
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    bl_text_release(&recipe);
    return rc;
}

/* Held-out text first and last, NaN where there is none. */
static void find_eval(double eval[2], const bl_train_record *record, size_t n)
{
    eval[0] = eval[1] = (double)NAN;
    for (size_t i = 0; i < n; i++) {
        if (isnan(record[i].eval_ce))
            continue;
        eval[1] = exp(record[i].eval_ce);
        if (isnan(eval[0]))
            eval[0] = eval[1];
    }
}

static void put_json_result(bl_json_writer *w, const bl_train_record *first,
                            const bl_train_record *last, const double eval[2])
{
    const struct {
        const char *name;
        const bl_train_record *record;
    } end[] = { { "first_step", first }, { "last_step", last } };

    bl_json_pair_u64(w, "tokens", last->n_tokens);
    for (size_t i = 0; i < 2; i++) {
        bl_json_put_key(w, end[i].name);
        bl_json_begin_object(w);
        bl_json_pair_f64(w, "loss", end[i].record->loss);
        bl_json_pair_f64(w, "kd", end[i].record->kd);
        bl_json_pair_f64(w, "ce", end[i].record->ce);
        bl_json_end_object(w);
    }
    bl_json_pair_f64(w, "eval_ppl_before", eval[0]);
    bl_json_pair_f64(w, "eval_ppl_after", eval[1]);
}

static void put_result(bl_text *out, const bl_train_record *first, const bl_train_record *last,
                       const double eval[2])
{
    bl_text_printf(out, "tokens             %12" PRIu64 "\n", last->n_tokens);
    bl_text_printf(out, "loss               %12.4f, at the first step %.4f\n", last->loss,
                   first->loss);
    bl_text_printf(out, "divergence         %12.4f, at the first step %.4f\n", last->kd, first->kd);
    if (last->kd < 0)
        bl_text_puts(out,
                     "                   (below zero: draws are an estimate, and the student has "
                     "seen these before)\n");
    bl_text_printf(out, "cross-entropy      %12.4f, at the first step %.4f\n", last->ce, first->ce);
    if (!isnan(eval[1]))
        bl_text_printf(out, "perplexity         %12.4f of held-out text, before %.4f\n", eval[1],
                       eval[0]);
}

bl_status bl_train_print_result(const bl_train_command *c, uint64_t n_values,
                                const bl_train_record *record, size_t n, struct bl_err *err)
{
    bl_text out = { 0 }, recipe = { 0 };
    bl_json_writer w = { .text = &out };
    bl_status rc = bl_recipe_text(&recipe, &c->recipe, err);
    const bl_train_record *first = record, *last = record + n - 1;
    double eval[2];

    if (first->step == 0 && n > 1)
        first++;
    find_eval(eval, record, n);
    if (c->common.json) {
        bl_json_begin_object(&w);
        put_json_head(&w, c, n_values, &recipe);
        put_json_result(&w, first, last, eval);
        bl_json_end_object(&w);
        bl_text_puts(&out, "\n");
    } else {
        put_head(&out, c, n_values);
        put_result(&out, first, last, eval);
    }
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    bl_text_release(&recipe);
    return rc;
}
