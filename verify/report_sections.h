/*
 * report_sections.h - the sections of the page, one function each; report_html.c has the list. A
 * section whose input is missing writes nothing. A new one is a function here and a row there.
 */
#ifndef BL_VERIFY_REPORT_SECTIONS_H
#define BL_VERIFY_REPORT_SECTIONS_H

#include "verify/report.h"

typedef bl_status (*bl_section_fn)(bl_text *out, const bl_verify_report *report,
                                   struct bl_err *err);

/* report_html.c: models, verdict, gates. */
/* report_structure.c */
BL_MUST_USE bl_status bl_section_sums(bl_text *out, const bl_verify_report *report,
                                      struct bl_err *err);
BL_MUST_USE bl_status bl_section_structure(bl_text *out, const bl_verify_report *report,
                                           struct bl_err *err);
BL_MUST_USE bl_status bl_section_configuration(bl_text *out, const bl_verify_report *report,
                                               struct bl_err *err);
/* report_tensors.c */
BL_MUST_USE bl_status bl_section_layers(bl_text *out, const bl_verify_report *report,
                                        struct bl_err *err);
BL_MUST_USE bl_status bl_section_worst_tensors(bl_text *out, const bl_verify_report *report,
                                               struct bl_err *err);
BL_MUST_USE bl_status bl_section_diagnoses(bl_text *out, const bl_verify_report *report,
                                           struct bl_err *err);
/* report_tokens.c */
BL_MUST_USE bl_status bl_section_measures(bl_text *out, const bl_verify_report *report,
                                          struct bl_err *err);
BL_MUST_USE bl_status bl_section_divergence(bl_text *out, const bl_verify_report *report,
                                            struct bl_err *err);
BL_MUST_USE bl_status bl_section_running(bl_text *out, const bl_verify_report *report,
                                         struct bl_err *err);
BL_MUST_USE bl_status bl_section_worst_tokens(bl_text *out, const bl_verify_report *report,
                                              struct bl_err *err);

/* report_activations.c */
BL_MUST_USE bl_status bl_section_activations(bl_text *out, const bl_verify_report *report,
                                             struct bl_err *err);
/* report_choices.c */
BL_MUST_USE bl_status bl_section_choices(bl_text *out, const bl_verify_report *report,
                                         struct bl_err *err);

/* A cell of a table that holds a number. */
void bl_report_cell(bl_text *out, double value, double scale, int decimals);

#endif
