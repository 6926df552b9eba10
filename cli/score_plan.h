/*
 * score_plan.h - what scoring a text will take, for people and as JSON: verify --dry-run.
 */
#ifndef BL_CLI_SCORE_PLAN_H
#define BL_CLI_SCORE_PLAN_H

#include "base/text.h"
#include "verify/score.h"

/* Measures, for some tens of milliseconds, how fast the machine multiplies. */
void bl_cli_put_score_plan(bl_text *out, const bl_score_plan *plan, int n_threads, bool json);

#endif
