/* choices_report.c - see choices_report.h; definitions: docs/numerics.md, keys: docs/cli.md. */
#include "verify/choices_report.h"

#include <inttypes.h>

static const bl_choices_model *tested(const bl_choices_result *r)
{
    return &r->model[r->n_models - 1];
}

static void print_share(bl_text *out, const char *before, bl_share s)
{
    bl_text_printf(out, "%s%.1f %% (%.1f to %.1f)", before, 100 * s.value, 100 * s.low,
                   100 * s.high);
}

static void print_change(bl_text *out, const char *before, size_t gained, size_t lost, size_t n)
{
    bl_share s = bl_share_change(gained, lost, n);

    bl_text_printf(out, "%s%+.1f points (%+.1f to %+.1f): %zu gained, %zu lost, McNemar p %.4f\n",
                   before, 100 * s.value, 100 * s.low, 100 * s.high, gained, lost,
                   bl_mcnemar(gained, lost));
}

static void print_pair(bl_text *out, const bl_choices_result *r)
{
    const bl_choice_tally *base = &r->model[0].all;

    print_share(out, "  reference    ", bl_share_of(base->sum, base->n));
    print_share(out, ", per byte ", bl_share_of(base->per_byte, base->n));
    print_change(out, "\n  change       ", r->gained, r->lost, base->n);
    print_change(out, "    per byte   ", r->gained_per_byte, r->lost_per_byte, base->n);
    print_share(out, "same choice    ", bl_share_of(r->same, base->n));
    bl_text_printf(out, "\nmargin         change %+.6f +- %.6f, absolute %.6f +- %.6f nats\n",
                   r->margin_change, r->margin_change_error, r->abs_margin_change,
                   r->abs_margin_change_error);
    bl_text_printf(out, "choice KL      mean %.6f +- %.6f nats\n", r->kl_mean, r->kl_error);
}

static void print_group(bl_text *out, const bl_choices_result *r, size_t g)
{
    const bl_choice_tally *t = &tested(r)->group[g];

    bl_text_puts(out, "  group ");
    bl_text_put_name(out, r->items->group[g]);
    print_share(out, ": ", bl_share_of(t->sum, t->n));
    print_share(out, ", per byte ", bl_share_of(t->per_byte, t->n));
    bl_text_printf(out, " of %zu", t->n);
    if (r->n_models == 2)
        bl_text_printf(out, ", reference %.1f %%, per byte %.1f %%",
                       100 * bl_share_of(r->model[0].group[g].sum, t->n).value,
                       100 * bl_share_of(r->model[0].group[g].per_byte, t->n).value);
    bl_text_puts(out, "\n");
}

void bl_choices_report_text(bl_text *out, const bl_choices_result *r)
{
    const bl_choice_tally *t = &tested(r)->all;

    bl_text_puts(out, "choices        ");
    bl_text_put_name(out, r->items->name);
    bl_text_printf(out,
                   ": %zu items, %" PRIu32 " sequences of %" PRIu32 " tokens, %zu tokens scored\n",
                   t->n, r->n_seqs, r->n_positions, r->n_scored);
    print_share(out, "accuracy       ", bl_share_of(t->sum, t->n));
    print_share(out, ", per byte ", bl_share_of(t->per_byte, t->n));
    bl_text_printf(out, "; by chance %.1f %%\n", 100 * r->chance);
    if (r->n_models == 2)
        print_pair(out, r);
    for (size_t g = 0; g < r->items->n_groups; g++)
        print_group(out, r, g);
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

/* {"value", "low", "high"} */
static void put_share(bl_json_writer *w, const char *key, bl_share s)
{
    bl_json_put_key(w, key);
    bl_json_begin_object(w);
    put_f64(w, "value", s.value);
    put_f64(w, "low", s.low);
    put_f64(w, "high", s.high);
    bl_json_end_object(w);
}

static void put_change(bl_json_writer *w, const char *key, size_t gained, size_t lost, size_t n)
{
    bl_share s = bl_share_change(gained, lost, n);

    bl_json_put_key(w, key);
    bl_json_begin_object(w);
    put_f64(w, "value", s.value);
    put_f64(w, "low", s.low);
    put_f64(w, "high", s.high);
    put_u64(w, "gained", gained);
    put_u64(w, "lost", lost);
    put_f64(w, "mcnemar_p", bl_mcnemar(gained, lost));
    bl_json_end_object(w);
}

static void put_pair(bl_json_writer *w, const bl_choices_result *r)
{
    const bl_choice_tally *base = &r->model[0].all;

    put_share(w, "reference_accuracy", bl_share_of(base->sum, base->n));
    put_share(w, "reference_accuracy_per_byte", bl_share_of(base->per_byte, base->n));
    put_change(w, "change", r->gained, r->lost, base->n);
    put_change(w, "change_per_byte", r->gained_per_byte, r->lost_per_byte, base->n);
    put_share(w, "same_choice", bl_share_of(r->same, base->n));
    put_f64(w, "margin_change", r->margin_change);
    put_f64(w, "margin_change_error", r->margin_change_error);
    put_f64(w, "abs_margin_change", r->abs_margin_change);
    put_f64(w, "abs_margin_change_error", r->abs_margin_change_error);
    put_f64(w, "mean_kld", r->kl_mean);
    put_f64(w, "mean_kld_error", r->kl_error);
}

static void put_group(bl_json_writer *w, const bl_choices_result *r, size_t g)
{
    const bl_choice_tally *t = &tested(r)->group[g], *base = &r->model[0].group[g];

    bl_json_begin_object(w);
    bl_json_put_key(w, "group");
    bl_json_put_string(w, r->items->group[g]);
    put_u64(w, "items", t->n);
    put_share(w, "accuracy", bl_share_of(t->sum, t->n));
    put_share(w, "accuracy_per_byte", bl_share_of(t->per_byte, t->n));
    if (r->n_models == 2) {
        put_share(w, "reference_accuracy", bl_share_of(base->sum, t->n));
        put_share(w, "reference_accuracy_per_byte", bl_share_of(base->per_byte, t->n));
    }
    bl_json_end_object(w);
}

/* What a model took of an item; its members go into the object that is being written. */
static void put_pick(bl_json_writer *w, const bl_choices_model *m, const bl_choice_items *items,
                     size_t i)
{
    const bl_choice_item *item = &items->item[i];

    put_u64(w, "chosen", m->pick[i].sum);
    put_u64(w, "chosen_per_byte", m->pick[i].per_byte);
    put_f64(w, "margin", m->pick[i].margin);
    bl_json_put_key(w, "log_likelihood");
    bl_json_begin_array(w);
    for (uint32_t c = 0; c < item->n_choices; c++)
        bl_json_put_f64(w, m->log_likelihood[item->first + c]);
    bl_json_end_array(w);
}

static void put_item(bl_json_writer *w, const bl_choices_result *r, size_t i)
{
    const bl_choice_item *item = &r->items->item[i];

    bl_json_begin_object(w);
    put_u64(w, "line", item->line);
    bl_json_put_key(w, "id");
    bl_json_put_string(w, item->id);
    put_u64(w, "answer", item->answer);
    put_pick(w, tested(r), r->items, i);
    if (r->n_models == 2) {
        bl_json_put_key(w, "reference");
        bl_json_begin_object(w);
        put_pick(w, &r->model[0], r->items, i);
        bl_json_end_object(w);
    }
    bl_json_end_object(w);
}

void bl_choices_report_json(bl_json_writer *w, const bl_choices_result *r)
{
    const bl_choice_tally *t = &tested(r)->all;

    bl_json_put_key(w, "choices");
    bl_json_begin_object(w);
    bl_json_put_key(w, "file");
    bl_json_put_string(w, r->items->name);
    put_u64(w, "items", t->n);
    put_u64(w, "sequences", r->n_seqs);
    put_u64(w, "positions", r->n_positions);
    put_u64(w, "scored_tokens", r->n_scored);
    put_f64(w, "chance", r->chance);
    put_share(w, "accuracy", bl_share_of(t->sum, t->n));
    put_share(w, "accuracy_per_byte", bl_share_of(t->per_byte, t->n));
    if (r->n_models == 2)
        put_pair(w, r);
    bl_json_put_key(w, "groups");
    bl_json_begin_array(w);
    for (size_t g = 0; g < r->items->n_groups; g++)
        put_group(w, r, g);
    bl_json_end_array(w);
    bl_json_put_key(w, "list");
    bl_json_begin_array(w);
    for (size_t i = 0; i < r->items->n_items; i++)
        put_item(w, r, i);
    bl_json_end_array(w);
    bl_json_end_object(w);
}
