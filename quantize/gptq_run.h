/*
 * gptq_run.h - GPTQ of a whole plan: a forward pass over calibration tokens, layer by layer, with
 * each layer's matrices quantized as their inputs come by (gptq_collect.h) and kept in a store
 * (gptq_store.h), from which the plan's jobs then take their bytes.
 *
 *     rc = bl_gptq_begin(&gptq, ckpt, &plan, &options, err);
 *     rc = bl_gptq_run(gptq, err);        hours; --resume goes on after the last finished layer
 *     ... write the plan as any other: what GPTQ made is in its jobs as raw parts
 *     rc = bl_gptq_end(gptq, err);        the scratch files go; without it they stay for --resume
 *     bl_gptq_free(gptq);
 *
 * A layer's inputs come from the original weights; with `sequential` from those that the layers
 * before it have become, at the price of a second forward pass. (Within a layer they are the
 * original ones, and so stay k_b, v_b and rows that the output has in another order.)
 *
 * Memory: the forward pass (model/room.h) and bl_gptq_collect_bytes(), together within
 * options.memory: first one expert at a time and the roomiest forward pass, then as many experts of
 * BL_GPTQ_BATCH as still fit. Scratch: the encoded layers, and the hidden states once, or twice
 * where they do not fit in memory.
 */
#ifndef BL_QUANTIZE_GPTQ_RUN_H
#define BL_QUANTIZE_GPTQ_RUN_H

#include "base/progress.h"
#include "formats/ckpt/ckpt.h"
#include "model/room.h"
#include "quantize/gptq_batch.h"

enum { BL_GPTQ_BATCH = 8 };

typedef struct bl_gptq_options {
    const int32_t *token; /* [n_seqs][n_positions] calibration text; borrowed until the end */
    uint32_t n_seqs, n_positions;
    int n_threads;
    uint64_t memory;     /* bytes that the process may hold; 0: 8 GiB, or more if it must be */
    const char *scratch; /* folder for layers and states; not NULL */
    bool resume, force;  /* go on from what is there, or throw it away */
    bool shared_hessian; /* one H for the experts of a layer */
    bool sequential;
    bl_progress *progress; /* gets the bytes of weights as they are done; may be NULL */
} bl_gptq_options;

/* Matrices of a role, and what became of them in this run (not in one that it went on from). */
typedef struct bl_gptq_count {
    uint64_t n_matrices;
    uint64_t n_accepted;             /* codes by GPTQ */
    uint64_t n_unjudged;             /* no tokens to judge with: the search's */
    uint64_t n_unfactored;           /* H could not be factored: the search's */
    double search_error, gptq_error; /* |(W - What) x|^2 over held-out tokens of all judged */
    double log_ratio;                /* sum over judged matrices of ln(gptq_error / search_error) */
} bl_gptq_count;

typedef struct bl_gptq_report {
    bl_gptq_count role[BL_ROLE_COUNT];
    uint32_t n_layers_before; /* that an earlier run had finished */
    size_t batch_experts;
    bl_room room;
    uint64_t memory; /* bytes at most, by the formula */
    double factor_seconds, tile_seconds;
} bl_gptq_report;

typedef struct bl_gptq bl_gptq;

/*
 * What is to be done, and how it fits; nothing is computed yet. plan is borrowed and changed by
 * bl_gptq_run(). Fails with BL_E_USAGE when `memory` is too little, or when files of the same run
 * are in scratch and neither resume nor force is set; BL_E_UNSUPPORTED when the model cannot be run.
 */
BL_MUST_USE bl_status bl_gptq_begin(bl_gptq **out, const bl_ckpt *ckpt, bl_plan *plan,
                                    const bl_gptq_options *options, struct bl_err *err);
BL_MUST_USE bl_status bl_gptq_run(bl_gptq *gptq, struct bl_err *err);
BL_MUST_USE bl_status bl_gptq_end(bl_gptq *gptq, struct bl_err *err);
void bl_gptq_free(bl_gptq *gptq); /* NULL is allowed */

const bl_gptq_report *bl_gptq_report_of(const bl_gptq *gptq);
size_t bl_gptq_n_matrices(const bl_gptq *gptq); /* that it works on */

#endif
