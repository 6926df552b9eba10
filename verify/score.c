/* score.c - see score.h. */
#include "verify/score.h"

#include "base/alloc.h"
#include "base/memory.h"
#include "base/sink.h"
#include "base/size.h"
#include "model/forward.h"
#include "model/kept_state.h"

#include <assert.h>
#include <string.h>

#define USUAL_MEMORY ((uint64_t)4 << 30)

enum { SLACK = 32 }; /* one part in so many is left for what the formula of room.h leaves out */

struct model {
    bl_network network;
    bl_weights weights;
    bl_state state;
    char *kept; /* file that the state is kept in, or NULL */
};

struct run {
    const bl_score *score;
    const bl_score_options *options;
    bl_room_job job;
    bl_room room;
    struct model model[BL_SCORE_MAX_MODELS];
};

/* The room for the run: what the caller allows, or the usual; then the least there is. */
static bl_status choose_room(struct run *run, struct bl_err *err)
{
    const bl_score_options *o = run->options;
    uint64_t held = bl_memory_resident(), allowed = o->memory ? o->memory : USUAL_MEMORY;
    uint64_t used = held + allowed / SLACK + (run->score->watch ? run->score->watch->held : 0);
    bl_status rc = bl_room_choose(&run->room, &run->job, allowed > used ? allowed - used : 0,
                                  o->scratch, o->memory ? err : NULL);

    if (rc == BL_OK || o->memory)
        return rc;
    run->room = bl_room_least(&run->job, o->scratch);
    return BL_OK;
}

static bl_status open_models(struct run *run, struct bl_err *err)
{
    const bl_score *s = run->score;
    bl_status rc = BL_OK;

    run->job = (bl_room_job){ .n_models = s->n_models,
                              .n_seqs = s->n_seqs,
                              .n_positions = s->n_positions,
                              .n_scored = s->n_rows,
                              .n_threads = run->options->n_threads,
                              .n_copies = s->watch ? s->watch->n_copies : 0 };
    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++) {
        rc = bl_weights_init(&run->model[m].weights, &run->model[m].network, s->ckpt[m],
                             run->options->n_threads, err);
        run->job.network[m] = &run->model[m].network;
    }
    if (rc == BL_OK && s->n_models == 2 &&
        bl_ckpt_config(s->ckpt[0])->vocab_size != bl_ckpt_config(s->ckpt[1])->vocab_size)
        rc = bl_fail(err, BL_E_MISMATCH, "%s has a vocabulary of %u, %s one of %u",
                     bl_ckpt_path(s->ckpt[0]), bl_ckpt_config(s->ckpt[0])->vocab_size,
                     bl_ckpt_path(s->ckpt[1]), bl_ckpt_config(s->ckpt[1])->vocab_size);
    return rc == BL_OK ? choose_room(run, err) : rc;
}

void bl_score_set_models(bl_score *score, const bl_ckpt *base, const bl_ckpt *test,
                         const bl_router_policy *policy)
{
    score->n_models = test ? 2 : 1;
    score->ckpt[0] = base;
    score->ckpt[1] = test;
    score->policy[test ? 1 : 0] = policy;
}

/* Of the embedding few rows are read: nothing beside the rest. */
uint64_t bl_score_bytes(const bl_ckpt *base, const bl_ckpt *test)
{
    return bl_forward_bytes(base) + (test ? bl_forward_bytes(test) : 0);
}

bl_status bl_score_plan_make(bl_score_plan *out, const bl_score *score,
                             const bl_score_options *options, struct bl_err *err)
{
    struct run run = { .score = score, .options = options };
    bl_score_plan plan = { 0 };
    bl_status rc = open_models(&run, err);

    if (rc != BL_OK)
        return rc;
    plan.room = run.room;
    plan.n_tokens = (uint64_t)score->n_seqs * score->n_positions;
    plan.block_tokens =
        (uint64_t)score->n_positions * (run.room.block_seqs ? run.room.block_seqs : score->n_seqs);
    plan.memory = bl_memory_resident() + bl_room_bytes(&run.job, &run.room, &plan.scratch) +
                  (score->watch ? score->watch->held : 0);
    plan.memory = bl_max_u64(plan.memory, bl_memory_peak());
    plan.read = bl_score_bytes(score->ckpt[0], score->ckpt[1]);
    for (size_t m = 0; m < score->n_models; m++) {
        if (options->scratch && options->keep)
            plan.scratch += plan.n_tokens * 4 * run.model[m].network.config->hidden_size;
        plan.n_flop += bl_forward_flop(&run.model[m].weights, score->n_seqs, score->n_positions,
                                       score->watch ? 0 : score->n_rows);
    }
    *out = plan;
    return BL_OK;
}

static void mix(bl_hash128 *id, const void *bytes, size_t n)
{
    const bl_hash128 hash = bl_hash128_of(bytes, n);

    id->low ^= hash.low;
    id->high ^= hash.high;
}

/* Which run the state is of: model, what tokens see, and the purpose if one was watched for it. */
static bl_status identify(bl_hash128 *out, const struct run *run, size_t i, struct bl_err *err)
{
    const bl_score *s = run->score;
    bl_status rc = bl_run_id(out, &run->model[i].weights, s->policy[i], err);

    if (rc == BL_OK && s->watch)
        mix(out, s->watch->purpose, strlen(s->watch->purpose));
    if (rc == BL_OK && s->start)
        mix(out, s->start, (size_t)s->n_seqs * s->n_positions * sizeof(*s->start));
    return rc;
}

/* The state of model i where the run begins: embedded, or as it was kept. */
static bl_status begin(struct run *run, size_t i, struct bl_err *err)
{
    const bl_score *s = run->score;
    const bl_score_options *o = run->options;
    const bl_kept_state kept = { .folder = o->scratch, .resume = o->resume, .force = o->force };
    struct model *m = &run->model[i];
    bl_run job = { .weights = &m->weights,
                   .tokens = s->token,
                   .start = s->start,
                   .n_seqs = s->n_seqs,
                   .n_positions = s->n_positions,
                   .room = &run->room };
    bl_status rc;

    if (!o->scratch || !o->keep)
        return bl_run_begin(&m->state, &job, err);
    rc = identify(&job.id, run, i, err);
    if (rc == BL_OK)
        rc = bl_kept_state_begin(&m->state, &m->kept, &job, &kept, err);
    return rc;
}

static bl_status layer_done(void *context, uint32_t layer, struct bl_err *err)
{
    const struct run *run = context;
    const bl_score *s = run->score;
    const bl_state *state[BL_SCORE_MAX_MODELS] = { &run->model[0].state, &run->model[1].state };

    return s->layer_fn ? s->layer_fn(s->context, layer, state, err) : BL_OK;
}

static bl_status run_layers(struct run *run, struct bl_err *err)
{
    const bl_score *s = run->score;
    const bl_forward_options options = { .done = layer_done,
                                         .context = run,
                                         .progress = run->options->progress };
    bl_forward forward[BL_SCORE_MAX_MODELS] = { 0 };
    bl_status rc = BL_OK;

    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++) {
        rc = begin(run, m, err);
        forward[m] = (bl_forward){ .state = &run->model[m].state,
                                   .weights = &run->model[m].weights,
                                   .policy = s->policy[m],
                                   .save_as = run->model[m].kept };
        if (s->watch) {
            forward[m].taps = s->watch->taps;
            forward[m].before_keep = s->watch->layer;
            forward[m].context = s->watch->context;
        }
    }
    if (rc == BL_OK && s->watch)
        rc = s->watch->begin(s->watch->context, &run->model[0].state, err);
    return rc == BL_OK ? bl_forward_run(forward, s->n_models, &options, err) : rc;
}

/* A callback's view of a part of the chosen positions. */
struct part {
    const bl_score *score;
    size_t first;
};

static bl_status show_part(void *context, size_t token, size_t n_tokens, uint64_t row,
                           uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    const struct part *part = context;

    return part->score->fn(part->score->context, part->first + token, n_tokens, row, n_rows, logits,
                           err);
}

/* Chosen positions [first, first + n) through the heads; x: [n_models][n][hidden]. */
static bl_status run_heads_part(struct run *run, float *const *x, size_t first, size_t n,
                                struct bl_err *err)
{
    const bl_score *s = run->score;
    struct part part = { .score = s, .first = first };
    bl_head head[BL_SCORE_MAX_MODELS] = { 0 };
    bl_status rc = BL_OK;

    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++) {
        head[m] = (bl_head){ .weights = &run->model[m].weights, .x = x[m] };
        rc = bl_final_norm(x[m], &run->model[m].state, s->row + first, n, head[m].weights, err);
        if (rc == BL_OK)
            rc = bl_head_table(&head[m].table, head[m].weights, err);
    }
    if (rc == BL_OK && s->heads)
        return s->heads(s->context, head, s->n_models, first, n, err);
    return rc == BL_OK ? bl_head_run(head, s->n_models, n, show_part, &part, err) : rc;
}

static bl_status run_heads(struct run *run, struct bl_err *err)
{
    const bl_score *s = run->score;
    size_t step = bl_room_head_rows(&run->job, &run->room);
    float *x[BL_SCORE_MAX_MODELS] = { 0 };
    bl_status rc = BL_OK;

    for (size_t m = 0; m < s->n_models && rc == BL_OK; m++) {
        x[m] = bl_alloc(step, run->model[m].network.config->hidden_size * sizeof(float));
        rc = x[m] ? BL_OK : bl_fail_nomem(err, "final hidden states");
    }
    for (size_t first = 0; first < s->n_rows && rc == BL_OK; first += step)
        rc = run_heads_part(run, x, first, (size_t)bl_min_u64(step, s->n_rows - first), err);
    for (size_t m = 0; m < s->n_models; m++) {
        bl_progress_add(run->options->progress, bl_forward_layer_bytes(s->ckpt[m], -1));
        bl_free(x[m]);
    }
    return rc;
}

bl_status bl_score_run(const bl_score *score, const bl_score_options *options, struct bl_err *err)
{
    struct run run = { .score = score, .options = options };
    bl_status rc;

    assert(!score->watch || score->n_models == 1);
    rc = open_models(&run, err);
    if (rc == BL_OK)
        rc = run_layers(&run, err);
    if (rc == BL_OK && score->n_rows > 0)
        rc = run_heads(&run, err);
    for (size_t m = 0; m < score->n_models; m++) {
        if (rc == BL_OK && run.model[m].kept)
            rc = bl_sink_remove(run.model[m].kept, err);
        bl_state_release(&run.model[m].state);
        bl_free(run.model[m].kept);
    }
    return rc;
}
