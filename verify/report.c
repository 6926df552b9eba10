/* report.c - what the text, the JSON and the page share of a report. */
#include "verify/report.h"

const char *bl_report_path(const bl_verify_report *r)
{
    return r->model ? bl_ckpt_path(r->model) : r->path;
}

double bl_report_bits_per_weight(const bl_ckpt *ckpt)
{
    uint64_t values = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        values += bl_ckpt_tensor(ckpt, i)->n_values;
    return values ? 8.0 * (double)bl_ckpt_container(ckpt)->n_file_bytes / (double)values : 0;
}

void bl_verify_report_release(bl_verify_report *r)
{
    if (r->has_check)
        bl_check_release(&r->check);
    if (r->has_comparison)
        bl_compare_release(&r->comparison);
    if (r->has_activations)
        bl_activations_release(&r->activations);
    if (r->has_ppl)
        bl_ppl_release(&r->ppl);
    if (r->has_choices)
        bl_choices_release(&r->choices);
    bl_kept_free(r->kept);
    bl_sums_release(&r->sums);
    bl_tokens_release(&r->tokens);
    *r = (bl_verify_report){ 0 };
}

const bl_ckpt *bl_report_counterpart(const bl_verify_report *report)
{
    return report->counterpart ? report->counterpart : report->reference;
}
