/* budget_plan.c - see budget_plan.h. */
#include "quantize/budget_plan.h"

#include "base/alloc.h"
#include "base/size.h"
#include "convert/cast.h"
#include "convert/loss.h"
#include "convert/write.h"
#include "quantize/budget_error.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32 /* of tensors in a GGUF file */, LEAST_OF_TYPICAL = 10 };

/* What engines load, best bytes first; columns decide which of them a tensor can have. */
static const bl_dtype usual_types[] = {
    BL_Q2_K, BL_Q3_K, BL_IQ4_XS, BL_Q4_K, BL_IQ4_NL, BL_Q4_0,
    BL_Q5_K, BL_Q5_0, BL_Q6_K,   BL_Q8_0, BL_BF16,
};

/* What init works with. */
struct builder {
    bl_allocation *a;
    const bl_plan *plan;
    const bl_config *config;
    const bl_allocation_options *options;
    const bl_encoder *candidate[BL_BUDGET_MAX_CHOICES + 1]; /* the last: the reference */
    size_t n_candidates;                                    /* without the reference */
    bool *is_free;                                          /* [n_jobs] */
    bl_loss *loss;                                          /* [n_jobs][n_candidates + 1] */
    struct bl_err *err;
};

static uint64_t padded(uint64_t n)
{
    return bl_ceil_div_u64(n, ALIGNMENT) * ALIGNMENT;
}

static bl_choice choice_of(const bl_job *job)
{
    const bl_tensor *source = job->source ? job->source[0] : NULL;

    return (bl_choice){ .name = job->part[0].name,
                        .ndim = job->part[0].ndim,
                        .n_cols = job->rows.n_cols,
                        .source = source };
}

static bool may_quantize(const bl_job *job)
{
    return job->part[0].ndim > 1 && !bl_role_is_exact(job->role);
}

static bl_status set_type(bl_allocation_tensor *t, const bl_job *job, bl_dtype dtype,
                          struct bl_err *err)
{
    t->dtype = dtype;
    if (!bl_dtype_bytes(&t->bytes, dtype, job->part[0].ndim, job->part[0].dim))
        return bl_fail(err, BL_E_USAGE,
                       "tensor '%s': its rows of %" PRIu64 " do not divide into %s", t->name,
                       job->rows.n_cols, bl_dtype_name(dtype));
    return BL_OK;
}

/* The tensor of a job: free, or with the type that it must have. */
static bl_status add_tensor(struct builder *b, size_t i)
{
    const bl_job *job = &b->plan->job[i];
    const bl_choice choice = choice_of(job);
    bl_allocation_tensor *t = &b->a->tensor[i];
    const bl_tensor_rule *rule = NULL;

    *t = (bl_allocation_tensor){ .name = choice.name,
                                 .role = job->role,
                                 .layer = choice.source ? choice.source->layer : -1,
                                 .n_values = job->n_rows * job->rows.n_cols };
    b->a->n_values += t->n_values;
    if (!may_quantize(job))
        return set_type(t, job, BL_F32, b->err);
    if (b->options->rules)
        rule = bl_tensor_rules_find(b->options->rules, &choice);
    if (rule)
        return set_type(t, job, rule->type, b->err);
    t->is_free = b->is_free[i] = true;
    b->a->n_items++;
    return BL_OK;
}

static bl_status set_candidates(struct builder *b)
{
    const bl_dtype *type = b->options->type ? b->options->type : usual_types;
    const size_t n =
        b->options->type ? b->options->n_types : sizeof(usual_types) / sizeof(*usual_types);
    const bl_sensitivity *s = b->options->sensitivity;

    if (n > BL_BUDGET_MAX_CHOICES)
        return bl_fail(b->err, BL_E_USAGE, "%zu types to choose from, at most %d", n,
                       BL_BUDGET_MAX_CHOICES);
    for (size_t i = 0; i < n; i++) {
        const bl_encoder *e = bl_encoder_of(type[i], b->options->method);

        if (e)
            b->candidate[b->n_candidates++] = e;
    }
    b->candidate[b->n_candidates] = bl_cast_encoder(BL_F32);
    if (!s)
        return BL_OK;
    b->candidate[b->n_candidates] = bl_encoder_of(s->reference, BL_METHOD_PLAIN);
    return b->candidate[b->n_candidates]
               ? BL_OK
               : bl_fail(b->err, BL_E_UNSUPPORTED, "sensitivities by %s cannot be used",
                         bl_dtype_name(s->reference));
}

static bl_status measure(struct builder *b)
{
    const bl_budget_errors what = { .plan = b->plan,
                                    .candidate = b->candidate,
                                    .n_candidates = b->n_candidates + 1,
                                    .wanted = b->is_free,
                                    .n_threads = b->options->n_threads,
                                    .progress = b->options->progress };

    b->loss = bl_calloc(b->plan->n_jobs * (b->n_candidates + 1) + 1, sizeof(*b->loss));
    return b->loss ? bl_budget_measure(b->loss, &what, b->err) : bl_fail_nomem(b->err, "losses");
}

/* The prior of a tensor, and its sensitivity where it was measured, else below 0. */
static double measured(double *prior, const struct builder *b, size_t i)
{
    const bl_job *job = &b->plan->job[i];
    const bl_sensitivity *s = b->options->sensitivity;
    const double error = bl_loss_relative(&b->loss[i * (b->n_candidates + 1) + b->n_candidates]);
    const bl_arch_row *row = NULL;
    int32_t layer = -1, expert;
    double kl;

    *prior = 1;
    if (job->source)
        row = bl_arch_match(b->config->arch, job->source[0]->name, &layer, &expert);
    if (!row)
        return -1;
    *prior = bl_sensitivity_prior(b->config, row, layer < 0 ? 0 : (uint32_t)layer);
    if (!s || !(error > 0))
        return -1;
    kl = bl_sensitivity_kl(s, row, layer < 0 ? 0 : (uint32_t)layer);
    return job->view == BL_VIEW_K_B || job->view == BL_VIEW_V_B ? kl / error / 2 : kl / error;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The median of measured over prior; 1 where nothing was measured. */
static bl_status typical(double *out, const struct builder *b)
{
    double *ratio = bl_alloc(b->a->n_items + 1, sizeof(*ratio));
    size_t n = 0;

    if (!ratio)
        return bl_fail_nomem(b->err, "sensitivities");
    for (size_t k = 0; k < b->a->n_items; k++) {
        double prior, s = measured(&prior, b, b->a->tensor_of[k]);

        if (s >= 0)
            ratio[n++] = s / prior;
    }
    if (n > 0)
        qsort(ratio, n, sizeof(*ratio), compare);
    *out = n > 0 ? ratio[n / 2] : 1;
    bl_free(ratio);
    return BL_OK;
}

/* Types that the tensor can have, with what they cost. */
static bl_status set_item(struct builder *b, size_t k, double typical_ratio)
{
    const size_t i = b->a->tensor_of[k];
    const bl_job *job = &b->plan->job[i];
    bl_budget_item *item = &b->a->item[k];
    double prior, s = measured(&prior, b, i);

    item->sensitivity = s < 0 ? typical_ratio * prior : fmax(s, typical_ratio / LEAST_OF_TYPICAL);
    for (size_t q = 0; q < b->n_candidates; q++) {
        const bl_encoder *e = b->candidate[q];
        const double error = bl_loss_relative(&b->loss[i * (b->n_candidates + 1) + q]);
        uint64_t bytes;

        if (job->rows.n_cols % e->multiple != 0 || !isfinite(error) ||
            !bl_dtype_bytes(&bytes, e->dtype, job->part[0].ndim, job->part[0].dim))
            continue;
        item->choice[item->n_choices++] = (bl_budget_choice){ e->dtype, padded(bytes), error };
    }
    if (item->n_choices == 0)
        return bl_fail(b->err, BL_E_UNSUPPORTED,
                       "tensor '%s': none of the types fits its rows of %" PRIu64,
                       job->part[0].name, job->rows.n_cols);
    return BL_OK;
}

static bl_status set_items(struct builder *b)
{
    bl_allocation *a = b->a;
    double ratio = 1;
    bl_status rc = BL_OK;

    a->item = bl_calloc(a->n_items + 1, sizeof(*a->item));
    a->tensor_of = bl_alloc(a->n_items + 1, sizeof(*a->tensor_of));
    if (!a->item || !a->tensor_of)
        return bl_fail_nomem(b->err, "bit budget");
    for (size_t i = 0, k = 0; i < a->n_tensors; i++)
        if (a->tensor[i].is_free)
            a->tensor_of[k++] = i;
    rc = measure(b);
    if (rc == BL_OK)
        rc = typical(&ratio, b);
    for (size_t k = 0; k < a->n_items && rc == BL_OK; k++)
        rc = set_item(b, k, ratio);
    return rc;
}

/* Header and metadata: the whole file less its tensors. */
static bl_status set_header(struct builder *b, const bl_ckpt *ckpt)
{
    uint64_t n;
    bl_status rc = bl_write_gguf_bytes(&n, ckpt, b->plan, BL_GGUF_FILE_F32, b->err);

    for (size_t i = 0; i < b->plan->n_stored && rc == BL_OK; i++)
        n -= padded(b->plan->stored[i].n_bytes);
    if (rc == BL_OK)
        b->a->header_bytes = n;
    return rc;
}

bl_status bl_allocation_init(bl_allocation *out, const bl_ckpt *ckpt, const bl_plan *plan,
                             const bl_allocation_options *options, struct bl_err *err)
{
    bl_allocation a = { .method = options->method,
                        .in_nats = options->sensitivity != NULL,
                        .n_tensors = plan->n_jobs };
    struct builder b = {
        .a = &a, .plan = plan, .config = bl_ckpt_config(ckpt), .options = options, .err = err
    };
    bl_status rc = set_candidates(&b);

    if (rc == BL_OK) {
        a.tensor = bl_calloc(plan->n_jobs + 1, sizeof(*a.tensor));
        b.is_free = bl_calloc(plan->n_jobs + 1, sizeof(*b.is_free));
        rc = a.tensor && b.is_free ? set_header(&b, ckpt) : bl_fail_nomem(err, "bit budget");
    }
    for (size_t i = 0; i < plan->n_jobs && rc == BL_OK; i++)
        rc = add_tensor(&b, i);
    if (rc == BL_OK)
        rc = set_items(&b);
    bl_free(b.is_free);
    bl_free(b.loss);
    if (rc == BL_OK)
        *out = a;
    else
        bl_allocation_release(&a);
    return rc;
}

void bl_allocation_release(bl_allocation *allocation)
{
    bl_free(allocation->tensor);
    bl_free(allocation->item);
    bl_free(allocation->tensor_of);
    *allocation = (bl_allocation){ 0 };
}

uint64_t bl_allocation_sample_bytes(const bl_plan *plan)
{
    uint64_t n = 0;

    for (size_t i = 0; i < plan->n_jobs; i++)
        if (may_quantize(&plan->job[i]))
            n += bl_budget_n_samples(&plan->job[i]) * plan->job[i].rows.n_cols * sizeof(float);
    return n;
}

/* Bytes of the file without its free tensors. */
static uint64_t fixed_bytes(const bl_allocation *a)
{
    uint64_t n = a->header_bytes;

    for (size_t i = 0; i < a->n_tensors; i++)
        if (!a->tensor[i].is_free)
            n += padded(a->tensor[i].bytes);
    return n;
}

bl_status bl_allocation_solve(bl_allocation *a, uint64_t file_bytes, struct bl_err *err)
{
    const uint64_t fixed = fixed_bytes(a);
    bl_status rc;

    if (file_bytes < fixed)
        return bl_fail(err, BL_E_USAGE,
                       "header and tensors that are not quantized have %" PRIu64
                       " bytes, more than %" PRIu64 " in all",
                       fixed, file_bytes);
    rc = bl_budget_solve(&a->result, a->item, a->n_items, file_bytes - fixed, err);
    if (rc != BL_OK)
        return rc;
    a->file_bytes = fixed + a->result.bytes;
    for (size_t k = 0; k < a->n_items; k++) {
        const bl_budget_item *item = &a->item[k];
        const bl_budget_choice *c = &item->choice[item->chosen];
        bl_allocation_tensor *t = &a->tensor[a->tensor_of[k]];
        const bl_dtype_traits *type = bl_dtype_traits_of(c->dtype);

        t->dtype = c->dtype;
        t->bytes = t->n_values / type->block_len * type->block_bytes;
        t->error = c->error;
        t->loss = item->sensitivity * c->error;
    }
    return BL_OK;
}

uint64_t bl_allocation_bytes_at(const bl_allocation *a, double bits_per_weight)
{
    return a->header_bytes + (uint64_t)(bits_per_weight / 8 * (double)a->n_values);
}

const bl_encoder *bl_allocation_choose(const void *context, const bl_choice *choice)
{
    const bl_allocation *a = context;

    for (size_t i = 0; i < a->n_tensors; i++)
        if (strcmp(a->tensor[i].name, choice->name) == 0)
            return bl_encoder_of(a->tensor[i].dtype, a->method);
    return bl_cast_encoder(BL_F32);
}
