/*
 * report_choices.h - what multiple-choice items said, for people and as JSON.
 */
#ifndef BL_VERIFY_REPORT_CHOICES_H
#define BL_VERIFY_REPORT_CHOICES_H

#include "base/text.h"
#include "formats/json/json_writer.h"
#include "verify/choices.h"

void bl_report_choices_text(bl_text *out, const bl_choices_result *result);

/* The member "choices" of the object that is being written. */
void bl_report_choices_json(bl_json_writer *w, const bl_choices_result *result);

#endif
