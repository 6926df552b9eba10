/* verify_run.c - see verify_run.h. */
#include "cli/verify_run.h"

#include "base/alloc.h"
#include "base/size.h"
#include "cli/read_text.h"
#include "formats/bln/bln_reader.h"

#include <string.h>

enum { DEFAULT_ACTIVATIONS = 512 /* tokens */ };

/* What is run: the reference and the model, or the model alone. */
static const bl_ckpt *base_of(const bl_verify_report *report)
{
    return report->reference ? report->reference : report->model;
}

static const bl_ckpt *test_of(const bl_verify_report *report)
{
    return report->reference ? report->model : NULL;
}

/* The tokenizer of the first model that has one that can be used. */
static bl_status find_tokenizer(bl_tokenizer_file **out, const bl_ckpt *base, const bl_ckpt *test,
                                struct bl_err *err)
{
    bl_status rc = bl_ckpt_tokenizer_file(out, base, err);

    if (rc == BL_E_UNSUPPORTED && test && bl_ckpt_tokenizer_file(out, test, NULL) == BL_OK)
        return BL_OK;
    if (rc == BL_E_UNSUPPORTED && !test)
        bl_err_prefix(err, "no tokenizer to use (name the source with --against)");
    return rc;
}

/* Once, for the text and the items. */
static bl_status open_tokenizer(bl_verify_inputs *in, const bl_verify_report *report,
                                struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!in->file)
        rc = find_tokenizer(&in->file, base_of(report), test_of(report), err);
    if (rc == BL_OK && !in->tokenizer)
        rc = bl_tokenizer_new(&in->tokenizer, in->file, err);
    return rc;
}

/* BL_OK without one in inputs: it cannot be read, and the check has found so. */
static bl_status need_tokenizer(bl_verify_inputs *in, const bl_verify_report *report,
                                struct bl_err *err)
{
    bl_status rc = open_tokenizer(in, report, err);

    return rc == BL_E_FORMAT && report->check.n_faults > 0 ? BL_OK : rc;
}

/* Token ids of a text file. */
static bl_status tokenize_file(bl_tokens *out, const bl_verify_inputs *in, const char *path,
                               struct bl_err *err)
{
    bl_cli_text text = { 0 };
    bl_status rc = bl_cli_tokenize_file(&text, in->tokenizer, in->file, path, err);

    if (rc == BL_OK)
        *out = text.tokens;
    else
        bl_cli_text_release(&text);
    return rc;
}

/* How the models run, whatever is scored. With --resume, --force is about the page alone. */
static bl_score_options run_options(const bl_verify_options *o)
{
    return (bl_score_options){ .n_threads = (int)o->common.n_threads,
                               .memory = o->memory,
                               .scratch = o->scratch,
                               .keep = o->scratch != NULL,
                               .resume = o->resume,
                               .force = o->common.force && !o->resume };
}

/* The text's tokens from the kept logits. */
static bl_status take_tokens(bl_verify_report *report, struct bl_err *err)
{
    bl_status rc = bl_kept_tokens(&report->tokens.id, report->kept, err);

    if (rc == BL_OK)
        report->tokens.n = (size_t)bl_kept_rule_of(report->kept).n_tokens;
    return rc;
}

/*
 * The text's tokens in the report and what is asked of them; none without a tokenizer. Kept logits
 * have the tokens, but llama.cpp's do not say which one is BOS.
 */
static bl_status open_text(bl_ppl_options *out, bl_verify_report *report, bl_verify_inputs *in,
                           const bl_verify_options *o, struct bl_err *err)
{
    bl_status rc =
        bl_verify_kept_open(&report->kept, &o->kept, o->text, base_of(report), &o->common, err);

    *out = (bl_ppl_options){ .ctx = (uint32_t)o->ctx,
                             .max_tokens = o->max_tokens,
                             .stride = (uint32_t)o->stride,
                             .bos = -1,
                             .run = run_options(o),
                             .kept = report->kept };
    if (rc != BL_OK)
        return rc;
    bl_verify_kept_rule(out);
    if (!o->text && bl_kept_kind_in(report->kept) != BL_KEPT_GGML)
        return take_tokens(report, err);
    rc = need_tokenizer(in, report, err);
    if (rc == BL_E_UNSUPPORTED && o->kept.logits && bl_kept_kind_in(report->kept) != BL_KEPT_GGML)
        return bl_fail(err, rc, "%s: no tokenizer to use; leave out --text: %s has its tokens",
                       bl_ckpt_path(report->model), o->kept.logits);
    if (rc != BL_OK || !in->tokenizer)
        return rc;
    out->bos = in->file->add_bos ? in->file->bos : -1;
    report->tokenizer = in->tokenizer;
    return o->text ? tokenize_file(&report->tokens, in, o->text, err) : take_tokens(report, err);
}

bl_status bl_verify_plan_text(bl_score_plan *out, bl_verify_report *report, bl_verify_inputs *in,
                              const bl_verify_options *o, struct bl_err *err)
{
    bl_ppl_options options;
    bl_status rc = open_text(&options, report, in, o, err);

    return rc == BL_OK
               ? bl_ppl_plan(out, base_of(report), test_of(report), report->tokens.n, &options, err)
               : rc;
}

bl_status bl_verify_run_text(bl_verify_report *report, bl_verify_inputs *in,
                             const bl_verify_options *o, struct bl_err *err)
{
    const bl_ckpt *base = base_of(report), *test = test_of(report);
    bl_ppl_options options;
    bl_status rc = open_text(&options, report, in, o, err);

    if (rc != BL_OK || !report->tokens.id)
        return rc;
    options.run.progress =
        bl_progress_new("verify: text", bl_score_bytes(base, test), o->common.progress);
    rc = bl_ppl_run(&report->ppl, base, test, report->tokens.id, report->tokens.n, &options, err);
    report->has_ppl = rc == BL_OK;
    bl_progress_free(options.run.progress);
    return rc == BL_OK && report->kept ? bl_kept_commit(report->kept, err) : rc;
}

bl_status bl_verify_run_activations(bl_verify_report *report, bl_verify_inputs *in,
                                    const bl_verify_options *o, struct bl_err *err)
{
    uint64_t n = o->ctx ? o->ctx : DEFAULT_ACTIVATIONS;
    bl_tokens tokens = { 0 };
    bl_progress *progress;
    bl_status rc = need_tokenizer(in, report, err);

    if (rc != BL_OK || !in->tokenizer)
        return rc;
    rc = tokenize_file(&tokens, in, o->activations, err);
    if (rc == BL_OK && tokens.n == 0)
        rc = bl_fail(err, BL_E_USAGE, "%s: no tokens", o->activations);
    if (rc != BL_OK)
        return rc;
    n = bl_min_u64(n, tokens.n);
    progress =
        bl_progress_new("verify: activations", bl_score_bytes(report->reference, report->model),
                        o->common.progress);
    rc = bl_activations_run(&report->activations, bl_report_counterpart(report), report->model,
                            tokens.id, 1, (uint32_t)n, (int)o->common.n_threads, progress, err);
    report->has_activations = rc == BL_OK;
    bl_progress_free(progress);
    bl_tokens_release(&tokens);
    return rc;
}

bl_status bl_verify_open_choices(bl_verify_inputs *in, const bl_verify_report *report,
                                 const bl_verify_options *o, struct bl_err *err)
{
    const bl_ckpt *base = base_of(report);
    uint32_t ctx = o->ctx ? (uint32_t)o->ctx : BL_CHOICES_DEFAULT_CTX;
    bl_status rc = bl_choice_items_open(&in->items, o->choices, err);

    if (rc == BL_OK && !bl_ckpt_has_config(base))
        rc = bl_fail(err, BL_E_USAGE, "%s: without a configuration it cannot be run",
                     bl_ckpt_path(base));
    if (rc != BL_OK)
        return rc;
    rc = open_tokenizer(in, report, err);
    if (rc == BL_E_FORMAT)
        return BL_OK;
    if (rc == BL_OK)
        rc = bl_choice_sequences_make(&in->sequences, &in->items, in->tokenizer, in->file->add_bos,
                                      ctx, bl_ckpt_config(base)->vocab_size, err);
    return rc;
}

bl_status bl_verify_run_choices(bl_verify_report *report, bl_verify_inputs *in,
                                const bl_verify_options *o, struct bl_err *err)
{
    const bl_ckpt *base = base_of(report), *test = test_of(report);
    bl_choices_options options = { .run = run_options(o) };
    bl_status rc = need_tokenizer(in, report, err);

    if (rc != BL_OK || !in->tokenizer)
        return rc;
    options.run.progress =
        bl_progress_new("verify: choices", bl_score_bytes(base, test), o->common.progress);
    rc = bl_choices_run(&report->choices, &in->items, &in->sequences, base, test, &options, err);
    report->has_choices = rc == BL_OK;
    bl_progress_free(options.run.progress);
    return rc;
}

static uint64_t total_bytes(const bl_ckpt *ckpt)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        sum += bl_ckpt_tensor(ckpt, i)->n_bytes;
    return sum;
}

bl_status bl_verify_run_comparison(bl_verify_report *report, const bl_verify_options *o,
                                   struct bl_err *err)
{
    bl_compare_options options = { .n_threads = (int)o->common.n_threads,
                                   .structure_only = o->structure_only };
    bl_status rc;

    options.progress =
        bl_progress_new("verify: tensors", total_bytes(report->reference), o->common.progress);
    rc = bl_compare_run(&report->comparison, bl_report_counterpart(report), report->model, &options,
                        err);
    report->has_comparison = rc == BL_OK;
    bl_progress_free(options.progress);
    return rc;
}

bl_status bl_verify_run_sums(bl_verify_report *report, const bl_verify_options *o,
                             struct bl_err *err)
{
    return bl_check_sums(&report->sums, report->path, o->sha256, (int)o->common.n_threads,
                         o->common.progress, err);
}

bl_status bl_verify_run_check(bl_verify_report *report, const bl_verify_options *o,
                              struct bl_err *err)
{
    const bl_ckpt *model = report->model;
    bl_check_options options = { .n_threads = (int)o->common.n_threads,
                                 .structure_only = report->reference || o->structure_only };
    bool has_checksums = strcmp(bl_ckpt_container(model)->kind, BL_BLN_KIND) == 0;
    unsigned n_walks = (unsigned)has_checksums + !options.structure_only;
    bl_status rc;

    options.progress =
        bl_progress_new("verify: values", n_walks * total_bytes(model), o->common.progress);
    rc = bl_check_run(&report->check, model, &options, err);
    report->has_check = rc == BL_OK;
    bl_progress_free(options.progress);
    return rc;
}

void bl_verify_inputs_release(bl_verify_inputs *in)
{
    bl_choice_sequences_release(&in->sequences);
    bl_choice_items_release(&in->items);
    bl_tokenizer_free(in->tokenizer);
    bl_tokenizer_file_free(in->file);
    *in = (bl_verify_inputs){ 0 };
}
