/*
 * verify_run.h - the long parts of verify. Each fills its part of a report and shows progress.
 */
#ifndef BL_CLI_VERIFY_RUN_H
#define BL_CLI_VERIFY_RUN_H

#include "cli/cli.h"
#include "cli/verify_kept.h"
#include "model/tokenizer/tokenizer.h"
#include "verify/report.h"

typedef struct bl_verify_options {
    bl_common common;
    const char *against, *text, *choices, *activations, *sha256; /* paths, or NULL */
    const char *page, *scratch;
    uint64_t ctx, stride, max_tokens; /* 0: the default */
    uint64_t memory;                  /* bytes; 0: the default */
    bool resume, structure_only;
    bl_verify_kept kept;
    double max_kld, max_ppl_ratio, min_same_top, min_same_choice; /* negative: no gate */
} bl_verify_options;

/* What the parts of a run share, and the report borrows. Zero-initialise. */
typedef struct bl_verify_inputs {
    bl_tokenizer_file *file;
    bl_tokenizer *tokenizer;
    bl_choice_items items;
    bl_choice_sequences sequences;
} bl_verify_inputs;

/* After the report. */
void bl_verify_inputs_release(bl_verify_inputs *inputs);

/*
 * Read and tokenise the multiple-choice items, before any weight: a mistake in them costs no hour.
 * A tokenizer that cannot be read is left to the check, which may find it, and to the run.
 */
BL_MUST_USE bl_status bl_verify_open_choices(bl_verify_inputs *inputs,
                                             const bl_verify_report *report,
                                             const bl_verify_options *options, struct bl_err *err);

/* The files as files, before anything in them is believed. */
BL_MUST_USE bl_status bl_verify_run_sums(bl_verify_report *report, const bl_verify_options *options,
                                         struct bl_err *err);

/*
 * The model alone: checksums where the container has them, structure, finite values. A comparison
 * reads every value anyway.
 */
BL_MUST_USE bl_status bl_verify_run_check(bl_verify_report *report,
                                          const bl_verify_options *options, struct bl_err *err);
BL_MUST_USE bl_status bl_verify_run_comparison(bl_verify_report *report,
                                               const bl_verify_options *options,
                                               struct bl_err *err);

/* Where the tokenizer cannot be read and the check has found something, nothing is run: BL_OK. */
BL_MUST_USE bl_status bl_verify_run_text(bl_verify_report *report, bl_verify_inputs *inputs,
                                         const bl_verify_options *options, struct bl_err *err);
/* What bl_verify_run_text() would take. */
BL_MUST_USE bl_status bl_verify_plan_text(bl_score_plan *out, bl_verify_report *report,
                                          bl_verify_inputs *inputs,
                                          const bl_verify_options *options, struct bl_err *err);
/* The first sequence of a text. */
BL_MUST_USE bl_status bl_verify_run_activations(bl_verify_report *report, bl_verify_inputs *inputs,
                                                const bl_verify_options *options,
                                                struct bl_err *err);
BL_MUST_USE bl_status bl_verify_run_choices(bl_verify_report *report, bl_verify_inputs *inputs,
                                            const bl_verify_options *options, struct bl_err *err);

#endif
