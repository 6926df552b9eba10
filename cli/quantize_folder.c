/* quantize_folder.c - a Hugging Face folder in one of the layouts. */
#include "cli/quantize_run.h"

#include "formats/hf/hf_writer.h"
#include "quantize/plan_importance.h"

bl_status bl_quantize_to_folder(const bl_quantize_options *o, const bl_ckpt *ckpt,
                                const char *requantized_from, struct bl_err *err)
{
    double resumed = 0;
    bl_text more = { 0 };
    bl_needs needs = { 0 };
    bl_write_options options = { .force = o->common.force,
                                 .resume = o->common.resume,
                                 .resumed = &resumed,
                                 .skip_space_check = o->common.no_space_check,
                                 .strict = o->common.strict,
                                 .show_progress = o->common.progress,
                                 .n_threads = (int)o->common.n_threads,
                                 .label = "quantize",
                                 .shard_size = o->shard_size,
                                 .requantized_from = requantized_from };
    bl_plan_importance importance = { .config = bl_ckpt_config(ckpt) };
    bl_stats *stats = NULL;
    bl_plan plan = { 0 };
    bl_cli_gptq gptq = { 0 };
    bl_status rc = bl_quantize_more(&more, o, err);

    options.more = more.bytes;
    if (rc == BL_OK)
        rc = bl_cli_sanity_of(&options.sanity, ckpt, err);
    if (rc == BL_OK)
        rc = bl_quantize_open_stats(&stats, o, ckpt, err);
    if (rc == BL_OK)
        rc = bl_layout_plan(&plan, ckpt, &o->layout, err);
    importance.stats = stats;
    if (rc == BL_OK && stats)
        rc = bl_plan_set_importance(&plan, &importance, err);
    if (rc == BL_OK && o->gptq.wanted)
        rc = bl_cli_gptq_run(&gptq, ckpt, &plan, &o->gptq, &o->common, o->output, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = bl_plan_want_loss(&plan, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = bl_layout_write(o->output, ckpt, &plan, &o->layout, &options, err);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    bl_cli_say_findings(o->command, &o->common, options.sanity);
    bl_sanity_free(options.sanity);
    needs.disk_bytes = plan.n_bytes;
    if (rc == BL_OK && o->common.dry_run && !o->gptq.wanted)
        rc = bl_needs_of_plan(&needs, &plan, ckpt, (int)o->common.n_threads, err);
    if (rc == BL_OK)
        rc = bl_hf_count_shards(&needs.n_files, plan.stored, plan.n_stored, o->shard_size, err);
    needs.n_files += bl_ckpt_container(ckpt)->n_side_files;
    if (rc == BL_OK)
        rc = bl_quantize_finish(o, &plan, &gptq, &needs, err);
    bl_text_release(&more);
    bl_cli_gptq_release(&gptq);
    bl_plan_release(&plan);
    bl_stats_close(stats);
    return rc;
}
