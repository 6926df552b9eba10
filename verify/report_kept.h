/*
 * report_kept.h - what the text, the JSON and the page say of kept logits. A report without any:
 * nothing.
 */
#ifndef BL_VERIFY_REPORT_KEPT_H
#define BL_VERIFY_REPORT_KEPT_H

#include "verify/report.h"

/* Lines under that about the text, and behind the KL divergence. */
void bl_report_kept_text(bl_text *out, const bl_verify_report *report);
void bl_report_kept_error_text(bl_text *out, const bl_verify_report *report);
/* Members of the object that has the text's numbers. */
void bl_report_kept_json(bl_json_writer *w, const bl_verify_report *report);
/* A sentence in the paragraph about the text. */
void bl_report_kept_html(bl_text *out, const bl_verify_report *report);

#endif
