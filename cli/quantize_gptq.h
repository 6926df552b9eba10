/*
 * quantize_gptq.h - `quantize --method gptq`: the text, the run between plan and writing, and what is
 * said of it.
 */
#ifndef BL_CLI_QUANTIZE_GPTQ_H
#define BL_CLI_QUANTIZE_GPTQ_H

#include "cli/cli.h"
#include "quantize/gptq_run.h"

/* What users ask for; zeroed but for ctx. */
typedef struct bl_cli_gptq_options {
    bool wanted; /* --method gptq */
    const char *text, *scratch;
    uint64_t ctx, max_tokens, memory; /* max_tokens 0: all of the text */
    bool shared_hessian, sequential;
} bl_cli_gptq_options;

/* Rows of the option table. */
#define BL_OPTION_GPTQ(g)                                                                          \
    { "--text", 0, BL_OPTION_STRING, &(g).text, "FILE", "gptq: text to calibrate on" },            \
        { "--tokens", 0, BL_OPTION_U64, &(g).max_tokens, "N", "gptq: of it (default all)" },       \
        { "--shared-hessian",  0,    BL_OPTION_FLAG,                                               \
          &(g).shared_hessian, NULL, "gptq: one for the experts of a layer: less work" },          \
        { "--sequential",  0,    BL_OPTION_FLAG,                                                   \
          &(g).sequential, NULL, "gptq: inputs from quantized layers: two forward passes" },       \
        { "--memory", 0, BL_OPTION_SIZE, &(g).memory, "SIZE", "gptq: may be used (8GiB)" },        \
    {                                                                                              \
        "--scratch", 0, BL_OPTION_STRING, &(g).scratch, "DIR",                                     \
            "gptq: for finished layers and states (default: beside OUT)"                           \
    }

BL_MUST_USE bl_status bl_cli_gptq_check(const bl_cli_gptq_options *options, struct bl_err *err);

/* A run. Zero-initialise; released in any case. */
typedef struct bl_cli_gptq {
    bl_gptq *run;
    int32_t *token;
    char *scratch;
} bl_cli_gptq;

/* Quantize the plan's matrices, or with --dry-run say what it would take. */
BL_MUST_USE bl_status bl_cli_gptq_run(bl_cli_gptq *gptq, const bl_ckpt *ckpt, bl_plan *plan,
                                      const bl_cli_gptq_options *options, const bl_common *common,
                                      const char *output, struct bl_err *err);
/* What was gained, as a table, and as the member "gptq" of a JSON object. */
BL_MUST_USE bl_status bl_cli_gptq_print(const bl_cli_gptq *gptq, struct bl_err *err);
void bl_cli_gptq_put_json(bl_json_writer *w, const bl_cli_gptq *gptq);
void bl_cli_gptq_release(bl_cli_gptq *gptq);

#endif
