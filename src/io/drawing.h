/* Pictures as SVG text: shapes, words, and one style sheet for light and dark, still and moving.
 * Charts and the scenes of `illustrate` are written with it. Colours are classes of the style
 * sheet, ones that people with colour blindness can tell apart (Okabe and Ito 2008):
 *
 *     dot sN      filled with colour N (N < RF_DRAWING_COLOURS; the last is the ink)
 *     line sN     a stroke of colour N, not filled
 *     axis, grid  thin strokes, strong and faint
 *     paper, faint, edge   filled as the paper; filled faintly; stroked with the ink, not filled
 *     muted, bold, mono, halo   of words: fainter, bold, of one width, on a rim of paper
 *
 * Nothing here depends on the locale, and equal calls give equal bytes. */
#ifndef RF_IO_DRAWING_H
#define RF_IO_DRAWING_H

#include "base/text.h"

#include <stdbool.h>

enum { RF_DRAWING_COLOURS = 7, RF_DRAWING_CLEAN_BYTES = 200 };

/* 0xRRGGBB; the last colour is the ink, black on white. */
unsigned rf_drawing_colour(size_t series);

/* ---- pieces of XML ----------------------------------------------------------------------- */

/* Hundredths, with a point. */
RF_MUST_CHECK rf_status rf_xml_number(rf_text *xml, double value, rf_error *error);
/* ` name="value"`, in hundredths. */
RF_MUST_CHECK rf_status rf_xml_attribute(rf_text *xml, const char *name, double value,
                                         rf_error *error);
/* Text as it stands between tags and in attributes. It must be clean. */
RF_MUST_CHECK rf_status rf_xml_escaped(rf_text *xml, const char *text, rf_error *error);
/* The first `limit` characters of any bytes: what is no UTF-8 is replaced, control characters
 * become blanks, so that no name can break a file. text NULL: empty. */
void rf_xml_clean(const char *text, size_t limit, char clean[RF_DRAWING_CLEAN_BYTES]);
/* The style sheet, between its tags. */
RF_MUST_CHECK rf_status rf_drawing_style(rf_text *xml, rf_error *error);

/* ---- a drawing --------------------------------------------------------------------------- */

/* Start from {.name = ..., .title = ..., .description = ..., .width = ...}; `height` may be set
 * when all is drawn. Coordinates are pixels from the upper left. Release with rf_drawing_clear. */
typedef struct rf_drawing {
    const char *name; /* a word of letters and -, other than those of the same page */
    const char *title, *description; /* what a screen reader says */
    double width, height;
    rf_text body;
    rf_text data; /* attributes of the next shape */
    rf_text note; /* its <title> */
} rf_drawing;
void rf_drawing_clear(rf_drawing *drawing);

typedef enum rf_anchor { RF_ANCHOR_START, RF_ANCHOR_MIDDLE, RF_ANCHOR_END } rf_anchor;

/* How a shape looks. Zeros: as the classes say, there from the start. */
typedef struct rf_look {
    const char *classes;   /* of the style sheet, with blanks between; NULL: none */
    double opacity;        /* 0: 1 */
    double size;           /* of words, pixels; 0: 14 */
    rf_anchor anchor;      /* of words */
    double step;           /* when it appears or moves, in steps of the animation from 1 on */
    double from_x, from_y; /* where it comes from, relative to its place; both 0: it appears */
} rf_look;

/* For the next shape only: ` data-NAME="VALUE"`, nine digits; and what is said of it to those who
 * point at it. */
RF_MUST_CHECK rf_status rf_drawing_data(rf_drawing *drawing, const char *name, double value,
                                        rf_error *error);
RF_MUST_CHECK rf_status rf_drawing_note(rf_drawing *drawing, rf_error *error, const char *format,
                                        ...) RF_PRINTF(3, 4);
/* Shapes, one above the other as they come. */
RF_MUST_CHECK rf_status rf_drawing_box(rf_drawing *drawing, const rf_look *look, double x, double y,
                                       double width, double height, rf_error *error);
RF_MUST_CHECK rf_status rf_drawing_line(rf_drawing *drawing, const rf_look *look, double x1,
                                        double y1, double x2, double y2, rf_error *error);
RF_MUST_CHECK rf_status rf_drawing_circle(rf_drawing *drawing, const rf_look *look, double x,
                                          double y, double radius, rf_error *error);
/* path: the letters and numbers of SVG's d attribute. */
RF_MUST_CHECK rf_status rf_drawing_path(rf_drawing *drawing, const rf_look *look, const char *path,
                                        rf_error *error);
/* Any bytes; x, y of the baseline. */
RF_MUST_CHECK rf_status rf_drawing_words(rf_drawing *drawing, const rf_look *look, double x,
                                         double y, const char *text, rf_error *error);
/* The same, as printf writes them. */
RF_MUST_CHECK rf_status rf_drawing_print(rf_drawing *drawing, const rf_look *look, double x,
                                         double y, rf_error *error, const char *format, ...)
    RF_PRINTF(6, 7);
/* What is drawn in between appears, or moves, as one. */
RF_MUST_CHECK rf_status rf_drawing_open_group(rf_drawing *drawing, const rf_look *look,
                                              rf_error *error);
RF_MUST_CHECK rf_status rf_drawing_close_group(rf_drawing *drawing, rf_error *error);

/* The whole picture appended to svg: by itself with the style sheet, or for a page that has it. */
RF_MUST_CHECK rf_status rf_drawing_finish(const rf_drawing *drawing, bool with_style, rf_text *svg,
                                          rf_error *error);

#endif
