/* Between the layout of a chart (chart.c) and what draws it (chart_svg.c, chart_png.c). Coordinates
 * are pixels from the upper left. */
#ifndef RF_IO_CHART_INTERNAL_H
#define RF_IO_CHART_INTERNAL_H

#include "io/chart.h"
#include "io/drawing.h"

enum { RF_CHART_WIDTH = 800, RF_CHART_HEIGHT = 480 };

typedef struct rf_chart_point {
    double x, y;
} rf_chart_point;

typedef struct rf_chart_label {
    rf_chart_point at; /* of the baseline */
    const char *text;  /* valid UTF-8 without control characters */
    rf_anchor anchor;
    double size;  /* pixels */
    bool upright; /* turned to read from bottom to top */
} rf_chart_label;

/* A drawing surface. `series` chooses colour and dashes. */
typedef struct rf_chart_canvas rf_chart_canvas;
struct rf_chart_canvas {
    void *state;
    rf_status (*rule)(rf_chart_canvas *canvas, rf_chart_point from, rf_chart_point to, bool is_axis,
                      rf_error *error);
    rf_status (*line)(rf_chart_canvas *canvas, const rf_chart_point *points, size_t count,
                      size_t series, rf_error *error);
    rf_status (*box)(rf_chart_canvas *canvas, rf_chart_point corner, rf_chart_point opposite,
                     size_t series, rf_error *error);
    rf_status (*dot)(rf_chart_canvas *canvas, rf_chart_point at, size_t series, rf_error *error);
    rf_status (*label)(rf_chart_canvas *canvas, const rf_chart_label *label, rf_error *error);
};

/* Lay the chart out and draw it on the canvas; a callback's failure ends it. */
RF_MUST_CHECK rf_status rf_chart_draw(const rf_chart *chart, rf_chart_canvas *canvas,
                                      rf_error *error);
/* Lengths of dash and gap in pixels; false for a solid line. */
bool rf_chart_dashes(size_t series, double dashes[2]);
/* The bytes of a PNG file appended to png; RF_ERR_UNSUPPORTED without cairo. */
RF_MUST_CHECK rf_status rf_chart_png(const rf_chart *chart, rf_text *png, rf_error *error);

#endif
