/*
 * cmd_verify.c - what the numbers are, and whether they are good enough. Exit 3 when the answer is
 * no: another file than listed, a damaged one, another structure or configuration, a gate that is
 * exceeded.
 */
#include "base/sink.h"
#include "cli/cli.h"
#include "cli/score_plan.h"
#include "cli/verify_run.h"
#include "formats/ckpt/ckpt.h"
#include "formats/slice/slice.h"
#include "verify/report.h"

#include <math.h>

/* The gates that were asked for, in the order of the help. */
static void add_gates(bl_verify_report *report, const bl_verify_options *o)
{
    const bl_ppl_result *p = report->has_ppl ? &report->ppl : NULL;
    const bl_choices_result *c = report->has_choices ? &report->choices : NULL;
    const double none = (double)NAN;

    if (o->max_kld >= 0)
        bl_gates_add(&report->gates, BL_GATE_AT_MOST, "max-kld", "mean KL divergence",
                     p ? p->kl_mean : none, o->max_kld);
    if (o->max_ppl_ratio >= 0)
        bl_gates_add(&report->gates, BL_GATE_AT_MOST, "max-ppl-ratio", "ratio of perplexities",
                     p ? exp(p->ln_ratio) : none, o->max_ppl_ratio);
    if (o->min_same_top >= 0)
        bl_gates_add(&report->gates, BL_GATE_AT_LEAST, "min-same-top", "share of same top tokens",
                     p ? p->same_top : none, o->min_same_top);
    if (o->min_same_choice >= 0)
        bl_gates_add(&report->gates, BL_GATE_AT_LEAST, "min-same-choice", "share of same choices",
                     c ? (double)c->same / (double)c->items->n_items : none, o->min_same_choice);
}

/* The first line that says no. */
static bl_status judge(const bl_verify_report *report, struct bl_err *err)
{
    const bl_comparison *c = &report->comparison;
    size_t n_sums = report->sums.check.n_faults;

    if (n_sums > 0)
        return bl_fail(err, BL_E_MISMATCH, "%s: %zu file%s not as %s lists", report->path, n_sums,
                       n_sums == 1 ? " is" : "s are", report->sums_list);
    if (report->check.n_faults > 0)
        return bl_fail(err, BL_E_MISMATCH, "%s: %zu fault%s", bl_ckpt_path(report->model),
                       report->check.n_faults, report->check.n_faults == 1 ? "" : "s");
    if (report->has_comparison && c->n_damaged > 0)
        return bl_fail(err, BL_E_MISMATCH, "%s", c->damaged[0]);
    if (report->has_comparison && !bl_compare_same_structure(c))
        return bl_fail(
            err, BL_E_MISMATCH,
            "the structures differ: %zu tensors missing, %zu extra, %zu of another shape (another "
            "network, such as a student, is compared by what it says: --save-logits of the "
            "reference, then --logits)",
            c->n_missing, c->n_extra, c->n_reshaped);
    if (report->has_comparison && c->n_config > 0)
        return bl_fail(err, BL_E_MISMATCH,
                       "the configurations differ: %s is %s, the reference has %s%s",
                       c->config[0].field, c->config[0].test, c->config[0].reference,
                       c->n_config > 1 ? ", and more" : "");
    return bl_gates_judge(&report->gates, err);
}

static bl_status print_report(const bl_verify_options *o, const bl_verify_report *report,
                              struct bl_err *err)
{
    bl_text out = { 0 };
    bl_status rc;

    (o->common.json ? bl_verify_report_json : bl_verify_report_text)(&out, report);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static bl_status write_page(bl_sink **sink, const bl_verify_report *report, struct bl_err *err)
{
    bl_text page = { 0 };
    bl_status rc = bl_verify_report_html(&page, report, err);

    if (rc == BL_OK)
        rc = bl_sink_write(*sink, page.bytes, page.n, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(sink, err);
    bl_text_release(&page);
    return rc;
}

/* Print, write the page where there is one, and answer: BL_OK for yes. */
static bl_status conclude(bl_sink **page, const bl_verify_options *o, bl_verify_report *report,
                          struct bl_err *err)
{
    struct bl_err why = { 0 };
    bl_status rc, verdict;

    if (report->model)
        add_gates(report, o);
    verdict = judge(report, &why);
    rc = print_report(o, report, err);
    report->objection = verdict == BL_OK ? NULL : why.text;
    if (rc == BL_OK && *page)
        rc = write_page(page, report, err);
    report->objection = NULL;
    if (rc == BL_OK && verdict != BL_OK)
        rc = bl_fail(err, verdict, "%s", why.text);
    return rc;
}

/* Everything that was asked for and that makes sense after what came before. */
static bl_status measure(bl_verify_report *report, bl_verify_inputs *inputs,
                         const bl_verify_options *o, struct bl_err *err)
{
    bl_status rc = o->choices ? bl_verify_open_choices(inputs, report, o, err) : BL_OK;

    if (rc == BL_OK)
        rc = bl_verify_run_check(report, o, err);
    if (rc != BL_OK || report->check.n_tensor_faults > 0)
        return rc;
    if (report->reference)
        rc = bl_verify_run_comparison(report, o, err);
    if (rc != BL_OK || (report->has_comparison && !bl_compare_same_structure(&report->comparison)))
        return rc;
    if (o->activations)
        rc = bl_verify_run_activations(report, inputs, o, err);
    if (rc == BL_OK && (o->text || o->kept.logits))
        rc = bl_verify_run_text(report, inputs, o, err);
    if (rc == BL_OK && o->choices)
        rc = bl_verify_run_choices(report, inputs, o, err);
    return rc;
}

/* A gate is about what only two models have, on a text or on items. */
static bl_status check_gates(const bl_verify_options *o, struct bl_err *err)
{
    static const char text_needs[] = "--text and --against, or --logits";
    const bool text = (o->text && o->against) || o->kept.logits, choices = o->choices && o->against;
    const struct {
        const char *name, *needs;
        bool has_input, is_fraction;
        double limit;
    } gate[] = {
        { "--max-kld", text_needs, text, false, o->max_kld },
        { "--max-ppl-ratio", text_needs, text, false, o->max_ppl_ratio },
        { "--min-same-top", text_needs, text, true, o->min_same_top },
        { "--min-same-choice", "--choices and --against", choices, true, o->min_same_choice },
    };

    for (size_t i = 0; i < sizeof(gate) / sizeof(*gate); i++) {
        if (gate[i].limit < 0)
            continue;
        if (!gate[i].has_input)
            return bl_fail(err, BL_E_USAGE, "%s needs %s", gate[i].name, gate[i].needs);
        if (gate[i].is_fraction && gate[i].limit > 1)
            return bl_fail(err, BL_E_USAGE, "%s is a fraction: from 0 to 1", gate[i].name);
    }
    return BL_OK;
}

static bl_status check_run_options(const bl_verify_options *o, struct bl_err *err)
{
    if ((o->memory || o->scratch) && !o->text && !o->choices && !o->kept.logits)
        return bl_fail(err, BL_E_USAGE, "--memory and --scratch need --text or --choices");
    if (o->common.dry_run && !o->text && !o->kept.logits)
        return bl_fail(err, BL_E_USAGE, "--dry-run needs --text");
    if (o->resume && !o->scratch)
        return bl_fail(err, BL_E_USAGE, "--resume needs --scratch");
    if (o->common.force && !o->scratch && !o->page && !o->kept.save)
        return bl_fail(err, BL_E_USAGE, "--force needs --report, --save-logits or --scratch");
    return BL_OK;
}

static bl_status check_options(bl_verify_options *o, struct bl_err *err)
{
    bl_status rc = check_gates(o, err);

    if (rc != BL_OK)
        return rc;
    if ((o->stride != BL_NOT_GIVEN || o->max_tokens != BL_NOT_GIVEN) && !o->text && !o->kept.logits)
        return bl_fail(err, BL_E_USAGE, "--stride and --tokens need --text");
    if (o->ctx != BL_NOT_GIVEN && !o->text && !o->choices && !o->activations && !o->kept.logits)
        return bl_fail(err, BL_E_USAGE, "--ctx needs --text, --choices or --activations");
    if (o->activations && !o->against)
        return bl_fail(err, BL_E_USAGE, "--activations needs --against");
    rc = check_run_options(o, err);
    if (rc != BL_OK)
        return rc;
    if (o->ctx != BL_NOT_GIVEN && (o->ctx < 8 || o->ctx > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->stride != BL_NOT_GIVEN && (o->stride < 1 || o->stride > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--stride is from 1 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    o->ctx = o->ctx == BL_NOT_GIVEN ? 0 : o->ctx;
    o->stride = o->stride == BL_NOT_GIVEN ? 0 : o->stride;
    o->max_tokens = o->max_tokens == BL_NOT_GIVEN ? 0 : o->max_tokens;
    return bl_verify_kept_check(&o->kept, o->text, o->against, o->common.force, err);
}

static bl_status dry_run(bl_verify_report *report, bl_verify_inputs *inputs,
                         const bl_verify_options *o, struct bl_err *err)
{
    bl_score_plan plan = { 0 };
    bl_text out = { 0 };
    bl_status rc = bl_verify_plan_text(&plan, report, inputs, o, err);

    if (rc == BL_OK) {
        bl_cli_put_score_plan(&out, &plan, (int)o->common.n_threads, o->common.json);
        rc = bl_cli_print(&out, err);
    }
    bl_text_release(&out);
    return rc;
}

/* Begun before anything is measured: a page that cannot be written costs no hour. */
static bl_status begin_page(bl_sink **out, const bl_verify_options *o, const char *model,
                            struct bl_err *err)
{
    const char *const inputs[] = { model,          o->against, o->text,       o->choices,
                                   o->activations, o->sha256,  o->kept.logits };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs) && rc == BL_OK; i++)
        if (inputs[i])
            rc = bl_cli_check_output(o->page, inputs[i], err);
    return rc == BL_OK ? bl_sink_begin(out, o->page, o->common.force, err) : rc;
}

/* Of a lone shard, which has no configuration, its sum is all there is to say. */
static bool is_only_a_file(const bl_verify_options *o, const bl_ckpt *model)
{
    return o->sha256 && !o->against && !o->text && !o->choices && !o->kept.logits &&
           !bl_ckpt_has_config(model);
}

/* With another sum the model is not opened: the answer is no already. */
static bl_status verify(const bl_verify_options *o, const char *path, struct bl_err *err)
{
    bl_verify_report report = { .path = path,
                                .structure_only = o->structure_only,
                                .text = o->text ? o->text : o->kept.logits,
                                .sums_list = o->sha256 };
    bl_verify_inputs inputs = { 0 };
    bl_ckpt *test = NULL, *ref = NULL, *part = NULL;
    bl_sink *page = NULL;
    bl_status rc = o->page && !o->common.dry_run ? begin_page(&page, o, path, err) : BL_OK;

    if (rc == BL_OK && o->sha256)
        rc = bl_verify_run_sums(&report, o, err);
    if (rc == BL_OK && report.sums.check.n_faults == 0)
        rc = bl_ckpt_open(&test, path, err);
    if (rc == BL_OK && test && o->against)
        rc = bl_ckpt_open(&ref, o->against, err);
    if (rc == BL_OK && ref)
        rc = bl_slice_counterpart(&part, ref, test, err);
    if (rc == BL_OK && test && !is_only_a_file(o, test)) {
        report.model = test;
        report.reference = ref;
        report.counterpart = part;
        rc = (o->common.dry_run ? dry_run : measure)(&report, &inputs, o, err);
    }
    if (rc == BL_OK && !o->common.dry_run)
        rc = conclude(&page, o, &report, err);
    bl_verify_report_release(&report);
    bl_verify_inputs_release(&inputs);
    bl_sink_abort(&page);
    bl_ckpt_close(test);
    bl_ckpt_close(part);
    bl_ckpt_close(ref);
    return rc;
}

int bl_cmd_verify(const bl_command *command, int argc, char **argv)
{
    bl_verify_options o = { .ctx = BL_NOT_GIVEN,
                            .stride = BL_NOT_GIVEN,
                            .max_tokens = BL_NOT_GIVEN,
                            .max_kld = -1,
                            .max_ppl_ratio = -1,
                            .min_same_top = -1,
                            .min_same_choice = -1 };
    const bl_option table[] = {
        { "--against", 0, BL_OPTION_STRING, &o.against, "REF", "the reference model" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE", "UTF-8 text to score" },
        { "--choices", 0, BL_OPTION_STRING, &o.choices, "FILE",
          "multiple-choice items, as JSON lines (docs/cli.md)" },
        { "--activations", 0, BL_OPTION_STRING, &o.activations, "FILE",
          "which layer goes wrong, on the first --ctx tokens of a text" },
        { "--sha256", 0, BL_OPTION_STRING, &o.sha256, "SUMS",
          "a list of sha256sum that the files must equal" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N",
          "tokens in a chunk, or at most in an item (default 512)" },
        { "--stride", 0, BL_OPTION_U64, &o.stride, "N",
          "windows N apart that overlap, as in papers (default: llama.cpp's chunks)" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N", "of the text, at most (default all)" },
        { "--max-kld", 0, BL_OPTION_F64, &o.max_kld, "X",
          "exit 3 when the mean KL divergence is larger" },
        { "--max-ppl-ratio", 0, BL_OPTION_F64, &o.max_ppl_ratio, "X",
          "exit 3 when perplexity / REF's perplexity is larger" },
        { "--min-same-top", 0, BL_OPTION_F64, &o.min_same_top, "X",
          "exit 3 when a smaller fraction (0 to 1) of tokens has REF's top token" },
        { "--min-same-choice", 0, BL_OPTION_F64, &o.min_same_choice, "X",
          "exit 3 when a smaller fraction of items has REF's choice" },
        BL_OPTION_SAVE_LOGITS(o.kept),
        BL_OPTION_LOGITS_KIND(o.kept),
        BL_OPTION_LOGITS(o.kept),
        { "--report", 0, BL_OPTION_STRING, &o.page, "FILE", "write a page (HTML) as well" },
        { "--structure-only", 0, BL_OPTION_FLAG, &o.structure_only, NULL,
          "read no values but those that a text needs" },
        { "--memory", 0, BL_OPTION_SIZE, &o.memory, "SIZE",
          "of the process, at most (default 4GiB where that is enough)" },
        { "--scratch", 0, BL_OPTION_STRING, &o.scratch, "DIR",
          "for hidden states: what does not fit, and all after each layer" },
        { "--resume", 0, BL_OPTION_FLAG, &o.resume, NULL,
          "go on after the last layer that is in --scratch" },
        { "--dry-run", 0, BL_OPTION_FLAG, &o.common.dry_run, NULL,
          "say what the text would take: memory, disk, reading, operations" },
        { "--force", 0, BL_OPTION_FLAG, &o.common.force, NULL,
          "replace a page, kept logits or states that exist" },
        BL_OPTION_JSON(o.common),
        BL_OPTION_THREADS(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = check_options(&o, &err);
    if (rc == BL_OK)
        rc = verify(&o, path, &err);
    return bl_cli_finish(command, rc, &err);
}
