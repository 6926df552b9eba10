/*
 * report_activations.c - see report_activations.h, and the section of the page. Definitions:
 * verify/activations.h, keys: docs/cli.md.
 */
#include "verify/report_activations.h"

#include "base/alloc.h"
#include "verify/html.h"
#include "verify/report_sections.h"
#include "verify/svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { LEAST = -8 }; /* the lowest power of ten of the plot: F32 rounding is 6e-8 */

/* The answer in one sentence. */
static void put_answer(bl_text *out, const bl_activations *a)
{
    if (a->embedding > 1e-4 && a->median_own < 1e-6 && a->first_wrong < 0)
        bl_text_printf(out, "only the embeddings differ: relative error %.3e", a->embedding);
    else if (a->first_wrong < 0)
        bl_text_puts(out, "no layer stands out");
    else
        bl_text_printf(out,
                       "layer %" PRId64 " is the first that goes wrong: its own error is %.3e, "
                       "the median of all layers %.3e",
                       a->first_wrong, a->layer[a->first_wrong].own, a->median_own);
}

void bl_report_activations_text(bl_text *out, const bl_activations *a)
{
    bl_text_printf(out, "activations    %zu tokens; errors of the hidden states after each layer\n",
                   a->n_tokens);
    bl_text_printf(out, "  layer        drift          own\n  embedding    %.3e\n", a->embedding);
    for (uint32_t i = 0; i < a->n_layers; i++)
        bl_text_printf(out, "  %5" PRIu32 "        %.3e    %.3e%s\n", i, a->layer[i].drift,
                       a->layer[i].own, a->layer[i].wrong ? "  wrong" : "");
    bl_text_puts(out, "  ");
    put_answer(out, a);
    bl_text_puts(out, "\n");
}

void bl_report_activations_json(bl_json_writer *w, const bl_activations *a)
{
    bl_json_put_key(w, "activations");
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "tokens", a->n_tokens);
    bl_json_pair_f64(w, "embedding", a->embedding);
    bl_json_pair_f64(w, "median_own", a->median_own);
    if (a->first_wrong >= 0)
        bl_json_pair_u64(w, "first_wrong", (uint64_t)a->first_wrong);
    bl_json_put_key(w, "layers");
    bl_json_begin_array(w);
    for (uint32_t i = 0; i < a->n_layers; i++) {
        bl_json_begin_object(w);
        bl_json_pair_f64(w, "drift", a->layer[i].drift);
        bl_json_pair_f64(w, "own", a->layer[i].own);
        bl_json_pair_bool(w, "wrong", a->layer[i].wrong);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
    bl_json_end_object(w);
}

/* The power of ten that an error is, for the axis; none at all lies at its lower end. */
static double exponent(double error)
{
    return error > 0 ? log10(error) : LEAST;
}

static bl_plot choose_axes(const bl_activations *a)
{
    double highest = 1;

    for (uint32_t i = 0; i < a->n_layers; i++) {
        double larger = fmax(a->layer[i].drift, a->layer[i].own);

        highest = isfinite(larger) ? fmax(highest, larger) : highest;
    }
    return (bl_plot){ bl_axis_whole(-0.5, (double)a->n_layers - 0.5, 8),
                      bl_axis_decades(LEAST, (int)ceil(log10(highest))) };
}

static bl_status put_plot(bl_text *out, const bl_activations *a, struct bl_err *err)
{
    const bl_plot plot = choose_axes(a);
    double *line = bl_alloc(a->n_layers, sizeof(*line));

    if (!line)
        return bl_fail_nomem(err, "errors of layers");
    for (uint32_t i = 0; i < a->n_layers; i++)
        line[i] = exponent(a->layer[i].drift);
    bl_plot_begin(out, &plot, "errors of the hidden states by layer");
    bl_plot_line(out, &plot, "ref", 0, line, a->n_layers);
    for (uint32_t i = 0; i < a->n_layers; i++) {
        char title[128];

        snprintf(title, sizeof(title), "layer %" PRIu32 ": own error %.3e, drift %.3e", i,
                 a->layer[i].own, a->layer[i].drift);
        bl_plot_dot(out, &plot, "test", i, exponent(a->layer[i].own), title);
    }
    bl_plot_end_marks(out);
    bl_plot_end(out, &plot);
    bl_free(line);
    return BL_OK;
}

static void put_layers(bl_text *out, const bl_activations *a)
{
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th class=\"n\">layer</th>"
                      "<th class=\"n\">own error</th><th class=\"n\">drift</th><th></th></tr>\n"
                      "<tr><td>embedding</td><td></td>");
    bl_report_cell(out, a->embedding, 1, -4);
    bl_text_puts(out, "<td></td></tr>\n");
    for (uint32_t i = 0; i < a->n_layers; i++) {
        bl_text_puts(out, "<tr><td class=\"n\">");
        bl_html_count(out, i);
        bl_text_puts(out, "</td>");
        bl_report_cell(out, a->layer[i].own, 1, -4);
        bl_report_cell(out, a->layer[i].drift, 1, -4);
        bl_text_printf(out, "<td class=\"no\">%s</td></tr>\n", a->layer[i].wrong ? "wrong" : "");
    }
    bl_text_puts(out, "<tr><td>median</td>");
    bl_report_cell(out, a->median_own, 1, -4);
    bl_text_puts(out, "<td></td><td></td></tr>\n</table></div>\n");
}

bl_status bl_section_activations(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_activations *a = &r->activations;
    bl_status rc;

    if (!r->has_activations)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Hidden states after every layer</h2>\n<p>On ");
    bl_html_count(out, a->n_tokens);
    bl_text_puts(out, " tokens, ");
    put_answer(out, a);
    bl_text_puts(out, ".</p>\n<p class=\"note\">Dots: a layer's own error, put on the reference's "
                      "input. Line: the drift that has come together since the embedding.</p>\n");
    rc = put_plot(out, a, err);
    put_layers(out, a);
    bl_text_puts(out, "</section>\n");
    return rc;
}
