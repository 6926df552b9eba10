/*
 * prune_run.h - what prune does, in parts: writing (cmd_prune.c), trying on texts (prune_try.c), and saying
 * what came of it (prune_report.c).
 */
#ifndef BL_CLI_PRUNE_RUN_H
#define BL_CLI_PRUNE_RUN_H

#include "cli/convert_run.h"
#include "prune/trials.h"

enum { BL_PRUNE_MAX_DOMAINS = 64, BL_PRUNE_MAX_RATIOS = 64 };

typedef struct bl_prune_options {
    bl_convert_options convert; /* command, common options, output */
    const char *method;         /* as given: one, or for trials several */
    bl_option_list stats, text;
    uint64_t n_experts, experts_per_token, n_drop, seed, rank_layer; /* BL_NOT_GIVEN */
    double ratio;                                                    /* below 0: not given */
    bool ungroup, no_protection;
    const char *sweep, *plot, *scratch;
    uint64_t ctx, max_tokens, n_seeds;
} bl_prune_options;

/* Methods and statistics, as parsed. */
typedef struct bl_prune_input {
    const bl_ckpt *ckpt;
    bl_prune_method method[BL_PRUNE_METHOD_COUNT];
    size_t n_methods;
    double ratio[BL_PRUNE_MAX_RATIOS];
    size_t n_ratios;
    bl_prune_domain domain[BL_PRUNE_MAX_DOMAINS];
    bl_stats *stats[BL_PRUNE_MAX_DOMAINS]; /* the same, owned */
    size_t n_domains;
} bl_prune_input;

/* Mask instead of writing, and print what the texts say of it. */
BL_MUST_USE bl_status bl_prune_try(const bl_prune_options *o, const bl_prune_input *in,
                                   struct bl_err *err);

/* A table for each text, or JSON; the plot is a file of its own. */
BL_MUST_USE bl_status bl_prune_print_trials(const bl_prune_options *o,
                                            const bl_prune_trials *trials, struct bl_err *err);
BL_MUST_USE bl_status bl_prune_write_plot(const bl_prune_options *o, const bl_prune_trials *trials,
                                          struct bl_err *err);

/*
 * The experts of a layer by what happens without each (n trials `single`), beside the criteria that were
 * scored: score[n_methods][n]; and ratios that were tried in that layer alone, or none (n 0).
 */
BL_MUST_USE bl_status bl_prune_print_rank(const bl_prune_options *o, const bl_prune_input *in,
                                          const bl_prune_trials *singles, const double *score,
                                          const bl_prune_trials *ratios, struct bl_err *err);

#endif
