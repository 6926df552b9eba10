/*
 * verify_report.h - what verify measured, for people and as JSON.
 */
#ifndef BL_CLI_VERIFY_REPORT_H
#define BL_CLI_VERIFY_REPORT_H

#include "base/text.h"
#include "formats/ckpt/ckpt.h"
#include "verify/check.h"
#include "verify/check_sums.h"
#include "verify/compare.h"
#include "verify/perplexity.h"

#include <stdbool.h>

typedef struct bl_verify_report {
    const bl_ckpt *model, *reference; /* reference: NULL when there is none */
    const char *text;                 /* path, or NULL */
    const char *path;                 /* of the model, as given */
    const char *sums_list;            /* path, or NULL: then there are no sums */
    bool has_check, has_comparison, has_ppl;
    bl_sums_result sums; /* with faults in it nothing else is filled in: the model is not opened */
    bl_check_result check;
    bl_comparison comparison;
    bl_ppl_result ppl;
} bl_verify_report;

void bl_verify_report_text(bl_text *out, const bl_verify_report *report);
void bl_verify_report_json(bl_text *out, const bl_verify_report *report);

#endif
