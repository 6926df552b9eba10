/* plan_importance.c - see the header. Rows of importance are read as rows of weights are. */
#include "quantize/plan_importance.h"

#include "base/alloc.h"

#include <string.h>

/* Importance of one head, where `all` heads' is known at once: [n_heads][n_cols]. */
static bl_status read_head(float *out, bool *known, const bl_plan_importance *from,
                           const bl_job *job, uint64_t head, struct bl_err *err)
{
    const uint64_t n = from->config->n_heads * job->rows.n_cols;
    const uint32_t layer = (uint32_t)job->source[0]->layer;
    float *all = bl_alloc((size_t)n, sizeof(*all));
    bl_status rc;

    if (!all)
        return bl_fail_nomem(err, "importance");
    rc = (job->view == BL_VIEW_K_B ? bl_importance_of_k_b : bl_importance_of_v_b)(
        all, known, from->stats, from->config, layer, err);
    if (rc == BL_OK && *known)
        memcpy(out, all + head * job->rows.n_cols, (size_t)job->rows.n_cols * sizeof(*out));
    bl_free(all);
    return rc;
}

static bl_status read_group(float *out, bool *known, const bl_plan_importance *from,
                            const bl_job *job, uint64_t group, struct bl_err *err)
{
    if (job->view != BL_VIEW_ROWS)
        return read_head(out, known, from, job, group, err);
    return bl_importance_of_tensor(out, known, from->stats, from->config, job->source[group], err);
}

static bl_status read_importance(const void *context, const void *tensor, uint64_t row,
                                 uint64_t n_rows, float *out, struct bl_err *err)
{
    const bl_plan_importance *from = context;
    const bl_job *job = tensor;
    bool known = true;
    bl_status rc = BL_OK;

    for (uint64_t i = 0; i < n_rows && rc == BL_OK; i++, out += job->rows.n_cols) {
        rc = read_group(out, &known, from, job, row + i, err);
        if (rc == BL_OK && !known)
            return bl_fail(err, BL_E_FORMAT, "%s: no statistics of '%s', though of others like it",
                           bl_stats_path(from->stats), job->source[0]->name);
    }
    return rc;
}

/* Only tensors that multiply an activation, and are not kept as they are, have a use for it. */
static bool is_linear(const bl_job *job)
{
    return job->view != BL_VIEW_NONE && job->rows.read && job->part[0].ndim > 1 &&
           !bl_role_is_exact(job->role);
}

bl_status bl_plan_set_importance(bl_plan *plan, bl_plan_importance *from, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < plan->n_jobs && rc == BL_OK; i++) {
        bl_job *job = &plan->job[i];
        bool known = false;
        float *probe;

        if (!is_linear(job))
            continue;
        probe = bl_alloc((size_t)job->rows.n_cols, sizeof(*probe));
        rc =
            probe ? read_group(probe, &known, from, job, 0, err) : bl_fail_nomem(err, "importance");
        bl_free(probe);
        if (rc != BL_OK)
            break;
        if (known || job->role != BL_ROLE_EMBEDDING) /* one that is tied is the head too */
            from->n_values += job->n_rows * job->rows.n_cols;
        if (!known)
            continue;
        from->n_known += job->n_rows * job->rows.n_cols;
        job->importance = (bl_rows){ read_importance, from, job, job->rows.n_cols };
        job->importance_rows = job->rows_each;
    }
    return rc;
}
