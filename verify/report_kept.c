/* report_kept.c - see report_kept.h. */
#include "verify/report_kept.h"

#include "verify/html.h"

/* The reference is in a file. */
static bool is_reference(const bl_verify_report *r)
{
    return r->kept && bl_kept_is_reference(r->kept);
}

void bl_report_kept_text(bl_text *out, const bl_verify_report *r)
{
    if (!r->kept)
        return;
    bl_text_puts(out, is_reference(r) ? "  against logits " : "  logits ");
    if (is_reference(r) && *bl_kept_model(r->kept)) {
        bl_text_puts(out, "of ");
        bl_text_put_name(out, bl_kept_model(r->kept));
        bl_text_puts(out, ", ");
    }
    bl_text_puts(out, "kept in ");
    bl_text_put_name(out, bl_kept_path(r->kept));
    bl_text_printf(out, " (%s)\n", bl_kept_kind_name(bl_kept_kind_in(r->kept)));
}

void bl_report_kept_error_text(bl_text *out, const bl_verify_report *r)
{
    if (is_reference(r) && bl_kept_kind_in(r->kept) == BL_KEPT_SPARSE)
        bl_text_printf(out, "  %-46s %12s %28s %9.6f\n", "KL divergence: of its error, by sampling",
                       "", "", r->ppl.kl_sampling_error);
}

void bl_report_kept_json(bl_json_writer *w, const bl_verify_report *r)
{
    char hash[33];

    if (!r->kept)
        return;
    bl_kept_model_hash(hash, r->kept);
    bl_json_pair_string(w, "logits", bl_kept_path(r->kept));
    bl_json_pair_string(w, "logits_kind", bl_kept_kind_name(bl_kept_kind_in(r->kept)));
    bl_json_pair_string(w, "logits_model", bl_kept_model(r->kept));
    bl_json_pair_string(w, "logits_model_hash", hash);
    if (is_reference(r))
        bl_json_pair_f64(w, "mean_kld_sampling_error", r->ppl.kl_sampling_error);
}

void bl_report_kept_html(bl_text *out, const bl_verify_report *r)
{
    if (!is_reference(r))
        return;
    bl_text_puts(out, " The reference is kept in <code>");
    bl_html_puts(out, bl_kept_path(r->kept));
    bl_text_printf(out, "</code> (%s", bl_kept_kind_name(bl_kept_kind_in(r->kept)));
    if (*bl_kept_model(r->kept)) {
        bl_text_puts(out, ", logits of <code>");
        bl_html_puts(out, bl_kept_model(r->kept));
        bl_text_puts(out, "</code>");
    }
    bl_text_puts(out, ")");
    if (bl_kept_kind_in(r->kept) == BL_KEPT_SPARSE) {
        bl_text_puts(out, "; of the standard error of the mean KL divergence ");
        bl_html_number(out, r->ppl.kl_sampling_error, 1, 6);
        bl_text_puts(out, " is that of its samples");
    }
    bl_text_puts(out, ".");
}
