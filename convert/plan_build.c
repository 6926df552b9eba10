/* plan_build.c - jobs into a plan. */
#include "convert/plan_build.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

bl_status bl_plan_begin(bl_plan_builder *b)
{
    b->memory = bl_calloc(1, sizeof(*b->memory));
    return b->memory ? BL_OK : bl_fail_nomem(b->err, "plan");
}

static bl_status make_room(bl_plan_builder *b)
{
    size_t room = b->room ? 2 * b->room : 256;
    bl_job *grown;

    if (b->plan.n_jobs < b->room)
        return BL_OK;
    grown = bl_realloc(b->plan.job, room, sizeof(*grown));
    if (!grown)
        return bl_fail_nomem(b->err, "plan");
    b->plan.job = grown;
    b->room = room;
    return BL_OK;
}

/* A part with this name, type and shape; its bytes follow. */
static bl_status set_part(bl_plan_builder *b, bl_job *job, uint32_t k, const char *name,
                          bl_dtype dtype, uint32_t ndim, const uint64_t *dim)
{
    bl_stored *p = &job->part[k];

    *p = (bl_stored){ .name = name, .dtype = dtype, .ndim = ndim };
    if (!name)
        return bl_fail_nomem(b->err, "plan");
    memcpy(p->dim, dim, ndim * sizeof(*dim));
    if (!bl_dtype_bytes(&p->n_bytes, dtype, ndim, dim))
        return bl_fail(b->err, BL_E_FORMAT, "tensor '%s': its shape does not fit %s", name,
                       bl_dtype_name(dtype));
    job->unit_bytes[k] = job->n_rows > 0 ? p->n_bytes / job->n_rows : 0;
    return BL_OK;
}

/* X.weight as the tensors that the encoder makes of it. */
static bl_status set_parts(bl_plan_builder *b, bl_job *job, const char *name, const uint64_t *dim)
{
    const bl_encoder *encoder = job->encoder;
    const size_t n_name = strlen(name), n_end = strlen(".weight");
    const size_t stem =
        n_name > n_end && strcmp(name + n_name - n_end, ".weight") == 0 ? n_name - n_end : n_name;
    bl_part part[BL_JOB_MAX_PARTS] = { { 0 } };
    bl_status rc = BL_OK;

    job->n_parts = encoder->in_parts->parts(part, dim, encoder->form);
    for (uint32_t k = 0; k < job->n_parts && rc == BL_OK; k++) {
        char *part_name =
            bl_arena_format(&b->memory->arena, "%.*s%s", (int)stem, name, part[k].suffix);
        void *constant = NULL;

        rc = set_part(b, job, k, part_name, part[k].dtype, part[k].ndim, part[k].dim);
        job->unit_bytes[k] = part[k].unit_bytes;
        if (rc != BL_OK || part[k].unit_bytes > 0)
            continue;
        constant = bl_arena_alloc(&b->memory->arena, (size_t)job->part[k].n_bytes, 1);
        if (!constant)
            return bl_fail_nomem(b->err, "plan");
        if (encoder->in_parts->constant)
            encoder->in_parts->constant(constant, k, dim, encoder->form);
        job->constant[k] = constant;
    }
    return rc;
}

bl_status bl_plan_add(bl_plan_builder *b, const bl_job *proto, const bl_choice *choice,
                      uint32_t ndim, const uint64_t *dim)
{
    bl_status rc = make_room(b);
    bl_job *job;

    if (rc != BL_OK)
        return rc;
    job = &b->plan.job[b->plan.n_jobs];
    *job = *proto;
    job->encoder = b->choose(b->context, choice);
    job->role = choice->row ? choice->row->role : BL_ROLE_OTHER;
    job->n_parts = 1;
    assert(choice->n_cols % job->encoder->multiple == 0);
    if (job->encoder->in_parts)
        rc = set_parts(b, job, choice->name, dim);
    else
        rc = set_part(b, job, 0, bl_arena_strdup(&b->memory->arena, choice->name),
                      job->encoder->dtype, ndim, dim);
    if (rc != BL_OK)
        return rc;
    for (uint32_t k = 0; k < job->n_parts; k++)
        b->plan.n_bytes += job->part[k].n_bytes;
    b->plan.n_stored += job->n_parts;
    b->plan.n_source_bytes += job->source_bytes;
    job->n_values = job->n_rows * job->rows.n_cols;
    b->plan.n_values += job->n_values;
    b->plan.n_jobs++;
    return BL_OK;
}

bl_status bl_plan_end(bl_plan *out, bl_plan_builder *b, bl_status rc)
{
    bl_plan *plan = &b->plan;
    size_t n = 0;

    plan->memory = b->memory;
    if (rc == BL_OK) {
        plan->stored = bl_arena_alloc(&b->memory->arena, plan->n_stored, sizeof(*plan->stored));
        if (!plan->stored)
            rc = bl_fail_nomem(b->err, "plan");
    }
    if (rc != BL_OK) {
        bl_plan_release(plan);
        return rc;
    }
    for (size_t i = 0; i < plan->n_jobs; i++)
        for (uint32_t k = 0; k < plan->job[i].n_parts; k++)
            plan->stored[n++] = plan->job[i].part[k];
    *out = *plan;
    return BL_OK;
}

void bl_plan_drop_mtp(bl_plan *plan)
{
    size_t n_jobs = 0, n_stored = 0;

    for (size_t i = 0; i < plan->n_jobs; i++) {
        const bl_job job = plan->job[i];

        if (job.source && job.source[0]->is_mtp) {
            for (uint32_t k = 0; k < job.n_parts; k++)
                plan->n_bytes -= job.part[k].n_bytes;
            plan->n_source_bytes -= job.source_bytes;
            plan->n_values -= job.n_values;
            continue;
        }
        for (uint32_t k = 0; k < job.n_parts; k++)
            plan->stored[n_stored++] = job.part[k];
        plan->job[n_jobs++] = job;
    }
    plan->n_jobs = n_jobs;
    plan->n_stored = n_stored;
}

bl_status bl_plan_want_loss(bl_plan *plan, struct bl_err *err)
{
    bl_loss *loss = bl_arena_alloc(&plan->memory->arena, plan->n_jobs, sizeof(*loss));

    if (!loss)
        return bl_fail_nomem(err, "plan");
    for (size_t i = 0; i < plan->n_jobs; i++)
        plan->job[i].loss = &loss[i];
    return BL_OK;
}

void bl_plan_release(bl_plan *plan)
{
    bl_free(plan->job);
    if (plan->memory)
        bl_arena_release(&plan->memory->arena);
    bl_free(plan->memory);
    *plan = (bl_plan){ 0 };
}
