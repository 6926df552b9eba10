/*
 * train_log.h - what a training did, step by step: a line of JSON each, and a chart.
 */
#ifndef BL_DISTILL_TRAIN_LOG_H
#define BL_DISTILL_TRAIN_LOG_H

#include "base/text.h"
#include "distill/train/train_checkpoint.h"

/*
 * {"step":1,"tokens":510,"loss":...,"ce":...,"kd":...,"lr":...,"grad_norm":...,"eval_ppl":...} and a line
 * break. Step 0 has only eval_ppl, others only where held-out text was looked at. tokens_per_s 0: left
 * out, so that the line is the same for the same training.
 */
void bl_train_log_line(bl_text *out, const bl_train_record *record, double tokens_per_s);

/* Loss and held-out cross-entropy over the steps, an SVG document. BL_E_NOMEM. */
BL_MUST_USE bl_status bl_train_log_chart(bl_text *out, const bl_train_record *record, size_t n,
                                         struct bl_err *err);

#endif
