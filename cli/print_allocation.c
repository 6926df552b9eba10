/*
 * print_allocation.c - what a bit budget chose: by role and type the tensors, bytes and bits, their
 * error, and the share of the predicted loss.
 */
#include "cli/cli.h"

#include "formats/json/json_writer.h"

#include <inttypes.h>

enum { MAX_KINDS = 256 /* roles times types of a plan */ };

/* Tensors of one role and type. */
struct kind {
    bl_role role;
    bl_dtype dtype;
    uint64_t n_tensors, n_values, n_bytes;
    double error; /* sum of e times values */
    double loss;
};

static size_t collect(struct kind kind[MAX_KINDS], const bl_allocation *a)
{
    size_t n = 0;

    for (int role = 0; role < BL_ROLE_COUNT; role++)
        for (size_t i = 0; i < a->n_tensors; i++) {
            const bl_allocation_tensor *t = &a->tensor[i];
            size_t k = 0;

            if (t->role != (bl_role)role)
                continue;
            while (k < n && (kind[k].role != t->role || kind[k].dtype != t->dtype))
                k++;
            if (k == n && n < MAX_KINDS)
                kind[n++] = (struct kind){ .role = t->role, .dtype = t->dtype };
            k = k < n ? k : n - 1;
            kind[k].n_tensors++;
            kind[k].n_values += t->n_values;
            kind[k].n_bytes += t->bytes;
            kind[k].error += t->error * (double)t->n_values;
            kind[k].loss += t->loss;
        }
    return n;
}

static double over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double bits(uint64_t n_bytes, uint64_t n_values)
{
    return over(8.0 * (double)n_bytes, (double)n_values);
}

bl_status bl_cli_print_allocation(const bl_allocation *a, const char *output, struct bl_err *err)
{
    struct kind kind[MAX_KINDS];
    const size_t n = collect(kind, a);
    uint64_t n_bytes = 0;
    bl_text out = { 0 };
    char bytes[32];
    bl_status rc;

    for (size_t i = 0; i < n; i++)
        n_bytes += kind[i].n_bytes;
    bl_text_put_name(&out, output);
    bl_text_printf(&out, ": %zu tensors, %s, %.3f bits per weight, ", a->n_tensors,
                   bl_text_bytes(bytes, a->file_bytes), bits(n_bytes, a->n_values));
    if (a->in_nats)
        bl_text_printf(&out, "predicted KL %.6f nats\n\n", a->result.loss);
    else
        bl_text_puts(&out, "sensitivities not measured\n\n");
    bl_text_printf(&out, "%-14s %-8s %7s %16s %7s %10s %7s\n", "role", "type", "tensors", "bytes",
                   "bits", "error", "loss %");
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = &kind[i];

        bl_text_printf(&out, "%-14s %-8s %7" PRIu64 " %16" PRIu64 " %7.3f %10.3e %7.2f\n",
                       bl_role_name(k->role), bl_dtype_name(k->dtype), k->n_tensors, k->n_bytes,
                       bits(k->n_bytes, k->n_values), over(k->error, (double)k->n_values),
                       100 * over(k->loss, a->result.loss));
    }
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static void put_tensors(bl_json_writer *w, const bl_allocation *a)
{
    bl_json_put_key(w, "tensors");
    bl_json_begin_array(w);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const bl_allocation_tensor *t = &a->tensor[i];

        bl_json_begin_object(w);
        bl_json_pair_string(w, "name", t->name);
        bl_json_pair_string(w, "role", bl_role_name(t->role));
        bl_json_pair_string(w, "type", bl_dtype_name(t->dtype));
        bl_json_pair_u64(w, "values", t->n_values);
        bl_json_pair_u64(w, "bytes", t->bytes);
        if (t->is_free) {
            bl_json_pair_f64(w, "error", t->error);
            bl_json_pair_f64(w, "loss", t->loss);
        }
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

bl_status bl_cli_print_allocation_json(const bl_allocation *a, const char *output,
                                       struct bl_err *err)
{
    struct kind kind[MAX_KINDS];
    const size_t n = collect(kind, a);
    bl_text out = { 0 };
    bl_json_writer w = { .text = &out };
    bl_status rc;

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "output", output);
    bl_json_pair_u64(&w, "file_bytes", a->file_bytes);
    bl_json_pair_u64(&w, "values", a->n_values);
    bl_json_pair_f64(&w, a->in_nats ? "predicted_kl" : "relative_loss", a->result.loss);
    bl_json_pair_f64(&w, "bound", a->result.bound);
    bl_json_put_key(&w, "roles");
    bl_json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = &kind[i];

        bl_json_begin_object(&w);
        bl_json_pair_string(&w, "role", bl_role_name(k->role));
        bl_json_pair_string(&w, "type", bl_dtype_name(k->dtype));
        bl_json_pair_u64(&w, "tensors", k->n_tensors);
        bl_json_pair_u64(&w, "bytes", k->n_bytes);
        bl_json_pair_f64(&w, "bits_per_weight", bits(k->n_bytes, k->n_values));
        bl_json_pair_f64(&w, "error", over(k->error, (double)k->n_values));
        bl_json_pair_f64(&w, "loss", k->loss);
        bl_json_end_object(&w);
    }
    bl_json_end_array(&w);
    put_tensors(&w, a);
    bl_json_end_object(&w);
    bl_text_puts(&out, "\n");
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}
