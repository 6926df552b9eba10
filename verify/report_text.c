/* report_text.c - one page of numbers for a terminal; definitions: docs/numerics.md. */
#include "verify/report.h"

#include "verify/measures.h"
#include "verify/report_activations.h"
#include "verify/report_choices.h"
#include "verify/report_kept.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { N_WORST = 10, N_NAMED = 5, N_FINDINGS = 20 };

static void name_some(bl_text *out, const char *what, const bl_tensor *const *list, size_t n)
{
    if (n == 0)
        return;
    bl_text_printf(out, "  %zu %s:", n, what);
    for (size_t i = 0; i < n && i < N_NAMED; i++) {
        bl_text_puts(out, i ? ", " : " ");
        bl_text_put_name(out, list[i]->name);
    }
    bl_text_puts(out, n > N_NAMED ? " ...\n" : "\n");
}

static void print_findings(bl_text *out, const bl_check_result *c)
{
    for (size_t i = 0; i < c->n_findings && i < N_FINDINGS; i++)
        bl_text_printf(out, "  %s%s\n", c->finding[i].kind == BL_FINDING_NOTE ? "note: " : "",
                       c->finding[i].text);
    if (c->n_findings > N_FINDINGS)
        bl_text_printf(out, "  ... and %zu more\n", c->n_findings - N_FINDINGS);
}

static void print_sums(bl_text *out, const bl_sums_result *s)
{
    char bytes[32];

    if (s->check.n_faults > 0)
        bl_text_printf(out, "sums           %zu fault%s\n", s->check.n_faults,
                       s->check.n_faults == 1 ? "" : "s");
    else
        bl_text_printf(out, "sums           %zu file%s as listed, %s\n", s->n_files,
                       s->n_files == 1 ? "" : "s", bl_text_bytes(bytes, s->n_bytes));
    print_findings(out, &s->check);
}

static void print_check(bl_text *out, const bl_verify_report *r)
{
    const bl_check_result *c = &r->check;

    if (c->n_faults > 0)
        bl_text_printf(out, "structure      %zu fault%s\n", c->n_faults,
                       c->n_faults == 1 ? "" : "s");
    else
        bl_text_printf(out, "structure      %zu tensors as the configuration says%s\n",
                       c->n_tensors,
                       r->reference || r->structure_only ? "" : ", every value finite");
    print_findings(out, c);
}

static void print_config(bl_text *out, const bl_comparison *c)
{
    for (size_t i = 0; i < c->n_config; i++)
        bl_text_printf(out, "%s%s is %s, the reference has %s\n",
                       i ? "               " : "configuration  ", c->config[i].field,
                       c->config[i].test, c->config[i].reference);
}

/* Under the name that it is about. */
static void print_diagnosis(bl_text *out, const bl_diagnosis *diagnosis)
{
    if (diagnosis->kind == BL_DIAGNOSIS_NONE)
        return;
    bl_text_printf(out, "%46s", "");
    bl_diagnosis_put(out, diagnosis);
    bl_text_puts(out, "\n");
}

static void print_comparison(bl_text *out, const bl_comparison *c)
{
    print_config(out, c);
    bl_text_printf(out, "tensors        %zu compared, %zu identical\n", c->n_compared,
                   c->n_identical);
    name_some(out, "missing", c->missing, c->n_missing);
    name_some(out, "extra", c->extra, c->n_extra);
    for (size_t i = 0; i < c->n_reshaped && i < N_NAMED; i++) {
        bl_text_puts(out, "  another shape: ");
        bl_text_put_name(out, c->reshaped[i].ref->name);
        bl_text_puts(out, "\n");
    }
    for (size_t i = 0; i < c->n_damaged && i < N_NAMED; i++)
        bl_text_printf(out, "  not decoded: %s\n", c->damaged[i]);
    if (c->n_mtp_only > 0)
        bl_text_printf(out, "  note: %zu tensors of MTP layers are in only one of the two\n",
                       c->n_mtp_only);
    if (c->n_identical == c->n_compared)
        return;
    bl_text_printf(out, "error          relative RMS %.6f, SQNR %.2f dB over all values; worst:\n",
                   c->all.rel_rms, c->all.sqnr_db);
    bl_text_printf(out, "  %10s %10s %10s %9s  %s\n", "rel RMS", "max abs", "cosine", "SQNR dB",
                   "tensor");
    for (size_t i = 0; i < c->n_compared && i < N_WORST; i++) {
        const bl_compared *t = &c->compared[i];

        if (t->metrics.identical)
            break;
        bl_text_printf(out, "  %10.6f %10.3g %10.7f %9.2f  ", t->metrics.rel_rms,
                       t->metrics.max_abs, t->metrics.cosine, t->metrics.sqnr_db);
        bl_text_put_name(out, t->ref->name);
        bl_text_puts(out, "\n");
        print_diagnosis(out, &t->diagnosis);
    }
}

static void print_measure(bl_text *out, const bl_measure *m)
{
    double scale = m->is_fraction ? 100 : 1;
    char name[64];

    snprintf(name, sizeof(name), "%s%s", m->name, m->is_fraction ? ", %" : "");
    bl_text_printf(out, "  %-46s %12.6f %12.6f .. %-12.6f %9.6f\n", name, scale * m->value,
                   scale * m->interval.low, scale * m->interval.high, scale * m->error);
}

static void print_kl(bl_text *out, const bl_ppl_result *p)
{
    bl_kl_quantile q[BL_N_KL_QUANTILES];

    bl_measures_kl(q, p);
    bl_text_puts(out, "KL divergence  ");
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_text_printf(out, " %10s", q[i].name);
    bl_text_puts(out, "\n  of a token   ");
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_text_printf(out, " %10.6f", q[i].value);
    bl_text_puts(out, "\n");
}

static void print_ppl(bl_text *out, const bl_verify_report *r)
{
    const bl_ppl_result *p = &r->ppl;
    bl_measure measure[BL_MAX_MEASURES];
    size_t n = bl_measures_list(measure, p);

    bl_text_puts(out, "text           ");
    bl_text_put_name(out, r->text);
    bl_text_printf(out, ": %zu chunks of %" PRIu32 ", %zu tokens scored\n", p->n_chunks, p->ctx,
                   p->n_scored);
    bl_report_kept_text(out, r);
    bl_text_printf(out, "  %-46s %12s %28s %9s\n", "", "value", "95 % confidence interval",
                   "std error");
    for (size_t i = 0; i < n; i++)
        print_measure(out, &measure[i]);
    bl_report_kept_error_text(out, r);
    if (p->n_models == 2)
        print_kl(out, p);
}

static void print_gates(bl_text *out, const bl_gates *gates)
{
    for (size_t i = 0; i < gates->n; i++) {
        const bl_gate *g = &gates->gate[i];
        char value[32] = "not a number";

        if (!isnan(g->value))
            snprintf(value, sizeof(value), "%.6f", g->value);
        bl_text_printf(out, "%s%s %s, %s %g: %s\n", i ? "               " : "gates          ",
                       g->what, value, g->kind == BL_GATE_AT_MOST ? "at most" : "at least",
                       g->limit, g->passed ? "passed" : "not passed");
    }
}

/* The line about the files of the model, and of the reference. */
static void print_models(bl_text *out, const bl_verify_report *r)
{
    const bl_container *c = bl_ckpt_container(r->model);
    char bytes[32];

    bl_text_printf(out, ": %s, %s, %.3f bits per weight", c->kind,
                   bl_text_bytes(bytes, c->n_file_bytes), bl_report_bits_per_weight(r->model));
    if (r->reference) {
        bl_text_puts(out, ", against ");
        bl_text_put_name(out, bl_ckpt_path(r->reference));
    }
    if (r->counterpart)
        bl_text_puts(out, ", of which it has some layers and experts");
}

void bl_verify_report_text(bl_text *out, const bl_verify_report *r)
{
    bl_text_put_name(out, bl_report_path(r));
    if (r->model)
        print_models(out, r);
    bl_text_puts(out, "\n");
    if (r->sums_list)
        print_sums(out, &r->sums);
    if (r->has_check)
        print_check(out, r);
    if (r->has_comparison)
        print_comparison(out, &r->comparison);
    if (r->has_ppl)
        print_ppl(out, r);
    if (r->has_activations)
        bl_report_activations_text(out, &r->activations);
    if (r->has_choices)
        bl_report_choices_text(out, &r->choices);
    print_gates(out, &r->gates);
}
