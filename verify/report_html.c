/*
 * report_html.c - the page: its frame and style, the summary, and the list of sections. No script
 * and nothing to fetch (the page forbids both itself); light or dark as the reader has it.
 */
#include "verify/report_sections.h"

#include "verify/html.h"

#include <inttypes.h>

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--text:#1d2328;--soft:#57636d;--rule:#dfe4e8;"
    "--test:#0b62c4;--band:#a9cdf5;--ref:#a65b00;--no:#b3261e;--yes:#1a7f37;--mark:#ffe08a}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181c;--text:#e6eaed;--soft:#9aa6af;"
    "--rule:#30383f;--test:#6cb2f7;--band:#2f5d8c;--ref:#f0b45a;--no:#ff8a80;--yes:#6fcf85;"
    "--mark:#6b5200}}\n"
    "body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--bg);color:var(--text);"
    "font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.2rem;margin:2.2rem 0 .4rem}"
    "h3{font-size:.95rem;margin:.8rem 0 .2rem}p,ul,ol{margin:.4rem 0}\n"
    "h1,p,li,.name,.text{overflow-wrap:anywhere;unicode-bidi:isolate}"
    "code,.text{font-family:ui-monospace,monospace;font-size:.85rem}\n"
    ".note,caption,.x,.y,.flag{color:var(--soft);font-size:.85rem}.note{max-width:48rem}"
    ".verdict{font-weight:600;border-left:.3rem solid;padding:.3rem .8rem}"
    ".no{color:var(--no)}.yes{color:var(--yes)}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;margin:.4rem 0;font-size:.9rem}"
    "th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--rule);"
    "vertical-align:top}th{color:var(--soft);font-weight:500}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td.name{min-width:11rem}td .note{font-size:.92em}"
    "@media(max-width:30rem){table{font-size:.78rem}th,td{padding-right:.5rem}}\n"
    ".many{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));"
    "gap:0 1.5rem}\n"
    ".plot{display:grid;grid-template-columns:3.2rem 1fr;padding:.8rem 1rem 0 0}"
    ".flags .plot{padding-top:4rem}.area{position:relative;height:15rem;"
    "border:solid var(--soft);border-width:0 0 1px 1px}.many .area{height:8rem}"
    ".area svg{display:block;width:100%;height:100%;overflow:visible}\n"
    ".y,.x{position:relative}.x{grid-column:2;height:1.6rem}"
    ".y span{position:absolute;right:.4rem;transform:translateY(50%);line-height:1}"
    ".x span{position:absolute;top:.2rem;transform:translateX(-50%)}sup{line-height:0}"
    ".flag{position:absolute;bottom:100%;transform:translateX(-50%);white-space:nowrap;"
    "line-height:1.2rem}.row1{bottom:calc(100% + 1.2rem)}.row2{bottom:calc(100% + 2.4rem)}\n"
    ".line,.grid,.dot{fill:none;vector-effect:non-scaling-stroke}.grid{stroke:var(--rule)}"
    ".line{stroke-width:1.8}.dot{stroke-linecap:round;stroke-width:6}"
    ".test{stroke:var(--test)}.ref{stroke:var(--ref);stroke-dasharray:5 4}"
    ".at{stroke:var(--ref);stroke-width:1}.bar{fill:var(--test)}.below{fill:var(--band)}"
    ".band{fill:var(--band)}\n"
    ".key:before{content:'';display:inline-block;width:1.4rem;height:0;margin:0 .4rem .25rem 0;"
    "border-top:2px solid var(--test)}.key.other:before{border-top:2px dashed var(--ref)}"
    ".key{margin-right:1.2rem;font-size:.9rem}\n"
    ".tokens{padding:0;list-style:none}.tokens li{border-bottom:1px solid var(--rule);"
    "padding:.5rem 0}.text{margin:.2rem 0;white-space:pre-wrap}"
    "mark{background:var(--mark);color:inherit;border-radius:.2rem}\n";

void bl_report_cell(bl_text *out, double value, double scale, int decimals)
{
    bl_text_puts(out, "<td class=\"n\">");
    bl_html_number(out, value, scale, decimals);
    bl_text_puts(out, "</td>");
}

static void put_model(bl_text *out, const char *what, const bl_ckpt *ckpt)
{
    const bl_container *c = bl_ckpt_container(ckpt);
    char bytes[32];

    bl_text_printf(out, "<tr><th>%s</th><td class=\"name\">", what);
    bl_html_puts(out, c->path);
    bl_text_puts(out, "</td><td>");
    bl_html_puts(out, c->kind);
    bl_text_puts(out, "</td><td class=\"n\">");
    bl_html_count(out, bl_ckpt_n_tensors(ckpt));
    bl_text_printf(out, "</td><td class=\"n\"><data value=\"%" PRIu64 "\">%s</data></td>",
                   c->n_file_bytes, bl_text_bytes(bytes, c->n_file_bytes));
    bl_report_cell(out, bl_report_bits_per_weight(ckpt), 1, 3);
    bl_text_puts(out, "</tr>\n");
}

static void put_verdict(bl_text *out, const bl_verify_report *r)
{
    const char *yes = r->gates.n > 0 ? "Yes: every gate is kept." : "Nothing wrong was found.";

    if (!r->objection) {
        bl_text_printf(out, "<p class=\"verdict yes\">%s</p>\n", yes);
        return;
    }
    bl_text_puts(out, "<p class=\"verdict no\">No: ");
    bl_html_puts(out, r->objection);
    bl_text_puts(out, "</p>\n");
}

static void put_gates(bl_text *out, const bl_gates *gates)
{
    if (gates->n == 0)
        return;
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th>gate</th><th class=\"n\">value</th>"
                      "<th></th><th class=\"n\">limit</th><th></th></tr>\n");
    for (size_t i = 0; i < gates->n; i++) {
        const bl_gate *g = &gates->gate[i];

        bl_text_puts(out, "<tr><td>");
        bl_html_puts(out, g->what);
        bl_text_puts(out, "</td>");
        bl_report_cell(out, g->value, 1, 6);
        bl_text_printf(out, "<td>%s</td>", g->kind == BL_GATE_AT_MOST ? "at most" : "at least");
        bl_report_cell(out, g->limit, 1, 6);
        bl_text_printf(out, "<td class=\"%s\">%s</td></tr>\n", g->passed ? "yes" : "no",
                       g->passed ? "passed" : "not passed");
    }
    bl_text_puts(out, "</table></div>\n");
}

static bl_status put_summary(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    (void)err;
    bl_text_puts(out, "<h1>");
    bl_html_puts(out, bl_report_path(r));
    bl_text_puts(out, "</h1>\n");
    put_verdict(out, r);
    put_gates(out, &r->gates);
    if (!r->model)
        return BL_OK;
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th></th><th>path</th><th>container</th>"
                      "<th class=\"n\">tensors</th><th class=\"n\">size</th>"
                      "<th class=\"n\">bits per weight</th></tr>\n");
    put_model(out, "model", r->model);
    if (r->reference)
        put_model(out, "reference", r->reference);
    bl_text_puts(out, "</table></div>\n");
    if (r->counterpart)
        bl_text_puts(out,
                     "<p>The model was pruned from the reference: tensors are compared with those "
                     "layers and experts of it that the model has.</p>\n");
    return BL_OK;
}

static const bl_section_fn sections[] = {
    put_summary,
    bl_section_sums,
    bl_section_structure,
    bl_section_configuration,
    bl_section_measures,
    bl_section_layers,
    bl_section_divergence,
    bl_section_running,
    bl_section_worst_tensors,
    bl_section_diagnoses,
    bl_section_activations,
    bl_section_worst_tokens,
    bl_section_choices,
};

bl_status bl_verify_report_html(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    bl_status rc = BL_OK;

    bl_text_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                      "<meta http-equiv=\"Content-Security-Policy\" "
                      "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n<title>");
    bl_html_puts(out, bl_report_path(r));
    bl_text_puts(out, ": what it lost</title>\n<style>\n");
    bl_text_puts(out, style);
    bl_text_puts(out, "</style>\n</head>\n<body>\n");
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections) && rc == BL_OK; i++)
        rc = sections[i](out, r, err);
    bl_text_puts(
        out, "<p class=\"note\">Definitions of every number: docs/numerics.md of baleen " BL_VERSION
             ".</p>\n</body>\n</html>\n");
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
