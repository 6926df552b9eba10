/*
 * plan.h - what becomes of a checkpoint: the jobs for a GGUF file or for a Hugging Face folder.
 *
 * A plan decides layout and names; which encoder each tensor gets is the caller's choice
 * (convert: one cast for all; quantize: a policy), asked through bl_choose_fn.
 */
#ifndef BL_CONVERT_PLAN_H
#define BL_CONVERT_PLAN_H

#include "base/err.h"
#include "convert/job.h"
#include "formats/ckpt/ckpt.h"

/* What the choice may depend on. */
typedef struct bl_choice {
    const char *name;       /* of the output tensor */
    const bl_arch_row *row; /* of the family's table; NULL: a tensor that it does not know */
    uint32_t ndim;          /* of the output tensor */
    uint64_t n_cols;
    const bl_tensor *source; /* the (first) canonical tensor; NULL: it has none */
} bl_choice;

/* The encoder for one output tensor; never NULL. n_cols is a multiple of its `multiple`. */
typedef const bl_encoder *(*bl_choose_fn)(const void *context, const bl_choice *choice);

/*
 * Every tensor of the main model as GGUF wants it (llama.cpp's names and layout, the order of the
 * family's table), and with keep_mtp those of the MTP layers as its `nextn` tensors. Fails with BL_E_FORMAT when a tensor is missing, and
 * with BL_E_UNSUPPORTED for tensors that have no place in GGUF. Release with bl_plan_release().
 */
BL_MUST_USE bl_status bl_plan_gguf_with(bl_plan *out, const bl_ckpt *ckpt, bool keep_mtp,
                                        bl_choose_fn choose, const void *context,
                                        struct bl_err *err);
/* Without MTP layers. */
BL_MUST_USE bl_status bl_plan_gguf(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose,
                                   const void *context, struct bl_err *err);

/*
 * The stored tensors of a GGUF file as they are, names, shapes and order kept, those that the
 * family's table does not know included. Fails with BL_E_UNSUPPORTED for tensors of integers.
 */
BL_MUST_USE bl_status bl_plan_recast(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose,
                                     const void *context, struct bl_err *err);

/*
 * Every canonical tensor under its own name, in the order of the source, MTP layer included. An
 * encoder with parts replaces X.weight by them; one that keeps what the source stores copies it.
 */
BL_MUST_USE bl_status bl_plan_folder(bl_plan *out, const bl_ckpt *ckpt, bl_choose_fn choose,
                                     const void *context, struct bl_err *err);

/*
 * Every stored tensor as it lies, without a look at its values, in the order of the source. drop_mtp: but for
 * those of MTP layers (not of a GGUF file).
 */
BL_MUST_USE bl_status bl_plan_copy(bl_plan *out, const bl_ckpt *ckpt, bool drop_mtp,
                                   struct bl_err *err);

/* Take the tensors of MTP layers out of a plan of bl_plan_folder(). */
void bl_plan_drop_mtp(bl_plan *plan);

/* Have the pipeline measure what the jobs' encodings cost: job[i].loss, zeroed. */
BL_MUST_USE bl_status bl_plan_want_loss(bl_plan *plan, struct bl_err *err);

void bl_plan_release(bl_plan *plan);

#endif
