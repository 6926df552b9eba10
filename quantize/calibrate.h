/*
 * calibrate.h - one streamed pass of a text through a model, and what every linear tensor met on the
 * way as a file of statistics (formats/stats): what weighted quantization, the bit budget and the
 * pruning of experts need.
 *
 * The text is cut by llama.cpp's rule (verify/perplexity.h): sequences of ctx tokens, the rest
 * dropped, the first token of each replaced by BOS. Every position counts. Of n_parts, part i takes
 * sequences i, i + n_parts, ...: parts made on several machines are merged into what one would have
 * made (bl_calibrate_merge).
 *
 * Memory and reading as in verify/score.h, and bl_layer_sums_bytes() (calibrate_layer.h). With a
 * scratch folder the state and each finished layer's statistics are kept there: a run that was
 * killed goes on after its last layer, to the same bytes. Neither threads nor memory change a bit.
 */
#ifndef BL_QUANTIZE_CALIBRATE_H
#define BL_QUANTIZE_CALIBRATE_H

#include "formats/stats/stats.h"
#include "verify/score.h"

typedef struct bl_calibrate_options {
    uint32_t ctx;           /* 0: 512 */
    uint64_t max_tokens;    /* of the text; 0: all */
    uint32_t part, n_parts; /* part (of 0 ..) of n_parts; n_parts 0: all of the text */
    int64_t bos;            /* replaces each sequence's first token; -1: keep it */
    bl_hash128 text;        /* XXH3-128 of the text's bytes, for the file */
    bool force;             /* replace an output that exists */
    bl_score_options run;   /* keep, resume and force are set here: by scratch, resume, force */
} bl_calibrate_options;

/*
 * Write the statistics of tokens[n_tokens] to path. Fails with BL_E_USAGE when the text is too short
 * or the output exists, as bl_score_run() does, and as writing does: then nothing is left but what
 * --resume needs in the scratch folder.
 */
BL_MUST_USE bl_status bl_calibrate_run(const char *path, const bl_ckpt *ckpt, const int32_t *tokens,
                                       size_t n_tokens, const bl_calibrate_options *options,
                                       struct bl_err *err);

/* What a run will take; fails as it does before the first weight is read. */
BL_MUST_USE bl_status bl_calibrate_plan(bl_score_plan *out, const bl_ckpt *ckpt, size_t n_tokens,
                                        const bl_calibrate_options *options, struct bl_err *err);

#endif
