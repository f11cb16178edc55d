/* One small chart layer: line charts written directly as SVG, and as PNG through cairo where it was
 * found at build time. Colours that people with colour blindness can tell apart (Okabe and Ito
 * 2008), readable in light and dark. */
#ifndef RF_IO_CHART_H
#define RF_IO_CHART_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct rf_chart_series {
    const char *name;
    const double *x;
    const double *y; /* NaN breaks the line */
    size_t count;
} rf_chart_series;

typedef struct rf_chart {
    const char *title, *x_label, *y_label;
    bool x_log, y_log;
    const rf_chart_series *series;
    size_t series_count;
    bool bars; /* at the places of x one bar each, of the series' values on top of each other, all
                  with the same x; y from 0 and not on a log axis */
} rf_chart;

/* The SVG text, released with rf_release. */
RF_MUST_CHECK rf_status rf_chart_svg(const rf_chart *chart, char **svg, rf_error *error);
/* By the ending of path: .svg, or .png (RF_ERR_UNSUPPORTED without cairo). Atomic. */
RF_MUST_CHECK rf_status rf_chart_write(const rf_chart *chart, const char *path, rf_error *error);

#endif
