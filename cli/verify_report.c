/* verify_report.c - one page of numbers; definitions: docs/numerics.md. */
#include "cli/verify_report.h"

#include "base/size.h"
#include "cli/cli.h"
#include "formats/json/json_writer.h"

#include <inttypes.h>

enum { N_WORST = 10, N_NAMED = 5, N_FINDINGS = 20 };

static double bits_per_weight(const bl_ckpt *ckpt)
{
    uint64_t values = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        values += bl_ckpt_tensor(ckpt, i)->n_values;
    return values ? 8.0 * (double)bl_ckpt_container(ckpt)->n_file_bytes / (double)values : 0;
}

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
                       s->n_files == 1 ? "" : "s", bl_cli_bytes(bytes, s->n_bytes));
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
                       c->n_tensors, r->reference ? "" : ", every value finite");
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

static void print_ppl(bl_text *out, const bl_verify_report *r)
{
    const bl_ppl_result *p = &r->ppl;
    const bl_ppl_score *test = &p->model[p->n_models - 1];

    bl_text_puts(out, "text           ");
    bl_text_put_name(out, r->text);
    bl_text_printf(out, ": %zu chunks of %" PRIu32 ", %zu tokens scored\n", p->n_chunks, p->ctx,
                   p->n_scored);
    bl_text_printf(out, "perplexity     %.4f +- %.4f", test->perplexity, test->error);
    if (p->n_models == 1) {
        bl_text_puts(out, "\n");
        return;
    }
    bl_text_printf(out, ", reference %.4f +- %.4f, ln ratio %+.6f +- %.6f\n",
                   p->model[0].perplexity, p->model[0].error, p->ln_ratio, p->ln_ratio_error);
    bl_text_printf(out,
                   "KL divergence  mean %.6f +- %.6f, median %.6f, 99 %% %.6f, max %.6f nats\n",
                   p->kl_mean, p->kl_error, p->kl_median, p->kl_p99, p->kl_max);
    bl_text_printf(out, "same top token %.3f +- %.3f %%\n", 100 * p->same_top,
                   100 * p->same_top_error);
    bl_text_printf(out, "probability    RMS change of the right token's %.3f %%\n",
                   100 * p->rms_dp);
}

void bl_verify_report_text(bl_text *out, const bl_verify_report *r)
{
    const bl_container *c;
    char bytes[32];

    if (!r->model) {
        bl_text_put_name(out, r->path);
        bl_text_puts(out, "\n");
        print_sums(out, &r->sums);
        return;
    }
    c = bl_ckpt_container(r->model);
    bl_text_put_name(out, c->path);
    bl_text_printf(out, ": %s, %s, %.3f bits per weight", c->kind,
                   bl_cli_bytes(bytes, c->n_file_bytes), bits_per_weight(r->model));
    if (r->reference) {
        bl_text_puts(out, ", against ");
        bl_text_put_name(out, bl_ckpt_path(r->reference));
    }
    bl_text_puts(out, "\n");
    if (r->sums_list)
        print_sums(out, &r->sums);
    print_check(out, r);
    if (r->has_comparison)
        print_comparison(out, &r->comparison);
    if (r->has_ppl)
        print_ppl(out, r);
}

static void put_u64(bl_json_writer *w, const char *key, uint64_t v)
{
    bl_json_put_key(w, key);
    bl_json_put_u64(w, v);
}

static void put_f64(bl_json_writer *w, const char *key, double v)
{
    bl_json_put_key(w, key);
    bl_json_put_f64(w, v);
}

static void put_names(bl_json_writer *w, const char *key, const bl_tensor *const *list, size_t n)
{
    bl_json_put_key(w, key);
    bl_json_begin_array(w);
    for (size_t i = 0; i < n; i++)
        bl_json_put_string(w, list[i]->name);
    bl_json_end_array(w);
}

static void put_check(bl_json_writer *w, const bl_check_result *c)
{
    put_u64(w, "faults", c->n_faults);
    bl_json_put_key(w, "findings");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_findings; i++)
        bl_json_put_string(w, c->finding[i].text);
    bl_json_end_array(w);
}

static void put_sums(bl_json_writer *w, const bl_sums_result *s)
{
    bl_json_put_key(w, "sums");
    bl_json_begin_object(w);
    put_u64(w, "files", s->n_files);
    put_u64(w, "bytes", s->n_bytes);
    put_check(w, &s->check);
    bl_json_end_object(w);
}

static void put_config(bl_json_writer *w, const bl_comparison *c)
{
    bl_json_put_key(w, "configuration");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_config; i++) {
        bl_json_begin_object(w);
        bl_json_put_key(w, "field");
        bl_json_put_string(w, c->config[i].field);
        bl_json_put_key(w, "value");
        bl_json_put_string(w, c->config[i].test);
        bl_json_put_key(w, "reference");
        bl_json_put_string(w, c->config[i].reference);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

/* Nothing where there is none. */
static void put_diagnosis(bl_json_writer *w, const bl_diagnosis *diagnosis)
{
    bl_text text = { 0 };

    bl_diagnosis_put(&text, diagnosis);
    if (text.failed)
        w->text->failed = true;
    else if (text.n > 0) {
        bl_json_put_key(w, "diagnosis");
        bl_json_put_string(w, text.bytes);
    }
    bl_text_release(&text);
}

static void put_comparison(bl_json_writer *w, const bl_comparison *c)
{
    put_config(w, c);
    bl_json_put_key(w, "tensors");
    bl_json_begin_object(w);
    put_u64(w, "compared", c->n_compared);
    put_u64(w, "identical", c->n_identical);
    put_names(w, "missing", c->missing, c->n_missing);
    put_names(w, "extra", c->extra, c->n_extra);
    put_u64(w, "reshaped", c->n_reshaped);
    bl_json_put_key(w, "damaged");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_damaged; i++)
        bl_json_put_string(w, c->damaged[i]);
    bl_json_end_array(w);
    put_u64(w, "mtp_only", c->n_mtp_only);
    put_f64(w, "relative_rms", c->all.rel_rms);
    put_f64(w, "sqnr_db", c->all.sqnr_db);
    bl_json_put_key(w, "list");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_compared; i++) {
        const bl_compared *t = &c->compared[i];

        bl_json_begin_object(w);
        bl_json_put_key(w, "name");
        bl_json_put_string(w, t->ref->name);
        bl_json_put_key(w, "type");
        bl_json_put_string(w, t->test->type_name);
        bl_json_put_key(w, "identical");
        bl_json_put_bool(w, t->metrics.identical);
        put_f64(w, "relative_rms", t->metrics.rel_rms);
        put_f64(w, "max_abs", t->metrics.max_abs);
        put_f64(w, "cosine", t->metrics.cosine);
        put_f64(w, "sqnr_db", t->metrics.sqnr_db);
        put_diagnosis(w, &t->diagnosis);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
    bl_json_end_object(w);
}

static void put_ppl(bl_json_writer *w, const bl_verify_report *r)
{
    const bl_ppl_result *p = &r->ppl;
    const bl_ppl_score *test = &p->model[p->n_models - 1];

    bl_json_put_key(w, "text");
    bl_json_put_string(w, r->text);
    put_u64(w, "ctx", p->ctx);
    put_u64(w, "chunks", p->n_chunks);
    put_u64(w, "scored_tokens", p->n_scored);
    put_f64(w, "perplexity", test->perplexity);
    put_f64(w, "perplexity_error", test->error);
    put_f64(w, "mean_nll", test->mean_nll);
    if (p->n_models == 1)
        return;
    put_f64(w, "reference_perplexity", p->model[0].perplexity);
    put_f64(w, "reference_perplexity_error", p->model[0].error);
    put_f64(w, "ln_ratio", p->ln_ratio);
    put_f64(w, "ln_ratio_error", p->ln_ratio_error);
    put_f64(w, "mean_kld", p->kl_mean);
    put_f64(w, "mean_kld_error", p->kl_error);
    put_f64(w, "median_kld", p->kl_median);
    put_f64(w, "kld_90", p->kl_p90);
    put_f64(w, "kld_95", p->kl_p95);
    put_f64(w, "kld_99", p->kl_p99);
    put_f64(w, "kld_99_9", p->kl_p999);
    put_f64(w, "max_kld", p->kl_max);
    put_f64(w, "same_top", p->same_top);
    put_f64(w, "same_top_error", p->same_top_error);
    put_f64(w, "rms_probability_change", p->rms_dp);
}

/* What there is to say of a model that was opened. */
static void put_model(bl_json_writer *w, const bl_verify_report *r)
{
    put_u64(w, "file_bytes", bl_ckpt_container(r->model)->n_file_bytes);
    put_f64(w, "bits_per_weight", bits_per_weight(r->model));
    bl_json_put_key(w, "reference");
    bl_json_put_string(w, r->reference ? bl_ckpt_path(r->reference) : NULL);
    put_check(w, &r->check);
    if (r->has_comparison)
        put_comparison(w, &r->comparison);
    if (r->has_ppl)
        put_ppl(w, r);
}

void bl_verify_report_json(bl_text *out, const bl_verify_report *r)
{
    bl_json_writer writer = { .text = out }, *w = &writer;

    bl_json_begin_object(w);
    bl_json_put_key(w, "model");
    bl_json_put_string(w, r->model ? bl_ckpt_path(r->model) : r->path);
    if (r->sums_list)
        put_sums(w, &r->sums);
    if (r->model)
        put_model(w, r);
    bl_json_end_object(w);
    bl_text_puts(out, "\n");
}
