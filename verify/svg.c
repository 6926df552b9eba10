/*
 * svg.c - see svg.h. The drawing is 1000 by 1000 units; strokes keep their width when it is
 * stretched, and a dot is a line of no length with round ends: circles would not keep their shape.
 */
#include "verify/svg.h"

#include "verify/html.h"

#include <math.h>

enum { SIDE = 1000, MAX_POINTS = 1000 };

/* The smallest of 1, 2, 5, 10 times a power of ten that is no less than x > 0. */
static double round_step(double x, int *decimals)
{
    double power = floor(log10(x)), unit = pow(10, power);
    double step = x <= unit       ? unit
                  : x <= 2 * unit ? 2 * unit
                  : x <= 5 * unit ? 5 * unit
                                  : 10 * unit;

    *decimals = step >= 1 ? 0 : (int)-floor(log10(step) + 1e-9);
    return step;
}

static void put_ticks(bl_axis *a, double step)
{
    double first = ceil(a->low / step - 1e-9), last = floor(a->high / step + 1e-9);

    while (a->n_ticks < BL_AXIS_MAX_TICKS && first + (double)a->n_ticks <= last) {
        a->tick[a->n_ticks] = (first + (double)a->n_ticks) * step;
        a->n_ticks++;
    }
}

/* One value, or none: room around it. */
static void make_room(bl_axis *a, double room)
{
    if (a->high - a->low > 1e-9 * fabs(a->high))
        return;
    a->high = a->low + room;
    a->low -= room;
}

bl_axis bl_axis_linear(double low, double high, size_t n)
{
    bl_axis a = { .low = low, .high = high };
    double step;

    make_room(&a, fabs(low) > 0 ? 0.05 * fabs(low) : 1);
    step = round_step((a.high - a.low) / (double)n, &a.decimals);
    a.low = step * floor(a.low / step + 1e-9);
    a.high = step * ceil(a.high / step - 1e-9);
    put_ticks(&a, step);
    return a;
}

bl_axis bl_axis_whole(double low, double high, size_t n)
{
    bl_axis a = { .low = low, .high = high };

    make_room(&a, 0.5);
    put_ticks(&a, round_step(fmax(1, (a.high - a.low) / (double)n), &a.decimals));
    return a;
}

bl_axis bl_axis_decades(int low, int high)
{
    bl_axis a = { .low = low, .high = high, .decades = true };
    int step = (high - low + BL_AXIS_MAX_TICKS - 2) / (BL_AXIS_MAX_TICKS - 1);

    for (int t = low; t <= high; t += step > 1 ? step : 1)
        a.tick[a.n_ticks++] = t;
    return a;
}

/* 0 at the low end, 1 at the high end. */
static double place_on(const bl_axis *a, double v)
{
    return fmin(1, fmax(0, (v - a->low) / (a->high - a->low)));
}

static double x_of(const bl_plot *p, double x)
{
    return SIDE * place_on(&p->x, x);
}

static double y_of(const bl_plot *p, double y)
{
    return SIDE * (1 - place_on(&p->y, y));
}

static void put_tick(bl_text *out, const bl_axis *a, double tick, const char *edge)
{
    bl_text_printf(out, "<span style=\"%s:%.3f%%\">", edge, 100 * place_on(a, tick));
    if (a->decades)
        bl_text_printf(out, "10<sup>%.0f</sup></span>", tick);
    else
        bl_text_printf(out, "%.*f</span>", a->decimals, tick + 0.0); /* -0 reads as 0 */
}

void bl_plot_begin(bl_text *out, const bl_plot *plot, const char *label)
{
    bl_text_puts(out, "<div class=\"plot\">\n<div class=\"y\">");
    for (size_t i = 0; i < plot->y.n_ticks; i++)
        put_tick(out, &plot->y, plot->y.tick[i], "bottom");
    bl_text_puts(out, "</div>\n<div class=\"area\"><svg viewBox=\"0 0 1000 1000\" "
                      "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    bl_html_puts(out, label);
    bl_text_puts(out, "\">\n");
    for (size_t i = 0; i < plot->y.n_ticks; i++)
        bl_text_printf(out, "<path class=\"grid\" d=\"M0 %.2fH1000\"/>\n",
                       y_of(plot, plot->y.tick[i]));
}

static void put_title(bl_text *out, const char *title)
{
    bl_text_puts(out, "><title>");
    bl_html_puts(out, title);
    bl_text_puts(out, "</title>");
}

void bl_plot_bar(bl_text *out, const bl_plot *plot, const char *css_class, const double x[2],
                 const double y[2], const char *title)
{
    double left = x_of(plot, x[0]), top = y_of(plot, y[1]);

    bl_text_printf(out, "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"",
                   css_class, left, top, x_of(plot, x[1]) - left, y_of(plot, y[0]) - top);
    put_title(out, title);
    bl_text_puts(out, "</rect>\n");
}

void bl_plot_dot(bl_text *out, const bl_plot *plot, const char *css_class, double x, double y,
                 const char *title)
{
    if (!isfinite(y))
        return;
    bl_text_printf(out, "<path class=\"dot %s\" d=\"M%.2f %.2fh0\"", css_class, x_of(plot, x),
                   y_of(plot, y));
    put_title(out, title);
    bl_text_puts(out, "</path>\n");
}

void bl_plot_line(bl_text *out, const bl_plot *plot, const char *css_class, double first,
                  const double *y, size_t n)
{
    size_t every = n / MAX_POINTS + 1;
    char pen = 'M'; /* move, then draw until a gap */

    bl_text_printf(out, "<path class=\"line %s\" d=\"", css_class);
    for (size_t i = 0; i < n; i++) {
        if (i % every != 0 && i + 1 < n)
            continue;
        if (isfinite(y[i]))
            bl_text_printf(out, "%c%.2f %.2f", pen, x_of(plot, first + (double)i),
                           y_of(plot, y[i]));
        pen = isfinite(y[i]) ? 'L' : 'M';
    }
    bl_text_puts(out, "\"/>\n");
}

void bl_plot_upright(bl_text *out, const bl_plot *plot, const char *css_class, double x)
{
    bl_text_printf(out, "<path class=\"line %s\" d=\"M%.2f 0V1000\"/>\n", css_class, x_of(plot, x));
}

void bl_plot_end_marks(bl_text *out)
{
    bl_text_puts(out, "</svg>");
}

void bl_plot_flag(bl_text *out, const bl_plot *plot, double x, int row, const char *word)
{
    bl_text_printf(out, "<span class=\"flag row%d\" style=\"left:%.3f%%\">", row,
                   100 * place_on(&plot->x, x));
    bl_html_puts(out, word);
    bl_text_puts(out, "</span>");
}

void bl_plot_end(bl_text *out, const bl_plot *plot)
{
    bl_text_puts(out, "</div>\n<div class=\"x\">");
    for (size_t i = 0; i < plot->x.n_ticks; i++)
        put_tick(out, &plot->x, plot->x.tick[i], "left");
    bl_text_puts(out, "</div>\n</div>\n");
}
