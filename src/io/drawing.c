/* Pictures as SVG text. Time and memory are in proportion to the shapes. */
#include "io/drawing.h"

#include "base/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_NOTE = 512 };

/* Okabe and Ito 2008, without yellow, which white paper swallows; ink stands for their black. */
static const unsigned colours[RF_DRAWING_COLOURS] = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7,
                                                     0xE69F00, 0x56B4E9, 0x222222};

unsigned rf_drawing_colour(size_t series)
{
    return colours[series % RF_DRAWING_COLOURS];
}

/* ---- pieces of XML ----------------------------------------------------------------------- */

/* Without printf's %f, whose decimal sign follows the locale. */
rf_status rf_xml_number(rf_text *xml, double value, rf_error *error)
{
    long hundredths = lround(value * 100.0);
    const char *sign = hundredths < 0 ? "-" : "";
    long size = hundredths < 0 ? -hundredths : hundredths;
    if (size % 100 == 0) {
        return rf_text_format(xml, error, "%s%ld", sign, size / 100);
    }
    return rf_text_format(xml, error, "%s%ld.%02ld", sign, size / 100, size % 100);
}

rf_status rf_xml_attribute(rf_text *xml, const char *name, double value, rf_error *error)
{
    RF_TRY(rf_text_format(xml, error, " %s=\"", name));
    RF_TRY(rf_xml_number(xml, value, error));
    return rf_text_append(xml, "\"", 1, error);
}

rf_status rf_xml_escaped(rf_text *xml, const char *text, rf_error *error)
{
    for (const char *c = text; *c != '\0'; c++) {
        const char *entity = *c == '&'   ? "&amp;"
                             : *c == '<' ? "&lt;"
                             : *c == '>' ? "&gt;"
                             : *c == '"' ? "&quot;"
                                         : NULL;
        RF_TRY(entity != NULL ? rf_text_format(xml, error, "%s", entity)
                              : rf_text_append(xml, c, 1, error));
    }
    return RF_OK;
}

/* Bytes of the UTF-8 character at text, 0 where it is none that XML allows. */
static size_t character_size(const unsigned char *text)
{
    size_t size = text[0] < 0x80U                        ? 1
                  : text[0] >= 0xC2U && text[0] < 0xE0U  ? 2
                  : text[0] >= 0xE0U && text[0] < 0xF0U  ? 3
                  : text[0] >= 0xF0U && text[0] <= 0xF4U ? 4
                                                         : 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xC0U) != 0x80U) {
            return 0;
        }
    }
    bool is_overlong =
        (text[0] == 0xE0U && text[1] < 0xA0U) || (text[0] == 0xF0U && text[1] < 0x90U);
    bool is_surrogate = text[0] == 0xEDU && text[1] >= 0xA0U;
    bool is_beyond = text[0] == 0xF4U && text[1] >= 0x90U;
    bool is_noncharacter = text[0] == 0xEFU && text[1] == 0xBFU && text[2] >= 0xBEU;
    return is_overlong || is_surrogate || is_beyond || is_noncharacter ? 0 : size;
}

void rf_xml_clean(const char *text, size_t limit, char clean[RF_DRAWING_CLEAN_BYTES])
{
    const unsigned char *from = (const unsigned char *)(text != NULL ? text : "");
    size_t used = 0;
    for (size_t i = 0; i < limit && *from != '\0' && used + 4 < RF_DRAWING_CLEAN_BYTES; i++) {
        size_t size = character_size(from);
        if (size <= 1) {
            bool is_plain = size == 1 && *from >= 0x20U && *from != 0x7FU;
            clean[used++] = is_plain ? (char)*from : size == 1 ? ' ' : '?';
            from++;
        } else {
            memcpy(clean + used, from, size);
            used += size;
            from += size;
        }
    }
    clean[used] = '\0';
}

/* ---- the style sheet --------------------------------------------------------------------- */

/* What appears waits for its turn, and is there at once for those who want no motion and on paper.
 * The second names of the same movements start them again, from the box "play again" of a page. */
static const char movement[] =
    ".step { animation: rf-appear 0.5s both; animation-delay: calc(var(--step) * 0.6s); }\n"
    ".move { animation: rf-move 1.1s both; animation-delay: calc(var(--step) * 0.6s); }\n"
    ".again:checked ~ * .step { animation-name: rf-appear-again; }\n"
    ".again:checked ~ * .move { animation-name: rf-move-again; }\n"
    "@keyframes rf-appear { from { opacity: 0; } }\n"
    "@keyframes rf-appear-again { from { opacity: 0; } }\n"
    "@keyframes rf-move { from { transform: translate(var(--x), var(--y)); } }\n"
    "@keyframes rf-move-again { from { transform: translate(var(--x), var(--y)); } }\n"
    "@media (prefers-reduced-motion: reduce) { .step, .move { animation: none; } }\n"
    "@media print { .step, .move { animation: none; } }\n";

static rf_status put_colours(rf_text *xml, rf_error *error)
{
    for (size_t i = 0; i < RF_DRAWING_COLOURS; i++) {
        RF_TRY(rf_text_format(xml, error,
                              ".line.s%zu { stroke: #%06x; } .dot.s%zu { fill: #%06x; }\n", i,
                              colours[i], i, colours[i]));
    }
    return RF_OK;
}

rf_status rf_drawing_style(rf_text *xml, rf_error *error)
{
    const int ink = RF_DRAWING_COLOURS - 1;
    RF_TRY(rf_text_format(
        xml, error,
        "<style>\n"
        "text { font-family: sans-serif; fill: #222222; }\n"
        ".muted { fill: #5c5c5c; } .bold { font-weight: bold; } .mono { font-family: monospace; }\n"
        ".halo { paint-order: stroke; stroke: #ffffff; stroke-width: 5; stroke-linejoin: round; }\n"
        ".paper { fill: #ffffff; }\n"
        ".axis { stroke: #222222; } .edge { fill: none; stroke: #222222; }\n"
        ".grid { stroke: #dddddd; } .faint { fill: #eeeeee; }\n"
        ".line { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"));
    RF_TRY(put_colours(xml, error));
    RF_TRY(rf_text_append(xml, movement, sizeof movement - 1, error));
    return rf_text_format(xml, error,
                          "@media (prefers-color-scheme: dark) {\n"
                          "text { fill: #eeeeee; } .muted { fill: #b4b4b4; }\n"
                          ".paper { fill: #161616; } .halo { stroke: #161616; }\n"
                          ".axis { stroke: #eeeeee; } .edge { stroke: #eeeeee; }\n"
                          ".grid { stroke: #3a3a3a; } .faint { fill: #2a2a2a; }\n"
                          ".line.s%d { stroke: #eeeeee; } .dot.s%d { fill: #eeeeee; }\n"
                          "}\n"
                          "</style>\n",
                          ink, ink);
}

/* ---- shapes ------------------------------------------------------------------------------ */

void rf_drawing_clear(rf_drawing *drawing)
{
    rf_release(drawing->body.bytes);
    rf_release(drawing->data.bytes);
    rf_release(drawing->note.bytes);
    drawing->body = drawing->data = drawing->note = (rf_text){0};
}

rf_status rf_drawing_data(rf_drawing *drawing, const char *name, double value, rf_error *error)
{
    char number[64];
    bool is_whole = value == rint(value) && fabs(value) < 1e15;
    (void)snprintf(number, sizeof number, is_whole ? "%.0f" : "%.9g", value);
    rf_text_fix_number(number);
    return rf_text_format(&drawing->data, error, " data-%s=\"%s\"", name, number);
}

rf_status rf_drawing_note(rf_drawing *drawing, rf_error *error, const char *format, ...)
{
    char text[LONGEST_NOTE];
    char clean[RF_DRAWING_CLEAN_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rf_xml_clean(text, sizeof text, clean);
    drawing->note.size = 0;
    return rf_xml_escaped(&drawing->note, clean, error);
}

static rf_status put_look(rf_drawing *drawing, const rf_look *look, rf_error *error)
{
    rf_text *xml = &drawing->body;
    bool moves = look->from_x != 0.0 || look->from_y != 0.0;
    const char *motion = look->step <= 0.0 ? "" : moves ? "move" : "step";
    const char *classes = look->classes != NULL ? look->classes : "";
    if (classes[0] != '\0' || motion[0] != '\0') {
        RF_TRY(rf_text_format(xml, error, " class=\"%s%s%s\"", classes,
                              classes[0] != '\0' && motion[0] != '\0' ? " " : "", motion));
    }
    if (look->opacity > 0.0) {
        RF_TRY(rf_xml_attribute(xml, "opacity", look->opacity, error));
    }
    if (motion[0] != '\0') {
        RF_TRY(rf_text_format(xml, error, " style=\"--step: "));
        RF_TRY(rf_xml_number(xml, look->step, error));
        if (moves) {
            RF_TRY(rf_text_format(xml, error, "; --x: "));
            RF_TRY(rf_xml_number(xml, look->from_x, error));
            RF_TRY(rf_text_format(xml, error, "px; --y: "));
            RF_TRY(rf_xml_number(xml, look->from_y, error));
            RF_TRY(rf_text_format(xml, error, "px"));
        }
        RF_TRY(rf_text_append(xml, "\"", 1, error));
    }
    RF_TRY(rf_text_append(xml, drawing->data.bytes, drawing->data.size, error));
    drawing->data.size = 0;
    return RF_OK;
}

/* The note, which is used up. */
static rf_status put_note(rf_drawing *drawing, rf_error *error)
{
    if (drawing->note.size > 0) {
        RF_TRY(rf_text_format(&drawing->body, error, "<title>%s</title>", drawing->note.bytes));
        drawing->note.size = 0;
    }
    return RF_OK;
}

/* The end of an element whose attributes are written. */
static rf_status end_shape(rf_drawing *drawing, const rf_look *look, const char *name,
                           rf_error *error)
{
    RF_TRY(put_look(drawing, look, error));
    if (drawing->note.size == 0) {
        return rf_text_format(&drawing->body, error, "/>\n");
    }
    RF_TRY(rf_text_format(&drawing->body, error, ">"));
    RF_TRY(put_note(drawing, error));
    return rf_text_format(&drawing->body, error, "</%s>\n", name);
}

/* Four attributes at most; NULL names end them. */
static rf_status put_numbers(rf_drawing *drawing, const char *shape, const char *const names[4],
                             const double values[4], rf_error *error)
{
    RF_TRY(rf_text_format(&drawing->body, error, "<%s", shape));
    for (size_t i = 0; i < 4 && names[i] != NULL; i++) {
        RF_TRY(rf_xml_attribute(&drawing->body, names[i], values[i], error));
    }
    return RF_OK;
}

rf_status rf_drawing_box(rf_drawing *drawing, const rf_look *look, double x, double y, double width,
                         double height, rf_error *error)
{
    static const char *const names[4] = {"x", "y", "width", "height"};
    const double values[4] = {x, y, width, height};
    RF_TRY(put_numbers(drawing, "rect", names, values, error));
    return end_shape(drawing, look, "rect", error);
}

rf_status rf_drawing_line(rf_drawing *drawing, const rf_look *look, double x1, double y1, double x2,
                          double y2, rf_error *error)
{
    static const char *const names[4] = {"x1", "y1", "x2", "y2"};
    const double values[4] = {x1, y1, x2, y2};
    RF_TRY(put_numbers(drawing, "line", names, values, error));
    return end_shape(drawing, look, "line", error);
}

rf_status rf_drawing_circle(rf_drawing *drawing, const rf_look *look, double x, double y,
                            double radius, rf_error *error)
{
    static const char *const names[4] = {"cx", "cy", "r", NULL};
    const double values[4] = {x, y, radius, 0.0};
    RF_TRY(put_numbers(drawing, "circle", names, values, error));
    return end_shape(drawing, look, "circle", error);
}

rf_status rf_drawing_path(rf_drawing *drawing, const rf_look *look, const char *path,
                          rf_error *error)
{
    RF_TRY(rf_text_format(&drawing->body, error, "<path d=\"%s\"", path));
    return end_shape(drawing, look, "path", error);
}

rf_status rf_drawing_words(rf_drawing *drawing, const rf_look *look, double x, double y,
                           const char *text, rf_error *error)
{
    static const char *const names[4] = {"x", "y", "font-size", NULL};
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    const double values[4] = {x, y, look->size > 0.0 ? look->size : 14.0, 0.0};
    char clean[RF_DRAWING_CLEAN_BYTES];
    rf_xml_clean(text, sizeof clean, clean);
    RF_TRY(put_numbers(drawing, "text", names, values, error));
    RF_TRY(rf_text_format(&drawing->body, error, "%s", anchors[look->anchor]));
    RF_TRY(put_look(drawing, look, error));
    RF_TRY(rf_text_append(&drawing->body, ">", 1, error));
    RF_TRY(put_note(drawing, error));
    RF_TRY(rf_xml_escaped(&drawing->body, clean, error));
    return rf_text_format(&drawing->body, error, "</text>\n");
}

rf_status rf_drawing_print(rf_drawing *drawing, const rf_look *look, double x, double y,
                           rf_error *error, const char *format, ...)
{
    char text[LONGEST_NOTE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return rf_drawing_words(drawing, look, x, y, text, error);
}

rf_status rf_drawing_open_group(rf_drawing *drawing, const rf_look *look, rf_error *error)
{
    RF_TRY(rf_text_format(&drawing->body, error, "<g"));
    RF_TRY(put_look(drawing, look, error));
    RF_TRY(rf_text_format(&drawing->body, error, ">\n"));
    return put_note(drawing, error);
}

rf_status rf_drawing_close_group(rf_drawing *drawing, rf_error *error)
{
    return rf_text_format(&drawing->body, error, "</g>\n");
}

/* ---- the whole --------------------------------------------------------------------------- */

/* <TAG id="NAME-TAG">text</TAG> */
static rf_status put_told(rf_text *svg, const char *tag, const char *name, const char *text,
                          rf_error *error)
{
    RF_TRY(rf_text_format(svg, error, "<%s id=\"%s-%s\">", tag, name, tag));
    RF_TRY(rf_xml_escaped(svg, text, error));
    return rf_text_format(svg, error, "</%s>\n", tag);
}

rf_status rf_drawing_finish(const rf_drawing *drawing, bool with_style, rf_text *svg,
                            rf_error *error)
{
    const char *name = drawing->name;
    RF_TRY(
        rf_text_format(svg, error,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"%s-picture\" role=\"img\" "
                       "aria-labelledby=\"%s-title %s-desc\" viewBox=\"0 0 %ld %ld\" "
                       "width=\"%ld\" height=\"%ld\">\n",
                       name, name, name, lround(drawing->width), lround(drawing->height),
                       lround(drawing->width), lround(drawing->height)));
    RF_TRY(put_told(svg, "title", name, drawing->title, error));
    RF_TRY(put_told(svg, "desc", name, drawing->description, error));
    if (with_style) {
        RF_TRY(rf_drawing_style(svg, error));
    }
    RF_TRY(rf_text_format(svg, error, "<rect class=\"paper\" width=\"%ld\" height=\"%ld\"/>\n",
                          lround(drawing->width), lround(drawing->height)));
    RF_TRY(rf_text_append(svg, drawing->body.bytes, drawing->body.size, error));
    return rf_text_format(svg, error, "</svg>\n");
}
