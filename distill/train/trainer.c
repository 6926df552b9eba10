/* trainer.c - see trainer.h. */
#include "distill/train/trainer.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/sink.h"
#include "base/source.h"
#include "distill/train/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { N_SLOTS = 2 };

struct bl_trainer {
    const bl_trainer_options *o;
    bl_batches *batches;
    bl_adamw *adamw;
    bl_train_state state;
    char *slot[N_SLOTS]; /* names of checkpoints; NULL: none are kept */
    size_t next_slot;    /* to be written */
    uint64_t saved;      /* the step of the newest */
    bool has_saved;
};

static void warn(const bl_trainer *t, const char *sentence)
{
    if (t->o->on_warning)
        t->o->on_warning(t->o->context, sentence);
}

static bl_status tell(bl_trainer *t, const bl_train_record *record, bool replayed,
                      struct bl_err *err)
{
    return t->o->on_record ? t->o->on_record(t->o->context, record, replayed, err) : BL_OK;
}

static bl_status name_slots(bl_trainer *t, struct bl_err *err)
{
    for (size_t i = 0; i < N_SLOTS && t->o->checkpoint; i++) {
        t->slot[i] = bl_format("%s.%zu", t->o->checkpoint, i);
        if (!t->slot[i])
            return bl_fail_nomem(err, t->o->checkpoint);
    }
    return BL_OK;
}

bl_status bl_trainer_remove_checkpoints(const char *prefix, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < N_SLOTS && rc == BL_OK; i++) {
        char *path = bl_format("%s.%zu", prefix, i);

        rc = path ? bl_sink_remove(path, err) : bl_fail_nomem(err, prefix);
        bl_free(path);
    }
    return rc;
}

/* The heads of what is there; one that is damaged counts as none, and is told of. */
static bl_status read_heads(bl_train_state head[N_SLOTS], size_t *n_there, bl_trainer *t,
                            struct bl_err *err)
{
    *n_there = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        bl_status rc;

        if (!bl_source_exists(t->slot[i]))
            continue;
        ++*n_there;
        rc = bl_train_checkpoint_head(&head[i], t->slot[i], err);
        if (rc == BL_E_NOMEM || rc == BL_E_CANCELLED)
            return rc;
        if (rc != BL_OK)
            warn(t, err->text);
    }
    return BL_OK;
}

static bl_status take(bl_trainer *t, size_t i, bool *sound, struct bl_err *err)
{
    bl_status rc = bl_train_checkpoint_read(&t->state, t->slot[i], err);

    *sound = rc == BL_OK;
    if (rc == BL_E_NOMEM || rc == BL_E_CANCELLED)
        return rc;
    if (rc != BL_OK) {
        warn(t, err->text);
        return BL_OK;
    }
    t->next_slot = (i + 1) % N_SLOTS;
    t->saved = t->state.step;
    t->has_saved = true;
    return BL_OK;
}

/* The newest sound one, then the other. */
static bl_status take_newest(bl_trainer *t, bl_train_state head[N_SLOTS], struct bl_err *err)
{
    const size_t newest = head[1].recipe && (!head[0].recipe || head[1].step > head[0].step);
    bool sound = false;
    bl_status rc = BL_OK;

    for (size_t k = 0; k < N_SLOTS && rc == BL_OK && !sound; k++) {
        const size_t i = k == 0 ? newest : 1 - newest;

        if (!head[i].recipe)
            continue;
        rc = bl_recipe_compare(t->slot[i], head[i].recipe, t->state.recipe, err);
        if (rc == BL_OK)
            rc = take(t, i, &sound, err);
    }
    if (rc == BL_OK && !sound)
        rc = bl_fail(err, BL_E_FORMAT,
                     "%s: no checkpoint is sound; start anew with --force instead of --resume",
                     t->o->checkpoint);
    return rc;
}

static bl_status resume(bl_trainer *t, struct bl_err *err)
{
    bl_train_state head[N_SLOTS] = { { 0 } };
    size_t n_there;
    bl_status rc = read_heads(head, &n_there, t, err);

    if (rc == BL_OK && n_there > 0)
        rc = take_newest(t, head, err);
    for (size_t i = 0; i < t->state.n_records && rc == BL_OK && t->has_saved; i++)
        rc = tell(t, &t->state.record[i], true, err);
    for (size_t i = 0; i < N_SLOTS; i++)
        bl_train_state_release(&head[i]);
    return rc;
}

/* What an earlier run left: gone on with, removed, or a reason to stop. */
static bl_status look_for_checkpoints(bl_trainer *t, struct bl_err *err)
{
    if (!t->o->checkpoint)
        return BL_OK;
    if (t->o->resume)
        return resume(t, err);
    if (t->o->force)
        return bl_trainer_remove_checkpoints(t->o->checkpoint, err);
    for (size_t i = 0; i < N_SLOTS; i++)
        if (bl_source_exists(t->slot[i]))
            return bl_fail(err, BL_E_USAGE,
                           "%s: an unfinished training left it; --resume goes on, --force starts "
                           "anew",
                           t->slot[i]);
    return BL_OK;
}

static bl_status set_up(bl_trainer *t, struct bl_err *err)
{
    const bl_recipe *r = &t->o->recipe;
    const bl_batches_options options = { .batch = r->batch,
                                         .accumulate = r->accumulate,
                                         .seed = r->seed,
                                         .bucket = r->loss.bucket,
                                         .no_teacher = !(r->loss.kd > 0) };
    bl_text recipe = { 0 };
    bl_status rc = bl_recipe_text(&recipe, r, err);

    t->state.recipe = recipe.bytes;
    t->state.parameter = t->o->learner.parameter;
    t->state.n_parameters = t->o->learner.n_parameters;
    if (rc == BL_OK)
        rc = name_slots(t, err);
    if (rc == BL_OK)
        rc = bl_batches_new(&t->batches, &t->o->source, &options, err);
    if (rc == BL_OK)
        rc = bl_adamw_new(&t->adamw, t->state.parameter, t->state.n_parameters, err);
    t->state.adamw = t->adamw;
    return rc == BL_OK ? look_for_checkpoints(t, err) : rc;
}

bl_status bl_trainer_new(bl_trainer **out, const bl_trainer_options *options, struct bl_err *err)
{
    bl_trainer *t = bl_calloc(1, sizeof(*t));
    bl_status rc;

    if (!t)
        return bl_fail_nomem(err, "a training");
    t->o = options;
    rc = set_up(t, err);
    if (rc != BL_OK) {
        bl_trainer_free(t);
        return rc;
    }
    *out = t;
    return BL_OK;
}

void bl_trainer_free(bl_trainer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < N_SLOTS; i++)
        bl_free(t->slot[i]);
    bl_batches_free(t->batches);
    bl_adamw_free(t->adamw);
    bl_train_state_release(&t->state);
    bl_free(t);
}

uint64_t bl_trainer_step(const bl_trainer *t)
{
    return t->state.step;
}

const bl_train_record *bl_trainer_records(size_t *n, const bl_trainer *t)
{
    *n = t->state.n_records;
    return t->state.record;
}

/* Gradients of a step's loss, summed over its tokens. */
static bl_status add_gradients(bl_step_sums *sums, bl_trainer *t, struct bl_err *err)
{
    const bl_recipe *r = &t->o->recipe;
    const bl_learner *learner = &t->o->learner;
    bl_status rc = BL_OK;

    *sums = (bl_step_sums){ 0 };
    bl_adamw_zero_gradients(t->adamw);
    for (uint32_t i = 0; i < r->accumulate && rc == BL_OK; i++) {
        bl_step_sums here = { 0 };
        bl_batch batch;

        rc = bl_batches_gather(&batch, t->batches, t->state.step, i, err);
        if (rc != BL_OK)
            return rc;
        rc = learner->step(&here, learner->context, &batch, &r->loss, 1, err);
        sums->n_tokens += here.n_tokens;
        sums->loss += here.loss;
        sums->ce += here.ce;
        sums->kd += here.kd;
        if (rc == BL_E_MISMATCH || (rc == BL_OK && !isfinite(here.loss)))
            rc = bl_fail(err, BL_E_FORMAT, "%s; start anew with a lower --lr",
                         rc == BL_OK ? "the loss is not finite" : err->text);
    }
    if (rc == BL_OK && sums->n_tokens == 0)
        rc = bl_fail(err, BL_E_FORMAT, "no token of the step has a next one to learn");
    return rc;
}

/*
 * Gradients are those of the sum: how many tokens a step has is known behind its last batch, and the mean
 * is taken where they are read anyway.
 */
static bl_status update(bl_train_record *record, bl_trainer *t, const bl_step_sums *sums,
                        struct bl_err *err)
{
    const bl_recipe *r = &t->o->recipe;
    const double per_token = 1 / (double)sums->n_tokens;
    bl_adamw_step step = { .lr = bl_schedule_lr(&r->schedule, t->state.step),
                           .beta1 = r->beta1,
                           .beta2 = r->beta2,
                           .eps = r->eps,
                           .weight_decay = r->weight_decay,
                           .gradient_scale = per_token,
                           .t = t->state.step + 1,
                           .seed = r->seed };
    double norm;
    bl_status rc = bl_adamw_norm(&norm, t->adamw, t->o->n_threads, err);

    if (rc == BL_E_MISMATCH)
        rc = bl_fail(err, BL_E_FORMAT, "%s; start anew with a lower --lr", err->text);
    if (rc != BL_OK)
        return rc;
    norm *= per_token;
    if (r->clip > 0 && norm > r->clip)
        step.gradient_scale *= r->clip / norm;
    *record = (bl_train_record){ .step = t->state.step + 1,
                                 .n_tokens = t->state.n_tokens + sums->n_tokens,
                                 .loss = sums->loss * per_token,
                                 .ce = sums->ce * per_token,
                                 .kd = sums->kd * per_token,
                                 .lr = step.lr,
                                 .grad_norm = norm,
                                 .eval_ce = (double)NAN };
    return bl_adamw_update(t->adamw, &step, t->o->n_threads, err);
}

static bl_status evaluate(double *out, const bl_trainer *t, struct bl_err *err)
{
    const bl_status rc =
        bl_train_evaluate(out, &t->o->learner, t->o->eval, t->o->recipe.batch, err);

    if (rc != BL_E_MISMATCH)
        return rc;
    return bl_fail(err, BL_E_FORMAT, "held-out text: %s; start anew with a lower --lr", err->text);
}

/* What is behind a step: whether to look at the held-out text. */
static bool is_evaluated(const bl_trainer *t, uint64_t step)
{
    const uint64_t every = t->o->recipe.eval_every;

    return t->o->eval &&
           (step == 0 || step == t->o->recipe.schedule.n_steps || (every > 0 && step % every == 0));
}

static bl_status save(bl_trainer *t, struct bl_err *err)
{
    bl_status rc = bl_train_checkpoint_write(t->slot[t->next_slot], &t->state, err);

    if (rc != BL_OK)
        return rc;
    t->next_slot = (t->next_slot + 1) % N_SLOTS;
    t->saved = t->state.step;
    t->has_saved = true;
    return BL_OK;
}

static bool is_saved(const bl_trainer *t)
{
    const uint64_t step = t->state.step, every = t->o->save_every;

    return t->o->checkpoint &&
           (step == t->o->recipe.schedule.n_steps || (every > 0 && step % every == 0));
}

static bl_status take_step(bl_trainer *t, struct bl_err *err)
{
    bl_step_sums sums;
    bl_train_record record;
    bl_status rc = bl_cancel_check(err);

    if (rc == BL_OK)
        rc = add_gradients(&sums, t, err);
    if (rc == BL_OK)
        rc = update(&record, t, &sums, err);
    if (rc == BL_OK && is_evaluated(t, record.step))
        rc = evaluate(&record.eval_ce, t, err);
    if (rc == BL_OK)
        rc = bl_train_state_add(&t->state, &record, err);
    if (rc != BL_OK)
        return rc;
    t->state.step = record.step;
    t->state.n_tokens = record.n_tokens;
    rc = tell(t, &record, false, err);
    return rc == BL_OK && is_saved(t) ? save(t, err) : rc;
}

/* How good the student is before it learns. */
static bl_status begin(bl_trainer *t, struct bl_err *err)
{
    bl_train_record record = { .loss = (double)NAN,
                               .ce = (double)NAN,
                               .kd = (double)NAN,
                               .lr = (double)NAN,
                               .grad_norm = (double)NAN };
    bl_status rc;

    if (t->state.n_records > 0 || t->state.step > 0 || !is_evaluated(t, 0))
        return BL_OK;
    rc = evaluate(&record.eval_ce, t, err);
    if (rc == BL_OK)
        rc = bl_train_state_add(&t->state, &record, err);
    return rc == BL_OK ? tell(t, &record, false, err) : rc;
}

/* In front of a failure's sentence, where it was; behind it, what is there to go on with. */
static bl_status say_where(const bl_trainer *t, uint64_t step, bl_status rc, struct bl_err *err)
{
    if (rc == BL_OK)
        return rc;
    bl_err_prefix(err, "step %" PRIu64, step + 1);
    if (t->has_saved)
        return bl_fail(err, rc, "%s; the checkpoint of step %" PRIu64 " is kept%s", err->text,
                       t->saved, rc == BL_E_FORMAT ? "" : ": --resume goes on from it");
    return rc;
}

bl_status bl_trainer_run(bl_trainer *t, struct bl_err *err)
{
    bl_status rc = begin(t, err);

    while (rc == BL_OK && t->state.step < t->o->recipe.schedule.n_steps) {
        const uint64_t step = t->state.step;

        rc = say_where(t, step, take_step(t, err), err);
    }
    return rc;
}
