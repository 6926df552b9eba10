/*
 * report.h - what verify measured, for people on a terminal (report_text.c), for programs
 * (report_json.c) and as a page for the browser (report_html.c).
 *
 * A report owns what was measured and the tokens; everything else is borrowed. A part that was not
 * measured has its has_ flag unset and is left out. What a writer puts into bl_text fails as
 * bl_text does: look at bl_text_check().
 */
#ifndef BL_VERIFY_REPORT_H
#define BL_VERIFY_REPORT_H

#include "base/text.h"
#include "formats/ckpt/ckpt.h"
#include "formats/json/json_writer.h"
#include "model/tokenizer/tokenizer.h"
#include "verify/activations.h"
#include "verify/check.h"
#include "verify/check_sums.h"
#include "verify/choices.h"
#include "verify/compare.h"
#include "verify/gates.h"
#include "verify/perplexity.h"

#include <stdbool.h>

typedef struct bl_verify_report {
    const bl_ckpt *model, *reference; /* NULL: not opened; there is none */
    /* of a reference that the model was pruned from: the layers and experts that it has; or NULL */
    const bl_ckpt *counterpart;
    const char *path;      /* of the model, as given */
    const char *text;      /* path, or NULL */
    bool structure_only;   /* not every value was read */
    const char *sums_list; /* path, or NULL: then there are no sums */
    bl_kept *kept;         /* logits that were kept, or that are the reference; NULL: none; owned */
    bool has_check, has_comparison, has_activations, has_ppl, has_choices;
    bl_sums_result sums; /* with faults in it nothing else is filled in */
    bl_check_result check;
    bl_comparison comparison;
    bl_activations activations;
    bl_ppl_result ppl;
    bl_choices_result choices;
    bl_gates gates;

    /* for the page only */
    const char *objection;         /* the sentence that says no; NULL: the answer is yes */
    bl_tokens tokens;              /* of the text, as bl_ppl_run() got them */
    const bl_tokenizer *tokenizer; /* NULL: no tokens in context */
} bl_verify_report;

void bl_verify_report_release(bl_verify_report *report);

void bl_verify_report_text(bl_text *out, const bl_verify_report *report);
void bl_verify_report_json(bl_text *out, const bl_verify_report *report);

/*
 * One self-contained page: no script, nothing to fetch, well-formed XML too. Whatever comes from a
 * file is escaped. Fails with BL_E_NOMEM, or BL_E_FORMAT for a token that the tokenizer has not.
 */
BL_MUST_USE bl_status bl_verify_report_html(bl_text *out, const bl_verify_report *report,
                                            struct bl_err *err);

/* What the model is compared with tensor by tensor; NULL without a reference. */
const bl_ckpt *bl_report_counterpart(const bl_verify_report *report);

/* Shared by the three: the model's path, and bits in the files for each weight. */
const char *bl_report_path(const bl_verify_report *report);
double bl_report_bits_per_weight(const bl_ckpt *ckpt);

#endif
