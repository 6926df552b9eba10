/*
 * print_plan.c - what a plan writes, or with --dry-run would write: types, bytes and bits a weight
 * by role and, where it was measured, what the encoding cost.
 */
#include "cli/cli.h"

#include "convert/loss.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_KINDS = 128 }; /* roles times the types that a plan can mix */

/* Tensors of one role and type. */
struct kind {
    bl_role role;
    const char *type;
    uint64_t n_tensors, n_values, n_bytes;
    bl_loss loss;
};

struct kinds {
    struct kind kind[MAX_KINDS];
    size_t n;
    struct kind total;
    bool measured;
};

static struct kind *find_kind(struct kinds *k, bl_role role, const char *type)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->kind[i].role == role && strcmp(k->kind[i].type, type) == 0)
            return &k->kind[i];
    if (k->n == MAX_KINDS)
        return &k->kind[MAX_KINDS - 1];
    k->kind[k->n] = (struct kind){ .role = role, .type = type };
    return &k->kind[k->n++];
}

static uint64_t bytes_of(const bl_job *job)
{
    uint64_t n = 0;

    for (uint32_t p = 0; p < job->n_parts; p++)
        n += job->part[p].n_bytes;
    return n;
}

static void add_job(struct kind *k, const bl_job *job)
{
    k->n_tensors++;
    k->n_values += job->n_values;
    k->n_bytes += bytes_of(job);
    if (job->loss)
        bl_loss_add(&k->loss, job->loss);
}

static void collect(struct kinds *k, const bl_plan *plan)
{
    for (int role = 0; role < BL_ROLE_COUNT; role++)
        for (size_t i = 0; i < plan->n_jobs; i++) {
            const bl_job *job = &plan->job[i];

            if (job->role != (bl_role)role)
                continue;
            add_job(find_kind(k, job->role, job->encoder->name), job);
            add_job(&k->total, job);
            k->measured |= job->loss && job->loss->n_values > 0;
        }
}

static double bits(uint64_t n_bytes, uint64_t n_values)
{
    return n_values > 0 ? 8.0 * (double)n_bytes / (double)n_values : 0;
}

static void put_kind(bl_text *out, const struct kind *k, const char *role, bool measured)
{
    bl_text_printf(out, "%-14s %-10s %7" PRIu64 " %16" PRIu64 " %16" PRIu64 " %7.3f", role, k->type,
                   k->n_tensors, k->n_values, k->n_bytes, bits(k->n_bytes, k->n_values));
    if (measured && k->loss.error > 0)
        bl_text_printf(out, " %10.3e %8.2f", bl_loss_relative(&k->loss), bl_loss_sqnr_db(&k->loss));
    else if (measured)
        bl_text_printf(out, " %10s %8s", k->loss.n_values > 0 ? "0" : "-", "-");
    bl_text_puts(out, "\n");
}

bl_status bl_cli_print_plan(const bl_plan *plan, const char *output, struct bl_err *err)
{
    struct kinds k = { .total = { .type = "" } };
    bl_text out = { 0 };
    char bytes[32];
    bl_status rc;

    collect(&k, plan);
    bl_text_put_name(&out, output);
    bl_text_printf(&out, ": %zu tensors, %s, %.3f bits per weight\n\n", plan->n_jobs,
                   bl_text_bytes(bytes, plan->n_bytes), bits(plan->n_bytes, plan->n_values));
    bl_text_printf(&out, "%-14s %-10s %7s %16s %16s %7s%s\n", "role", "type", "tensors", "values",
                   "bytes", "bits", k.measured ? "       loss  SQNR dB" : "");
    for (size_t i = 0; i < k.n; i++)
        put_kind(&out, &k.kind[i], bl_role_name(k.kind[i].role), k.measured);
    if (k.n > 1)
        put_kind(&out, &k.total, "all", k.measured);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static void put_loss(bl_json_writer *w, const bl_loss *loss)
{
    bl_json_pair_f64(w, "loss", bl_loss_relative(loss));
    bl_json_pair_f64(w, "sqnr_db", bl_loss_sqnr_db(loss));
    bl_json_pair_f64(w, "mean_square_error",
                     loss->error / (double)(loss->n_values ? loss->n_values : 1));
    bl_json_pair_f64(w, "largest_error", (double)loss->largest);
}

static void put_json_kind(bl_json_writer *w, const struct kind *k)
{
    bl_json_pair_u64(w, "values", k->n_values);
    bl_json_pair_u64(w, "bytes", k->n_bytes);
    bl_json_pair_f64(w, "bits_per_weight", bits(k->n_bytes, k->n_values));
    if (k->loss.n_values > 0)
        put_loss(w, &k->loss);
}

static void put_json_tensors(bl_json_writer *w, const bl_plan *plan)
{
    bl_json_put_key(w, "tensors");
    bl_json_begin_array(w);
    for (size_t i = 0; i < plan->n_jobs; i++) {
        const bl_job *job = &plan->job[i];
        struct kind one = { 0 };

        add_job(&one, job);
        bl_json_begin_object(w);
        bl_json_pair_string(w, "name", job->part[0].name);
        bl_json_pair_string(w, "role", bl_role_name(job->role));
        bl_json_pair_string(w, "type", job->encoder->name);
        put_json_kind(w, &one);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

void bl_cli_put_plan_json(bl_json_writer *w, const bl_plan *plan, const char *output)
{
    struct kinds k = { 0 };

    collect(&k, plan);
    bl_json_pair_string(w, "output", output);
    put_json_kind(w, &k.total);
    bl_json_put_key(w, "roles");
    bl_json_begin_array(w);
    for (size_t i = 0; i < k.n; i++) {
        bl_json_begin_object(w);
        bl_json_pair_string(w, "role", bl_role_name(k.kind[i].role));
        bl_json_pair_string(w, "type", k.kind[i].type);
        bl_json_pair_u64(w, "tensors", k.kind[i].n_tensors);
        put_json_kind(w, &k.kind[i]);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
    put_json_tensors(w, plan);
}
