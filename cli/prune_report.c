/* prune_report.c - what trials of prunings came to: a table for each text, JSON, a plot. */
#include "base/alloc.h"
#include "base/sink.h"
#include "cli/prune_run.h"
#include "verify/chart.h"
#include "verify/statistics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Trials that differ in their seed only: [first, first + n). */
struct cluster {
    size_t first, n;
};

static bool is_same(const bl_prune_trial *a, const bl_prune_trial *b)
{
    return strcmp(a->method, b->method) == 0 && a->n_experts == b->n_experts && a->seed >= 0 &&
           b->seed >= 0;
}

static struct cluster next_cluster(const bl_prune_trials *t, size_t first)
{
    struct cluster c = { first, 1 };

    while (c.first + c.n < t->n && is_same(&t->trial[first], &t->trial[c.first + c.n]))
        c.n++;
    return c;
}

/* A number of each trial of a cluster: its mean, and its standard deviation (0 of one). */
static double spread_of(double *deviation, const bl_prune_trials *t, struct cluster c, size_t text,
                        double (*value)(const bl_ppl_result *))
{
    double sum = 0, squares = 0, mean;

    for (size_t i = 0; i < c.n; i++)
        sum += value(&t->trial[c.first + i].result[text]);
    mean = sum / (double)c.n;
    for (size_t i = 0; i < c.n; i++) {
        const double d = value(&t->trial[c.first + i].result[text]) - mean;

        squares += d * d;
    }
    *deviation = c.n > 1 ? sqrt(squares / (double)(c.n - 1)) : 0;
    return mean;
}

static double perplexity_of(const bl_ppl_result *r)
{
    return r->model[1].perplexity;
}

static double kl_of(const bl_ppl_result *r)
{
    return r->kl_mean;
}

static double same_top_of(const bl_ppl_result *r)
{
    return r->same_top;
}

/* The error that is printed behind a number: of the measurement, or the spread over seeds. */
static double error_or(double deviation, size_t n, double error)
{
    return n > 1 ? deviation : error;
}

static void put_row(bl_text *out, const bl_prune_trials *t, struct cluster c, size_t text)
{
    const bl_prune_trial *trial = &t->trial[c.first];
    const bl_ppl_result *r = &trial->result[text];
    double d_ppl, d_kl, d_top;
    const double ppl = spread_of(&d_ppl, t, c, text, perplexity_of);
    const double kl = spread_of(&d_kl, t, c, text, kl_of);
    const double top = spread_of(&d_top, t, c, text, same_top_of);
    char bytes[32], name[48];

    snprintf(name, sizeof(name), c.n > 1 ? "%s (%zu seeds)" : "%s", trial->method, c.n);
    bl_text_printf(out,
                   "  %5.1f %%  %7" PRIu32 "  %9s  %-18s %10.4f +- %-8.4f %9.5f +- %-8.5f "
                   "%6.2f +- %.2f %%\n",
                   100 * trial->ratio, trial->n_experts,
                   trial->n_bytes ? bl_text_bytes(bytes, trial->n_bytes) : "-", name, ppl,
                   error_or(d_ppl, c.n, r->model[1].error), kl, error_or(d_kl, c.n, r->kl_error),
                   100 * top, 100 * error_or(d_top, c.n, r->same_top_error));
}

static void put_text(bl_text *out, const bl_prune_options *o, const bl_prune_trials *t, size_t text)
{
    const bl_ppl_result *base = &t->base[text];

    if (text > 0)
        bl_text_puts(out, "\n");
    bl_text_put_name(out, o->text.value[text]);
    bl_text_printf(out, ": %zu tokens scored; whole model: perplexity %.4f +- %.4f\n",
                   base->n_scored, base->model[0].perplexity, base->model[0].error);
    bl_text_printf(out, "  %7s  %7s  %9s  %-18s %10s %11s %9s %11s %6s\n", "pruned", "experts",
                   "size", "method", "perplexity", "", "mean KL", "", "same top");
    for (size_t i = 0; i < t->n;) {
        const struct cluster c = next_cluster(t, i);

        put_row(out, t, c, text);
        i += c.n;
    }
}

static void put_trial_json(bl_json_writer *w, const bl_prune_options *o, const bl_prune_trial *t,
                           size_t n_texts)
{
    bl_json_begin_object(w);
    bl_json_pair_string(w, "method", t->method);
    if (t->seed >= 0)
        bl_json_pair_u64(w, "seed", (uint64_t)t->seed);
    bl_json_pair_f64(w, "ratio", t->ratio);
    bl_json_pair_u64(w, "experts", t->n_experts);
    if (t->n_bytes)
        bl_json_pair_u64(w, "bytes", t->n_bytes);
    bl_json_put_key(w, "texts");
    bl_json_begin_array(w);
    for (size_t i = 0; i < n_texts; i++) {
        const bl_ppl_result *r = &t->result[i];

        bl_json_begin_object(w);
        bl_json_pair_string(w, "text", o->text.value[i]);
        bl_json_pair_u64(w, "scored", r->n_scored);
        bl_json_pair_f64(w, "perplexity", r->model[1].perplexity);
        bl_json_pair_f64(w, "perplexity_error", r->model[1].error);
        bl_json_pair_f64(w, "base_perplexity", r->model[0].perplexity);
        bl_json_pair_f64(w, "ln_ratio", r->ln_ratio);
        bl_json_pair_f64(w, "ln_ratio_error", r->ln_ratio_error);
        bl_json_pair_f64(w, "mean_kld", r->kl_mean);
        bl_json_pair_f64(w, "mean_kld_error", r->kl_error);
        bl_json_pair_f64(w, "same_top", r->same_top);
        bl_json_pair_f64(w, "same_top_error", r->same_top_error);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
    bl_json_end_object(w);
}

static void put_trials_json(bl_json_writer *w, const bl_prune_options *o, const bl_prune_trials *t)
{
    bl_json_put_key(w, "trials");
    bl_json_begin_array(w);
    for (size_t i = 0; i < t->n; i++)
        put_trial_json(w, o, &t->trial[i], t->n_texts);
    bl_json_end_array(w);
}

static void put_trials_text(bl_text *out, const bl_prune_options *o, const bl_prune_trials *t)
{
    for (size_t i = 0; i < t->n_texts; i++)
        put_text(out, o, t, i);
}

bl_status bl_prune_print_trials(const bl_prune_options *o, const bl_prune_trials *t,
                                struct bl_err *err)
{
    bl_text out = { 0 };
    bl_json_writer w = { .text = &out };
    bl_status rc;

    if (o->convert.common.json) {
        bl_json_begin_object(&w);
        put_trials_json(&w, o, t);
        bl_json_end_object(&w);
        bl_text_puts(&out, "\n");
    } else {
        put_trials_text(&out, o, t);
    }
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

/* Experts by how much is lost without them. */
static void sort_by_loss(uint32_t *order, const double *loss, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;

        for (; k > 0 && loss[order[k - 1]] < loss[i]; k--)
            order[k] = order[k - 1];
        order[k] = (uint32_t)i;
    }
}

static void put_rank_text(bl_text *out, const bl_prune_options *o, const bl_prune_input *in,
                          const double *loss, const uint32_t *order, const double *score, size_t n)
{
    bl_text_printf(out, "layer %" PRIu64 ", without one expert:\n  expert    mean KL",
                   o->rank_layer);
    for (size_t m = 0; m < in->n_methods; m++)
        bl_text_printf(out, "  %12s", bl_prune_method_name(in->method[m]));
    bl_text_puts(out, "\n");
    for (size_t i = 0; i < n; i++) {
        bl_text_printf(out, "  %6" PRIu32 "  %9.6f", order[i], loss[order[i]]);
        for (size_t m = 0; m < in->n_methods; m++)
            bl_text_printf(out, "  %12.6g", score[m * n + order[i]]);
        bl_text_puts(out, "\n");
    }
    bl_text_puts(out, "rank correlation ");
    for (size_t m = 0; m < in->n_methods; m++)
        bl_text_printf(out, "  %12.3f", bl_rank_correlation(loss, score + m * n, n));
    bl_text_puts(out, "\n");
}

static void put_rank_json(bl_text *out, const bl_prune_options *o, const bl_prune_input *in,
                          const double *loss, const double *score, size_t n,
                          const bl_prune_trials *ratios)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_u64(&w, "layer", o->rank_layer);
    bl_json_put_key(&w, "mean_kld_without");
    bl_json_begin_array(&w);
    for (size_t e = 0; e < n; e++)
        bl_json_put_f64(&w, loss[e]);
    bl_json_end_array(&w);
    bl_json_put_key(&w, "methods");
    bl_json_begin_array(&w);
    for (size_t m = 0; m < in->n_methods; m++) {
        bl_json_begin_object(&w);
        bl_json_pair_string(&w, "method", bl_prune_method_name(in->method[m]));
        bl_json_pair_f64(&w, "rank_correlation", bl_rank_correlation(loss, score + m * n, n));
        bl_json_put_key(&w, "score");
        bl_json_begin_array(&w);
        for (size_t e = 0; e < n; e++)
            bl_json_put_f64(&w, score[m * n + e]);
        bl_json_end_array(&w);
        bl_json_end_object(&w);
    }
    bl_json_end_array(&w);
    if (ratios->n > 0)
        put_trials_json(&w, o, ratios);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
}

bl_status bl_prune_print_rank(const bl_prune_options *o, const bl_prune_input *in,
                              const bl_prune_trials *singles, const double *score,
                              const bl_prune_trials *ratios, struct bl_err *err)
{
    const size_t n = singles->n;
    double *loss = bl_alloc(n, sizeof(*loss));
    uint32_t *order = bl_alloc(n, sizeof(*order));
    bl_text out = { 0 };
    bl_status rc = loss && order ? BL_OK : bl_fail_nomem(err, "experts");

    for (size_t e = 0; e < n && rc == BL_OK; e++)
        loss[e] = bl_prune_trial_kl(&singles->trial[e], singles->n_texts);
    if (rc == BL_OK) {
        sort_by_loss(order, loss, n);
        if (o->convert.common.json)
            put_rank_json(&out, o, in, loss, score, n, ratios);
        else
            put_rank_text(&out, o, in, loss, order, score, n);
        if (!o->convert.common.json && ratios->n > 0) {
            bl_text_puts(&out, "\n");
            put_trials_text(&out, o, ratios);
        }
        rc = bl_cli_print(&out, err);
    }
    bl_text_release(&out);
    bl_free(loss);
    bl_free(order);
    return rc;
}

enum { MAX_LINES = 12 };

/* The lines of a plot: the trials of one method on one text. */
struct lines {
    bl_chart_series series[MAX_LINES];
    char *name[MAX_LINES];
    double *values; /* x, y, error of every line */
    size_t n;
};

static void release_lines(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        bl_free(l->name[i]);
    bl_free(l->values);
}

/* The line of a method on a text; NULL when there is room for no more. */
static bl_chart_series *line_of(struct lines *l, const bl_prune_options *o, size_t n_points,
                                const char *method, size_t text)
{
    const char *file = strrchr(o->text.value[text], '/');
    char name[128];
    double *values;

    snprintf(name, sizeof(name), "%s, %s", method, file ? file + 1 : o->text.value[text]);
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->name[i], name) == 0)
            return &l->series[i];
    if (l->n == MAX_LINES)
        return NULL;
    l->name[l->n] = bl_strdup(name);
    if (!l->name[l->n])
        return NULL;
    values = l->values + 3 * n_points * l->n;
    l->series[l->n] = (bl_chart_series){ .name = l->name[l->n],
                                         .x = values,
                                         .y = values + n_points,
                                         .error = values + 2 * n_points,
                                         .dashed = strcmp(method, "random") == 0 ||
                                                   strcmp(method, "ceiling") == 0 };
    return &l->series[l->n++];
}

static void fill_lines(struct lines *l, const bl_prune_options *o, const bl_prune_trials *t)
{
    for (size_t text = 0; text < t->n_texts; text++)
        for (size_t i = 0; i < t->n;) {
            const struct cluster c = next_cluster(t, i);
            bl_chart_series *s = line_of(l, o, t->n, t->trial[i].method, text);

            if (s) {
                double *values = l->values + 3 * t->n * (size_t)(s - l->series), deviation;
                const double kl = spread_of(&deviation, t, c, text, kl_of);

                values[s->n] = t->trial[i].ratio;
                values[t->n + s->n] = kl;
                values[2 * t->n + s->n] =
                    error_or(deviation, c.n, 1.96 * t->trial[i].result[text].kl_error);
                s->n++;
            }
            i += c.n;
        }
}

bl_status bl_prune_write_plot(const bl_prune_options *o, const bl_prune_trials *t,
                              struct bl_err *err)
{
    struct lines lines = { .values = bl_calloc(3 * t->n * MAX_LINES, sizeof(double)) };
    bl_chart chart = { .title = "Experts pruned, before anything is written",
                       .x_title = "experts pruned in every layer (%)",
                       .y_title = "mean KL divergence from the whole model (nats)",
                       .y_decades = true,
                       .x_scale = 100,
                       .series = lines.series };
    bl_text out = { 0 };
    bl_sink *sink = NULL;
    bl_status rc = lines.values ? BL_OK : bl_fail_nomem(err, "a plot");

    if (rc == BL_OK) {
        fill_lines(&lines, o, t);
        chart.n_series = lines.n;
        bl_chart_write(&out, &chart);
        rc = bl_text_check(&out, err);
    }
    if (rc == BL_OK)
        rc = bl_sink_begin(&sink, o->plot, o->convert.common.force, err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, out.bytes, out.n, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    bl_text_release(&out);
    release_lines(&lines);
    return rc;
}
