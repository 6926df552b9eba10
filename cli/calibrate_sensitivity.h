/*
 * calibrate_sensitivity.h - calibrate --sensitivity: how much each kind of matrix matters, measured
 * and put into a statistics file (quantize/sensitivity.h).
 */
#ifndef BL_CLI_CALIBRATE_SENSITIVITY_H
#define BL_CLI_CALIBRATE_SENSITIVITY_H

#include "cli/cli.h"
#include "formats/ckpt/ckpt.h"
#include "model/tokenizer/tokenizer.h"

typedef struct bl_probe_options {
    const char *from, *output; /* statistics: read, and written with what was measured */
    bool force;                /* output may be there; it may be `from` */
    const char *scratch;
    uint64_t n_tokens; /* to probe with, at most */
    uint32_t ctx;      /* tokens of a sequence */
    int64_t bos;       /* the first token of each, or -1 */
    bool grouped;      /* matrices in groups, four layers together: for large models */
    uint64_t memory;
    int n_threads;
    bool show_progress;
} bl_probe_options;

/* token[n]: the calibration text, of which sequences evenly spread are taken. */
BL_MUST_USE bl_status bl_calibrate_sensitivity(const bl_probe_options *options, const bl_ckpt *ckpt,
                                               const bl_tokens *tokens, struct bl_err *err);

#endif
