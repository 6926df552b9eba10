/* The road of score.h: little memory, a run that was cut off, two models that are not level. */
#include "tests/unit/model/golden_run.h"
#include "tests/unit/scratch.h"
#include "verify/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <inttypes.h>

#include <cmocka.h>

enum { SEQS = 6, POSITIONS = 256, TOKENS = SEQS * POSITIONS, SCORED = TOKENS - 7 };

struct fixture {
    struct golden g;
    int32_t token[TOKENS];
    size_t row[SCORED];
};

static int open_fixture(void **state)
{
    struct fixture *f = bl_calloc(1, sizeof(*f));
    struct bl_err err = { 0 };

    if (golden_open(&f->g, "data/nano-r1", "data/golden/nano-r1.safetensors", &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    for (size_t t = 0; t < TOKENS; t++)
        f->token[t] = f->g.tokens[(t + t / POSITIONS) % f->g.n_tokens];
    for (size_t i = 0; i < SCORED; i++)
        f->row[i] = i < 3 ? i : i + 7;
    *state = f;
    return scratch_enter(NULL);
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    golden_close(&f->g);
    bl_free(f);
    return scratch_leave(NULL);
}

/* What the callbacks gather; cut_after: the layer after which the run is cut off, or -1. */
struct seen {
    size_t n_models;
    int64_t cut_after;
    int64_t first_layer, last_layer; /* shown; -1: none */
    float top[2][SCORED];            /* the largest logit */
};

static bl_status keep_top(void *context, size_t token, size_t n_tokens, uint64_t row,
                          uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    struct seen *seen = context;

    (void)err;
    for (size_t m = 0; m < seen->n_models; m++)
        for (size_t t = 0; t < n_tokens; t++)
            for (uint64_t r = 0; r < n_rows; r++) {
                float *top = &seen->top[m][token + t], x = logits[m][t * n_rows + r];

                *top = (row == 0 && r == 0) || x > *top ? x : *top;
            }
    return BL_OK;
}

static bl_status see_layer(void *context, uint32_t layer, const bl_state *const *state,
                           struct bl_err *err)
{
    struct seen *seen = context;

    for (size_t m = 0; m < seen->n_models; m++)
        assert_true(state[m]->n_layers_done > layer);
    if (seen->first_layer < 0)
        seen->first_layer = layer;
    seen->last_layer = layer;
    return layer == seen->cut_after ? bl_fail(err, BL_E_CANCELLED, "cut off") : BL_OK;
}

static bl_status run(struct seen *seen, const struct fixture *f, size_t n_models, int64_t cut_after,
                     bl_score_options options)
{
    const bl_score score = { .n_models = n_models,
                             .ckpt = { f->g.ckpt, f->g.ckpt },
                             .token = f->token,
                             .n_seqs = SEQS,
                             .n_positions = POSITIONS,
                             .row = f->row,
                             .n_rows = SCORED,
                             .fn = keep_top,
                             .layer_fn = see_layer,
                             .context = seen };
    struct bl_err err = { 0 };
    bl_status rc;

    *seen = (struct seen){
        .n_models = n_models, .cut_after = cut_after, .first_layer = -1, .last_layer = -1
    };
    options.n_threads = 2;
    rc = bl_score_run(&score, &options, &err);
    if (rc != BL_OK && rc != BL_E_CANCELLED)
        print_message("  %s\n", err.text);
    return rc;
}

static void expect_same(const struct seen *a, const struct seen *b)
{
    assert_memory_equal(a->top, b->top, sizeof(a->top));
}

static size_t n_entries(const char *folder)
{
    DIR *d = opendir(folder);
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* "." and ".." */
}

static void less_memory_gives_the_same_bits(void **state)
{
    const struct fixture *f = *state;
    static const char *const scratch[] = { NULL, "." };
    bl_score_plan roomy, plan;
    struct seen whole, seen;
    const bl_score job = { .n_models = 1,
                           .ckpt = { f->g.ckpt },
                           .n_seqs = SEQS,
                           .n_positions = POSITIONS,
                           .n_rows = SCORED };

    assert_int_equal(run(&whole, f, 1, -1, (bl_score_options){ 0 }), BL_OK);
    for (size_t i = 0; i < 2; i++) {
        bl_score_options options = { .n_threads = 2, .scratch = scratch[i] };

        assert_int_equal(bl_score_plan_make(&roomy, &job, &options, NULL), BL_OK);
        assert_int_equal(roomy.room.block_seqs, 0);
        /* the least that is not refused, from where the process already is */
        for (options.memory = 1 << 20;
             bl_score_plan_make(&plan, &job, &options, NULL) == BL_E_USAGE;)
            options.memory += 1 << 18;
        print_message(
            "  %" PRIu64 " instead of %" PRIu64 " kB: blocks of %u, %" PRIu64 " kB of scratch\n",
            options.memory / 1000, roomy.memory / 1000, plan.room.block_seqs, plan.scratch / 1000);
        assert_true(plan.room.block_seqs > 0);
        assert_int_equal(plan.scratch > 0, scratch[i] != NULL);
        options.memory += 1 << 20; /* what this test itself takes in the meantime */
        assert_int_equal(run(&seen, f, 1, -1, options), BL_OK);
        expect_same(&whole, &seen);
        assert_int_equal(n_entries("."), 0);
    }
    assert_int_equal(run(&seen, f, 1, -1, (bl_score_options){ .memory = 1 << 20 }), BL_E_USAGE);
}

/* Parts of the scored positions begin where the head's own blocks of tokens do, at any memory. */
static void parts_of_the_head_are_whole_blocks(void **state)
{
    const struct fixture *f = *state;
    size_t n_parts = 0;

    for (uint32_t seqs = 1; seqs <= 64; seqs++)
        for (uint32_t block = 0; block < seqs; block++) {
            const bl_room room = { block, block % 2 ? "." : NULL };
            const bl_room_job job = { .network = { &f->g.network, &f->g.network },
                                      .n_models = 2,
                                      .n_seqs = seqs,
                                      .n_positions = POSITIONS,
                                      .n_scored = (size_t)seqs * POSITIONS - 7,
                                      .n_threads = 2 };
            size_t rows = bl_room_head_rows(&job, &room);

            n_parts += rows < job.n_scored;
            assert_true(rows > 0 && (rows == job.n_scored || rows % BL_HEAD_TOKENS == 0));
        }
    assert_true(n_parts > 0);
}

static void a_run_that_was_cut_off_goes_on(void **state)
{
    const struct fixture *f = *state;
    const bl_score_options keep = { .scratch = ".", .keep = true };
    const bl_score_options resume = { .scratch = ".", .keep = true, .resume = true };
    const bl_score_options force = { .scratch = ".", .keep = true, .force = true };
    struct seen whole, seen;

    assert_int_equal(run(&whole, f, 1, -1, (bl_score_options){ 0 }), BL_OK);
    assert_int_equal(run(&seen, f, 1, 1, keep), BL_E_CANCELLED);
    assert_int_equal(n_entries("."), 1);
    assert_int_equal(run(&seen, f, 1, -1, keep), BL_E_USAGE); /* in the way */
    assert_int_equal(run(&seen, f, 1, -1, resume), BL_OK);
    assert_int_equal(seen.first_layer, 2);
    expect_same(&whole, &seen);
    assert_int_equal(n_entries("."), 0);

    assert_int_equal(run(&seen, f, 1, 0, resume), BL_E_CANCELLED); /* nothing to go on from */
    assert_int_equal(run(&seen, f, 1, -1, force), BL_OK);
    assert_int_equal(seen.first_layer, 0);
    assert_int_equal(n_entries("."), 0);
}

/* The kept state of one model serves a comparison; the other model catches up. */
static void models_that_are_not_level_come_level(void **state)
{
    struct fixture *f = *state;
    const bl_score_options resume = { .scratch = ".", .keep = true, .resume = true };
    bl_score score = { .n_models = 2,
                       .ckpt = { f->g.ckpt, f->g.ckpt },
                       .token = f->token,
                       .n_seqs = SEQS,
                       .n_positions = POSITIONS,
                       .row = f->row,
                       .n_rows = SCORED,
                       .fn = keep_top };
    bl_score_options options = resume;
    struct seen alone, both = { .n_models = 2 };

    assert_int_equal(run(&alone, f, 1, -1, (bl_score_options){ 0 }), BL_OK);
    assert_int_equal(run(&both, f, 1, 1, resume), BL_E_CANCELLED);
    both = (struct seen){ .n_models = 2 };
    score.context = &both;
    /* a policy is another run: it has no kept state and begins with the embedding */
    score.policy[1] = (const bl_router_policy[8]){ [2] = { .experts_per_token = 1 } };
    options.n_threads = 1;
    assert_int_equal(bl_score_run(&score, &options, NULL), BL_OK);
    assert_memory_equal(both.top[0], alone.top[0], sizeof(alone.top[0]));
    assert_memory_not_equal(both.top[1], alone.top[0], sizeof(alone.top[0]));
    assert_int_equal(n_entries("."), 0);
}

static void a_damaged_state_is_refused(void **state)
{
    const struct fixture *f = *state;
    const bl_score_options resume = { .scratch = ".", .keep = true, .resume = true };
    struct seen seen;
    DIR *d;
    const struct dirent *e;

    assert_int_equal(run(&seen, f, 1, 0, resume), BL_E_CANCELLED);
    d = opendir(".");
    while ((e = readdir(d)))
        if (strstr(e->d_name, ".state")) {
            FILE *file = fopen(e->d_name, "r+b");

            assert_int_equal(fseek(file, 3000, SEEK_SET), 0);
            assert_int_equal(fputc(0x55, file), 0x55);
            assert_int_equal(fclose(file), 0);
        }
    closedir(d);
    assert_int_equal(run(&seen, f, 1, -1, resume), BL_E_FORMAT);
    scratch_clear(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(less_memory_gives_the_same_bits),
        cmocka_unit_test(parts_of_the_head_are_whole_blocks),
        cmocka_unit_test(a_run_that_was_cut_off_goes_on),
        cmocka_unit_test(models_that_are_not_level_come_level),
        cmocka_unit_test(a_damaged_state_is_refused),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
