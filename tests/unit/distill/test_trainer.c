/*
 * test_trainer.c - with a learner that is a quadratic: a training in two goes is the same as in one,
 * damaged checkpoints are passed over, another recipe is refused, what is not finite stops it.
 */
#include "base/alloc.h"
#include "distill/train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../scratch.h"
#include "small_cache.h"

enum { N = 24, STEPS = 12 };

/*
 * loss of a token = 1/2 sum_i (w_i - target/8 - i/16)^2: minimised by a mean of targets. Held-out text
 * has its own. poison: the call from which on the loss, or only the gradient, is NaN; stop: the call
 * that fails as if a signal had come.
 */
struct quadratic {
    float value[N], grad[N];
    bl_parameter parameter[2], *list[2];
    int n_calls, poison_loss, poison_gradient, stop;
};

static bl_status step(bl_step_sums *out, void *context, const bl_batch *batch,
                      const bl_distill_loss *loss, double scale, struct bl_err *err)
{
    struct quadratic *q = context;

    (void)loss;
    q->n_calls++;
    if (q->n_calls == q->stop)
        return bl_fail(err, BL_E_CANCELLED, "stopped by signal 2");
    *out = (bl_step_sums){ 0 };
    for (size_t t = 0; t < (size_t)batch->n_seqs * batch->n_positions; t++) {
        if (batch->target[t] < 0)
            continue;
        out->n_tokens++;
        for (int i = 0; i < N; i++) {
            const double d = (double)q->value[i] - (double)batch->target[t] / 8 - (double)i / 16;

            out->loss += 0.5 * d * d;
            if (scale > 0)
                q->grad[i] += (float)(scale * d);
        }
    }
    if (q->n_calls == q->poison_loss)
        out->loss = (double)NAN;
    if (q->n_calls == q->poison_gradient)
        q->grad[N - 1] = INFINITY;
    out->ce = out->loss;
    out->kd = out->loss;
    return BL_OK;
}

static void set_up(struct quadratic *q)
{
    *q = (struct quadratic){ 0 };
    q->parameter[0] = (bl_parameter){ "matrix", 4, 5, q->value, NULL, q->grad, true };
    q->parameter[1] = (bl_parameter){ "vector", 1, 4, q->value + 20, NULL, q->grad + 20, false };
    q->list[0] = &q->parameter[0];
    q->list[1] = &q->parameter[1];
}

/* One training and what was told of it. */
struct run {
    struct quadratic q;
    bl_cache_info info;
    bl_trainer_options o;
    bl_pack eval;
    int32_t eval_token[SMALL_POSITIONS];
    uint32_t eval_start[SMALL_POSITIONS];
    bl_train_record told[2 * STEPS + 8];
    size_t n_told, n_replayed, n_warnings;
    char warning[768];
};

static bl_status on_record(void *context, const bl_train_record *record, bool replayed,
                           struct bl_err *err)
{
    struct run *r = context;

    (void)err;
    r->told[r->n_told++] = *record;
    r->n_replayed += replayed;
    return BL_OK;
}

static void on_warning(void *context, const char *sentence)
{
    struct run *r = context;

    r->n_warnings++;
    snprintf(r->warning, sizeof(r->warning), "%s", sentence);
}

static void prepare(struct run *r)
{
    *r = (struct run){ .info = small_info(BL_CACHE_SAMPLED) };
    set_up(&r->q);
    for (int i = 0; i < SMALL_POSITIONS; i++)
        r->eval_token[i] = i;
    r->eval = (bl_pack){
        .n_seqs = 1, .n_positions = SMALL_POSITIONS, .token = r->eval_token, .start = r->eval_start
    };
    r->o = (bl_trainer_options){
        .recipe = { .loss = { .kd = 1, .kind = BL_FORWARD_KL, .temperature = 1 },
                    .schedule = { BL_SCHEDULE_COSINE, 0.1, 0.01, STEPS, 2, 0 },
                    .beta1 = 0.9,
                    .beta2 = 0.95,
                    .eps = 1e-8,
                    .weight_decay = 0.1,
                    .clip = 1,
                    .batch = 2,
                    .accumulate = 2,
                    .seed = 1,
                    .eval_every = 5,
                    .cache = r->info,
                    .student = { 5, 6 } },
        .learner = { r->q.list, 2, step, &r->q },
        .source = small_source(&r->info),
        .eval = &r->eval,
        .checkpoint = "out.train",
        .save_every = 3,
        .n_threads = 1,
        .on_record = on_record,
        .on_warning = on_warning,
        .context = r
    };
}

static bl_status go(struct run *r, struct bl_err *err)
{
    bl_trainer *t = NULL;
    bl_status rc;

    r->o.context = r;
    rc = bl_trainer_new(&t, &r->o, err);
    if (rc == BL_OK)
        rc = bl_trainer_run(t, err);
    bl_trainer_free(t);
    return rc;
}

static void assert_done(struct run *r)
{
    struct bl_err err = { 0 };

    if (go(r, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static void assert_same(const struct run *a, const struct run *b)
{
    assert_int_equal(a->n_told, b->n_told);
    assert_memory_equal(a->told, b->told, a->n_told * sizeof(*a->told));
    assert_memory_equal(a->q.value, b->q.value, sizeof(a->q.value));
}

static void it_learns_and_says_how(void **state)
{
    struct run r;

    (void)state;
    prepare(&r);
    assert_done(&r);
    assert_int_equal(r.n_told, STEPS + 1);
    assert_int_equal(r.told[0].step, 0);
    assert_true(isnan(r.told[0].loss) && r.told[0].eval_ce > 0);
    for (size_t i = 1; i <= STEPS; i++) {
        assert_int_equal(r.told[i].step, i);
        assert_true(r.told[i].n_tokens > r.told[i - 1].n_tokens);
        assert_int_equal(!isnan(r.told[i].eval_ce), i == 5 || i == 10 || i == 12);
    }
    assert_true(r.told[STEPS].loss < 0.7 * r.told[1].loss);
    assert_true(r.told[STEPS].eval_ce < r.told[0].eval_ce);
    assert_true(fabs(r.told[2].lr - 0.1) < 1e-15);
    assert_int_equal(bl_trainer_remove_checkpoints("out.train", &(struct bl_err){ 0 }), BL_OK);
    assert_int_equal(scratch_n_entries("."), 0);
}

static void stopped_anywhere_it_goes_on_to_the_same_end(void **state)
{
    static struct run whole, part, rest;

    (void)state;
    prepare(&whole);
    whole.o.checkpoint = NULL;
    assert_done(&whole);
    for (int stop = 1; stop <= whole.q.n_calls; stop += 5) {
        struct bl_err err = { 0 };

        scratch_clear(NULL);
        prepare(&part);
        part.q.stop = stop;
        assert_int_equal(go(&part, &err), BL_E_CANCELLED);
        prepare(&rest);
        rest.o.resume = true;
        rest.o.n_threads = 2;
        assert_done(&rest);
        assert_same(&whole, &rest);
        assert_int_equal(rest.n_warnings, 0);
    }
    assert_int_equal(rest.n_replayed, STEPS - 2); /* steps 0 to 9 */
}

static void a_sentence_says_what_is_kept(void **state)
{
    struct bl_err err = { 0 };
    struct run r;

    (void)state;
    prepare(&r);
    r.q.stop = 1 + 2 * 7 + 1 + 1; /* text first; two calls a step; text after step 5 */
    assert_int_equal(go(&r, &err), BL_E_CANCELLED);
    assert_string_equal(err.text, "step 8: stopped by signal 2; the checkpoint of step 6 is kept: "
                                  "--resume goes on from it");
}

/* Flip a bit of a byte in a file; offsets below zero count from the end. */
static void damage(const char *path, long offset)
{
    FILE *f = fopen(path, "r+b");
    int c;

    assert_non_null(f);
    assert_int_equal(fseek(f, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ 4, f);
    fclose(f);
}

/* Stop behind the checkpoints of steps 3 (slot 0) and 6 (slot 1). */
static void stop_at_seven(struct run *r)
{
    struct bl_err err = { 0 };

    scratch_clear(NULL);
    prepare(r);
    r->q.stop = 1 + 2 * 7 + 1 + 1;
    assert_int_equal(go(r, &err), BL_E_CANCELLED);
}

static void a_damaged_checkpoint_is_passed_over(void **state)
{
    static struct run whole, r;
    const long at[] = { 3, 60, -1, -200 };

    (void)state;
    prepare(&whole);
    whole.o.checkpoint = NULL;
    assert_done(&whole);
    for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
        stop_at_seven(&r);
        damage("out.train.1", at[i]);
        prepare(&r);
        r.o.resume = true;
        assert_done(&r);
        assert_int_equal(r.n_warnings, 1);
        assert_non_null(strstr(r.warning, "out.train.1"));
        assert_int_equal(r.n_replayed, 4);
        assert_same(&whole, &r);
    }
}

static void a_truncated_or_longer_one_is_too(void **state)
{
    static struct run r;
    struct stat st;

    (void)state;
    for (int longer = 0; longer < 2; longer++) {
        stop_at_seven(&r);
        assert_int_equal(stat("out.train.1", &st), 0);
        assert_int_equal(truncate("out.train.1", st.st_size + (longer ? 7 : -7)), 0);
        prepare(&r);
        r.o.resume = true;
        assert_done(&r);
        assert_int_equal(r.n_warnings, 1);
        assert_int_equal(r.n_replayed, 4);
    }
}

static void without_a_sound_one_it_does_not_begin_anew_by_itself(void **state)
{
    static struct run r;
    struct bl_err err = { 0 };

    (void)state;
    stop_at_seven(&r);
    damage("out.train.0", -30);
    damage("out.train.1", 5);
    prepare(&r);
    r.o.resume = true;
    assert_int_equal(go(&r, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "no checkpoint is sound"));
    prepare(&r);
    assert_int_equal(go(&r, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "--resume goes on, --force starts anew"));
    prepare(&r);
    r.o.force = true;
    assert_done(&r);
    assert_int_equal(r.n_told, STEPS + 1);
}

static void another_recipe_is_refused_by_name(void **state)
{
    static struct run r;
    struct bl_err err = { 0 };

    (void)state;
    stop_at_seven(&r);
    prepare(&r);
    r.o.resume = true;
    r.o.recipe.schedule.lr = 0.2;
    assert_int_equal(go(&r, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "--lr was 0.1 and is now 0.2"));
    prepare(&r);
    r.o.resume = true;
    r.o.recipe.cache.packing.low++;
    assert_int_equal(go(&r, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "cache packing was"));
    prepare(&r);
    r.o.resume = true;
    r.o.save_every = 5; /* decides no number */
    assert_done(&r);
}

static void what_is_not_finite_stops_it(void **state)
{
    static struct run r;
    struct bl_err err = { 0 };

    (void)state;
    prepare(&r);
    r.q.poison_loss = 1 + 2 * 4 + 1;
    assert_int_equal(go(&r, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "step 5: the loss is not finite; start anew with a lower --lr; "
                                  "the checkpoint of step 3 is kept");
    scratch_clear(NULL);
    prepare(&r);
    r.q.poison_gradient = 3;
    assert_int_equal(go(&r, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "step 1: the gradient of tensor 'vector' is not finite; start "
                                  "anew with a lower --lr");
    assert_true(r.q.value[0] == 0); /* not touched */
}

static void memory_that_is_not_there_is_a_sentence(void **state)
{
    static struct run r;
    struct bl_err err = { 0 };
    const int64_t live = bl_alloc_live();
    uint64_t n;

    (void)state;
    prepare(&r);
    n = bl_alloc_count();
    assert_done(&r);
    n = bl_alloc_count() - n;
    for (uint64_t k = 1; k <= n; k += 1 + n / 20) {
        scratch_clear(NULL);
        prepare(&r);
        bl_alloc_fail_at(k);
        assert_int_equal(go(&r, &err), BL_E_NOMEM);
        bl_alloc_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(it_learns_and_says_how, scratch_clear),
        cmocka_unit_test_teardown(stopped_anywhere_it_goes_on_to_the_same_end, scratch_clear),
        cmocka_unit_test_teardown(a_sentence_says_what_is_kept, scratch_clear),
        cmocka_unit_test_teardown(a_damaged_checkpoint_is_passed_over, scratch_clear),
        cmocka_unit_test_teardown(a_truncated_or_longer_one_is_too, scratch_clear),
        cmocka_unit_test_teardown(without_a_sound_one_it_does_not_begin_anew_by_itself,
                                  scratch_clear),
        cmocka_unit_test_teardown(another_recipe_is_refused_by_name, scratch_clear),
        cmocka_unit_test_teardown(what_is_not_finite_stops_it, scratch_clear),
        cmocka_unit_test_teardown(memory_that_is_not_there_is_a_sentence, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
