/* Charts as PNG through cairo, in light colours, two pixels for each of the layout's. */
#include "io/chart_internal.h"

#if RF_WITH_CAIRO

#include <cairo.h>
#include <math.h>

enum { PIXELS = 2 };

static cairo_t *cairo_of(rf_chart_canvas *canvas)
{
    return canvas->state;
}

static void use_colour(cairo_t *cairo, unsigned colour)
{
    cairo_set_source_rgb(cairo, (colour >> 16) / 255.0, (colour >> 8 & 0xFFU) / 255.0,
                         (colour & 0xFFU) / 255.0);
}

/* cairo keeps its first error; it is asked for once, at the end. */
static rf_status png_rule(rf_chart_canvas *canvas, rf_chart_point from, rf_chart_point to,
                          bool is_axis, rf_error *error)
{
    (void)error;
    cairo_t *cairo = cairo_of(canvas);
    use_colour(cairo, is_axis ? 0x222222U : 0xDDDDDDU);
    cairo_set_line_width(cairo, 1.0);
    cairo_set_dash(cairo, NULL, 0, 0.0);
    cairo_new_path(cairo);
    cairo_move_to(cairo, from.x, from.y);
    cairo_line_to(cairo, to.x, to.y);
    cairo_stroke(cairo);
    return RF_OK;
}

static rf_status png_line(rf_chart_canvas *canvas, const rf_chart_point *points, size_t count,
                          size_t series, rf_error *error)
{
    (void)error;
    cairo_t *cairo = cairo_of(canvas);
    double dashes[2];
    bool is_dashed = rf_chart_dashes(series, dashes);
    use_colour(cairo, rf_drawing_colour(series));
    cairo_set_line_width(cairo, 2.0);
    cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(cairo, is_dashed ? dashes : NULL, is_dashed ? 2 : 0, 0.0);
    cairo_new_path(cairo); /* text leaves a current point behind */
    for (size_t i = 0; i < count; i++) {
        cairo_line_to(cairo, points[i].x, points[i].y);
    }
    cairo_stroke(cairo);
    return RF_OK;
}

static rf_status png_box(rf_chart_canvas *canvas, rf_chart_point corner, rf_chart_point opposite,
                         size_t series, rf_error *error)
{
    (void)error;
    cairo_t *cairo = cairo_of(canvas);
    unsigned colour = rf_drawing_colour(series);
    double opacity = series < RF_DRAWING_COLOURS ? 1.0 : 0.5;
    cairo_set_source_rgba(cairo, (colour >> 16) / 255.0, (colour >> 8 & 0xFFU) / 255.0,
                          (colour & 0xFFU) / 255.0, opacity);
    cairo_new_path(cairo);
    cairo_rectangle(cairo, corner.x, corner.y, opposite.x - corner.x, opposite.y - corner.y);
    cairo_fill(cairo);
    return RF_OK;
}

static rf_status png_dot(rf_chart_canvas *canvas, rf_chart_point at, size_t series, rf_error *error)
{
    (void)error;
    cairo_t *cairo = cairo_of(canvas);
    use_colour(cairo, rf_drawing_colour(series));
    cairo_new_path(cairo);
    cairo_arc(cairo, at.x, at.y, 3.0, 0.0, 2.0 * 3.14159265358979);
    cairo_fill(cairo);
    return RF_OK;
}

static rf_status png_label(rf_chart_canvas *canvas, const rf_chart_label *label, rf_error *error)
{
    (void)error;
    static const double shares[] = {0.0, 0.5, 1.0};
    cairo_t *cairo = cairo_of(canvas);
    cairo_text_extents_t extents = {0};
    cairo_save(cairo);
    use_colour(cairo, 0x222222U);
    cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, label->size);
    cairo_text_extents(cairo, label->text, &extents);
    cairo_translate(cairo, label->at.x, label->at.y);
    if (label->upright) {
        cairo_rotate(cairo, -3.14159265358979 / 2.0);
    }
    cairo_move_to(cairo, -shares[label->anchor] * extents.x_advance, 0.0);
    cairo_show_text(cairo, label->text);
    cairo_restore(cairo);
    return RF_OK;
}

typedef struct png_sink {
    rf_text *png;
    rf_error *error;
    rf_status status;
} png_sink;

static cairo_status_t take_bytes(void *closure, const unsigned char *bytes, unsigned int size)
{
    png_sink *sink = closure;
    sink->status = rf_text_append(sink->png, (const char *)bytes, size, sink->error);
    return sink->status == RF_OK ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static rf_status draw_and_encode(const rf_chart *chart, cairo_surface_t *surface, cairo_t *cairo,
                                 rf_text *png, rf_error *error)
{
    rf_chart_canvas canvas = {.state = cairo,
                              .rule = png_rule,
                              .line = png_line,
                              .box = png_box,
                              .dot = png_dot,
                              .label = png_label};
    cairo_set_source_rgb(cairo, 1.0, 1.0, 1.0);
    cairo_paint(cairo);
    cairo_scale(cairo, PIXELS, PIXELS);
    RF_TRY(rf_chart_draw(chart, &canvas, error));
    png_sink sink = {.png = png, .error = error, .status = RF_OK};
    cairo_status_t drawn = cairo_status(cairo);
    if (drawn == CAIRO_STATUS_SUCCESS) {
        drawn = cairo_surface_write_to_png_stream(surface, take_bytes, &sink);
    }
    RF_TRY(sink.status);
    if (drawn != CAIRO_STATUS_SUCCESS) {
        return rf_error_set(error, drawn == CAIRO_STATUS_NO_MEMORY ? RF_ERR_MEMORY : RF_ERR_DEVICE,
                            "cairo cannot draw the chart: %s", cairo_status_to_string(drawn));
    }
    return RF_OK;
}

rf_status rf_chart_png(const rf_chart *chart, rf_text *png, rf_error *error)
{
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, RF_CHART_WIDTH * PIXELS, RF_CHART_HEIGHT * PIXELS);
    cairo_t *cairo = cairo_create(surface);
    rf_status status = draw_and_encode(chart, surface, cairo, png, error);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    return status;
}

#else

rf_status rf_chart_png(const rf_chart *chart, rf_text *png, rf_error *error)
{
    (void)chart;
    (void)png;
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "this build was made without cairo, which PNG charts need; write .svg");
}

#endif
