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

/* Errors on a scale of powers of ten; none at all lies at its lower end. */
static double exponent(double error, const bl_axis *axis)
{
    return fmax(error, pow(10, axis->low));
}

static bl_status put_plot(bl_text *out, const bl_activations *a, struct bl_err *err)
{
    double highest = 0, *line = bl_alloc(a->n_layers, sizeof(*line));
    bl_plot plot = { .x = bl_axis_whole(-0.5, (double)a->n_layers - 0.5, 8) };

    if (!line)
        return bl_fail_nomem(err, "errors of layers");
    for (uint32_t i = 0; i < a->n_layers; i++) {
        line[i] = a->layer[i].drift;
        highest = fmax(highest, fmax(line[i], a->layer[i].own));
    }
    plot.y = bl_axis_decades(-8, highest > 1 ? (int)ceil(log10(highest)) : 0);
    for (uint32_t i = 0; i < a->n_layers; i++)
        line[i] = exponent(line[i], &plot.y);
    bl_plot_begin(out, &plot, "errors of the hidden states by layer");
    bl_plot_line(out, &plot, "reference", 0, line, a->n_layers);
    for (uint32_t i = 0; i < a->n_layers; i++) {
        char title[128];

        snprintf(title, sizeof(title), "layer %" PRIu32 ": own error %.3e, drift %.3e", i,
                 a->layer[i].own, a->layer[i].drift);
        bl_plot_dot(out, &plot, "test", i, exponent(a->layer[i].own, &plot.y), title);
    }
    bl_plot_end_marks(out);
    bl_plot_end(out, &plot);
    bl_free(line);
    return BL_OK;
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
    bl_text_puts(out, "</section>\n");
    return rc;
}
