/*
 * chart.c - see chart.h. SVG 1.1 in pixels, all looks as attributes: what shows the file may know
 * no CSS. Nobody knows the reader's fonts, so room for texts is taken by a generous guess.
 *
 * Series are told apart by colour (Okabe and Ito's, which people who see fewer colours tell apart
 * too; their yellow is left out, it is faint on white) and, for those who print, by the shape of
 * marks and the pattern of lines.
 */
#include "verify/chart.h"

#include "verify/html.h"
#include "verify/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MARGIN = 18,
    WIDTH = 720, /* of the plot itself, at least */
    HEIGHT = 400,
    FONT = 13,
    TITLE_FONT = 17,
    ROW = 24,    /* of the legend, and of a title of an axis */
    SAMPLE = 34, /* the line of a series in the legend */
    X_STEPS = 8, /* about so many between ticks */
    Y_STEPS = 6,
    MAX_MARKS = 64
};

static const char *const colours[] = { "#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                       "#E69F00", "#56B4E9", "#000000" };

enum { N_COLOURS = sizeof(colours) / sizeof(*colours) };

/* Shapes around a point that was moved to. */
static const char *const shapes[BL_CHART_LOOKS] = {
    "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z", /* circle */
    "m-4 -4h8v8h-8z",                                /* square */
    "m0 -5.5l5 9h-10z",                              /* triangle */
    "m0 -6l6 6l-6 6l-6 -6z",                         /* diamond */
    "m0 5.5l5 -9h-10z",                              /* on its tip */
    "m0 -2.5l3 -3l2.5 2.5l-3 3l3 3l-2.5 2.5l-3 -3l-3 3l-2.5 -2.5l3 -3l-3 -3l2.5 -2.5z", /* x */
    "m0 -7l1.6 4.7l5 .1l-4 3l1.5 4.8l-4.1 -2.8l-4.1 2.8l1.5 -4.8l-4 -3l5 -.1z",         /* star */
    "m-1.8 -6h3.6v4.2h4.2v3.6h-4.2v4.2h-3.6v-4.2h-4.2v-3.6h4.2z",                       /* plus */
    "m-5.5 0l9 -5v10z",    /* to the left */
    "m5.5 0l-9 -5v10z",    /* to the right */
    "m-4.5 -5h9l-9 10h9z", /* hourglass */
    "m-5 -4.5v9l10 -9v9z", /* bow tie */
};

/* A line of the grid; label: what stands beside it, power: raised behind that; or empty. */
typedef struct mark {
    double at; /* in the axis' numbers */
    char label[32], power[12];
} mark;

typedef struct marks {
    mark mark[MAX_MARKS];
    size_t n;
} marks;

typedef struct frame {
    bl_axis x, y; /* y in powers of ten where it is a decades axis */
    double left, top, width, height;
    double whole_width, whole_height;
    size_t columns; /* of the legend */
    double column;
} frame;

typedef struct range {
    double low, high;
} range;

/* A point and the ends of its error bar in the axes' numbers. */
typedef struct point {
    double x, y;
    bool has_error;
    double error, from, to; /* from: minus infinity below zero on a decades axis */
} point;

static double tame(double v)
{
    if (!(fabs(v) <= 1e100))
        return (double)NAN;
    return fabs(v) < 1e-100 ? 0 : v;
}

/* Power of ten of v, where it has one. */
static double power_of(double v)
{
    return v > 0 ? log10(v) : -(double)INFINITY;
}

static bool get_point(point *p, const bl_chart *chart, const bl_chart_series *s, size_t i)
{
    double y = tame(s->y[i]), e = s->error ? tame(s->error[i]) : 0;

    *p = (point){ .x = tame(chart->x_scale != 0 ? s->x[i] * chart->x_scale : s->x[i]), .y = y };
    p->has_error = e > 0;
    if (p->has_error) {
        p->error = e;
        p->from = chart->y_decades ? power_of(y - e) : y - e;
        p->to = chart->y_decades ? power_of(y + e) : y + e;
    }
    if (chart->y_decades)
        p->y = power_of(y);
    return isfinite(p->x) && isfinite(p->y);
}

static void widen(range *r, double v)
{
    r->low = fmin(r->low, v);
    r->high = fmax(r->high, v);
}

static void get_ranges(range *x, range *y, const bl_chart *chart)
{
    point p;

    *x = *y = (range){ (double)INFINITY, -(double)INFINITY };
    for (size_t s = 0; s < chart->n_series; s++)
        for (size_t i = 0; i < chart->series[s].n; i++) {
            if (!get_point(&p, chart, &chart->series[s], i))
                continue;
            widen(x, p.x);
            widen(y, p.y);
            if (!p.has_error)
                continue;
            widen(y, p.to);
            /* a bar that nearly reaches zero would make decades of nothing else: it is cut */
            widen(y, chart->y_decades ? fmax(p.from, p.y - 1) : p.from);
        }
    if (x->low > x->high) /* no point */
        *x = *y = (range){ 0, 1 };
}

/* The next of 1, 2, 5 times a power of ten, as a power of ten: at most v, or at least v. */
static double round_power(double v, bool up)
{
    const double step[] = { 0, log10(2), log10(5), 1 };
    double whole = floor(v + 1e-9);
    size_t i = 0;

    if (up)
        while (i < 3 && whole + step[i] < v - 1e-9)
            i++;
    else
        while (i < 2 && whole + step[i + 1] <= v + 1e-9)
            i++;
    return whole + step[i];
}

/* The decades that hold the range, cut at 1, 2 or 5 of the outer ones. */
static bl_axis decades_around(range r)
{
    double low = round_power(r.low, false), high = round_power(r.high, true);
    bl_axis a;

    if (high - low < 1e-6) {
        low -= 1;
        high += 1;
    }
    a = bl_axis_decades((int)floor(low), (int)ceil(high));
    a.low = low;
    a.high = high;
    return a;
}

static mark *add_mark(marks *m, const bl_axis *a, double at)
{
    double slack = 1e-9 * (a->high - a->low);

    if (m->n == MAX_MARKS || at < a->low - slack || at > a->high + slack)
        return NULL;
    m->mark[m->n] = (mark){ .at = at };
    return &m->mark[m->n++];
}

/* Digits as far as ticks differ; powers of ten where plain numbers would be long. */
static void mark_linear(marks *m, const bl_axis *a)
{
    double most = fmax(fabs(a->low), fabs(a->high));
    double step = a->n_ticks > 1 ? (a->high - a->low) / (double)(a->n_ticks - 1) : most;
    int digits = 1 + (int)(floor(log10(most) + 1e-9) - floor(log10(step) + 1e-9));
    mark *k;

    for (size_t i = 0; i < a->n_ticks; i++) {
        double tick = a->tick[i] + 0.0; /* -0 reads as 0 */

        k = add_mark(m, a, a->tick[i]);
        if (k && most < 1e7 && a->decimals <= 6)
            snprintf(k->label, sizeof(k->label), "%.*f", a->decimals, tick);
        else if (k)
            snprintf(k->label, sizeof(k->label), "%.*g", digits, tick);
    }
}

static void name_decade(mark *k, const bl_axis *a, int digit, int power)
{
    if (a->low >= -4 && a->high <= 5) {
        snprintf(k->label, sizeof(k->label), "%.*f", power < 0 ? -power : 0,
                 digit * pow(10, power));
        return;
    }
    if (digit == 1)
        snprintf(k->label, sizeof(k->label), "10");
    else
        snprintf(k->label, sizeof(k->label),
                 "%d\xc3\x97"
                 "10",
                 digit);
    snprintf(k->power, sizeof(k->power), "%d", power);
}

/* Powers of ten; few decades have their 2 to 9 too, and names there while there is room. */
static void mark_decades(marks *m, const bl_axis *a)
{
    double span = a->high - a->low;
    mark *k;

    for (size_t i = 0; i < a->n_ticks; i++)
        for (int digit = 1; digit <= (span <= 4 ? 9 : 1); digit++) {
            k = add_mark(m, a, a->tick[i] + log10(digit));
            if (k && (digit == 1 || span <= 1 || (span <= 3 && (digit == 2 || digit == 5))))
                name_decade(k, a, digit, (int)a->tick[i]);
        }
}

static double x_of(const frame *f, double x)
{
    return f->left + f->width * (x - f->x.low) / (f->x.high - f->x.low);
}

/* What lies below the axis (the end of an error bar) lies at its end. */
static double y_of(const frame *f, double y)
{
    return f->top + f->height * (1 - fmax(0, (y - f->y.low) / (f->y.high - f->y.low)));
}

static bool is_there(const char *text)
{
    return text && *text;
}

static double width_of(const char *text, double font)
{
    double width = 0;

    for (; text && *text; text++) {
        unsigned char c = (unsigned char)*text;

        width += c < 0x80 ? 0.6 : c < 0xc0 ? 0 : 1; /* later bytes of a character count nothing */
    }
    return font * width;
}

static double widest_label(const marks *m)
{
    double widest = 0;

    for (size_t i = 0; i < m->n; i++)
        widest = fmax(widest, width_of(m->mark[i].label, FONT) + width_of(m->mark[i].power, FONT));
    return widest;
}

/* Where everything stands: title, plot, numbers and title of x, legend; those of y to the left. */
static void lay_out(frame *f, const bl_chart *chart, const marks *y)
{
    double right = 2 * MARGIN, below = 10 + FONT + (is_there(chart->x_title) ? ROW : 0);
    double named = 0, inside;
    size_t rows;

    for (size_t s = 0; s < chart->n_series; s++)
        named = fmax(named, width_of(chart->series[s].name, FONT));
    f->column = SAMPLE + 8 + named + MARGIN;
    f->left = MARGIN + (is_there(chart->y_title) ? ROW : 0) + widest_label(y) + 8;
    f->top = MARGIN + (is_there(chart->title) ? TITLE_FONT + 14 : 0);
    f->height = fmax(HEIGHT, width_of(chart->y_title, FONT));
    f->whole_width = fmax(f->left + WIDTH + right, f->column + 2 * MARGIN);
    f->whole_width = fmax(f->whole_width, width_of(chart->title, TITLE_FONT) + 2 * MARGIN);
    f->whole_width = fmax(f->whole_width, f->left + width_of(chart->x_title, FONT) + right);
    f->whole_width = ceil(f->whole_width);
    f->width = f->whole_width - f->left - right;
    inside = f->whole_width - f->left;
    f->columns = 1;
    while (f->columns < chart->n_series && (double)(f->columns + 1) * f->column <= inside)
        f->columns++;
    rows = (chart->n_series + f->columns - 1) / f->columns;
    f->whole_height = ceil(f->top + f->height + below + (double)rows * ROW + MARGIN);
}

static void put_text(bl_text *out, double x, double y, const char *attributes, const char *text)
{
    if (!is_there(text))
        return;
    bl_text_printf(out, "<text x=\"%.2f\" y=\"%.2f\"%s>", x, y, attributes);
    bl_html_puts(out, text);
    bl_text_puts(out, "</text>\n");
}

static void put_label(bl_text *out, double x, double y, const mark *k)
{
    if (!is_there(k->label))
        return;
    bl_text_printf(out, "<text x=\"%.2f\" y=\"%.2f\">%s", x, y, k->label);
    if (is_there(k->power))
        bl_text_printf(out, "<tspan dy=\"-5\" font-size=\"10\">%s</tspan>", k->power);
    bl_text_puts(out, "</text>\n");
}

static void put_axes(bl_text *out, const frame *f, const marks *x, const marks *y)
{
    double bottom = f->top + f->height;

    bl_text_puts(out, "<g fill=\"none\" stroke-width=\"1\">\n");
    for (size_t i = 0; i < x->n; i++)
        bl_text_printf(out, "<path stroke=\"#d9d9d9\" d=\"M%.2f %.2fv%.2f\"/>\n",
                       x_of(f, x->mark[i].at), f->top, f->height);
    for (size_t i = 0; i < y->n; i++)
        bl_text_printf(out, "<path stroke=\"%s\" d=\"M%.2f %.2fh%.2f\"/>\n",
                       is_there(y->mark[i].label) ? "#d9d9d9" : "#efefef", f->left,
                       y_of(f, y->mark[i].at), f->width);
    for (size_t i = 0; i < x->n; i++)
        bl_text_printf(out, "<path stroke=\"#444\" d=\"M%.2f %.2fv5\"/>\n", x_of(f, x->mark[i].at),
                       bottom);
    for (size_t i = 0; i < y->n; i++)
        if (is_there(y->mark[i].label))
            bl_text_printf(out, "<path stroke=\"#444\" d=\"M%.2f %.2fh-5\"/>\n", f->left,
                           y_of(f, y->mark[i].at));
    bl_text_printf(out,
                   "<rect class=\"plot\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
                   "stroke=\"#444\"/>\n</g>\n",
                   f->left, f->top, f->width, f->height);
    bl_text_puts(out, "<g text-anchor=\"middle\">\n");
    for (size_t i = 0; i < x->n; i++)
        put_label(out, x_of(f, x->mark[i].at), bottom + 8 + FONT, &x->mark[i]);
    bl_text_puts(out, "</g>\n<g text-anchor=\"end\">\n");
    for (size_t i = 0; i < y->n; i++)
        put_label(out, f->left - 8, y_of(f, y->mark[i].at) + 4.5, &y->mark[i]);
    bl_text_puts(out, "</g>\n");
}

static void put_titles(bl_text *out, const frame *f, const bl_chart *chart)
{
    double middle = f->top + f->height / 2;
    char turned[80];

    snprintf(turned, sizeof(turned), " text-anchor=\"middle\" transform=\"rotate(-90 %.2f %.2f)\"",
             (double)(MARGIN + FONT - 2), middle);
    put_text(out, f->whole_width / 2, MARGIN + TITLE_FONT - 2,
             " text-anchor=\"middle\" font-size=\"17\" font-weight=\"bold\"", chart->title);
    put_text(out, f->left + f->width / 2, f->top + f->height + 8 + FONT + ROW - 4,
             " text-anchor=\"middle\"", chart->x_title);
    put_text(out, MARGIN + FONT - 2, middle, turned, chart->y_title);
}

/* The line's look, without its d. */
static void begin_line(bl_text *out, const bl_chart_series *s, size_t look)
{
    const char *pattern = s->dashed           ? "7 5"
                          : look >= N_COLOURS ? "12 3 2 3" /* a colour's second line */
                                              : NULL;

    bl_text_puts(out, "<path class=\"line\"");
    if (pattern)
        bl_text_printf(out, " stroke-dasharray=\"%s\"", pattern);
    bl_text_puts(out, " d=\"");
}

static void begin_shape(bl_text *out, const bl_chart_series *s, size_t look, double x, double y)
{
    const char *colour = colours[look % N_COLOURS];

    bl_text_printf(out, "<path fill=\"%s\" stroke=\"%s\" stroke-width=\"%s\" d=\"M%.2f %.2f%s\"",
                   s->dashed ? "#fff" : colour, s->dashed ? colour : "#fff",
                   s->dashed ? "1.5" : "0.8", x, y, shapes[look]);
}

static void put_error(bl_text *out, const frame *f, const point *p)
{
    double x = x_of(f, p->x), from = y_of(f, p->from), to = y_of(f, p->to);

    bl_text_printf(out, "<path class=\"error\" stroke-width=\"1.3\" d=\"M%.2f %.2fV%.2fm-4 0h8", x,
                   from, to);
    if (p->from >= f->y.low) /* otherwise it goes on below */
        bl_text_printf(out, "M%.2f %.2fh8", x - 4, from);
    bl_text_puts(out, "\"/>\n");
}

/* What a point says where one points at it: the numbers, the first as its axis has them. */
static void put_sentence(bl_text *out, const bl_chart_series *s, size_t i, const point *p)
{
    bl_text_puts(out, "><title>");
    if (is_there(s->name)) {
        bl_html_puts(out, s->name);
        bl_text_puts(out, ": ");
    }
    bl_text_printf(out, "%.6g, %.6g", p->x, s->y[i]);
    if (p->has_error)
        bl_text_printf(out, " \xc2\xb1 %.3g", p->error);
    bl_text_puts(out, "</title></path>\n");
}

/* Whether the points of a series are few enough to be told apart. */
static bool has_marks(const bl_chart *chart, const bl_chart_series *s)
{
    size_t n = 0;
    point p;

    for (size_t i = 0; i < s->n; i++)
        n += get_point(&p, chart, s, i);
    return n <= BL_CHART_MARKS;
}

static void put_series(bl_text *out, const frame *f, const bl_chart *chart, size_t index)
{
    const bl_chart_series *s = &chart->series[index];
    const bool marked = has_marks(chart, s);
    size_t look = index % BL_CHART_LOOKS;
    char pen = 'M'; /* move, then draw until a gap */
    point p;

    bl_text_printf(out,
                   "<g class=\"series\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
                   "stroke-linejoin=\"round\">\n",
                   colours[look % N_COLOURS]);
    begin_line(out, s, look);
    for (size_t i = 0; i < s->n; i++) {
        bool there = get_point(&p, chart, s, i);

        if (there)
            bl_text_printf(out, "%c%.2f %.2f", pen, x_of(f, p.x), y_of(f, p.y));
        pen = there ? 'L' : 'M';
    }
    bl_text_puts(out, "\"/>\n");
    for (size_t i = 0; i < s->n; i++)
        if (get_point(&p, chart, s, i) && p.has_error)
            put_error(out, f, &p);
    for (size_t i = 0; i < s->n && marked; i++)
        if (get_point(&p, chart, s, i)) {
            begin_shape(out, s, look, x_of(f, p.x), y_of(f, p.y));
            put_sentence(out, s, i, &p);
        }
    bl_text_puts(out, "</g>\n");
}

static void put_legend(bl_text *out, const frame *f, const bl_chart *chart)
{
    double first = f->whole_height - MARGIN;
    size_t rows = (chart->n_series + f->columns - 1) / f->columns;

    first -= ((double)rows - 0.5) * ROW;
    for (size_t i = 0; i < chart->n_series; i++) {
        const bl_chart_series *s = &chart->series[i];
        size_t look = i % BL_CHART_LOOKS, row = i / f->columns;
        double wide = f->column * (double)f->columns;
        double x = fmin(f->left, f->whole_width - wide) + f->column * (double)(i % f->columns);
        double y = first + (double)row * ROW;

        bl_text_printf(out, "<g class=\"legend\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\">\n",
                       colours[look % N_COLOURS]);
        begin_line(out, s, look);
        bl_text_printf(out, "M%.2f %.2fh%d\"/>\n", x, y, SAMPLE);
        begin_shape(out, s, look, x + SAMPLE / 2.0, y);
        bl_text_puts(out, "/>\n</g>\n");
        put_text(out, x + SAMPLE + 8, y + 4.5, "", s->name);
    }
}

void bl_chart_write(bl_text *out, const bl_chart *chart)
{
    marks x = { 0 }, y = { 0 };
    frame f = { 0 };
    range xs, ys;

    get_ranges(&xs, &ys, chart);
    f.x = bl_axis_linear(xs.low, xs.high, X_STEPS);
    f.y = chart->y_decades ? decades_around(ys) : bl_axis_linear(ys.low, ys.high, Y_STEPS);
    mark_linear(&x, &f.x);
    if (chart->y_decades)
        mark_decades(&y, &f.y);
    else
        mark_linear(&y, &f.y);
    lay_out(&f, chart, &y);
    bl_text_printf(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%.0f\" "
                   "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" font-family=\"Helvetica, Arial, "
                   "sans-serif\" font-size=\"%d\" fill=\"#222\">\n<title>",
                   f.whole_width, f.whole_height, f.whole_width, f.whole_height, FONT);
    bl_html_puts(out, is_there(chart->title) ? chart->title : "A chart");
    bl_text_puts(out, "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    put_axes(out, &f, &x, &y);
    put_titles(out, &f, chart);
    for (size_t i = 0; i < chart->n_series; i++)
        put_series(out, &f, chart, i);
    put_legend(out, &f, chart);
    bl_text_puts(out, "</svg>\n");
}
