/*
 * distill_train.h - what distill train was asked for, and what it says of it.
 */
#ifndef BL_CLI_DISTILL_TRAIN_H
#define BL_CLI_DISTILL_TRAIN_H

#include "cli/cli.h"
#include "distill/teach/pack.h"
#include "distill/train/recipe.h"
#include "distill/train/train_checkpoint.h"
#include "distill/train/train_memory.h"

#include <stdio.h>

typedef struct bl_train_command {
    const bl_command *command;
    bl_common common;
    const char *output, *cache, *eval, *log, *loss, *schedule, *weights, *dtype;
    uint64_t n_steps, batch, accumulate, n_warmup, seed, eval_every, eval_tokens, save_every;
    double epochs, lr, floor, decay, beta, ce, temperature, beta1, beta2, eps, weight_decay, clip;
    bool bucket, recompute;

    /* made of these, and of the files */
    const bl_ckpt *student;
    bl_recipe recipe;
    bl_pack eval_pack;
    char *checkpoint; /* in front of the checkpoints' names */
} bl_train_command;

/* Looked at before a file is. input: the student's path. */
BL_MUST_USE bl_status bl_train_check_options(const bl_train_command *c, const char *input,
                                             struct bl_err *err);
/* Ids must mean the same tokens. c->student is open, and below. */
BL_MUST_USE bl_status bl_train_check_tokenizer(const bl_train_command *c,
                                               const bl_cache_info *cache, struct bl_err *err);
/* c->recipe, of the options, the student, the cache and c->eval_pack. */
BL_MUST_USE bl_status bl_train_set_recipe(bl_train_command *c, const bl_cache_info *cache,
                                          struct bl_err *err);

/* What --dry-run says, as text or JSON. */
BL_MUST_USE bl_status bl_train_print_plan(const bl_train_command *c, const bl_train_needs *needs,
                                          struct bl_err *err);

/* What came of it. */
BL_MUST_USE bl_status bl_train_print_result(const bl_train_command *c, uint64_t n_values,
                                            const bl_train_record *record, size_t n,
                                            struct bl_err *err);

/* The log file and the line on the terminal, while it runs. */
typedef struct bl_train_show {
    const bl_train_command *c;
    FILE *log;         /* NULL: none */
    double began;      /* seconds: this run's first step */
    double last;       /* the last step's end */
    double shown;      /* when the line was written */
    uint64_t first;    /* steps that an earlier run did */
    uint64_t n_tokens; /* of this run */
    uint64_t last_tokens;
    bool on_line;
} bl_train_show;

/* BL_E_USAGE when the log exists and neither --force nor --resume is given. */
BL_MUST_USE bl_status bl_train_show_begin(bl_train_show *out, const bl_train_command *c,
                                          struct bl_err *err);
/* As bl_trainer_options' on_record and on_warning; the context is a bl_train_show. */
BL_MUST_USE bl_status bl_train_show_record(void *context, const bl_train_record *record,
                                           bool replayed, struct bl_err *err);
void bl_train_show_warning(void *context, const char *sentence);
BL_MUST_USE bl_status bl_train_show_end(bl_train_show *show, struct bl_err *err);

#endif
