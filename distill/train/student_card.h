/*
 * student_card.h - the README.md beside a student: what it learned from, how, and the numbers, in the form
 * that model hubs read (YAML in front). The same training gives the same text: no times, no paths.
 */
#ifndef BL_DISTILL_STUDENT_CARD_H
#define BL_DISTILL_STUDENT_CARD_H

#include "base/err.h"
#include "base/text.h"
#include "distill/train/recipe.h"
#include "distill/train/train_checkpoint.h"
#include "formats/ckpt/ckpt.h"

typedef struct bl_student_card {
    const bl_recipe *recipe;
    const bl_ckpt *source; /* asked for the name of the model that the student began as */
    uint64_t n_values;
    const bl_train_record *record;
    size_t n_records;
} bl_student_card;

BL_MUST_USE bl_status bl_student_card_write(bl_text *out, const bl_student_card *card,
                                            struct bl_err *err);

#endif
