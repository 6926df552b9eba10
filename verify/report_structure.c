/*
 * report_structure.c - the sections about what is there: the files against their sums, what the
 * check found, tensors that only one of two models has, and what their configurations say.
 */
#include "verify/report_sections.h"

#include "verify/html.h"

enum { N_NAMED = 8, N_FINDINGS = 50 };

static void put_findings(bl_text *out, const bl_check_result *c)
{
    if (c->n_findings == 0)
        return;
    bl_text_puts(out, "<ul>\n");
    for (size_t i = 0; i < c->n_findings && i < N_FINDINGS; i++) {
        bl_text_puts(out, c->finding[i].kind == BL_FINDING_NOTE ? "<li>note: " : "<li>");
        bl_html_puts(out, c->finding[i].text);
        bl_text_puts(out, "</li>\n");
    }
    if (c->n_findings > N_FINDINGS)
        bl_text_printf(out, "<li>and %zu more</li>\n", c->n_findings - N_FINDINGS);
    bl_text_puts(out, "</ul>\n");
}

/* "1 fault", "2 faults" */
static void put_number_of(bl_text *out, size_t n, const char *noun)
{
    bl_html_count(out, n);
    bl_text_printf(out, " %s%s", noun, n == 1 ? "" : "s");
}

bl_status bl_section_sums(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_sums_result *s = &r->sums;

    (void)err;
    if (!r->sums_list)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Sums of the files</h2>\n<p>");
    put_number_of(out, s->n_files, "file");
    bl_text_puts(out, " of ");
    bl_html_count(out, s->n_bytes);
    bl_text_puts(out, " bytes held to the SHA-256 sums of <code>");
    bl_html_puts(out, r->sums_list);
    bl_text_puts(out, "</code>: ");
    put_number_of(out, s->check.n_faults, "fault");
    bl_text_puts(out, s->check.n_faults > 0 ? ", so the model was not opened.</p>\n" : ".</p>\n");
    put_findings(out, &s->check);
    bl_text_puts(out, "</section>\n");
    return BL_OK;
}

/* One line: how many, and the names of the first. */
static void begin_names(bl_text *out, size_t n, const char *what)
{
    bl_text_puts(out, "<li>");
    bl_html_count(out, n);
    bl_text_printf(out, " %s:", what);
}

static void put_name(bl_text *out, size_t i, const char *name)
{
    bl_text_puts(out, i ? ", <code>" : " <code>");
    bl_html_puts(out, name);
    bl_text_puts(out, "</code>");
}

static void end_names(bl_text *out, size_t n)
{
    bl_text_puts(out, n > N_NAMED ? " ...</li>\n" : "</li>\n");
}

static void put_names(bl_text *out, const char *what, const bl_tensor *const *list, size_t n)
{
    if (n == 0)
        return;
    begin_names(out, n, what);
    for (size_t i = 0; i < n && i < N_NAMED; i++)
        put_name(out, i, list[i]->name);
    end_names(out, n);
}

static void put_reshaped(bl_text *out, const bl_comparison *c)
{
    if (c->n_reshaped == 0)
        return;
    begin_names(out, c->n_reshaped, "tensors have another shape");
    for (size_t i = 0; i < c->n_reshaped && i < N_NAMED; i++)
        put_name(out, i, c->reshaped[i].ref->name);
    end_names(out, c->n_reshaped);
}

static void put_damaged(bl_text *out, const bl_comparison *c)
{
    for (size_t i = 0; i < c->n_damaged && i < N_NAMED; i++) {
        bl_text_puts(out, "<li>not decoded: ");
        bl_html_puts(out, c->damaged[i]);
        bl_text_puts(out, "</li>\n");
    }
    if (c->n_damaged > N_NAMED)
        bl_text_printf(out, "<li>and %zu more</li>\n", c->n_damaged - N_NAMED);
}

static void put_differences(bl_text *out, const bl_comparison *c)
{
    if (c->n_missing + c->n_extra + c->n_mtp_only + c->n_reshaped + c->n_damaged == 0)
        return;
    bl_text_puts(out, "<ul>\n");
    put_names(out, "tensors of the reference are missing", c->missing, c->n_missing);
    put_names(out, "tensors are not in the reference", c->extra, c->n_extra);
    put_names(out, "tensors of MTP layers are in only one of the two, which is no fault",
              c->mtp_only, c->n_mtp_only);
    put_reshaped(out, c);
    put_damaged(out, c);
    bl_text_puts(out, "</ul>\n");
}

bl_status bl_section_structure(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_check_result *c = &r->check;

    (void)err;
    if (!r->has_check)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Structure</h2>\n<p>");
    bl_html_count(out, c->n_tensors);
    bl_text_puts(out, " tensors and the files beside them were looked at, ");
    put_number_of(out, c->n_faults, "fault");
    bl_text_printf(
        out, "%s.</p>\n",
        r->reference || r->structure_only || c->n_faults > 0 ? "" : "; every value is finite");
    put_findings(out, c);
    if (r->has_comparison)
        put_differences(out, &r->comparison);
    bl_text_puts(out, "</section>\n");
    return BL_OK;
}

bl_status bl_section_configuration(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_comparison *c = &r->comparison;

    (void)err;
    if (!r->has_comparison || c->n_config == 0)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Configuration</h2>\n<p class=\"note\">Where the two compute "
                      "something else.</p>\n<div class=\"scroll\"><table>\n<tr><th>field</th>"
                      "<th>model</th><th>reference</th></tr>\n");
    for (size_t i = 0; i < c->n_config; i++) {
        bl_text_puts(out, "<tr><td><code>");
        bl_html_puts(out, c->config[i].field);
        bl_text_puts(out, "</code></td><td>");
        bl_html_puts(out, c->config[i].test);
        bl_text_puts(out, "</td><td>");
        bl_html_puts(out, c->config[i].reference);
        bl_text_puts(out, "</td></tr>\n");
    }
    bl_text_puts(out, "</table></div></section>\n");
    return BL_OK;
}
