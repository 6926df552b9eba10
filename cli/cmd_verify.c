/*
 * cmd_verify.c - what the numbers are, and whether they are good enough. Exit 3 when the answer is
 * no: a damaged file, another structure, a gate that is exceeded.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "cli/cli.h"
#include "cli/score_plan.h"
#include "cli/verify_report.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt.h"
#include "model/tokenizer/tokenizer.h"
#include "verify/compare.h"
#include "verify/perplexity.h"

#include <stdlib.h>
#include <string.h>

struct options {
    bl_common common;
    const char *against, *text, *scratch;
    bool resume;
    uint64_t memory; /* 0: the usual */
    uint64_t ctx, stride, max_tokens;
    double max_kld; /* negative: no gate */
};

enum { MAX_TEXT_BYTES = 1 << 30 };

static const uint64_t not_given = UINT64_MAX;

static bl_score_options score_options(const struct options *o)
{
    return (bl_score_options){ .n_threads = (int)o->common.n_threads,
                               .memory = o->memory,
                               .scratch = o->scratch,
                               .keep = o->scratch != NULL,
                               .resume = o->resume,
                               .force = o->common.force };
}

/* Token ids of a text file, BOS in front where the tokenizer adds it. */
static bl_status tokenize_file(bl_tokens *out, const bl_tokenizer_file *file, const char *path,
                               struct bl_err *err)
{
    bl_source *source = NULL;
    bl_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_source_read_all(&text, &n, source, MAX_TEXT_BYTES, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_encode(out, tokenizer, text, n, file->add_bos ? BL_ENCODE_BOS : 0, err);
    if (rc == BL_E_FORMAT)
        bl_err_prefix(err, "%s", path);
    bl_tokenizer_free(tokenizer);
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

/* Perplexity, and with two models what sets them apart; with a plan, only what that would take. */
static bl_status measure_text(bl_verify_report *report, bl_score_plan *plan,
                              const struct options *o, const bl_ckpt *base, const bl_ckpt *test,
                              struct bl_err *err)
{
    bl_ppl_options options = { .ctx = o->ctx == not_given ? 0 : (uint32_t)o->ctx,
                               .max_tokens = o->max_tokens == not_given ? 0 : o->max_tokens,
                               .stride = o->stride == not_given ? 0 : (uint32_t)o->stride,
                               .bos = -1,
                               .run = score_options(o) };
    bl_tokenizer_file *file = NULL;
    bl_tokens tokens = { 0 };
    bl_status rc = find_tokenizer(&file, base, test, err);

    if (rc == BL_OK)
        rc = tokenize_file(&tokens, file, o->text, err);
    if (rc == BL_OK && file->add_bos)
        options.bos = file->bos;
    bl_tokenizer_file_free(file);
    if (rc == BL_OK && plan)
        rc = bl_ppl_plan(plan, base, test, tokens.n, &options, err);
    else if (rc == BL_OK) {
        options.run.progress =
            bl_progress_new("verify: text", bl_ppl_bytes(base, test, &options), o->common.progress);
        rc = bl_ppl_run(&report->ppl, base, test, tokens.id, tokens.n, &options, err);
        report->has_ppl = rc == BL_OK;
        bl_progress_free(options.run.progress);
    }
    bl_tokens_release(&tokens);
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

/* The first line that says no. */
static bl_status judge(const bl_verify_report *report, const struct options *o, struct bl_err *err)
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
    if (report->has_ppl && o->max_kld >= 0 && !(report->ppl.kl_mean <= o->max_kld))
        return bl_fail(err, BL_E_MISMATCH, "mean KL divergence %.6f exceeds --max-kld %g",
                       report->ppl.kl_mean, o->max_kld);
    return BL_OK;
}

static bl_status run(const struct options *o, const bl_ckpt *test, const bl_ckpt *ref,
                     struct bl_err *err)
{
    bl_verify_report report = { .model = test, .reference = ref, .text = o->text };
    bl_text out = { 0 };
    bl_status rc = check(&report, o, test, err);
    bool sound = rc == BL_OK && report.check.n_faults == 0;

    if (sound && ref)
        rc = compare(&report, o, ref, test, err);
    sound = sound && rc == BL_OK && (!ref || bl_compare_same_structure(&report.comparison));
    if (sound && o->text)
        rc = measure_text(&report, NULL, o, ref ? ref : test, ref ? test : NULL, err);
    if (rc == BL_OK) {
        (o->common.json ? bl_verify_report_json : bl_verify_report_text)(&out, &report);
        rc = bl_cli_print(&out, err);
    }
    if (rc == BL_OK)
        rc = judge(&report, o, err);
    bl_text_release(&out);
    if (report.has_check)
        bl_check_release(&report.check);
    if (report.has_ppl)
        bl_ppl_release(&report.ppl);
    if (report.has_comparison)
        bl_compare_release(&report.comparison);
    return rc;
}

static bl_status dry_run(const struct options *o, const bl_ckpt *test, const bl_ckpt *ref,
                         struct bl_err *err)
{
    bl_score_plan plan = { 0 };
    bl_text out = { 0 };
    bl_status rc = measure_text(NULL, &plan, o, ref ? ref : test, ref ? test : NULL, err);

    if (rc == BL_OK) {
        bl_cli_put_score_plan(&out, &plan, (int)o->common.n_threads, o->common.json);
        rc = bl_cli_print(&out, err);
    }
    bl_text_release(&out);
    return rc;
}

static bl_status check_options(const struct options *o, struct bl_err *err)
{
    if (o->max_kld >= 0 && (!o->text || !o->against))
        return bl_fail(err, BL_E_USAGE, "--max-kld needs --text and --against");
    if ((o->ctx != not_given || o->stride != not_given || o->max_tokens != not_given) && !o->text)
        return bl_fail(err, BL_E_USAGE, "--ctx, --stride and --tokens need --text");
    if ((o->memory || o->scratch || o->common.dry_run) && !o->text)
        return bl_fail(err, BL_E_USAGE, "--memory, --scratch and --dry-run need --text");
    if ((o->resume || o->common.force) && !o->scratch)
        return bl_fail(err, BL_E_USAGE, "--resume and --force need --scratch");
    if (o->ctx != not_given && (o->ctx < 8 || o->ctx > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->stride != not_given && (o->stride < 1 || o->stride > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--stride is from 1 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    return BL_OK;
}

int bl_cmd_verify(const bl_command *command, int argc, char **argv)
{
    struct options o = {
        .ctx = not_given, .stride = not_given, .max_tokens = not_given, .max_kld = -1
    };
    const bl_option table[] = {
        { "--against", 0, BL_OPTION_STRING, &o.against, "REF", "the reference model" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE", "UTF-8 text to score" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N", "tokens in a chunk (default 512)" },
        { "--stride", 0, BL_OPTION_U64, &o.stride, "N",
          "windows N apart that overlap, as in papers (default: llama.cpp's chunks)" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N", "of the text, at most (default all)" },
        { "--max-kld", 0, BL_OPTION_F64, &o.max_kld, "X",
          "exit 3 when the mean KL divergence is larger" },
        { "--memory", 0, BL_OPTION_SIZE, &o.memory, "SIZE",
          "of the process, at most (default 4GiB where that is enough)" },
        { "--scratch", 0, BL_OPTION_STRING, &o.scratch, "DIR",
          "for hidden states: what does not fit, and all after each layer" },
        { "--resume", 0, BL_OPTION_FLAG, &o.resume, NULL,
          "go on with the layer after the last that is in --scratch" },
        { "--force", 0, BL_OPTION_FLAG, &o.common.force, NULL, "or begin again" },
        { "--dry-run", 0, BL_OPTION_FLAG, &o.common.dry_run, NULL,
          "say what the text would take: memory, disk, reading, operations" },
        BL_OPTION_JSON(o.common),
        BL_OPTION_THREADS(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    bl_ckpt *test = NULL, *ref = NULL;
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
    if (rc == BL_OK)
        rc = (o.common.dry_run ? dry_run : run)(&o, test, ref, &err);
    bl_ckpt_close(test);
    bl_ckpt_close(ref);
    return bl_cli_finish(command, rc, &err);
}
