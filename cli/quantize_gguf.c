/*
 * quantize_gguf.c - a GGUF file: types by a recipe or by a budget, scales by the statistics.
 */
#include "cli/quantize_run.h"

#include "convert/plan.h"
#include "convert/write_split.h"
#include "convert/write.h"
#include "quantize/budget_plan.h"
#include "quantize/budget_room.h"
#include "quantize/plan_importance.h"
#include "quantize/policy.h"
#include "quantize/sensitivity_store.h"

#include <string.h>

/* What a run holds on to. */
struct run {
    const bl_quantize_options *o;
    const bl_ckpt *ckpt;
    bl_stats *stats;
    bl_tensor_rules rules;
    bl_plan_importance importance; /* of both plans */
    bl_sensitivity sensitivity;
    bl_allocation allocation;
    bl_plan draft; /* that types are chosen for; the allocation points into it */
    bl_plan plan;
    bl_cli_gptq gptq;
    bl_text more; /* see bl_quantize_more() */
    bl_sanity *sanity;
    const char *requantized_from;
};

/* A plan with importances; jobs point into it, so it stays where it is. */
static bl_status make_plan(bl_plan *out, struct run *r, bl_choose_fn choose, const void *context,
                           struct bl_err *err)
{
    bl_status rc = bl_plan_gguf_with(out, r->ckpt, r->o->mtp && strcmp(r->o->mtp, "keep") == 0,
                                     choose, context, err);

    if (rc != BL_OK || !r->stats)
        return rc;
    r->importance = (bl_plan_importance){ .stats = r->stats, .config = bl_ckpt_config(r->ckpt) };
    return bl_plan_set_importance(out, &r->importance, err);
}

/* Bytes that the file may have. */
static bl_status file_bytes(uint64_t *out, const struct run *r, struct bl_err *err)
{
    const bl_quantize_options *o = r->o;

    *out = o->size;
    if (o->fit > 0)
        return bl_engine_room_for_file(out, bl_ckpt_config(r->ckpt), (uint32_t)o->ctx, o->fit, err);
    if (o->bits_per_weight > 0)
        *out = bl_allocation_bytes_at(&r->allocation, o->bits_per_weight);
    return BL_OK;
}

static bl_status allocate(struct run *r, struct bl_err *err)
{
    bl_allocation_options options = { .method = r->o->method,
                                      .rules = &r->rules,
                                      .n_threads = (int)r->o->common.n_threads };
    const bl_policy draft = { .recipe = bl_recipe_by_name("f32") };
    uint64_t bytes = 0;
    bool measured = false;
    bl_status rc = make_plan(&r->draft, r, bl_policy_choose, &draft, err);

    if (rc == BL_OK && r->stats)
        rc =
            bl_sensitivity_load(&r->sensitivity, &measured, r->stats, bl_ckpt_config(r->ckpt), err);
    if (rc != BL_OK)
        return rc;
    options.sensitivity = measured ? &r->sensitivity : NULL;
    options.progress =
        bl_progress_new("sample", bl_allocation_sample_bytes(&r->draft), r->o->common.progress);
    rc = bl_allocation_init(&r->allocation, r->ckpt, &r->draft, &options, err);
    bl_progress_free(options.progress);
    if (rc == BL_OK)
        rc = file_bytes(&bytes, r, err);
    return rc == BL_OK ? bl_allocation_solve(&r->allocation, bytes, err) : rc;
}

/* The plan that is written, and which type its file says it is of. */
static bl_status decide(struct run *r, bl_gguf_file_type *file_type, struct bl_err *err)
{
    const bl_quantize_options *o = r->o;
    const bl_policy policy = { .recipe = o->recipe,
                               .config = bl_ckpt_config(r->ckpt),
                               .rules = &r->rules,
                               .has_importance = r->stats != NULL,
                               .method = o->method };
    const char *unused;
    bl_status rc;

    if (bl_quantize_has_budget(o)) {
        rc = allocate(r, err);
        if (rc == BL_OK)
            rc = make_plan(&r->plan, r, bl_allocation_choose, &r->allocation, err);
        *file_type = bl_policy_file_type(&r->plan);
    } else {
        rc = make_plan(&r->plan, r, bl_policy_choose, &policy, err);
        *file_type = o->recipe->file_type;
    }
    unused = bl_tensor_rules_unused(&r->rules);
    if (rc == BL_OK && unused)
        return bl_fail(err, BL_E_USAGE, "--tensor %s: no tensor has such a name", unused);
    return rc;
}

static void say_unknown(const struct run *r)
{
    const bl_plan_importance *i = &r->importance;

    if (r->stats && i->n_known < i->n_values)
        bl_cli_warn(r->o->command, &r->o->common,
                    "%s: nothing about %.2f %% of the weights; they are rounded without",
                    r->o->stats_path,
                    100.0 * (double)(i->n_values - i->n_known) / (double)i->n_values);
}

static bl_status run(struct run *r, struct bl_err *err)
{
    const bl_quantize_options *o = r->o;
    double resumed = 0;
    const bl_write_options options = { .force = o->common.force,
                                       .resume = o->common.resume,
                                       .resumed = &resumed,
                                       .more = r->more.bytes,
                                       .split_size = o->split_size,
                                       .skip_space_check = o->common.no_space_check,
                                       .strict = o->common.strict,
                                       .sanity = r->sanity,
                                       .show_progress = o->common.progress,
                                       .n_threads = (int)o->common.n_threads,
                                       .label = "quantize",
                                       .requantized_from = r->requantized_from };
    bl_gguf_file_type file_type = BL_GGUF_FILE_F32;
    bl_needs needs = { 0 };
    bl_status rc = bl_tensor_rules_parse(&r->rules, o->tensors.value, o->tensors.n, err);

    if (rc == BL_OK)
        rc = bl_quantize_open_stats(&r->stats, o, r->ckpt, err);
    if (rc == BL_OK)
        rc = decide(r, &file_type, err);
    if (rc != BL_OK)
        return rc;
    say_unknown(r);
    if (o->gptq.wanted)
        rc = bl_cli_gptq_run(&r->gptq, r->ckpt, &r->plan, &o->gptq, &o->common, o->output, err);
    if (rc == BL_OK && !o->common.dry_run) {
        rc = bl_plan_want_loss(&r->plan, err);
        if (rc == BL_OK)
            rc = bl_write_gguf(o->output, r->ckpt, &r->plan, file_type, &options, err);
        bl_cli_say_resumed(o->command, &o->common, resumed);
        bl_cli_say_findings(o->command, &o->common, r->sanity);
    }
    if (rc == BL_OK && o->common.dry_run && bl_quantize_has_budget(o))
        return (o->common.json ? bl_cli_print_allocation_json
                               : bl_cli_print_allocation)(&r->allocation, o->output, err);
    needs.n_files = o->split_size > 0 ? bl_count_split(&r->plan, o->split_size) : 1;
    if (rc == BL_OK && o->common.dry_run && !o->gptq.wanted) {
        rc = bl_write_gguf_bytes(&needs.disk_bytes, r->ckpt, &r->plan, file_type, err);
        if (rc == BL_OK)
            rc = bl_needs_of_plan(&needs, &r->plan, r->ckpt, (int)o->common.n_threads, err);
    }
    return rc == BL_OK ? bl_quantize_finish(o, &r->plan, &r->gptq, &needs, err) : rc;
}

bl_status bl_quantize_to_gguf(const bl_quantize_options *options, const bl_ckpt *ckpt,
                              const char *requantized_from, struct bl_err *err)
{
    struct run r = { .o = options, .ckpt = ckpt, .requantized_from = requantized_from };
    bl_status rc = bl_quantize_more(&r.more, options, err);

    if (rc == BL_OK)
        rc = bl_cli_sanity_of(&r.sanity, ckpt, err);
    if (rc == BL_OK)
        rc = run(&r, err);
    bl_sanity_free(r.sanity);
    bl_text_release(&r.more);
    bl_cli_gptq_release(&r.gptq);
    bl_plan_release(&r.plan);
    bl_plan_release(&r.draft);
    bl_allocation_release(&r.allocation);
    bl_sensitivity_release(&r.sensitivity);
    bl_tensor_rules_release(&r.rules);
    bl_stats_close(r.stats);
    return rc;
}
