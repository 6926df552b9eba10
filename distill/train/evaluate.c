/* evaluate.c - see evaluate.h. */
#include "distill/train/evaluate.h"

#include "base/alloc.h"

#include <math.h>

/* The token behind each position, where its document goes on there. */
static void set_targets(int32_t *target, const bl_pack *text)
{
    for (uint32_t s = 0; s < text->n_seqs; s++) {
        const size_t at = (size_t)s * text->n_positions;

        for (uint32_t p = 0; p < text->n_positions; p++) {
            const bool goes_on =
                p + 1 < text->n_positions && text->start[at + p + 1] == text->start[at + p];

            target[at + p] = goes_on ? text->token[at + p + 1] : -1;
        }
    }
}

bl_status bl_train_evaluate(double *out, const bl_learner *learner, const bl_pack *text,
                            uint32_t batch, struct bl_err *err)
{
    const bl_distill_loss loss = { .ce = 1, .temperature = 1 };
    const size_t n = (size_t)text->n_seqs * text->n_positions;
    int32_t *target = bl_alloc(n, sizeof(*target));
    uint64_t n_tokens = 0;
    double ce = 0;
    bl_status rc = target ? BL_OK : bl_fail_nomem(err, "held-out text");

    if (target)
        set_targets(target, text);
    for (uint32_t s = 0; s < text->n_seqs && rc == BL_OK; s += batch) {
        const size_t at = (size_t)s * text->n_positions;
        bl_step_sums sums = { 0 };
        const bl_batch here = { .n_seqs = text->n_seqs - s < batch ? text->n_seqs - s : batch,
                                .n_positions = text->n_positions,
                                .token = text->token + at,
                                .start = text->start + at,
                                .target = target + at };

        rc = learner->step(&sums, learner->context, &here, &loss, 0, err);
        n_tokens += sums.n_tokens;
        ce += sums.ce;
    }
    bl_free(target);
    if (rc == BL_OK && n_tokens == 0)
        rc = bl_fail(err, BL_E_USAGE, "held-out text: too short to predict anything");
    if (rc == BL_OK && !isfinite(ce))
        rc = bl_fail(err, BL_E_MISMATCH, "the cross-entropy is not finite");
    if (rc == BL_OK)
        *out = ce / (double)n_tokens;
    return rc;
}
