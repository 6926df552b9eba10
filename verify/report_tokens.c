/*
 * report_tokens.c - the sections about the text: what was measured on it, how the divergence is
 * distributed over tokens, how perplexity settles, and the tokens that lost most, in context.
 */
#include "verify/report_sections.h"

#include "base/alloc.h"
#include "base/size.h"
#include "verify/html.h"
#include "verify/measures.h"
#include "verify/report_kept.h"
#include "verify/svg.h"

#include <math.h>
#include <stdio.h>

enum {
    N_TOKENS = 15,  /* shown in context */
    N_BEFORE = 24,  /* tokens of context */
    BINS = 4,       /* of the histogram in a decade */
    LEAST = -6,     /* its first decade, in nats; KL's own rounding error is about 1e-7 */
    MAX_DECADES = 8 /* to 100 nats, and everything above in the last bin */
};

static void put_measure(bl_text *out, const bl_measure *m)
{
    double scale = m->is_fraction ? 100 : 1;
    int decimals = m->is_fraction ? 3 : 6;

    bl_text_printf(out, "<tr><td>%s%s</td>", m->name, m->is_fraction ? ", %" : "");
    bl_report_cell(out, m->value, scale, decimals);
    bl_report_cell(out, m->interval.low, scale, decimals);
    bl_report_cell(out, m->interval.high, scale, decimals);
    bl_report_cell(out, m->error, scale, decimals);
    bl_text_puts(out, "</tr>\n");
}

bl_status bl_section_measures(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_ppl_result *p = &r->ppl;
    bl_measure measure[BL_MAX_MEASURES];
    size_t n;

    (void)err;
    if (!r->has_ppl)
        return BL_OK;
    n = bl_measures_list(measure, p);
    bl_text_puts(out, "<section><h2>On the text</h2>\n<p><code>");
    bl_html_puts(out, r->text);
    bl_text_puts(out, "</code>: ");
    bl_html_count(out, p->n_chunks);
    bl_text_puts(out, " chunks of ");
    bl_html_count(out, p->ctx);
    bl_text_puts(out, " tokens, ");
    bl_html_count(out, p->n_scored);
    bl_text_puts(out, " tokens scored; mean negative log-likelihood ");
    bl_html_number(out, p->model[p->n_models - 1].mean_nll, 1, 6);
    bl_text_puts(out, " nats.");
    bl_report_kept_html(out, r);
    bl_text_puts(out, "</p>\n<div class=\"scroll\"><table>\n<tr><th></th>"
                      "<th class=\"n\">value</th><th class=\"n\">95 % from</th>"
                      "<th class=\"n\">to</th><th class=\"n\">standard error</th></tr>\n");
    for (size_t i = 0; i < n; i++)
        put_measure(out, &measure[i]);
    bl_text_puts(out, "</table></div></section>\n");
    return BL_OK;
}

struct histogram {
    size_t bin[1 + MAX_DECADES * BINS]; /* [0]: below the first decade */
    size_t n_decades, highest;          /* highest: tokens in the fullest bin */
};

static struct histogram count_kl(const bl_ppl_result *p)
{
    struct histogram h = { .n_decades = 1 };

    for (size_t i = 0; i < p->n_scored; i++) {
        double place = p->kl[i] > 0 ? (log10(p->kl[i]) - LEAST) * BINS : -1;
        size_t b = place < 0 ? 0 : 1 + (size_t)fmin(place, MAX_DECADES * BINS - 1);

        h.bin[b]++;
        h.n_decades = b > h.n_decades * BINS ? (b + BINS - 1) / BINS : h.n_decades;
        h.highest = h.bin[b] > h.highest ? h.bin[b] : h.highest;
    }
    return h;
}

static void put_bin(bl_text *out, const bl_plot *plot, const struct histogram *h, size_t b)
{
    double x[2] = { LEAST + ((double)b - 1) / BINS, LEAST + (double)b / BINS };
    double y[2] = { 0, (double)h->bin[b] };
    char title[96];

    if (h->bin[b] == 0)
        return;
    if (b == 0)
        snprintf(title, sizeof(title), "%zu tokens below 1e%d nats", h->bin[b], LEAST);
    else
        snprintf(title, sizeof(title), "%zu tokens from %.2g to %.2g nats", h->bin[b],
                 pow(10, x[0]), pow(10, x[1]));
    bl_plot_bar(out, plot, b == 0 ? "below" : "bar", x, y, title);
}

/* Where a divergence lies on the axis; what is not positive lies at its beginning. */
static double place_of_kl(double kl)
{
    return kl > 0 ? log10(kl) : LEAST - 1;
}

static void put_quantiles(bl_text *out, const bl_kl_quantile *q)
{
    bl_text_puts(out, "<div class=\"scroll\"><table>\n<tr><th>nats</th>");
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_text_printf(out, "<th class=\"n\">%s</th>", q[i].name);
    bl_text_puts(out, "</tr>\n<tr><td>KL divergence</td>");
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_report_cell(out, q[i].value, 1, 6);
    bl_text_puts(out, "</tr>\n</table></div>\n");
}

bl_status bl_section_divergence(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    bl_kl_quantile q[BL_N_KL_QUANTILES];
    struct histogram h;
    bl_plot plot;

    (void)err;
    if (!r->has_ppl || r->ppl.n_models < 2)
        return BL_OK;
    h = count_kl(&r->ppl);
    bl_measures_kl(q, &r->ppl);
    plot.x = bl_axis_decades(LEAST, LEAST + (int)h.n_decades);
    plot.x.low -= 1.0 / BINS;
    plot.y = bl_axis_linear(0, (double)h.highest, 4);
    bl_text_puts(out, "<section><h2>KL divergence of a token</h2>\n"
                      "<p class=\"note\">Tokens by how far the model's distribution over the next "
                      "token is from the reference's, in nats, on a logarithmic axis; the first, "
                      "lighter bar is everything below. Upright lines: the shares of tokens that "
                      "lie to their left.</p>\n");
    bl_text_puts(out, "<div class=\"flags\">\n");
    bl_plot_begin(out, &plot, "number of tokens by KL divergence");
    for (size_t b = 0; b <= h.n_decades * BINS; b++)
        put_bin(out, &plot, &h, b);
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_plot_upright(out, &plot, "at", place_of_kl(q[i].value));
    bl_plot_end_marks(out);
    for (size_t i = 0; i < BL_N_KL_QUANTILES; i++)
        bl_plot_flag(out, &plot, place_of_kl(q[i].value), 2 - (int)(i % 3), q[i].name);
    bl_plot_end(out, &plot);
    bl_text_puts(out, "</div>\n");
    put_quantiles(out, q);
    bl_text_puts(out, "</section>\n");
    return BL_OK;
}

bl_status bl_section_running(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_ppl_result *p = &r->ppl;
    double low = (double)INFINITY, high = -(double)INFINITY;
    bl_plot plot;

    (void)err;
    if (!r->has_ppl)
        return BL_OK;
    for (size_t m = 0; m < p->n_models; m++)
        for (size_t c = 0; c < p->n_chunks; c++) {
            low = fmin(low, p->model[m].running[c]);
            high = fmax(high, p->model[m].running[c]);
        }
    plot.x = bl_axis_whole(1, (double)p->n_chunks, 6);
    plot.y = bl_axis_linear(low, high, 4);
    bl_text_puts(out, "<section><h2>Perplexity so far</h2>\n<p class=\"note\">After each chunk of "
                      "the text, of everything scored until then.</p>\n"
                      "<p><span class=\"key\">model</span>");
    if (p->n_models == 2)
        bl_text_puts(out, "<span class=\"key other\">reference</span>");
    bl_text_puts(out, "</p>\n");
    bl_plot_begin(out, &plot, "perplexity after each chunk");
    for (size_t m = 0; m < p->n_models; m++)
        bl_plot_line(out, &plot, m + 1 < p->n_models ? "ref" : "test", 1, p->model[m].running,
                     p->n_chunks);
    if (p->n_chunks == 1)
        bl_plot_dot(out, &plot, "test", 1, high, "the only chunk");
    bl_plot_end_marks(out);
    bl_plot_end(out, &plot);
    bl_text_puts(out, "</section>\n");
    return BL_OK;
}

/* How bad a scored token is: by divergence, or alone by its own improbability. */
static double badness(const bl_ppl_result *p, size_t i)
{
    return p->n_models == 2 ? p->kl[i] : p->model[0].nll[i];
}

/* The worst first; of equal ones the first in the text. Returns how many. */
static size_t find_worst(size_t worst[N_TOKENS], const bl_ppl_result *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_scored; i++) {
        size_t at = n;

        while (at > 0 && badness(p, i) > badness(p, worst[at - 1]))
            at--;
        if (at == N_TOKENS)
            continue;
        n += n < N_TOKENS;
        for (size_t k = n - 1; k > at; k--)
            worst[k] = worst[k - 1];
        worst[at] = i;
    }
    return n;
}

static bl_status put_tokens(bl_text *out, const bl_verify_report *r, size_t from, size_t n,
                            struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc = bl_tokenizer_decode(&text, r->tokenizer, r->tokens.id + from, n, 0, err);

    if (rc == BL_OK)
        bl_html_add(out, text.bytes, text.n);
    bl_text_release(&text);
    return rc;
}

static bl_status put_context(bl_text *out, const bl_verify_report *r, size_t place,
                             struct bl_err *err)
{
    size_t n_before = (size_t)bl_min_u64(place, N_BEFORE);
    bl_status rc;

    bl_text_puts(out, "<p class=\"text\">");
    rc = put_tokens(out, r, place - n_before, n_before, err);
    bl_text_puts(out, "<mark>");
    if (rc == BL_OK)
        rc = put_tokens(out, r, place, 1, err);
    bl_text_puts(out, "</mark></p></li>\n");
    return rc;
}

static void put_probabilities(bl_text *out, const bl_ppl_result *p, size_t i)
{
    bl_text_puts(out, "<li>");
    if (p->n_models == 2) {
        bl_text_puts(out, "KL ");
        bl_html_number(out, p->kl[i], 1, -4);
        bl_text_puts(out, " nats; probability ");
        bl_html_number(out, exp(-p->model[1].nll[i]), 100, -3);
        bl_text_puts(out, " %, in the reference ");
    } else {
        bl_text_puts(out, "probability ");
    }
    bl_html_number(out, exp(-p->model[0].nll[i]), 100, -3);
    bl_text_puts(out, " % <span class=\"note\">(token ");
    bl_html_count(out, p->place[i]);
    bl_text_puts(out, " of the text)</span>\n");
}

bl_status bl_section_worst_tokens(bl_text *out, const bl_verify_report *r, struct bl_err *err)
{
    const bl_ppl_result *p = &r->ppl;
    size_t worst[N_TOKENS], n;
    bl_status rc = BL_OK;

    if (!r->has_ppl || !r->tokenizer)
        return BL_OK;
    n = find_worst(worst, p);
    bl_text_printf(out, "<section><h2>%s</h2>\n",
                   p->n_models == 2 ? "Tokens with the largest KL divergence"
                                    : "Tokens that the model expected least");
    bl_text_printf(out,
                   "<p class=\"note\">The marked token, and the %d before it in the text; the "
                   "network sees what of them lies in the token's own chunk.%s</p>\n"
                   "<ol class=\"tokens\">\n",
                   N_BEFORE,
                   p->n_models == 2 ? " The divergence is that of the whole distribution in the "
                                      "marked token's place."
                                    : "");
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        put_probabilities(out, p, worst[i]);
        rc = put_context(out, r, p->place[worst[i]], err);
    }
    bl_text_puts(out, "</ol></section>\n");
    return rc;
}
