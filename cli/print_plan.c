/* print_plan.c - what a plan writes, or with --dry-run would write: types, bytes, bits a weight. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_KINDS = 16 };

struct kind {
    const char *name;
    uint64_t n_tensors, n_values, n_bytes;
};

static struct kind *find_kind(struct kind *kind, size_t *n, const char *name)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(kind[i].name, name) == 0)
            return &kind[i];
    if (*n == MAX_KINDS)
        return &kind[MAX_KINDS - 1];
    kind[*n] = (struct kind){ .name = name };
    return &kind[(*n)++];
}

bl_status bl_cli_print_plan(const bl_plan *plan, const char *output, struct bl_err *err)
{
    struct kind kind[MAX_KINDS];
    size_t n = 0;
    bl_text out = { 0 };
    char bytes[32];
    bl_status rc;

    for (size_t i = 0; i < plan->n_jobs; i++) {
        const bl_job *job = &plan->job[i];
        struct kind *k = find_kind(kind, &n, job->encoder->name);

        k->n_tensors++;
        k->n_values += job->n_rows * job->rows.n_cols;
        for (uint32_t p = 0; p < job->n_parts; p++)
            k->n_bytes += job->part[p].n_bytes;
    }
    bl_text_put_name(&out, output);
    bl_text_printf(&out, ": %zu tensors, %s, %.3f bits per weight\n\n", plan->n_jobs,
                   bl_text_bytes(bytes, plan->n_bytes),
                   8.0 * (double)plan->n_bytes / (double)(plan->n_values ? plan->n_values : 1));
    bl_text_printf(&out, "%-12s %8s %18s %18s\n", "type", "tensors", "values", "bytes");
    for (size_t i = 0; i < n; i++)
        bl_text_printf(&out, "%-12s %8" PRIu64 " %18" PRIu64 " %18" PRIu64 "\n", kind[i].name,
                       kind[i].n_tensors, kind[i].n_values, kind[i].n_bytes);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}
