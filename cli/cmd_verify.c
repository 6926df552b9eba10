/*
 * cmd_verify.c - what the numbers are, and whether they are good enough. Exit 3 when the answer is
 * no: a damaged file, another structure, a gate that is exceeded.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "base/source.h"
#include "cli/cli.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt.h"
#include "model/tokenizer/tokenizer.h"
#include "verify/compare.h"
#include "verify/perplexity.h"
#include "verify/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bl_common common;
    const char *against, *text, *page;
    uint64_t ctx, stride, max_tokens;
    double max_kld, max_ppl_ratio, min_same_top; /* negative: no gate */
};

enum { MAX_TEXT_BYTES = 1 << 30 };

static const uint64_t not_given = UINT64_MAX;

/* Token ids of a text file, BOS in front where the tokenizer adds it. The caller frees both. */
static bl_status tokenize_file(bl_tokens *out, bl_tokenizer **tokenizer,
                               const bl_tokenizer_file *file, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_source_read_all(&text, &n, source, MAX_TEXT_BYTES, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(tokenizer, file, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_encode(out, *tokenizer, text, n, file->add_bos ? BL_ENCODE_BOS : 0, err);
    if (rc == BL_E_FORMAT)
        bl_err_prefix(err, "%s", path);
    bl_free(text);
    bl_source_close(source);
    return rc;
}

/* The tokenizer of the first model that has one: GGUF files carry theirs in another form. */
static bl_status find_tokenizer(bl_tokenizer_file **out, const bl_ckpt *ref, const bl_ckpt *test,
                                struct bl_err *err)
{
    bl_status rc = bl_ckpt_tokenizer_file(out, ref, err);

    if (rc == BL_E_UNSUPPORTED && test && bl_ckpt_tokenizer_file(out, test, NULL) == BL_OK)
        return BL_OK;
    if (rc == BL_E_UNSUPPORTED && !test)
        return bl_fail(err, rc, "%s: no tokenizer.json here; name the source with --against",
                       bl_ckpt_path(ref));
    return rc;
}

/* The tokenizer stays for the report; the caller frees it. */
static bl_status measure_text(bl_verify_report *report, bl_tokenizer **tokenizer,
                              const struct options *o, const bl_ckpt *base, const bl_ckpt *test,
                              struct bl_err *err)
{
    bl_ppl_options options = { .ctx = o->ctx == not_given ? 0 : (uint32_t)o->ctx,
                               .max_tokens = o->max_tokens == not_given ? 0 : o->max_tokens,
                               .stride = o->stride == not_given ? 0 : (uint32_t)o->stride,
                               .bos = -1,
                               .n_threads = (int)o->common.n_threads };
    bl_tokenizer_file *file = NULL;
    bl_status rc = find_tokenizer(&file, base, test, err);

    if (rc == BL_OK)
        rc = tokenize_file(&report->tokens, tokenizer, file, o->text, err);
    if (rc == BL_OK) {
        if (file->add_bos)
            options.bos = file->bos;
        options.progress =
            bl_progress_new("verify: text", bl_ppl_bytes(base, test, &options), o->common.progress);
        rc = bl_ppl_run(&report->ppl, base, test, report->tokens.id, report->tokens.n, &options,
                        err);
        report->has_ppl = rc == BL_OK;
        bl_progress_free(options.progress);
    }
    report->tokenizer = *tokenizer;
    bl_tokenizer_file_free(file);
    return rc;
}

static uint64_t total_bytes(const bl_ckpt *ckpt)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        sum += bl_ckpt_tensor(ckpt, i)->n_bytes;
    return sum;
}

static bl_status compare(bl_verify_report *report, const struct options *o, const bl_ckpt *ref,
                         const bl_ckpt *test, struct bl_err *err)
{
    bl_compare_options options = { .n_threads = (int)o->common.n_threads };
    bl_status rc;

    options.progress = bl_progress_new("verify: tensors", total_bytes(ref), o->common.progress);
    rc = bl_compare_run(&report->comparison, ref, test, &options, err);
    report->has_comparison = rc == BL_OK;
    bl_progress_free(options.progress);
    return rc;
}

/*
 * The model alone: checksums where the container has them, structure, finite values. A comparison
 * reads every value anyway.
 */
static bl_status check(bl_verify_report *report, const struct options *o, const bl_ckpt *test,
                       struct bl_err *err)
{
    bl_check_options options = { .n_threads = (int)o->common.n_threads,
                                 .structure_only = o->against != NULL };
    bl_status rc = BL_OK;

    if (strcmp(bl_ckpt_container(test)->kind, BL_BLN_KIND) == 0)
        rc = bl_bln_verify(bl_ckpt_container(test), options.n_threads, NULL, NULL, NULL, err);
    if (rc != BL_OK)
        return rc;
    options.progress = bl_progress_new("verify: values", total_bytes(test), o->common.progress);
    rc = bl_check_run(&report->check, test, &options, err);
    report->has_check = rc == BL_OK;
    bl_progress_free(options.progress);
    return rc;
}

/* The gates that were asked for, in the order of the help. */
static void add_gates(bl_verify_report *report, const struct options *o)
{
    const bl_ppl_result *p = report->has_ppl ? &report->ppl : NULL;
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
}

/* The first line that says no. */
static bl_status judge(const bl_verify_report *report, struct bl_err *err)
{
    const bl_comparison *c = &report->comparison;

    if (report->check.n_faults > 0)
        return bl_fail(err, BL_E_MISMATCH, "%s: %zu fault%s", bl_ckpt_path(report->model),
                       report->check.n_faults, report->check.n_faults == 1 ? "" : "s");
    if (report->has_comparison && !bl_compare_same_structure(c))
        return bl_fail(
            err, BL_E_MISMATCH,
            "the structures differ: %zu tensors missing, %zu extra, %zu of another shape",
            c->n_missing, c->n_extra, c->n_reshaped);
    return bl_gates_judge(&report->gates, err);
}

/* The page says no as well when the verdict, not BL_OK, does. */
static bl_status write_page(bl_sink **sink, bl_verify_report *report, bl_status verdict,
                            const struct bl_err *why, struct bl_err *err)
{
    bl_text page = { 0 };
    bl_status rc;

    report->objection = verdict == BL_OK ? NULL : why->text;
    rc = bl_verify_report_html(&page, report, err);
    if (rc == BL_OK)
        rc = bl_sink_write(*sink, page.bytes, page.n, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(sink, err);
    bl_text_release(&page);
    return rc;
}

/* page: where --report goes, NULL without one. */
static bl_status run(bl_sink **page, const struct options *o, const bl_ckpt *test,
                     const bl_ckpt *ref, struct bl_err *err)
{
    bl_tokenizer *tokenizer = NULL;
    struct bl_err why = { 0 };
    bl_verify_report report = { .model = test, .reference = ref, .text = o->text };
    bl_text out = { 0 };
    bl_status rc = check(&report, o, test, err);
    bool sound = rc == BL_OK && report.check.n_faults == 0;

    if (sound && ref)
        rc = compare(&report, o, ref, test, err);
    sound = sound && rc == BL_OK && (!ref || bl_compare_same_structure(&report.comparison));
    if (sound && o->text)
        rc = measure_text(&report, &tokenizer, o, ref ? ref : test, ref ? test : NULL, err);
    add_gates(&report, o);
    if (rc == BL_OK) {
        (o->common.json ? bl_verify_report_json : bl_verify_report_text)(&out, &report);
        rc = bl_cli_print(&out, err);
    }
    if (rc == BL_OK) {
        bl_status verdict = judge(&report, &why);

        if (*page)
            rc = write_page(page, &report, verdict, &why, err);
        if (rc == BL_OK && verdict != BL_OK)
            rc = bl_fail(err, verdict, "%s", why.text);
    }
    bl_text_release(&out);
    bl_tokens_release(&report.tokens);
    bl_tokenizer_free(tokenizer);
    if (report.has_check)
        bl_check_release(&report.check);
    if (report.has_ppl)
        bl_ppl_release(&report.ppl);
    if (report.has_comparison)
        bl_compare_release(&report.comparison);
    return rc;
}

/* A gate on what only two models on a text have. */
static bl_status check_gate(const struct options *o, const char *name, double limit,
                            struct bl_err *err)
{
    if (limit >= 0 && (!o->text || !o->against))
        return bl_fail(err, BL_E_USAGE, "%s needs --text and --against", name);
    return BL_OK;
}

static bl_status check_options(const struct options *o, struct bl_err *err)
{
    bl_status rc = check_gate(o, "--max-kld", o->max_kld, err);

    if (rc == BL_OK)
        rc = check_gate(o, "--max-ppl-ratio", o->max_ppl_ratio, err);
    if (rc == BL_OK)
        rc = check_gate(o, "--min-same-top", o->min_same_top, err);
    if (rc != BL_OK)
        return rc;
    if (o->min_same_top > 1)
        return bl_fail(err, BL_E_USAGE, "--min-same-top is a fraction: from 0 to 1");
    if ((o->ctx != not_given || o->stride != not_given || o->max_tokens != not_given) && !o->text)
        return bl_fail(err, BL_E_USAGE, "--ctx, --stride and --tokens need --text");
    if (o->ctx != not_given && (o->ctx < 8 || o->ctx > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->stride != not_given && (o->stride < 1 || o->stride > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--stride is from 1 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    return BL_OK;
}

/* Begun before anything is measured: a page that cannot be written costs no hour. */
static bl_status begin_page(bl_sink **out, const struct options *o, const char *model,
                            struct bl_err *err)
{
    const char *const inputs[] = { model, o->against, o->text };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs) && rc == BL_OK; i++)
        if (inputs[i])
            rc = bl_cli_check_output(o->page, inputs[i], err);
    return rc == BL_OK ? bl_sink_begin(out, o->page, o->common.force, err) : rc;
}

int bl_cmd_verify(const bl_command *command, int argc, char **argv)
{
    struct options o = { .ctx = not_given,
                         .stride = not_given,
                         .max_tokens = not_given,
                         .max_kld = -1,
                         .max_ppl_ratio = -1,
                         .min_same_top = -1 };
    const bl_option table[] = {
        { "--against", 0, BL_OPTION_STRING, &o.against, "REF", "the reference model" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE", "UTF-8 text to score" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N", "tokens in a chunk (default 512)" },
        { "--stride", 0, BL_OPTION_U64, &o.stride, "N",
          "windows N apart that overlap, as in papers (default: llama.cpp's chunks)" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N", "of the text, at most (default all)" },
        { "--max-kld", 0, BL_OPTION_F64, &o.max_kld, "X",
          "exit 3 when the mean KL divergence is larger" },
        { "--max-ppl-ratio", 0, BL_OPTION_F64, &o.max_ppl_ratio, "X",
          "exit 3 when perplexity / REF's perplexity is larger" },
        { "--min-same-top", 0, BL_OPTION_F64, &o.min_same_top, "X",
          "exit 3 when a smaller fraction (0 to 1) of tokens has REF's top token" },
        { "--report", 0, BL_OPTION_STRING, &o.page, "FILE", "write a page (HTML) as well" },
        BL_OPTION_FORCE(o.common),
        BL_OPTION_JSON(o.common),
        BL_OPTION_THREADS(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    bl_ckpt *test = NULL, *ref = NULL;
    bl_sink *page = NULL;
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = check_options(&o, &err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&test, path, &err);
    if (rc == BL_OK && o.against)
        rc = bl_ckpt_open(&ref, o.against, &err);
    if (rc == BL_OK && o.page)
        rc = begin_page(&page, &o, path, &err);
    if (rc == BL_OK)
        rc = run(&page, &o, test, ref, &err);
    bl_sink_abort(&page);
    bl_ckpt_close(test);
    bl_ckpt_close(ref);
    return bl_cli_finish(command, rc, &err);
}
