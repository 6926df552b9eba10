/*
 * cmd_calibrate.c - statistics of a model on a text, merged from parts, and as llama.cpp's imatrix
 * or back. The kind of the output follows from its name: x.gguf is an imatrix.
 */
#include "base/alloc.h"
#include "cli/calibrate_report.h"
#include "cli/calibrate_sensitivity.h"
#include "cli/cli.h"
#include "cli/read_text.h"
#include "cli/score_plan.h"
#include "formats/ckpt/ckpt.h"
#include "formats/stats/imatrix.h"
#include "formats/stats/stats_writer.h"
#include "quantize/calibrate.h"
#include "quantize/calibrate_merge.h"

#include <string.h>

struct options {
    bl_common common;
    const char *output, *text, *part, *scratch, *stats;
    uint64_t ctx, max_tokens, memory, probe_tokens;
    bool resume, merge, imatrix, sensitivity, grouped;
    uint32_t i_part, n_parts;
};

static bl_status print_plan(const bl_score_plan *plan, const struct options *o, struct bl_err *err)
{
    bl_text out = { 0 };
    bl_status rc;

    bl_cli_put_score_plan(&out, plan, (int)o->common.n_threads, o->common.json);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

/* What was written, as its file says. */
static bl_status report(const struct options *o, struct bl_err *err)
{
    bl_stats *stats = NULL;
    bl_coverage coverage = { 0 };
    bl_text out = { 0 };
    bl_status rc = bl_stats_open(&stats, o->output, err);

    if (rc == BL_OK)
        rc = bl_coverage_of(&coverage, stats, err);
    if (rc == BL_OK) {
        bl_cli_put_calibration(&out, o->output, bl_stats_info_of(stats), &coverage, o->common.json);
        rc = bl_cli_print(&out, err);
    }
    bl_coverage_release(&coverage);
    bl_text_release(&out);
    bl_stats_close(stats);
    return rc;
}

static bl_status run_model(const struct options *o, const bl_ckpt *ckpt, const bl_cli_text *text,
                           struct bl_err *err)
{
    bl_calibrate_options options = { .ctx = o->ctx == BL_NOT_GIVEN ? 0 : (uint32_t)o->ctx,
                                     .max_tokens =
                                         o->max_tokens == BL_NOT_GIVEN ? 0 : o->max_tokens,
                                     .part = o->i_part,
                                     .n_parts = o->n_parts,
                                     .bos = text->bos,
                                     .text = text->hash,
                                     .force = o->common.force,
                                     .run = { .n_threads = (int)o->common.n_threads,
                                              .memory = o->memory,
                                              .scratch = o->scratch,
                                              .resume = o->resume } };
    bl_score_plan plan = { 0 };
    bl_status rc;

    if (o->common.dry_run) {
        options.run.keep = o->scratch != NULL;
        rc = bl_calibrate_plan(&plan, ckpt, text->tokens.n, &options, err);
        return rc == BL_OK ? print_plan(&plan, o, err) : rc;
    }
    options.run.progress =
        bl_progress_new("calibrate", bl_score_bytes(ckpt, NULL), o->common.progress);
    rc = bl_calibrate_run(o->output, ckpt, text->tokens.id, text->tokens.n, &options, err);
    bl_progress_free(options.run.progress);
    return rc;
}

/* On top of statistics that are there, or of those that were just written. */
static bl_status run_probes(const struct options *o, const bl_ckpt *ckpt, const bl_cli_text *text,
                            struct bl_err *err)
{
    const bl_probe_options probes = { .from = o->stats ? o->stats : o->output,
                                      .output = o->output,
                                      .force = o->common.force || !o->stats,
                                      .scratch = o->scratch,
                                      .n_tokens = o->probe_tokens,
                                      .ctx = o->ctx == BL_NOT_GIVEN ? 512 : (uint32_t)o->ctx,
                                      .bos = text->bos,
                                      .grouped = o->grouped,
                                      .memory = o->memory,
                                      .n_threads = (int)o->common.n_threads,
                                      .show_progress = o->common.progress };

    return bl_calibrate_sensitivity(&probes, ckpt, &text->tokens, err);
}

static bl_status calibrate(const struct options *o, const char *path, struct bl_err *err)
{
    bl_cli_text text = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_status rc = bl_cli_check_output(o->output, path, err);

    if (rc == BL_OK)
        rc = bl_cli_check_output(o->output, o->text, err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, path, err);
    if (rc == BL_OK)
        rc = bl_cli_read_text(&text, ckpt, o->text, err);
    if (rc == BL_OK && !o->stats)
        rc = run_model(o, ckpt, &text, err);
    if (rc == BL_OK && o->sensitivity && !o->common.dry_run)
        rc = run_probes(o, ckpt, &text, err);
    if (rc == BL_OK && !o->common.dry_run)
        rc = report(o, err);
    bl_cli_text_release(&text);
    bl_ckpt_close(ckpt);
    return rc;
}

static bl_status merge(const struct options *o, const char *const *path, size_t n,
                       struct bl_err *err)
{
    bl_stats **stats = bl_calloc(n, sizeof(*stats));
    bl_status rc = stats ? BL_OK : bl_fail_nomem(err, "a merge");

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        rc = bl_cli_check_output(o->output, path[i], err);
        if (rc == BL_OK)
            rc = bl_stats_open(&stats[i], path[i], err);
    }
    if (rc == BL_OK)
        rc = bl_calibrate_merge(o->output, o->common.force, (const bl_stats *const *)stats, n, err);
    for (size_t i = 0; stats && i < n; i++)
        bl_stats_close(stats[i]);
    bl_free(stats);
    return rc == BL_OK ? report(o, err) : rc;
}

static bl_status convert(const struct options *o, const char *path, struct bl_err *err)
{
    bl_stats *stats = NULL;
    bl_status rc = bl_cli_check_output(o->output, path, err);

    if (rc == BL_OK)
        rc = bl_stats_open(&stats, path, err);
    if (rc == BL_OK)
        rc = bl_cli_has_suffix(o->output, ".gguf")
                 ? bl_imatrix_write(o->output, o->common.force, stats, err)
                 : bl_stats_copy(o->output, o->common.force, stats, err);
    bl_stats_close(stats);
    return rc == BL_OK ? report(o, err) : rc;
}

static bl_status check_run_options(const struct options *o, size_t n, struct bl_err *err)
{
    if (n != 1)
        return bl_fail(err, BL_E_USAGE, "one MODEL is expected, %zu are there", n);
    if (!o->text)
        return bl_fail(err, BL_E_USAGE, "--text FILE is missing");
    if (bl_cli_has_suffix(o->output, ".gguf"))
        return bl_fail(err, BL_E_USAGE,
                       "a model's statistics are more than an imatrix holds: write "
                       "x.safetensors, then 'baleen calibrate --imatrix x.safetensors -o x.gguf'");
    if (o->resume && !o->scratch)
        return bl_fail(err, BL_E_USAGE, "--resume needs --scratch");
    if (o->ctx != BL_NOT_GIVEN && (o->ctx < 8 || o->ctx > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->stats && !o->sensitivity)
        return bl_fail(err, BL_E_USAGE, "--stats FILE is what --sensitivity is added to");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    return BL_OK;
}

static bl_status check_options(struct options *o, size_t n, struct bl_err *err)
{
    bl_status rc = bl_cli_parse_part(&o->i_part, &o->n_parts, o->part, BL_STATS_MAX_PARTS, err);

    if (rc != BL_OK)
        return rc;
    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o STATS is missing");
    if (!o->merge && !o->imatrix)
        return check_run_options(o, n, err);
    if (o->merge && o->imatrix)
        return bl_fail(err, BL_E_USAGE, "--merge and --imatrix are two things to do");
    if (o->text || o->part || o->scratch || o->sensitivity || o->stats || o->memory || o->resume ||
        o->ctx != BL_NOT_GIVEN || o->max_tokens != BL_NOT_GIVEN || o->common.dry_run)
        return bl_fail(err, BL_E_USAGE, "--merge and --imatrix run no model: no option about one");
    if (o->merge && (n < 2 || bl_cli_has_suffix(o->output, ".gguf")))
        return bl_fail(err, BL_E_USAGE, "--merge makes one x.safetensors of two or more");
    if (o->imatrix && n != 1)
        return bl_fail(err, BL_E_USAGE, "--imatrix converts one file, %zu are there", n);
    return BL_OK;
}

int bl_cmd_calibrate(const bl_command *command, int argc, char **argv)
{
    struct options o = { .ctx = BL_NOT_GIVEN, .max_tokens = BL_NOT_GIVEN, .probe_tokens = 4096 };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "STATS", "the statistics: x.safetensors" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE", "UTF-8 text to run" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N", "of the text, at most (default all)" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N", "tokens in a sequence (default 512)" },
        { "--part", 0, BL_OPTION_STRING, &o.part, "i/N",
          "only every N-th sequence, from the i-th on: one machine's share" },
        { "--merge", 0, BL_OPTION_FLAG, &o.merge, NULL, "add up the statistics of parts" },
        { "--imatrix", 0, BL_OPTION_FLAG, &o.imatrix, NULL,
          "convert statistics to llama.cpp's imatrix (-o x.gguf), or one to statistics" },
        { "--sensitivity", 0, BL_OPTION_FLAG, &o.sensitivity, NULL,
          "measure how much each matrix matters, too: for quantize --size" },
        { "--stats", 0, BL_OPTION_STRING, &o.stats, "FILE",
          "add --sensitivity to these, measure nothing else" },
        { "--probe-tokens", 0, BL_OPTION_U64, &o.probe_tokens, "N",
          "of the text, for --sensitivity (default 4096)" },
        { "--grouped", 0, BL_OPTION_FLAG, &o.grouped, NULL,
          "--sensitivity of groups of matrices in four layers: for large models" },
        { "--memory", 0, BL_OPTION_SIZE, &o.memory, "SIZE",
          "of the process, at most (default 4GiB where that is enough)" },
        { "--scratch", 0, BL_OPTION_STRING, &o.scratch, "DIR",
          "for hidden states: what does not fit, and all after each layer" },
        { "--resume", 0, BL_OPTION_FLAG, &o.resume, NULL,
          "go on after the last layer that is in --scratch" },
        BL_OPTION_DRY_RUN(o.common),
        BL_OPTION_FORCE(o.common),
        BL_OPTION_JSON(o.common),
        BL_OPTION_THREADS(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    static const char *path[BL_STATS_MAX_PARTS];
    struct bl_err err = { 0 };
    size_t n;
    int early =
        bl_cli_parse(path, &n, 1, BL_STATS_MAX_PARTS, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = check_options(&o, n, &err);
    if (rc == BL_OK)
        rc = o.merge     ? merge(&o, path, n, &err)
             : o.imatrix ? convert(&o, path[0], &err)
                         : calibrate(&o, path[0], &err);
    return bl_cli_finish(command, rc, &err);
}
