/* report_json.c - everything that was measured, as one object; keys: docs/cli.md. */
#include "verify/report.h"

#include "verify/measures.h"
#include "verify/report_kept.h"
#include "verify/report_activations.h"
#include "verify/report_choices.h"

#include <stdio.h>

enum { MAX_KEY = 64 };

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
    bl_json_pair_u64(w, "faults", c->n_faults);
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
    bl_json_pair_u64(w, "files", s->n_files);
    bl_json_pair_u64(w, "bytes", s->n_bytes);
    put_check(w, &s->check);
    bl_json_end_object(w);
}

static void put_config(bl_json_writer *w, const bl_comparison *c)
{
    bl_json_put_key(w, "configuration");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_config; i++) {
        bl_json_begin_object(w);
        bl_json_pair_string(w, "field", c->config[i].field);
        bl_json_pair_string(w, "value", c->config[i].test);
        bl_json_pair_string(w, "reference", c->config[i].reference);
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
        bl_json_pair_string(w, "diagnosis", text.bytes);
    }
    bl_text_release(&text);
}

static void put_tensor(bl_json_writer *w, const bl_compared *t)
{
    bl_json_begin_object(w);
    bl_json_pair_string(w, "name", t->ref->name);
    bl_json_pair_string(w, "type", t->test->type_name);
    bl_json_pair_bool(w, "identical", t->metrics.identical);
    bl_json_pair_f64(w, "relative_rms", t->metrics.rel_rms);
    bl_json_pair_f64(w, "max_abs", t->metrics.max_abs);
    bl_json_pair_f64(w, "cosine", t->metrics.cosine);
    bl_json_pair_f64(w, "sqnr_db", t->metrics.sqnr_db);
    put_diagnosis(w, &t->diagnosis);
    bl_json_end_object(w);
}

static void put_comparison(bl_json_writer *w, const bl_comparison *c)
{
    put_config(w, c);
    bl_json_put_key(w, "tensors");
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "compared", c->n_compared);
    bl_json_pair_u64(w, "identical", c->n_identical);
    put_names(w, "missing", c->missing, c->n_missing);
    put_names(w, "extra", c->extra, c->n_extra);
    bl_json_pair_u64(w, "reshaped", c->n_reshaped);
    bl_json_put_key(w, "damaged");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_damaged; i++)
        bl_json_put_string(w, c->damaged[i]);
    bl_json_end_array(w);
    bl_json_pair_u64(w, "mtp_only", c->n_mtp_only);
    bl_json_pair_f64(w, "relative_rms", c->all.rel_rms);
    bl_json_pair_f64(w, "sqnr_db", c->all.sqnr_db);
    bl_json_put_key(w, "list");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->n_compared; i++)
        put_tensor(w, &c->compared[i]);
    bl_json_end_array(w);
    bl_json_end_object(w);
}

static void put_interval(bl_json_writer *w, const char *key, bl_interval interval)
{
    bl_json_put_key(w, key);
    bl_json_begin_array(w);
    bl_json_put_f64(w, interval.low);
    bl_json_put_f64(w, interval.high);
    bl_json_end_array(w);
}

static void put_measure(bl_json_writer *w, const bl_measure *m)
{
    char key[MAX_KEY];

    bl_json_pair_f64(w, m->key, m->value);
    snprintf(key, sizeof(key), "%s_error", m->key);
    bl_json_pair_f64(w, key, m->error);
    snprintf(key, sizeof(key), "%s_interval", m->key);
    put_interval(w, key, m->interval);
}

static void put_ppl(bl_json_writer *w, const bl_verify_report *r)
{
    const bl_ppl_result *p = &r->ppl;
    bl_measure measure[BL_MAX_MEASURES];
    bl_kl_quantile q[BL_N_KL_QUANTILES];
    size_t n = bl_measures_list(measure, p);

    bl_json_pair_string(w, "text", r->text);
    bl_json_pair_u64(w, "ctx", p->ctx);
    bl_json_pair_u64(w, "chunks", p->n_chunks);
    bl_json_pair_u64(w, "scored_tokens", p->n_scored);
    bl_json_pair_f64(w, "mean_nll", p->model[p->n_models - 1].mean_nll);
    for (size_t i = 0; i < n; i++)
        put_measure(w, &measure[i]);
    bl_report_kept_json(w, r);
    if (p->n_models == 1)
        return;
    bl_measures_kl(q, p);
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_json_pair_f64(w, q[i].key, q[i].value);
}

static void put_gates(bl_json_writer *w, const bl_gates *gates)
{
    bl_json_put_key(w, "gates");
    bl_json_begin_array(w);
    for (size_t i = 0; i < gates->n; i++) {
        const bl_gate *g = &gates->gate[i];

        bl_json_begin_object(w);
        bl_json_pair_string(w, "name", g->name);
        bl_json_pair_f64(w, "value", g->value);
        bl_json_pair_f64(w, "limit", g->limit);
        bl_json_pair_bool(w, "passed", g->passed);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

/* What there is to say of a model that was opened. */
static void put_model(bl_json_writer *w, const bl_verify_report *r)
{
    bl_json_pair_u64(w, "file_bytes", bl_ckpt_container(r->model)->n_file_bytes);
    bl_json_pair_f64(w, "bits_per_weight", bl_report_bits_per_weight(r->model));
    bl_json_pair_string(w, "reference", r->reference ? bl_ckpt_path(r->reference) : NULL);
    if (r->counterpart)
        bl_json_pair_bool(w, "pruned_from_reference", true);
    put_check(w, &r->check);
    if (r->has_comparison)
        put_comparison(w, &r->comparison);
    if (r->has_ppl)
        put_ppl(w, r);
    if (r->has_activations)
        bl_report_activations_json(w, &r->activations);
    if (r->has_choices)
        bl_report_choices_json(w, &r->choices);
    put_gates(w, &r->gates);
}

void bl_verify_report_json(bl_text *out, const bl_verify_report *r)
{
    bl_json_writer writer = { .text = out }, *w = &writer;

    bl_json_begin_object(w);
    bl_json_pair_string(w, "model", bl_report_path(r));
    if (r->sums_list)
        put_sums(w, &r->sums);
    if (r->model)
        put_model(w, r);
    bl_json_end_object(w);
    bl_text_puts(out, "\n");
}
