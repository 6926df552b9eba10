/*
 * recipe.h - everything that decides the numbers of a training: options, the teacher's cache, the student
 * it began with. As text it goes into checkpoints and the model card; a run goes on only from a checkpoint
 * with the same text.
 */
#ifndef BL_DISTILL_RECIPE_H
#define BL_DISTILL_RECIPE_H

#include "base/err.h"
#include "base/hash.h"
#include "base/text.h"
#include "distill/train/schedule.h"
#include "distill/train/student.h"
#include "formats/logits/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_recipe {
    bl_distill_loss loss;
    bl_schedule schedule;
    double beta1, beta2, eps, weight_decay;
    double clip; /* the largest norm of the gradient; 0: any */
    uint32_t batch, accumulate;
    uint64_t seed;
    bool bf16;            /* weights in BF16 */
    uint64_t eval_every;  /* steps; 0: only before and after */
    bl_cache_info cache;  /* what is learned from */
    bl_hash128 student;   /* fingerprint.h, as it was before */
    bl_hash128 eval_text; /* packing of the held-out text; zero: none */
} bl_recipe;

/* "fkl", "rkl", "jsd"; "ce" when no teacher is looked at. */
const char *bl_recipe_loss_name(const bl_distill_loss *loss);

/* A JSON object without line breaks: one member an option, named as the command line names it. */
BL_MUST_USE bl_status bl_recipe_text(bl_text *out, const bl_recipe *recipe, struct bl_err *err);

/* BL_OK when the texts are the same; BL_E_USAGE with the first member that differs. file: of `kept`. */
BL_MUST_USE bl_status bl_recipe_compare(const char *file, const char *kept, const char *ours,
                                        struct bl_err *err);

/* 32 hexadecimal digits and a NUL. */
void bl_recipe_hash_text(char out[33], bl_hash128 hash);

#endif
