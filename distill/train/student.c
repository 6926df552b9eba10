/*
 * student.c - see student.h. The forward pass is the runner's own (model/layer.h) over weights that
 * are in memory; each layer keeps its activations on a tape, or only its input, from which it is run
 * again when the gradients come back.
 */
#include "distill/train/student.h"

#include "base/alloc.h"
#include "distill/train/head_loss.h"
#include "formats/dtype/float_bits.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/layer.h"
#include "model/layer_backward.h"
#include "model/norm.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct bl_student {
    bl_student_options options;
    bl_network network;
    bl_weights weights;
    bl_resident resident;
    bl_parameter *parameter; /* [n_parameters] */
    size_t n_parameters;

    /* activations of a step; made at the first with a gradient, and again for another shape */
    size_t n_tokens, n_positions;
    bl_tape *tape; /* [n_layers], or one where layers are run again */
    bl_tape work;  /* gradients of activations */
    float **input; /* [n_layers] of [T][hidden]: layers that are run again */
};

static size_t n_tapes(const bl_student *s)
{
    return s->options.recompute ? 1 : s->network.config->n_layers;
}

static void release_activations(bl_student *s)
{
    for (size_t i = 0; s->tape && i < n_tapes(s); i++)
        bl_tape_release(&s->tape[i]);
    for (uint32_t l = 0; s->input && l < s->network.config->n_layers; l++)
        bl_free(s->input[l]);
    bl_free(s->tape);
    bl_free(s->input);
    bl_tape_release(&s->work);
    s->tape = NULL;
    s->input = NULL;
    s->n_tokens = 0;
}

void bl_student_free(bl_student *student)
{
    if (!student)
        return;
    release_activations(student);
    for (size_t i = 0; i < student->n_parameters; i++) {
        bl_free(student->parameter[i].value);
        bl_free(student->parameter[i].bf16);
        bl_free(student->parameter[i].grad);
    }
    bl_free(student->parameter);
    bl_free(student->resident.learned);
    bl_free(student);
}

size_t bl_student_n_parameters(const bl_student *student)
{
    return student->n_parameters;
}

bl_parameter *bl_student_parameter(bl_student *student, size_t i)
{
    assert(i < student->n_parameters);
    return &student->parameter[i];
}

uint64_t bl_student_n_values(const bl_student *student)
{
    uint64_t n = 0;

    for (size_t i = 0; i < student->n_parameters; i++)
        n += student->parameter[i].n_rows * student->parameter[i].n_cols;
    return n;
}

void bl_student_zero_gradients(bl_student *student)
{
    for (size_t i = 0; i < student->n_parameters; i++) {
        const bl_parameter *p = &student->parameter[i];

        memset(p->grad, 0, (size_t)(p->n_rows * p->n_cols) * sizeof(*p->grad));
    }
}

static bl_status check(const bl_student *s, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_config *c = s->network.config;

    for (uint32_t l = 0; l < c->n_layers; l++)
        if (bl_config_layer_is_moe(c, l))
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: layer %u has experts: students are dense (`distill init --experts` "
                           "makes one of the experts)",
                           bl_ckpt_path(ckpt), l);
    if (c->n_mtp_layers > 0)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: has layers that predict several tokens (MTP): `convert --mtp drop` "
                       "leaves them out",
                       bl_ckpt_path(ckpt));
    return BL_OK;
}

/* Decode a tensor into memory; its gradient is zero. */
static bl_status load(bl_student *s, const bl_tensor *tensor, struct bl_err *err)
{
    bl_parameter *p = &s->parameter[s->n_parameters];
    const size_t n = (size_t)tensor->n_values;
    bl_status rc;

    *p = (bl_parameter){ .name = tensor->name,
                         .n_rows = tensor->n_rows,
                         .n_cols = tensor->n_cols,
                         .decays = tensor->ndim > 1 };
    s->n_parameters++;
    p->value = bl_alloc(n, sizeof(*p->value));
    p->grad = bl_calloc(n, sizeof(*p->grad));
    if (!p->value || !p->grad)
        return bl_fail_nomem(err, tensor->name);
    rc = bl_ckpt_read_rows(s->resident.ckpt, tensor, 0, tensor->n_rows, p->value, err);
    if (rc == BL_OK && s->options.bf16) {
        p->bf16 = bl_alloc(n, sizeof(*p->bf16));
        if (!p->bf16)
            return bl_fail_nomem(err, tensor->name);
        for (size_t i = 0; i < n; i++)
            p->bf16[i] = bl_bf16_from_f32(p->value[i]);
        bl_free(p->value);
        p->value = NULL;
    }
    *bl_resident_get(&s->resident, tensor) =
        (bl_learned){ .value = p->value, .bf16 = p->bf16, .gradient = p->grad };
    return rc;
}

static bl_status load_all(bl_student *s, const bl_ckpt *ckpt, struct bl_err *err)
{
    const size_t n = bl_ckpt_n_tensors(ckpt);
    const bool tied = s->network.config->tie_word_embeddings;
    bl_status rc = BL_OK;

    s->resident.ckpt = ckpt;
    s->resident.learned = bl_calloc(n, sizeof(*s->resident.learned));
    s->parameter = bl_calloc(n, sizeof(*s->parameter));
    if (!s->resident.learned || !s->parameter)
        return bl_fail_nomem(err, "the student's weights");
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        const bl_tensor *tensor = bl_ckpt_tensor(ckpt, i);

        if (!tied || strcmp(tensor->name, "lm_head.weight") != 0)
            rc = load(s, tensor, err);
    }
    return rc;
}

bl_status bl_student_new(bl_student **out, const bl_ckpt *ckpt, const bl_student_options *options,
                         struct bl_err *err)
{
    bl_student *s = bl_calloc(1, sizeof(*s));
    bl_status rc;

    if (!s)
        return bl_fail_nomem(err, "a student");
    s->options = *options;
    rc = bl_weights_init(&s->weights, &s->network, ckpt, options->n_threads, err);
    if (rc == BL_OK)
        rc = check(s, ckpt, err);
    if (rc == BL_OK)
        rc = load_all(s, ckpt, err);
    s->weights.resident = &s->resident;
    if (rc == BL_OK)
        *out = s;
    else
        bl_student_free(s);
    return rc;
}

/* Room for the activations of a step of this shape. */
static bl_status reserve(bl_student *s, size_t n_tokens, size_t n_positions, struct bl_err *err)
{
    const uint32_t n_layers = s->network.config->n_layers;
    bl_status rc = BL_OK;

    if (s->n_tokens == n_tokens && s->n_positions == n_positions)
        return BL_OK;
    release_activations(s);
    s->tape = bl_calloc(n_tapes(s), sizeof(*s->tape));
    if (!s->tape)
        return bl_fail_nomem(err, "activations");
    for (size_t i = 0; i < n_tapes(s) && rc == BL_OK; i++)
        rc = bl_tape_init(&s->tape[i], &s->network, n_tokens, n_positions, err);
    if (rc == BL_OK)
        rc = bl_tape_init(&s->work, &s->network, n_tokens, n_positions, err);
    if (rc != BL_OK || !s->options.recompute)
        goto done;
    s->input = bl_calloc(n_layers, sizeof(*s->input));
    for (uint32_t l = 0; l < n_layers && rc == BL_OK; l++) {
        if (s->input)
            s->input[l] = bl_alloc(n_tokens, s->network.config->hidden_size * sizeof(float));
        rc = s->input && s->input[l] ? BL_OK : bl_fail_nomem(err, "inputs of layers");
    }
done:
    s->n_tokens = rc == BL_OK ? n_tokens : 0;
    s->n_positions = n_positions;
    return rc;
}

/* One step at work. */
struct step {
    bl_student *student;
    const bl_batch *batch;
    bl_state state;
    size_t n;      /* scored tokens */
    size_t *row;   /* [n] */
    float *last;   /* [n][hidden]: the residual stream behind the last layer */
    float *x, *dx; /* [n][hidden]: after the final norm; its gradient */
    float *d;      /* [T][hidden]: the gradient in the residual stream */
};

static void release_step(struct step *p)
{
    bl_state_release(&p->state);
    bl_free(p->row);
    bl_free(p->last);
    bl_free(p->x);
    bl_free(p->dx);
    bl_free(p->d);
}

static bl_status layer_forward(struct step *p, uint32_t layer, bool keep, struct bl_err *err)
{
    bl_student *s = p->student;

    p->state.tape = keep ? &s->tape[s->options.recompute ? 0 : layer] : NULL;
    if (keep && s->options.recompute)
        memcpy(s->input[layer], p->state.hidden.values,
               p->state.n_tokens * p->state.hidden_size * sizeof(float));
    return bl_layer_step(&p->state, layer, &s->weights, NULL, NULL, err);
}

static bl_status forward(struct step *p, bool keep, struct bl_err *err)
{
    const bl_batch *b = p->batch;
    bl_student *s = p->student;
    bl_status rc = bl_state_init(&p->state, b->token, b->n_seqs, b->n_positions,
                                 s->network.config->hidden_size, NULL, err);

    p->state.start = b->start;
    if (rc == BL_OK)
        rc = bl_embed(&p->state, &s->weights, err);
    for (uint32_t l = 0; l < s->network.config->n_layers && rc == BL_OK; l++)
        rc = layer_forward(p, l, keep, err);
    return rc;
}

static bl_status choose_rows(struct step *p, struct bl_err *err)
{
    const bl_batch *b = p->batch;
    const size_t n_tokens = (size_t)b->n_seqs * b->n_positions;

    p->row = bl_alloc(n_tokens, sizeof(*p->row));
    if (!p->row)
        return bl_fail_nomem(err, "scored tokens");
    for (size_t t = 0; t < n_tokens; t++)
        if (b->target[t] >= 0)
            p->row[p->n++] = t;
    return BL_OK;
}

/* The final norm of the scored tokens, the head and the loss. */
static bl_status finish(bl_step_sums *out, struct step *p, const bl_distill_loss *loss,
                        double scale, struct bl_err *err)
{
    const bl_weights *weights = &p->student->weights;
    const size_t hidden = p->state.hidden_size;
    bl_head_loss head = { .weights = weights,
                          .batch = p->batch,
                          .loss = loss,
                          .n = p->n,
                          .row = p->row,
                          .scale = scale };
    bl_status rc;

    p->x = bl_alloc(p->n, hidden * sizeof(*p->x));
    p->last = bl_alloc(p->n, hidden * sizeof(*p->last));
    if (scale > 0)
        p->dx = bl_alloc(p->n, hidden * sizeof(*p->dx));
    if (!p->x || !p->last || (scale > 0 && !p->dx))
        return bl_fail_nomem(err, "final hidden states");
    for (size_t i = 0; i < p->n; i++)
        memcpy(p->last + i * hidden, p->state.hidden.values + p->row[i] * hidden,
               hidden * sizeof(*p->last));
    head.x = p->x;
    head.dx = p->dx;
    rc = bl_final_norm(p->x, &p->state, p->row, p->n, weights, err);
    return rc == BL_OK ? bl_head_loss_run(out, &head, err) : rc;
}

/* Through the final norm to d, which is zero for tokens that are not scored. */
static bl_status norm_backward(struct step *p, struct bl_err *err)
{
    const size_t hidden = p->state.hidden_size;
    const bl_norm_backward norm = { .layer = -1,
                                    .suffix = "model.norm.weight",
                                    .dx = p->x, /* not needed any more */
                                    .dy = p->dx,
                                    .x = p->last,
                                    .lddx = hidden,
                                    .lddy = hidden,
                                    .ldx = hidden,
                                    .n_rows = p->n,
                                    .n = hidden,
                                    .eps = p->student->network.norm_eps };
    bl_status rc;

    p->d = bl_calloc(p->state.n_tokens, hidden * sizeof(*p->d));
    if (!p->d)
        return bl_fail_nomem(err, "gradients of hidden states");
    memset(p->x, 0, p->n * hidden * sizeof(*p->x));
    rc = bl_norm_backward_run(&norm, &p->student->weights, err);
    for (size_t i = 0; rc == BL_OK && i < p->n; i++)
        memcpy(p->d + p->row[i] * hidden, p->x + i * hidden, hidden * sizeof(*p->d));
    return rc;
}

static bl_status layer_backward(struct step *p, uint32_t layer, struct bl_err *err)
{
    bl_student *s = p->student;
    bl_state *state = &p->state;
    bl_tape *tape = &s->tape[s->options.recompute ? 0 : layer];
    const bl_block block = { .n_seqs = state->n_seqs,
                             .n_positions = state->n_positions,
                             .hidden_size = state->hidden_size,
                             .n_tokens = state->n_tokens,
                             .start = state->start,
                             .tape = tape };
    const bl_layer_backward back = { &s->weights, &block, &s->work, layer };
    bl_status rc = BL_OK;

    if (s->options.recompute) {
        memcpy(state->hidden.values, s->input[layer],
               state->n_tokens * state->hidden_size * sizeof(float));
        state->n_layers_done = layer;
        state->tape = tape;
        rc = bl_layer_step(state, layer, &s->weights, NULL, NULL, err);
    }
    return rc == BL_OK ? bl_layer_backward_run(p->d, &back, err) : rc;
}

static bl_status backward(struct step *p, struct bl_err *err)
{
    const bl_batch *b = p->batch;
    bl_status rc = norm_backward(p, err);

    for (uint32_t l = p->student->network.config->n_layers; l > 0 && rc == BL_OK; l--)
        rc = layer_backward(p, l - 1, err);
    return rc == BL_OK
               ? bl_embed_backward(p->d, b->token, p->state.n_tokens, &p->student->weights, err)
               : rc;
}

bl_status bl_student_step(bl_step_sums *out, bl_student *student, const bl_batch *batch,
                          const bl_distill_loss *loss, double scale, struct bl_err *err)
{
    struct step p = { .student = student, .batch = batch };
    bl_status rc = BL_OK;

    assert(loss->kd <= 0 || batch->first || batch->hidden);
    *out = (bl_step_sums){ 0 };
    if (scale > 0)
        rc = reserve(student, (size_t)batch->n_seqs * batch->n_positions, batch->n_positions, err);
    if (rc == BL_OK)
        rc = choose_rows(&p, err);
    if (rc == BL_OK && p.n > 0)
        rc = forward(&p, scale > 0, err);
    if (rc == BL_OK && p.n > 0)
        rc = finish(out, &p, loss, scale, err);
    if (rc == BL_OK && p.n > 0 && scale > 0)
        rc = backward(&p, err);
    release_step(&p);
    return rc;
}
