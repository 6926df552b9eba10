/*
 * report_activations.h - which layer goes wrong, for people and as JSON.
 */
#ifndef BL_VERIFY_REPORT_ACTIVATIONS_H
#define BL_VERIFY_REPORT_ACTIVATIONS_H

#include "base/text.h"
#include "formats/json/json_writer.h"
#include "verify/activations.h"

void bl_report_activations_text(bl_text *out, const bl_activations *activations);

/* The member "activations" of the object that is being written. */
void bl_report_activations_json(bl_json_writer *w, const bl_activations *activations);

#endif
