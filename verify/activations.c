/* activations.c - see activations.h. */
#include "verify/activations.h"

#include "base/alloc.h"
#include "model/forward.h"
#include "model/kept_state.h"

#include <math.h>
#include <string.h>

/* The reference is 0, the model under test 1: its sequences, then as many on the reference's states. */
struct comparison {
    bl_activations *out;
    bl_network network[2];
    bl_weights weights[2];
    bl_state state[2];
    float *before; /* [n_tokens][hidden]: the reference's states before the layer */
};

/* Sums of squares of n values: of a - b, and of b - c (c NULL: of b). */
static void add_squares(double sum[2], const float *a, const float *b, const float *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        double e = (double)b[i] - (c ? (double)c[i] : 0.0);

        sum[0] += d * d;
        sum[1] += e * e;
    }
}

/* |a - b| / |b - c|; nothing out of nothing is no error. */
static double relative(const float *a, const float *b, const float *c, size_t n)
{
    double sum[2] = { 0 };

    add_squares(sum, a, b, c, n);
    if (sum[0] == 0)
        return 0;
    return sum[1] > 0 ? sqrt(sum[0] / sum[1]) : (double)INFINITY;
}

static bl_status measure_layer(void *context, uint32_t layer, struct bl_err *err)
{
    struct comparison *c = context;
    size_t n = c->state[0].n_tokens * c->state[0].hidden_size;
    const float *ref = c->state[0].hidden.values, *drifted = c->state[1].hidden.values;
    float *own = c->state[1].hidden.values + n;
    bl_layer_error *e = &c->out->layer[layer];

    (void)err;
    e->drift = relative(drifted, ref, NULL, n);
    e->own = relative(own, ref, c->before, n);
    memcpy(own, ref, n * sizeof(*own));
    memcpy(c->before, ref, n * sizeof(*own));
    return BL_OK;
}

static int64_t find_wrong(bl_activations *a)
{
    int64_t first = -1;

    for (uint32_t layer = a->n_layers; layer-- > 0;) {
        bl_layer_error *e = &a->layer[layer];

        e->wrong = e->own > 0.5 || e->own > fmax(1e-4, 4 * a->median_own);
        first = e->wrong ? (int64_t)layer : first;
    }
    return first;
}

/* The lower median: half of the layers, or more, are at most so far off. */
static double median_own(const bl_activations *a)
{
    double best = (double)INFINITY;

    for (uint32_t i = 0; i < a->n_layers; i++) {
        uint32_t below = 0;

        for (uint32_t j = 0; j < a->n_layers; j++)
            below += a->layer[j].own <= a->layer[i].own;
        if (2 * below >= a->n_layers && a->layer[i].own < best)
            best = a->layer[i].own;
    }
    return best;
}

static bl_status begin(struct comparison *c, size_t m, const bl_ckpt *ckpt, const bl_run *job,
                       struct bl_err *err)
{
    bl_run run = *job;
    bl_status rc =
        bl_weights_init(&c->weights[m], &c->network[m], ckpt, job->weights->n_threads, err);

    run.weights = &c->weights[m];
    return rc == BL_OK ? bl_run_begin(&c->state[m], &run, err) : rc;
}

/* Both at the embedding; the second half of the model's sequences at the reference's. */
static bl_status begin_both(struct comparison *c, const bl_ckpt *ref, const bl_ckpt *test,
                            const bl_run *job, struct bl_err *err)
{
    size_t n_tokens = (size_t)job->n_seqs * job->n_positions, n;
    int32_t *twice = bl_alloc(2 * n_tokens, sizeof(*twice));
    bl_run doubled = *job;
    bl_status rc = twice ? begin(c, 0, ref, job, err) : bl_fail_nomem(err, "tokens");

    if (rc == BL_OK) {
        memcpy(twice, job->tokens, n_tokens * sizeof(*twice));
        memcpy(twice + n_tokens, job->tokens, n_tokens * sizeof(*twice));
        doubled.tokens = twice;
        doubled.n_seqs = 2 * job->n_seqs;
        rc = begin(c, 1, test, &doubled, err);
    }
    bl_free(twice);
    if (rc != BL_OK)
        return rc;
    n = n_tokens * c->state[0].hidden_size;
    c->before = bl_alloc(n, sizeof(*c->before));
    if (!c->before)
        return bl_fail_nomem(err, "hidden states");
    c->out->embedding = relative(c->state[1].hidden.values, c->state[0].hidden.values, NULL, n);
    memcpy(c->before, c->state[0].hidden.values, n * sizeof(float));
    memcpy(c->state[1].hidden.values + n, c->before, n * sizeof(float));
    return BL_OK;
}

static bl_status run_both(struct comparison *c, bl_progress *progress, struct bl_err *err)
{
    const bl_forward forward[2] = { { .state = &c->state[0], .weights = &c->weights[0] },
                                    { .state = &c->state[1], .weights = &c->weights[1] } };
    const bl_forward_options options = { .done = measure_layer,
                                         .context = c,
                                         .progress = progress };

    return bl_forward_run(forward, 2, &options, err);
}

bl_status bl_activations_run(bl_activations *out, const bl_ckpt *ref, const bl_ckpt *test,
                             const int32_t *tokens, uint32_t n_seqs, uint32_t n_positions,
                             int n_threads, bl_progress *progress, struct bl_err *err)
{
    const bl_config *a = bl_ckpt_config(ref), *b = bl_ckpt_config(test);
    const bl_weights how = { .n_threads = n_threads };
    const bl_run job = {
        .weights = &how, .tokens = tokens, .n_seqs = n_seqs, .n_positions = n_positions
    };
    bl_activations r = { .n_tokens = (size_t)n_seqs * n_positions, .n_layers = a->n_layers };
    struct comparison c = { .out = &r };
    bl_status rc;

    if (a->n_layers != b->n_layers || a->hidden_size != b->hidden_size)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s has %u layers of %u values, %s %u of %u: no layer to compare",
                       bl_ckpt_path(test), b->n_layers, b->hidden_size, bl_ckpt_path(ref),
                       a->n_layers, a->hidden_size);
    r.layer = bl_calloc(r.n_layers, sizeof(*r.layer));
    rc = r.layer ? begin_both(&c, ref, test, &job, err) : bl_fail_nomem(err, "errors of layers");
    if (rc == BL_OK)
        rc = run_both(&c, progress, err);
    bl_state_release(&c.state[0]);
    bl_state_release(&c.state[1]);
    bl_free(c.before);
    if (rc != BL_OK) {
        bl_activations_release(&r);
        return rc;
    }
    r.median_own = median_own(&r);
    r.first_wrong = find_wrong(&r);
    *out = r;
    return BL_OK;
}

void bl_activations_release(bl_activations *activations)
{
    bl_free(activations->layer);
    *activations = (bl_activations){ 0 };
}
