/*
 * report_tensors.c - the sections about tensors: their error by layer and role, the worst, and what
 * may have happened to them. The error of several tensors together is the root of the mean of their squared relative RMS
 * errors, weighted by number of values (docs/numerics.md).
 */
#include "verify/report_sections.h"

#include "base/alloc.h"
#include "verify/html.h"
#include "verify/svg.h"

#include <math.h>
#include <stdio.h>

enum { N_WORST = 20 };

/* Tensors of one role, in one layer or in all. */
struct group {
    size_t n, n_identical, n_infinite;
    double values, squares; /* of finite errors: number of values, and times error squared */
    double low, high;
};

struct layers {
    size_t n; /* layers */
    struct group role[BL_ROLE_COUNT];
    struct group *cell; /* [BL_ROLE_COUNT][n] */
    double highest;     /* finite error of a tensor in a layer */
};

static void add_to(struct group *g, const bl_compared *t)
{
    double error = t->metrics.rel_rms, n = (double)t->ref->n_values;

    g->low = g->n == 0 ? error : fmin(g->low, error);
    g->high = g->n == 0 ? error : fmax(g->high, error);
    g->n++;
    g->n_identical += t->metrics.identical;
    if (!isfinite(error)) {
        g->n_infinite++;
        return;
    }
    g->values += n;
    g->squares += n * error * error;
}

/* NaN: nothing there that has one. */
static double error_of(const struct group *g)
{
    return g->values > 0 ? sqrt(g->squares / g->values) : (double)NAN;
}

static bl_status gather(struct layers *out, const bl_comparison *c, struct bl_err *err)
{
    struct layers l = { 0 };

    for (size_t i = 0; i < c->n_compared; i++) {
        const bl_tensor *t = c->compared[i].ref;

        if (t->layer >= 0 && (size_t)t->layer >= l.n)
            l.n = (size_t)t->layer + 1;
    }
    l.cell = bl_calloc(l.n, BL_ROLE_COUNT * sizeof(*l.cell));
    if (!l.cell)
        return bl_fail_nomem(err, "errors by layer");
    for (size_t i = 0; i < c->n_compared; i++) {
        const bl_compared *t = &c->compared[i];

        add_to(&l.role[t->ref->role], t);
        if (t->ref->layer < 0)
            continue;
        add_to(&l.cell[(size_t)t->ref->role * l.n + (size_t)t->ref->layer], t);
        if (isfinite(t->metrics.rel_rms))
            l.highest = fmax(l.highest, t->metrics.rel_rms);
    }
    *out = l;
    return BL_OK;
}

static void put_layer(bl_text *out, const bl_plot *plot, const struct group *g, size_t layer)
{
    double x[2] = { (double)layer - 0.3, (double)layer + 0.3 }, y[2] = { g->low, g->high };
    char title[160];

    if (g->n == 0)
        return;
    snprintf(title, sizeof(title), "layer %zu: %.6f (%zu tensor%s, %.6f to %.6f)", layer,
             error_of(g), g->n, g->n == 1 ? "" : "s", g->low, g->high);
    if (g->n > 1)
        bl_plot_bar(out, plot, "band", x, y, title);
    bl_plot_dot(out, plot, "test", (double)layer, error_of(g), title);
}

/* One small plot; all have the same axes, so that roles can be compared. */
static bl_status put_role(bl_text *out, const struct layers *l, bl_role role, struct bl_err *err)
{
    const struct group *cell = l->cell + (size_t)role * l->n;
    const bl_plot plot = { bl_axis_whole(-0.5, (double)l->n - 0.5, 6),
                           bl_axis_linear(0, l->highest, 3) };
    double *line = bl_alloc(l->n, sizeof(*line));

    if (!line)
        return bl_fail_nomem(err, "errors by layer");
    for (size_t i = 0; i < l->n; i++)
        line[i] = error_of(&cell[i]);
    bl_text_printf(out, "<div><h3>%s</h3>\n", bl_role_name(role));
    bl_plot_begin(out, &plot, bl_role_name(role));
    for (size_t i = 0; i < l->n; i++)
        put_layer(out, &plot, &cell[i], i);
    bl_plot_line(out, &plot, "test", 0, line, l->n);
    bl_plot_end_marks(out);
    bl_plot_end(out, &plot);
    bl_text_puts(out, "</div>\n");
    bl_free(line);
    return BL_OK;
}

/* Whether some layer has an error of this role to draw. */
static bool has_error(const struct layers *l, bl_role role)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->cell[(size_t)role * l->n + i].squares > 0)
            return true;
    return false;
}

static void put_role_row(bl_text *out, const struct group *g, bl_role role)
{
    if (g->n == 0)
        return;
    bl_text_printf(out, "<tr><td>%s</td><td class=\"n\">", bl_role_name(role));
    bl_html_count(out, g->n);
    bl_text_puts(out, "</td><td class=\"n\">");
    bl_html_count(out, g->n_identical);
    bl_text_puts(out, "</td>");
    bl_report_cell(out, error_of(g), 1, 6);
    bl_report_cell(out, g->low, 1, 6);
    bl_report_cell(out, g->high, 1, 6);
    bl_text_puts(out, "</tr>\n");
}

static void put_all(bl_text *out, const bl_comparison *c)
{
    bl_text_puts(out, "<section><h2>Error of the tensors</h2>\n<p>");
    bl_html_count(out, c->n_compared);
    bl_text_puts(out, " tensors compared, ");
    bl_html_count(out, c->n_identical);
    bl_text_puts(out, " identical");
    if (c->n_identical < c->n_compared) {
        bl_text_puts(out, "; over all values relative RMS error ");
        bl_html_number(out, c->all.rel_rms, 1, 6);
        bl_text_puts(out, ", SQNR ");
        bl_html_number(out, c->all.sqnr_db, 1, 2);
        bl_text_puts(out, " dB");
    }
    bl_text_puts(out, ".</p>\n");
}

static bl_status put_plots(bl_text *out, const struct layers *l, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!(l->highest > 0))
        return BL_OK;
    bl_text_puts(out,
                 "<p class=\"note\">Relative RMS error by layer, all on the same scale. A dot is a "
                 "layer's tensors of that role together; the bar behind it reaches from the best "
                 "to the worst of them. Roles without an error are only in the table.</p>\n"
                 "<div class=\"many\">\n");
    for (int role = 0; role < BL_ROLE_COUNT && rc == BL_OK; role++)
        if (has_error(l, (bl_role)role))
            rc = put_role(out, l, (bl_role)role, err);
    bl_text_puts(out, "</div>\n");
    return rc;
}

bl_status bl_section_layers(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    struct layers l = { 0 };
    bl_status rc;

    if (!r->has_comparison)
        return BL_OK;
    rc = gather(&l, &r->comparison, err);
    if (rc != BL_OK)
        return rc;
    put_all(out, &r->comparison);
    rc = put_plots(out, &l, err);
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th>role</th><th class=\"n\">tensors</th>"
                      "<th class=\"n\">identical</th><th class=\"n\">relative RMS</th>"
                      "<th class=\"n\">best</th><th class=\"n\">worst</th></tr>\n");
    for (int role = 0; role < BL_ROLE_COUNT; role++)
        put_role_row(out, &l.role[role], (bl_role)role);
    bl_text_puts(out, "</table></div></section>\n");
    bl_free(l.cell);
    return rc;
}

static void put_tensor(bl_text *out, const bl_compared *t)
{
    bl_text_puts(out, "<tr><td class=\"name\"><code>");
    bl_html_puts(out, t->ref->name);
    bl_text_puts(out, "</code></td><td>");
    bl_html_puts(out, t->test->type_name);
    bl_text_puts(out, "</td>");
    bl_report_cell(out, t->metrics.rel_rms, 1, 6);
    bl_report_cell(out, t->metrics.max_abs, 1, 6);
    bl_report_cell(out, t->metrics.cosine, 1, 7);
    bl_report_cell(out, t->metrics.sqnr_db, 1, 2);
    bl_text_puts(out, "</tr>\n");
}

bl_status bl_section_worst_tensors(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_comparison *c = &r->comparison;

    (void)err;
    if (!r->has_comparison || c->n_identical == c->n_compared)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Worst tensors</h2>\n<div class=\"scroll\"><table>\n"
                      "<tr><th>tensor</th><th>type</th><th class=\"n\">relative RMS</th>"
                      "<th class=\"n\">max abs</th><th class=\"n\">cosine</th>"
                      "<th class=\"n\">SQNR, dB</th></tr>\n");
    for (size_t i = 0; i < c->n_compared && i < N_WORST && !c->compared[i].metrics.identical; i++)
        put_tensor(out, &c->compared[i]);
    bl_text_puts(out, "</table></div></section>\n");
    return BL_OK;
}

static void put_diagnosis(bl_text *out, const bl_compared *t)
{
    bl_text text = { 0 };

    bl_diagnosis_put(&text, &t->diagnosis);
    bl_text_puts(out, "<li><code>");
    bl_html_puts(out, t->ref->name);
    bl_text_puts(out, "</code> ");
    if (text.failed)
        out->failed = true;
    else
        bl_html_puts(out, text.bytes);
    bl_text_puts(out, "</li>\n");
    bl_text_release(&text);
}

bl_status bl_section_diagnoses(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_comparison *c = &r->comparison;
    size_t n = 0;

    (void)err;
    for (size_t i = 0; r->has_comparison && i < c->n_compared; i++) {
        if (c->compared[i].diagnosis.kind == BL_DIAGNOSIS_NONE)
            continue;
        if (n++ == 0)
            bl_text_puts(out, "<section><h2>What may have happened</h2>\n<p class=\"note\">A guess "
                              "from the values of the worst tensors, never a verdict.</p>\n<ul>\n");
        put_diagnosis(out, &c->compared[i]);
    }
    if (n > 0)
        bl_text_puts(out, "</ul></section>\n");
    return BL_OK;
}
