/* Charts as SVG text. Colours are classes, so that one style sheet serves light and dark. */
#include "base/memory.h"
#include "io/chart_internal.h"

#include <math.h>

static rf_text *text_of(rf_chart_canvas *canvas)
{
    return canvas->state;
}

/* Hundredths of a pixel, without printf's %f, whose decimal sign follows the locale. */
static rf_status put_number(rf_text *svg, double value, rf_error *error)
{
    long hundredths = lround(value * 100.0);
    const char *sign = hundredths < 0 ? "-" : "";
    long size = hundredths < 0 ? -hundredths : hundredths;
    if (size % 100 == 0) {
        return rf_text_format(svg, error, "%s%ld", sign, size / 100);
    }
    return rf_text_format(svg, error, "%s%ld.%02ld", sign, size / 100, size % 100);
}

static rf_status put_attribute(rf_text *svg, const char *name, double value, rf_error *error)
{
    RF_TRY(rf_text_format(svg, error, " %s=\"", name));
    RF_TRY(put_number(svg, value, error));
    return rf_text_append(svg, "\"", 1, error);
}

static rf_status put_escaped(rf_text *svg, const char *text, rf_error *error)
{
    for (const char *c = text; *c != '\0'; c++) {
        const char *entity = *c == '&'   ? "&amp;"
                             : *c == '<' ? "&lt;"
                             : *c == '>' ? "&gt;"
                             : *c == '"' ? "&quot;"
                                         : NULL;
        RF_TRY(entity != NULL ? rf_text_format(svg, error, "%s", entity)
                              : rf_text_append(svg, c, 1, error));
    }
    return RF_OK;
}

static rf_status svg_rule(rf_chart_canvas *canvas, rf_chart_point from, rf_chart_point to,
                          bool is_axis, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<line class=\"%s\"", is_axis ? "axis" : "grid"));
    RF_TRY(put_attribute(svg, "x1", from.x, error));
    RF_TRY(put_attribute(svg, "y1", from.y, error));
    RF_TRY(put_attribute(svg, "x2", to.x, error));
    RF_TRY(put_attribute(svg, "y2", to.y, error));
    return rf_text_format(svg, error, "/>\n");
}

static rf_status put_dashes(rf_text *svg, size_t series, rf_error *error)
{
    double dashes[2];
    if (!rf_chart_dashes(series, dashes)) {
        return RF_OK;
    }
    return rf_text_format(svg, error, " stroke-dasharray=\"%ld %ld\"", lround(dashes[0]),
                          lround(dashes[1]));
}

static rf_status svg_line(rf_chart_canvas *canvas, const rf_chart_point *points, size_t count,
                          size_t series, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<polyline class=\"line s%zu\"", series % RF_CHART_COLOURS));
    RF_TRY(put_dashes(svg, series, error));
    RF_TRY(rf_text_format(svg, error, " points=\""));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_text_append(svg, " ", i > 0 ? 1 : 0, error));
        RF_TRY(put_number(svg, points[i].x, error));
        RF_TRY(rf_text_append(svg, ",", 1, error));
        RF_TRY(put_number(svg, points[i].y, error));
    }
    return rf_text_format(svg, error, "\"/>\n");
}

static rf_status svg_box(rf_chart_canvas *canvas, rf_chart_point corner, rf_chart_point opposite,
                         size_t series, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<rect class=\"dot s%zu\"", series % RF_CHART_COLOURS));
    if (series >= RF_CHART_COLOURS) {
        RF_TRY(rf_text_format(svg, error, " fill-opacity=\"0.5\""));
    }
    RF_TRY(put_attribute(svg, "x", fmin(corner.x, opposite.x), error));
    RF_TRY(put_attribute(svg, "y", fmin(corner.y, opposite.y), error));
    RF_TRY(put_attribute(svg, "width", fabs(opposite.x - corner.x), error));
    RF_TRY(put_attribute(svg, "height", fabs(opposite.y - corner.y), error));
    return rf_text_format(svg, error, "/>\n");
}

static rf_status svg_dot(rf_chart_canvas *canvas, rf_chart_point at, size_t series, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<circle class=\"dot s%zu\" r=\"3\"",
                          series % RF_CHART_COLOURS));
    RF_TRY(put_attribute(svg, "cx", at.x, error));
    RF_TRY(put_attribute(svg, "cy", at.y, error));
    return rf_text_format(svg, error, "/>\n");
}

static rf_status svg_label(rf_chart_canvas *canvas, const rf_chart_label *label, rf_error *error)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<text text-anchor=\"%s\"", anchors[label->anchor]));
    RF_TRY(put_attribute(svg, "font-size", label->size, error));
    if (label->upright) {
        RF_TRY(rf_text_format(svg, error, " transform=\"translate("));
        RF_TRY(put_number(svg, label->at.x, error));
        RF_TRY(rf_text_append(svg, " ", 1, error));
        RF_TRY(put_number(svg, label->at.y, error));
        RF_TRY(rf_text_format(svg, error, ") rotate(-90)\""));
    } else {
        RF_TRY(put_attribute(svg, "x", label->at.x, error));
        RF_TRY(put_attribute(svg, "y", label->at.y, error));
    }
    RF_TRY(rf_text_append(svg, ">", 1, error));
    RF_TRY(put_escaped(svg, label->text, error));
    return rf_text_format(svg, error, "</text>\n");
}

static rf_status put_style(rf_text *svg, rf_error *error)
{
    RF_TRY(rf_text_format(svg, error,
                          "<style>\n"
                          "text { font-family: sans-serif; fill: #222222; }\n"
                          ".paper { fill: #ffffff; }\n"
                          ".axis { stroke: #222222; }\n"
                          ".grid { stroke: #dddddd; }\n"
                          ".line { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"));
    for (size_t i = 0; i < RF_CHART_COLOURS; i++) {
        RF_TRY(rf_text_format(svg, error,
                              ".line.s%zu { stroke: #%06x; } .dot.s%zu { fill: #%06x; }\n", i,
                              rf_chart_colour(i), i, rf_chart_colour(i)));
    }
    size_t ink = RF_CHART_COLOURS - 1;
    return rf_text_format(svg, error,
                          "@media (prefers-color-scheme: dark) {\n"
                          "text { fill: #eeeeee; }\n"
                          ".paper { fill: #161616; }\n"
                          ".axis { stroke: #eeeeee; }\n"
                          ".grid { stroke: #3a3a3a; }\n"
                          ".line.s%zu { stroke: #eeeeee; } .dot.s%zu { fill: #eeeeee; }\n"
                          "}\n"
                          "</style>\n",
                          ink, ink);
}

static rf_status put_chart(const rf_chart *chart, rf_text *svg, rf_error *error)
{
    rf_chart_canvas canvas = {.state = svg,
                              .rule = svg_rule,
                              .line = svg_line,
                              .box = svg_box,
                              .dot = svg_dot,
                              .label = svg_label};
    RF_TRY(rf_text_format(svg, error,
                          "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%d\" "
                          "height=\"%d\" viewBox=\"0 0 %d %d\">\n",
                          RF_CHART_WIDTH, RF_CHART_HEIGHT, RF_CHART_WIDTH, RF_CHART_HEIGHT));
    RF_TRY(put_style(svg, error));
    RF_TRY(rf_text_format(svg, error, "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n",
                          RF_CHART_WIDTH, RF_CHART_HEIGHT));
    RF_TRY(rf_chart_draw(chart, &canvas, error));
    return rf_text_format(svg, error, "</svg>\n");
}

rf_status rf_chart_svg(const rf_chart *chart, char **svg, rf_error *error)
{
    rf_text text = {0};
    *svg = NULL;
    rf_status status = put_chart(chart, &text, error);
    if (status != RF_OK) {
        rf_release(text.bytes);
        return status;
    }
    *svg = text.bytes;
    return RF_OK;
}
