/*
 * sensitivity_run.c - the pass. `all` holds the base's sequences, then those of every variant that
 * has passed its layers; a variant in its layers has a state of its own.
 */
#include "quantize/sensitivity_run.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/kept_state.h"
#include "model/layer.h"
#include "model/room.h"
#include "verify/logit_stats.h"

#include <math.h>

/* A variant on its way. */
struct variant {
    const bl_probe *probe;
    const bl_encoder *reference;
    bl_weight_filter filter;
    bl_weights weights; /* the base's, filtered */
    bl_state state;     /* while it is in its layers */
    size_t place;       /* sequences [place, place + n_seqs) of `all` once it has passed them */
};

struct pass {
    const bl_sensitivity_options *options;
    bl_run run; /* of the base */
    bl_network network;
    bl_weights weights;
    bl_room room;
    bl_state all;
    struct variant *variant;
    size_t n_variants;
};

/* Rows as the reference type keeps them, where the variant covers the tensor. */
static bl_status perturb(const void *context, const bl_tensor *tensor, uint64_t row,
                         uint64_t n_rows, float *rows, struct bl_err *err)
{
    const struct variant *v = context;
    const bl_encoder *e = v->reference;
    const bl_dtype_traits *t = bl_dtype_traits_of(e->dtype);
    int32_t layer, expert;
    const bl_arch_row *kind = bl_arch_match(v->probe->config->arch, tensor->name, &layer, &expert);
    void *part[BL_JOB_MAX_PARTS] = { NULL };

    (void)row;
    if (!kind || tensor->is_mtp || tensor->n_cols % e->multiple != 0 ||
        !bl_probe_covers(v->probe, kind, layer < 0 ? 0 : (uint32_t)layer))
        return BL_OK;
    part[0] = bl_alloc((size_t)(tensor->n_cols / t->block_len), t->block_bytes);
    if (!part[0])
        return bl_fail_nomem(err, tensor->name);
    for (uint64_t i = 0; i < n_rows; i++, rows += tensor->n_cols) {
        const bl_encode_rows one = { rows, 1, tensor->n_cols, NULL };

        e->encode(part, &one);
        t->to_f32(rows, part[0], (size_t)tensor->n_cols);
    }
    bl_free(part[0]);
    return BL_OK;
}

/* Sequences [from, from + n_seqs) of a state become sequences [to, ...) of another. */
static bl_status copy_seqs(bl_state *out, size_t to, const bl_state *in, size_t from, size_t n_seqs,
                           struct bl_err *err)
{
    const size_t n = in->n_positions;
    float *rows = bl_alloc(n, in->hidden_size * sizeof(*rows));
    bl_status rc = rows ? BL_OK : bl_fail_nomem(err, "hidden states");

    for (size_t s = 0; s < n_seqs && rc == BL_OK; s++) {
        rc = bl_matrix_read(rows, &in->hidden, (from + s) * n, n, err);
        if (rc == BL_OK)
            rc = bl_matrix_write(&out->hidden, (to + s) * n, n, rows, err);
    }
    bl_free(rows);
    return rc;
}

/* A state for `times` times the base's sequences, hidden states not set. */
static bl_status new_state(bl_state *out, const struct pass *p, size_t times,
                           uint32_t n_layers_done, struct bl_err *err)
{
    const size_t n = (size_t)p->run.n_seqs * p->run.n_positions;
    int32_t *tokens = bl_alloc(times * n, sizeof(*tokens));
    bl_status rc;

    if (!tokens)
        return bl_fail_nomem(err, "tokens");
    for (size_t i = 0; i < times * n; i++)
        tokens[i] = p->run.tokens[i % n];
    rc = bl_state_init(out, tokens, (uint32_t)(times * p->run.n_seqs), p->run.n_positions,
                       p->all.hidden_size, &p->room, err);
    bl_free(tokens);
    if (rc == BL_OK)
        out->n_layers_done = n_layers_done;
    return rc;
}

/* The variants that are done with their layers join the others. */
static bl_status join(struct pass *p, struct variant *const *done, size_t n, struct bl_err *err)
{
    const size_t n_seqs = p->run.n_seqs;
    bl_state grown = { 0 };
    size_t place = p->all.n_seqs;
    bl_status rc;

    if (n == 0)
        return BL_OK;
    rc = new_state(&grown, p, place / n_seqs + n, p->all.n_layers_done, err);
    if (rc == BL_OK)
        rc = copy_seqs(&grown, 0, &p->all, 0, place, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        rc = copy_seqs(&grown, place, &done[i]->state, 0, n_seqs, err);
        done[i]->place = place;
        place += n_seqs;
        bl_state_release(&done[i]->state);
    }
    if (rc != BL_OK) {
        bl_state_release(&grown);
        return rc;
    }
    bl_state_release(&p->all);
    p->all = grown;
    return BL_OK;
}

static bl_status begin(struct pass *p, struct variant **joining, struct bl_err *err)
{
    size_t n = 0;
    bl_status rc = bl_run_begin(&p->all, &p->run, err);

    for (size_t i = 0; i < p->n_variants && rc == BL_OK; i++) {
        struct variant *v = &p->variant[i];
        bl_run run = p->run;

        if (v->probe->role != BL_ROLE_EMBEDDING)
            continue;
        run.weights = &v->weights;
        rc = bl_run_begin(&v->state, &run, err);
        joining[n++] = v;
    }
    return rc == BL_OK ? join(p, joining, n, err) : rc;
}

/* One layer for the variants that are in it, then for all others. */
static bl_status step(struct pass *p, uint32_t layer, struct variant **joining, struct bl_err *err)
{
    size_t n = 0;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < p->n_variants && rc == BL_OK; i++) {
        struct variant *v = &p->variant[i];
        const bl_probe *probe = v->probe;

        if (probe->once || layer < probe->first || layer >= probe->end)
            continue;
        if (layer == probe->first) {
            rc = new_state(&v->state, p, 1, layer, err);
            if (rc == BL_OK)
                rc = copy_seqs(&v->state, 0, &p->all, 0, p->run.n_seqs, err);
        }
        if (rc == BL_OK)
            rc = bl_layer_step(&v->state, layer, &v->weights, NULL, NULL, err);
        bl_progress_add(p->options->progress, 1);
        if (layer + 1 == probe->end)
            joining[n++] = v;
    }
    if (rc == BL_OK)
        rc = bl_layer_step(&p->all, layer, &p->weights, NULL, NULL, err);
    bl_progress_add(p->options->progress, p->all.n_seqs / p->run.n_seqs);
    return rc == BL_OK ? join(p, joining, n, err) : rc;
}

static double mean_kl(const bl_logit_stats *stats)
{
    double sum = 0;

    for (size_t t = 0; t < stats->n_tokens; t++)
        sum += bl_logit_stats_kl(stats, t);
    return fmax(sum / (double)stats->n_tokens, 0);
}

/* The final norm of a variant's sequences; place 0: the base's. */
static bl_status normalise(float *out, size_t *row, const struct pass *p, size_t place,
                           struct bl_err *err)
{
    const size_t n = (size_t)p->run.n_seqs * p->run.n_positions;

    for (size_t i = 0; i < n; i++)
        row[i] = place * p->run.n_positions + i;
    return bl_final_norm(out, &p->all, row, n, &p->weights, err);
}

/* Variants [first, first + n); x: [1 + n][tokens][hidden], the base's first. */
static bl_status run_heads(double *kl, struct pass *p, size_t first, size_t n, float *x,
                           size_t *row, struct bl_err *err)
{
    const size_t n_tokens = (size_t)p->run.n_seqs * p->run.n_positions;
    bl_head head[BL_HEAD_MAX_MODELS] = { { .weights = &p->weights, .x = x } };
    bl_logit_stats stats[BL_PROBES_AT_HEAD] = { 0 };
    bl_logit_beside beside = { .stats = stats, .n = n };
    bl_status rc = bl_head_table(&head[0].table, &p->weights, err);

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        const struct variant *v = &p->variant[first + i];
        float *at = x + (1 + i) * n_tokens * p->all.hidden_size;
        const bool of_head =
            v->probe->role == BL_ROLE_HEAD ||
            (v->probe->role == BL_ROLE_EMBEDDING && p->network.config->tie_word_embeddings);

        head[1 + i] = (bl_head){ .weights = of_head ? &v->weights : &p->weights,
                                 .table = head[0].table,
                                 .x = at };
        rc = normalise(at, row, p, v->place, err);
        if (rc == BL_OK)
            rc = bl_logit_stats_init(&stats[i], 2, p->run.tokens, n_tokens, err);
    }
    if (rc == BL_OK)
        rc = bl_head_run(head, 1 + n, n_tokens, bl_logit_beside_add, &beside, err);
    for (size_t i = 0; i < n; i++) {
        if (rc == BL_OK)
            kl[first + i] = mean_kl(&stats[i]);
        bl_logit_stats_release(&stats[i]);
    }
    bl_progress_add(p->options->progress, 1 + n);
    return rc;
}

static bl_status compare_all(double *kl, struct pass *p, struct bl_err *err)
{
    const size_t n_tokens = (size_t)p->run.n_seqs * p->run.n_positions;
    float *x = bl_alloc(BL_HEAD_MAX_MODELS * n_tokens, p->all.hidden_size * sizeof(*x));
    size_t *row = bl_alloc(n_tokens, sizeof(*row));
    bl_status rc = x && row ? normalise(x, row, p, 0, err) : bl_fail_nomem(err, "hidden states");

    for (size_t i = 0; i < p->n_variants && rc == BL_OK; i += BL_PROBES_AT_HEAD)
        rc = run_heads(kl, p, i, (size_t)bl_min_u64(BL_PROBES_AT_HEAD, p->n_variants - i), x, row,
                       err);
    bl_free(x);
    bl_free(row);
    return rc;
}

/* All sequences there will be, twice: once more while they grow. */
static bl_status choose_room(struct pass *p, struct bl_err *err)
{
    const bl_room_job job = { .network = { &p->network, &p->network },
                              .n_models = 2,
                              .n_seqs = (uint32_t)((1 + p->n_variants) * p->run.n_seqs),
                              .n_positions = p->run.n_positions,
                              .n_threads = p->options->n_threads };

    if (p->options->memory == 0)
        return BL_OK;
    return bl_room_choose(&p->room, &job, p->options->memory, p->options->scratch, err);
}

static bl_status set_up(struct pass *p, const bl_probes *probes, const bl_ckpt *ckpt,
                        struct bl_err *err)
{
    bl_status rc = bl_weights_init(&p->weights, &p->network, ckpt, p->options->n_threads, err);

    if (rc != BL_OK)
        return rc;
    p->run.weights = &p->weights;
    p->run.room = &p->room;
    p->variant = bl_calloc(probes->n + 1, sizeof(*p->variant));
    if (!p->variant)
        return bl_fail_nomem(err, "variants");
    p->n_variants = probes->n;
    for (size_t i = 0; i < probes->n; i++) {
        struct variant *v = &p->variant[i];

        v->probe = &probes->probe[i];
        v->reference = p->options->reference;
        v->filter = (bl_weight_filter){ perturb, v };
        v->weights = p->weights;
        v->weights.filter = &v->filter;
    }
    return choose_room(p, err);
}

bl_status bl_probes_run(double *kl, const bl_probes *probes, const bl_ckpt *ckpt,
                        const int32_t *tokens, uint32_t n_seqs, uint32_t n_positions,
                        const bl_sensitivity_options *options, struct bl_err *err)
{
    struct pass p = { .options = options,
                      .run = { .tokens = tokens, .n_seqs = n_seqs, .n_positions = n_positions } };
    struct variant **joining = bl_alloc(probes->n + 1, sizeof(struct variant *));
    bl_status rc = joining ? set_up(&p, probes, ckpt, err) : bl_fail_nomem(err, "variants");

    if (rc == BL_OK)
        rc = begin(&p, joining, err);
    for (uint32_t layer = 0; rc == BL_OK && layer < p.network.config->n_layers; layer++)
        rc = step(&p, layer, joining, err);
    if (rc == BL_OK)
        rc = compare_all(kl, &p, err);
    for (size_t i = 0; i < p.n_variants; i++)
        bl_state_release(&p.variant[i].state);
    bl_state_release(&p.all);
    bl_free(p.variant);
    bl_free(joining);
    return rc;
}
