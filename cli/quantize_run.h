/*
 * quantize_run.h - the two roads of quantize: into a GGUF file, into a Hugging Face folder.
 */
#ifndef BL_CLI_QUANTIZE_RUN_H
#define BL_CLI_QUANTIZE_RUN_H

#include "cli/cli.h"
#include "cli/dry_run.h"
#include "cli/quantize_gptq.h"
#include "formats/stats/stats.h"
#include "quantize/layout.h"
#include "quantize/pattern.h"
#include "quantize/quant.h"
#include "quantize/recipe.h"

typedef struct bl_quantize_options {
    bl_common common;
    const char *output, *type_name, *method_name, *stats_path;
    bl_option_list tensors;  /* PATTERN=TYPE */
    uint64_t size, fit, ctx; /* bytes of the file, bytes of memory at ctx tokens; 0: not given */
    double bits_per_weight;  /* 0: not given */
    uint64_t shard_size, split_size;
    bool requantize;
    const char *mtp;          /* "keep", "drop"; NULL: as the output has it */
    bl_layout_options wanted; /* of a folder, as the user says */
    bl_cli_gptq_options gptq;

    /* What was understood of them. */
    bl_method method;
    bool to_folder;
    const bl_recipe *recipe; /* NULL: a budget, or a folder */
    bl_folder_layout layout;
    const bl_command *command;
} bl_quantize_options;

/* Whether types are chosen for a size. */
static inline bool bl_quantize_has_budget(const bl_quantize_options *o)
{
    return o->size > 0 || o->fit > 0 || o->bits_per_weight > 0;
}

/* Open --stats and hold them against the model; *out NULL where none are given. */
BL_MUST_USE bl_status bl_quantize_open_stats(bl_stats **out, const bl_quantize_options *options,
                                             const bl_ckpt *ckpt, struct bl_err *err);

/* requantized_from: what to say of a source that is quantized itself; NULL. */
BL_MUST_USE bl_status bl_quantize_to_gguf(const bl_quantize_options *options, const bl_ckpt *ckpt,
                                          const char *requantized_from, struct bl_err *err);
BL_MUST_USE bl_status bl_quantize_to_folder(const bl_quantize_options *options, const bl_ckpt *ckpt,
                                            const char *requantized_from, struct bl_err *err);

/*
 * What decides the bytes of the output besides source and plan, as text for resuming: methods, and the
 * sums of the files that it reads.
 */
BL_MUST_USE bl_status bl_quantize_more(bl_text *out, const bl_quantize_options *options,
                                       struct bl_err *err);

/* Print what was written, or with --dry-run would be and needs; GPTQ's scratch files go. */
BL_MUST_USE bl_status bl_quantize_finish(const bl_quantize_options *options, const bl_plan *plan,
                                         bl_cli_gptq *gptq, const bl_needs *needs,
                                         struct bl_err *err);

#endif
