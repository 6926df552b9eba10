/*
 * trainer.h - the loop of a training: batches, gradients, a step of AdamW; held-out text in between;
 * checkpoints, and going on from them.
 *
 * A training is a function of its recipe: the same losses and weights, bit for bit, at any number of
 * threads, in one go or in several. The network is asked for through bl_learner.
 *
 * Checkpoints are two files in turn, PREFIX.0 and PREFIX.1: the older one is replaced. Going on takes the
 * newest that is sound. Nothing else is kept on the disk; the log is in the checkpoint.
 */
#ifndef BL_DISTILL_TRAINER_H
#define BL_DISTILL_TRAINER_H

#include "base/err.h"
#include "distill/train/batches.h"
#include "distill/teach/pack.h"
#include "distill/train/recipe.h"
#include "distill/train/student.h"
#include "distill/train/train_checkpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What learns. step: as bl_student_step(). */
typedef struct bl_learner {
    bl_parameter *const *parameter; /* [n_parameters] */
    size_t n_parameters;
    bl_status (*step)(bl_step_sums *out, void *context, const bl_batch *batch,
                      const bl_distill_loss *loss, double scale, struct bl_err *err);
    void *context;
} bl_learner;

typedef struct bl_trainer_options {
    bl_recipe recipe;
    bl_learner learner;
    bl_batch_source source;
    const bl_pack *eval;    /* held-out text; NULL: none */
    const char *checkpoint; /* PREFIX; NULL: no checkpoints */
    uint64_t save_every;    /* steps; 0: only behind the last one */
    bool resume;            /* go on from a checkpoint, where there is one */
    bool force;             /* begin anew although there are checkpoints */
    int n_threads;
    /* Told of each step, and on going on of each step that was done before (replayed). */
    bl_status (*on_record)(void *context, const bl_train_record *record, bool replayed,
                           struct bl_err *err);
    /* Told of what passes without harm. NULL: nobody is. */
    void (*on_warning)(void *context, const char *sentence);
    void *context;
} bl_trainer_options;

typedef struct bl_trainer bl_trainer;

/*
 * Ready to run: moments made, a checkpoint read. options and all in it are borrowed. BL_E_USAGE when there
 * are checkpoints and neither resume nor force is given, or when they are of another recipe.
 */
BL_MUST_USE bl_status bl_trainer_new(bl_trainer **out, const bl_trainer_options *options,
                                     struct bl_err *err);
void bl_trainer_free(bl_trainer *trainer); /* NULL is allowed; checkpoints stay */

/* Step 0 where nothing was gone on from. */
uint64_t bl_trainer_step(const bl_trainer *trainer);
const bl_train_record *bl_trainer_records(size_t *n, const bl_trainer *trainer);

/*
 * All steps that are left. Fails as a step does; the sentence says where, and what is kept.
 * BL_E_FORMAT when the loss or a gradient stopped being finite.
 */
BL_MUST_USE bl_status bl_trainer_run(bl_trainer *trainer, struct bl_err *err);

/* The output is there: nobody needs the checkpoints. */
BL_MUST_USE bl_status bl_trainer_remove_checkpoints(const char *prefix, struct bl_err *err);

#endif
