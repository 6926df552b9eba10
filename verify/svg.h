/*
 * svg.h - plots for a page: axes and marks. The marks are an inline SVG that is stretched to the
 * width there is, while every label is text of the page, so that it keeps its size on a phone.
 *
 *     bl_plot_begin(out, &plot, "what it shows");
 *     bl_plot_bar(...); bl_plot_line(...); bl_plot_dot(...); bl_plot_upright(...);
 *     bl_plot_end_marks(out);
 *     bl_plot_flag(...);
 *     bl_plot_end(out, &plot);
 *
 * Classes are those of the page's style sheet. A value outside an axis lies at its end; one that
 * is not finite leaves a gap in a line.
 */
#ifndef BL_VERIFY_SVG_H
#define BL_VERIFY_SVG_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

enum { BL_AXIS_MAX_TICKS = 16 };

typedef struct bl_axis {
    double low, high; /* low < high; a decades axis counts in powers of ten */
    bool decades;
    double tick[BL_AXIS_MAX_TICKS];
    size_t n_ticks;
    int decimals; /* of the labels */
} bl_axis;

typedef struct bl_plot {
    bl_axis x, y;
} bl_plot;

/* Round steps (1, 2 or 5 times a power of ten), about n of them, and the ends on steps. */
bl_axis bl_axis_linear(double low, double high, size_t n);
/* For what is counted: the ends as they are, steps of at least 1. */
bl_axis bl_axis_whole(double low, double high, size_t n);
/* 10^low .. 10^high; low < high. */
bl_axis bl_axis_decades(int low, int high);

void bl_plot_begin(bl_text *out, const bl_plot *plot, const char *label);
/* A rectangle between the corners (x0, y0) and (x1, y1), its sentence shown where one points. */
void bl_plot_bar(bl_text *out, const bl_plot *plot, const char *css_class, const double x[2],
                 const double y[2], const char *title);
void bl_plot_dot(bl_text *out, const bl_plot *plot, const char *css_class, double x, double y,
                 const char *title);
/* y[n] at first, first + 1 ...; of very many points some are left out. */
void bl_plot_line(bl_text *out, const bl_plot *plot, const char *css_class, double first,
                  const double *y, size_t n);
/* A line from bottom to top. */
void bl_plot_upright(bl_text *out, const bl_plot *plot, const char *css_class, double x);
void bl_plot_end_marks(bl_text *out);
/* A word above the plot at x, in one of the rows 0, 1 ... */
void bl_plot_flag(bl_text *out, const bl_plot *plot, double x, int row, const char *word);
void bl_plot_end(bl_text *out, const bl_plot *plot);

#endif
