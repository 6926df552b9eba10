/*
 * chart.h - a line chart as a file of its own: an SVG document that a browser, an image viewer and
 * the page of a repository show without a style sheet or a script. For a plot inside the report's
 * page see svg.h.
 *
 *     bl_chart_write(&out, &chart);
 *     status = bl_text_check(&out, err);
 *
 * The axes are those of svg.h, from the points and their error bars. Texts and arrays belong to the
 * caller and are read during the call only. Numbers beyond 1e100 count as not finite, those below
 * 1e-100 as zero: no axis reaches there.
 */
#ifndef BL_VERIFY_CHART_H
#define BL_VERIFY_CHART_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

/* Series look different from each other up to so many; after that looks repeat. */
enum { BL_CHART_LOOKS = 12 };

/* A series of more points is a line alone. */
enum { BL_CHART_MARKS = 60 };

typedef struct bl_chart_series {
    const char *name;    /* in the legend */
    const double *x, *y; /* [n]; one that is not finite, or a y not positive on a decades axis,
                            leaves a gap */
    const double *error; /* [n]: bars y - e .. y + e where e is positive and finite; or NULL */
    size_t n;
    bool dashed; /* a floor or ceiling, not a candidate: its marks are hollow too */
} bl_chart_series;

typedef struct bl_chart {
    const char *title, *x_title, *y_title; /* NULL or empty: none */
    bool y_decades;                        /* a logarithmic y axis */
    double x_scale;                        /* labels of the x axis show x * x_scale; 0: 1 */
    const bl_chart_series *series;         /* [n_series], the last on top */
    size_t n_series;
} bl_chart;

/*
 * Append the document, XML in UTF-8. Texts are escaped as verify/html.h does it. The same input
 * gives the same bytes. Fails only for lack of memory, which bl_text_check() tells.
 */
void bl_chart_write(bl_text *out, const bl_chart *chart);

#endif
