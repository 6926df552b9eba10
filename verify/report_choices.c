/*
 * report_choices.c - see report_choices.h, and the section of the page. Definitions:
 * docs/numerics.md, keys: docs/cli.md.
 */
#include "verify/report_choices.h"

#include "verify/html.h"
#include "verify/report_sections.h"

#include <inttypes.h>
#include <string.h>

enum { N_CHANGED = 20, PROMPT_BYTES = 240 }; /* items shown, and the end of their prompts */

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

void bl_report_choices_text(bl_text *out, const bl_choices_result *r)
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

/* {"value", "low", "high"} */
static void put_share(bl_json_writer *w, const char *key, bl_share s)
{
    bl_json_put_key(w, key);
    bl_json_begin_object(w);
    bl_json_pair_f64(w, "value", s.value);
    bl_json_pair_f64(w, "low", s.low);
    bl_json_pair_f64(w, "high", s.high);
    bl_json_end_object(w);
}

static void put_change(bl_json_writer *w, const char *key, size_t gained, size_t lost, size_t n)
{
    bl_share s = bl_share_change(gained, lost, n);

    bl_json_put_key(w, key);
    bl_json_begin_object(w);
    bl_json_pair_f64(w, "value", s.value);
    bl_json_pair_f64(w, "low", s.low);
    bl_json_pair_f64(w, "high", s.high);
    bl_json_pair_u64(w, "gained", gained);
    bl_json_pair_u64(w, "lost", lost);
    bl_json_pair_f64(w, "mcnemar_p", bl_mcnemar(gained, lost));
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
    bl_json_pair_f64(w, "margin_change", r->margin_change);
    bl_json_pair_f64(w, "margin_change_error", r->margin_change_error);
    bl_json_pair_f64(w, "abs_margin_change", r->abs_margin_change);
    bl_json_pair_f64(w, "abs_margin_change_error", r->abs_margin_change_error);
    bl_json_pair_f64(w, "mean_kld", r->kl_mean);
    bl_json_pair_f64(w, "mean_kld_error", r->kl_error);
}

static void put_group(bl_json_writer *w, const bl_choices_result *r, size_t g)
{
    const bl_choice_tally *t = &tested(r)->group[g], *base = &r->model[0].group[g];

    bl_json_begin_object(w);
    bl_json_pair_string(w, "group", r->items->group[g]);
    bl_json_pair_u64(w, "items", t->n);
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

    bl_json_pair_u64(w, "chosen", m->pick[i].sum);
    bl_json_pair_u64(w, "chosen_per_byte", m->pick[i].per_byte);
    bl_json_pair_f64(w, "margin", m->pick[i].margin);
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
    bl_json_pair_u64(w, "line", item->line);
    bl_json_pair_string(w, "id", item->id);
    bl_json_pair_u64(w, "answer", item->answer);
    put_pick(w, tested(r), r->items, i);
    if (r->n_models == 2) {
        bl_json_put_key(w, "reference");
        bl_json_begin_object(w);
        put_pick(w, &r->model[0], r->items, i);
        bl_json_end_object(w);
    }
    bl_json_end_object(w);
}

void bl_report_choices_json(bl_json_writer *w, const bl_choices_result *r)
{
    const bl_choice_tally *t = &tested(r)->all;

    bl_json_put_key(w, "choices");
    bl_json_begin_object(w);
    bl_json_pair_string(w, "file", r->items->name);
    bl_json_pair_u64(w, "items", t->n);
    bl_json_pair_u64(w, "sequences", r->n_seqs);
    bl_json_pair_u64(w, "positions", r->n_positions);
    bl_json_pair_u64(w, "scored_tokens", r->n_scored);
    bl_json_pair_f64(w, "chance", r->chance);
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

/* In percent, with its interval. */
static void put_share_cell(bl_text *out, bl_share s)
{
    bl_text_puts(out, "<td class=\"n\">");
    bl_html_number(out, s.value, 100, 1);
    bl_text_puts(out, " <span class=\"note\">(");
    bl_html_number(out, s.low, 100, 1);
    bl_text_puts(out, " to ");
    bl_html_number(out, s.high, 100, 1);
    bl_text_puts(out, ")</span></td>");
}

static void put_tally_cells(bl_text *out, const bl_choice_tally *t)
{
    put_share_cell(out, bl_share_of(t->sum, t->n));
    put_share_cell(out, bl_share_of(t->per_byte, t->n));
}

static void put_tally_row(bl_text *out, const char *what, const bl_choice_tally *t)
{
    bl_text_printf(out, "<tr><td>%s</td>", what);
    put_tally_cells(out, t);
    bl_text_puts(out, "</tr>\n");
}

static void put_count_row(bl_text *out, const char *what, size_t sum, size_t per_byte)
{
    bl_text_printf(out, "<tr><td>%s</td><td class=\"n\">", what);
    bl_html_count(out, sum);
    bl_text_puts(out, "</td><td class=\"n\">");
    bl_html_count(out, per_byte);
    bl_text_puts(out, "</td></tr>\n");
}

static void put_change_rows(bl_text *out, const bl_choices_result *r)
{
    size_t n = r->items->n_items;

    bl_text_puts(out, "<tr><td>change, points</td>");
    put_share_cell(out, bl_share_change(r->gained, r->lost, n));
    put_share_cell(out, bl_share_change(r->gained_per_byte, r->lost_per_byte, n));
    bl_text_puts(out, "</tr>\n");
    put_count_row(out, "right in the model alone", r->gained, r->gained_per_byte);
    put_count_row(out, "right in the reference alone", r->lost, r->lost_per_byte);
    bl_text_puts(out, "<tr><td>McNemar p</td>");
    bl_report_cell(out, bl_mcnemar(r->gained, r->lost), 1, 4);
    bl_report_cell(out, bl_mcnemar(r->gained_per_byte, r->lost_per_byte), 1, 4);
    bl_text_puts(out, "</tr>\n<tr><td>same choice, %</td>");
    put_share_cell(out, bl_share_of(r->same, n));
    bl_text_puts(out, "<td></td></tr>\n");
}

static void put_mean_row(bl_text *out, const char *what, double mean, double error)
{
    bl_text_printf(out, "<tr><td>%s</td>", what);
    bl_report_cell(out, mean, 1, 6);
    bl_report_cell(out, error, 1, 6);
    bl_text_puts(out, "</tr>\n");
}

static void put_means(bl_text *out, const bl_choices_result *r)
{
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th>nats</th><th class=\"n\">mean</th>"
                      "<th class=\"n\">standard error</th></tr>\n");
    put_mean_row(out, "change of the margin", r->margin_change, r->margin_change_error);
    put_mean_row(out, "its absolute value", r->abs_margin_change, r->abs_margin_change_error);
    put_mean_row(out, "KL divergence over the choices", r->kl_mean, r->kl_error);
    bl_text_puts(out, "</table></div>\n");
}

static void put_groups(bl_text *out, const bl_choices_result *r)
{
    if (r->items->n_groups == 0)
        return;
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th>group</th><th class=\"n\">items</th>"
                      "<th class=\"n\">accuracy, %</th><th class=\"n\">per byte, %</th>");
    if (r->n_models == 2)
        bl_text_puts(out, "<th class=\"n\">reference, %</th><th class=\"n\">per byte, %</th>");
    bl_text_puts(out, "</tr>\n");
    for (size_t g = 0; g < r->items->n_groups; g++) {
        bl_text_puts(out, "<tr><td class=\"name\">");
        bl_html_puts(out, r->items->group[g]);
        bl_text_puts(out, "</td><td class=\"n\">");
        bl_html_count(out, tested(r)->group[g].n);
        bl_text_puts(out, "</td>");
        put_tally_cells(out, &tested(r)->group[g]);
        if (r->n_models == 2)
            put_tally_cells(out, &r->model[0].group[g]);
        bl_text_puts(out, "</tr>\n");
    }
    bl_text_puts(out, "</table></div>\n");
}

/* The end of a prompt, from the beginning of a character. */
static const char *end_of(const char *prompt)
{
    size_t n = strlen(prompt);
    const char *end = prompt + (n > PROMPT_BYTES ? n - PROMPT_BYTES : 0);

    while (end > prompt && ((unsigned char)*end & 0xc0) == 0x80)
        end++;
    return end;
}

static void put_taken(bl_text *out, const char *what, const bl_choice_pick *pick)
{
    bl_text_printf(out, "; %s takes ", what);
    bl_html_count(out, pick->sum);
    bl_text_puts(out, ", margin ");
    bl_html_number(out, pick->margin, 1, -4);
    bl_text_puts(out, " nats");
}

/* The answer as marked text, and below it what one of the two took for it. */
static void put_changed(bl_text *out, const bl_choices_result *r, size_t i)
{
    const bl_choice_item *item = &r->items->item[i];
    const bl_choice_pick *base = &r->model[0].pick[i], *test = &r->model[1].pick[i];
    bool is_lost = base->sum == item->answer;
    const char *prompt = end_of(item->prompt);

    bl_text_printf(out, "<li>%s: the answer is ", is_lost ? "lost" : "gained");
    bl_html_count(out, item->answer);
    put_taken(out, "the model", test);
    put_taken(out, "the reference", base);
    bl_text_puts(out, " <span class=\"note\">(line ");
    bl_html_count(out, item->line);
    if (item->id) {
        bl_text_puts(out, ", ");
        bl_html_puts(out, item->id);
    }
    bl_text_printf(out, ")</span>\n<p class=\"text\">%s", prompt > item->prompt ? "... " : "");
    bl_html_puts(out, prompt);
    bl_text_puts(out, "<mark>");
    bl_html_puts(out, item->choice[item->answer]);
    bl_text_puts(out, "</mark></p>\n<p class=\"text\">taken instead: <mark>");
    bl_html_puts(out, item->choice[is_lost ? test->sum : base->sum]);
    bl_text_puts(out, "</mark></p></li>\n");
}

static void put_changes(bl_text *out, const bl_choices_result *r)
{
    size_t n = r->gained + r->lost, shown = 0;

    if (n == 0)
        return;
    bl_text_puts(out, "<h3>Items that changed sides</h3>\n<p class=\"note\">By the sum over a "
                      "choice's tokens; choices are counted from 0. The margin is the "
                      "log-likelihood of the answer less that of the best other choice.</p>\n"
                      "<ol class=\"tokens\">\n");
    for (size_t i = 0; i < r->items->n_items && shown < N_CHANGED; i++) {
        uint32_t answer = r->items->item[i].answer;

        if ((r->model[0].pick[i].sum == answer) == (r->model[1].pick[i].sum == answer))
            continue;
        put_changed(out, r, i);
        shown++;
    }
    bl_text_puts(out, "</ol>\n");
    if (n > shown)
        bl_text_printf(out, "<p>and %zu more</p>\n", n - shown);
}

bl_status bl_section_choices(bl_text *out, const bl_verify_report *report, struct bl_err *err)
{
    const bl_choices_result *r = &report->choices;

    (void)err;
    if (!report->has_choices)
        return BL_OK;
    bl_text_puts(out, "<section><h2>Multiple-choice items</h2>\n<p><code>");
    bl_html_puts(out, r->items->name);
    bl_text_puts(out, "</code>: ");
    bl_html_count(out, r->items->n_items);
    bl_text_puts(out, " items, ");
    bl_html_count(out, r->n_seqs);
    bl_text_puts(out, " sequences of ");
    bl_html_count(out, r->n_positions);
    bl_text_puts(out, " tokens, ");
    bl_html_count(out, r->n_scored);
    bl_text_puts(out, " tokens scored; by chance ");
    bl_html_number(out, r->chance, 100, 1);
    bl_text_puts(out, " % would be right. In brackets: 95 % confidence intervals.</p>\n"
                      "<div class=\"scroll\"><table>\n<tr><th></th><th class=\"n\">accuracy, %</th>"
                      "<th class=\"n\">per byte, %</th></tr>\n");
    put_tally_row(out, "model", &tested(r)->all);
    if (r->n_models == 2) {
        put_tally_row(out, "reference", &r->model[0].all);
        put_change_rows(out, r);
    }
    bl_text_puts(out, "</table></div>\n");
    if (r->n_models == 2)
        put_means(out, r);
    put_groups(out, r);
    if (r->n_models == 2)
        put_changes(out, r);
    bl_text_puts(out, "</section>\n");
    return BL_OK;
}
