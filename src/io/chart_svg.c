/* Charts as SVG text. Colours are classes, so that one style sheet serves light and dark. */
#include "base/memory.h"
#include "io/chart_internal.h"

#include <math.h>

static rf_text *text_of(rf_chart_canvas *canvas)
{
    return canvas->state;
}

static rf_status svg_rule(rf_chart_canvas *canvas, rf_chart_point from, rf_chart_point to,
                          bool is_axis, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<line class=\"%s\"", is_axis ? "axis" : "grid"));
    RF_TRY(rf_xml_attribute(svg, "x1", from.x, error));
    RF_TRY(rf_xml_attribute(svg, "y1", from.y, error));
    RF_TRY(rf_xml_attribute(svg, "x2", to.x, error));
    RF_TRY(rf_xml_attribute(svg, "y2", to.y, error));
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
    RF_TRY(
        rf_text_format(svg, error, "<polyline class=\"line s%zu\"", series % RF_DRAWING_COLOURS));
    RF_TRY(put_dashes(svg, series, error));
    RF_TRY(rf_text_format(svg, error, " points=\""));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_text_append(svg, " ", i > 0 ? 1 : 0, error));
        RF_TRY(rf_xml_number(svg, points[i].x, error));
        RF_TRY(rf_text_append(svg, ",", 1, error));
        RF_TRY(rf_xml_number(svg, points[i].y, error));
    }
    return rf_text_format(svg, error, "\"/>\n");
}

static rf_status svg_box(rf_chart_canvas *canvas, rf_chart_point corner, rf_chart_point opposite,
                         size_t series, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<rect class=\"dot s%zu\"", series % RF_DRAWING_COLOURS));
    if (series >= RF_DRAWING_COLOURS) {
        RF_TRY(rf_text_format(svg, error, " fill-opacity=\"0.5\""));
    }
    RF_TRY(rf_xml_attribute(svg, "x", fmin(corner.x, opposite.x), error));
    RF_TRY(rf_xml_attribute(svg, "y", fmin(corner.y, opposite.y), error));
    RF_TRY(rf_xml_attribute(svg, "width", fabs(opposite.x - corner.x), error));
    RF_TRY(rf_xml_attribute(svg, "height", fabs(opposite.y - corner.y), error));
    return rf_text_format(svg, error, "/>\n");
}

static rf_status svg_dot(rf_chart_canvas *canvas, rf_chart_point at, size_t series, rf_error *error)
{
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<circle class=\"dot s%zu\" r=\"3\"",
                          series % RF_DRAWING_COLOURS));
    RF_TRY(rf_xml_attribute(svg, "cx", at.x, error));
    RF_TRY(rf_xml_attribute(svg, "cy", at.y, error));
    return rf_text_format(svg, error, "/>\n");
}

static rf_status svg_label(rf_chart_canvas *canvas, const rf_chart_label *label, rf_error *error)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    rf_text *svg = text_of(canvas);
    RF_TRY(rf_text_format(svg, error, "<text text-anchor=\"%s\"", anchors[label->anchor]));
    RF_TRY(rf_xml_attribute(svg, "font-size", label->size, error));
    if (label->upright) {
        RF_TRY(rf_text_format(svg, error, " transform=\"translate("));
        RF_TRY(rf_xml_number(svg, label->at.x, error));
        RF_TRY(rf_text_append(svg, " ", 1, error));
        RF_TRY(rf_xml_number(svg, label->at.y, error));
        RF_TRY(rf_text_format(svg, error, ") rotate(-90)\""));
    } else {
        RF_TRY(rf_xml_attribute(svg, "x", label->at.x, error));
        RF_TRY(rf_xml_attribute(svg, "y", label->at.y, error));
    }
    RF_TRY(rf_text_append(svg, ">", 1, error));
    RF_TRY(rf_xml_escaped(svg, label->text, error));
    return rf_text_format(svg, error, "</text>\n");
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
    RF_TRY(rf_drawing_style(svg, error));
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
