/* Strips of tokens and matrices of weights for the scenes of attention. */
#include "base/memory.h"
#include "base/text.h"
#include "tools/attention_view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MARGIN = 4, NARROW = 32, WIDE = 10, GAP = 5 };
enum { STRIP_NARROW = 256, STRIP_WIDE = 100 }; /* most tokens in one by one */

static const double narrow_cell = 26.0;
static const double wide_cell = 51.0;

/* ---- strips ------------------------------------------------------------------------------ */

/* Characters of UTF-8. */
static int64_t characters(const char *text)
{
    int64_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xC0U) != 0x80U;
    }
    return count;
}

rf_status rf_view_text(const rf_attention_view *view, int64_t position, char text[RF_VIEW_LABEL],
                       rf_error *error)
{
    char clean[RF_DRAWING_CLEAN_BYTES] = {0};
    rf_text all = {0};
    rf_status status = rf_scene_token(view->context, position, &all, error);
    rf_xml_clean(all.bytes, RF_VIEW_LABEL / 4 - 1, clean);
    memcpy(text, clean, RF_VIEW_LABEL - 1); /* at most 19 characters of 4 bytes, and the end */
    text[RF_VIEW_LABEL - 1] = '\0';
    rf_release(all.bytes);
    return status;
}

/* The same for a box: of a byte that cannot be seen only the digits. */
static rf_status box_text(const rf_attention_view *view, int64_t position, char text[RF_VIEW_LABEL],
                          rf_error *error)
{
    RF_TRY(rf_view_text(view, position, text, error));
    if (strlen(text) == 4 && text[0] == '\\' && text[1] == 'x') {
        memmove(text, text + 2, 3);
    }
    return RF_OK;
}

static rf_status are_wide(const rf_attention_view *view, bool *wide, rf_error *error)
{
    char text[RF_VIEW_LABEL];
    *wide = false;
    for (int64_t i = 0; i < view->length && !*wide; i++) {
        RF_TRY(box_text(view, i, text, error));
        *wide = characters(text) > 2;
    }
    return RF_OK;
}

rf_status rf_view_has_strips(const rf_attention_view *view, bool *has, rf_error *error)
{
    bool wide = false;
    if (view->length <= STRIP_NARROW) {
        RF_TRY(are_wide(view, &wide, error));
    }
    *has = view->length <= (wide ? STRIP_WIDE : STRIP_NARROW);
    return RF_OK;
}

rf_status rf_strip_make(const rf_attention_view *view, int64_t count, int64_t chunk,
                        rf_strip *strip, rf_error *error)
{
    bool wide = false;
    int64_t around = view->info.chunk; /* strips with and without gaps break alike */
    RF_TRY(are_wide(view, &wide, error));
    int64_t most = wide ? WIDE : NARROW;
    *strip = (rf_strip){.left = MARGIN, .count = count, .chunk = chunk};
    strip->per_row = around < most ? most / around * around : most;
    strip->per_row = strip->per_row < count ? strip->per_row : count;
    strip->gap = chunk > 0 ? GAP : 0.0;
    int64_t gaps = (strip->per_row - 1) / around;
    strip->cell =
        ((double)RF_SCENE_WIDTH - 2.0 * MARGIN - (double)(gaps * GAP)) / (double)strip->per_row;
    strip->cell = floor(fmin(strip->cell, wide ? wide_cell : narrow_cell) * 4.0) / 4.0;
    strip->height = 24.0;
    strip->buckets = view->info.buckets > 0;
    strip->row_step = strip->buckets ? 46.0 : 32.0;
    return RF_OK;
}

double rf_strip_x(const rf_strip *strip, int64_t index)
{
    int64_t column = index % strip->per_row;
    double gaps = strip->chunk > 0 ? (double)(column / strip->chunk) * strip->gap : 0.0;
    return strip->left + (double)column * strip->cell + gaps;
}

double rf_strip_y(const rf_strip *strip, int64_t index)
{
    return strip->top + (double)(index / strip->per_row) * strip->row_step;
}

double rf_strip_bottom(const rf_strip *strip)
{
    return rf_strip_y(strip, strip->count - 1) + strip->row_step;
}

const char *rf_view_colour(int64_t number)
{
    static const char *const colours[] = {"dot s0", "dot s1", "dot s2",
                                          "dot s3", "dot s4", "dot s5"};
    return colours[number % 6];
}

void rf_view_weight(double weight, char text[32])
{
    (void)snprintf(text, 32, "%.4f", weight);
    rf_text_fix_number(text);
}

rf_status rf_strip_token(rf_drawing *drawing, const rf_attention_view *view, const rf_strip *strip,
                         int64_t index, int64_t token, const rf_look *look, rf_error *error)
{
    char text[RF_VIEW_LABEL];
    char clipped[RF_DRAWING_CLEAN_BYTES];
    bool wide = strip->cell > narrow_cell;
    double x = rf_strip_x(strip, index);
    double y = rf_strip_y(strip, index);
    int64_t bucket = strip->buckets ? rf_view_bucket(view, token) : -1;
    const rf_look group = {.step = look->step, .from_x = look->from_x, .from_y = look->from_y};
    const rf_look box = {.classes = look->classes, .opacity = look->opacity};
    const rf_look letters = {
        .classes = "mono", .size = wide ? 11.0 : 13.0, .anchor = RF_ANCHOR_MIDDLE};
    const rf_look small = {
        .classes = "muted", .size = bucket < 100 ? 11.0 : 8.0, .anchor = RF_ANCHOR_MIDDLE};
    RF_TRY(box_text(view, token, text, error));
    double most = floor(strip->cell / (0.6 * letters.size)); /* that fit */
    rf_xml_clean(text, most > 2.0 ? (size_t)most : 2, clipped);
    RF_TRY(rf_drawing_data(drawing, "position", (double)token, error));
    if (bucket >= 0) {
        RF_TRY(rf_drawing_data(drawing, "bucket", (double)bucket, error));
        RF_TRY(rf_drawing_note(drawing, error, "token %lld \xE2\x80\x9C%s\xE2\x80\x9D, bucket %lld",
                               (long long)token, text, (long long)bucket));
    } else {
        RF_TRY(rf_drawing_note(drawing, error, "token %lld \xE2\x80\x9C%s\xE2\x80\x9D",
                               (long long)token, text));
    }
    RF_TRY(rf_drawing_open_group(drawing, &group, error));
    RF_TRY(rf_drawing_box(drawing, &box, x, y, strip->cell - 1.0, strip->height, error));
    RF_TRY(rf_drawing_words(drawing, &letters, x + strip->cell / 2.0, y + 16.5, clipped, error));
    if (bucket >= 0) {
        RF_TRY(rf_drawing_print(drawing, &small, x + strip->cell / 2.0, y + strip->height + 13.0,
                                error, "%lld", (long long)bucket));
    }
    return rf_drawing_close_group(drawing, error);
}

/* ---- matrices ---------------------------------------------------------------------------- */

double rf_grid_x(const rf_grid *grid, int64_t column)
{
    return grid->left + grid->side * (double)column / (double)grid->columns;
}

double rf_grid_y(const rf_grid *grid, int64_t row)
{
    return grid->top + grid->side * (double)row / (double)grid->rows;
}

double rf_grid_opacity(const rf_grid *grid, double value)
{
    const double least = 0.16;
    double share = grid->most > 0.0 && value > 0.0 ? fmin(1.0, sqrt(value / grid->most)) : 0.0;
    return least + (1.0 - least) * share;
}

rf_status rf_grid_cell(rf_drawing *drawing, const rf_grid *grid, int64_t row, int64_t column,
                       double value, const rf_look *look, rf_error *error)
{
    rf_look shown = *look;
    double width = grid->side / (double)grid->columns;
    double height = grid->side / (double)grid->rows;
    double edge = width > 5.0 && height > 5.0 ? 0.5 : 0.0;
    shown.opacity = rf_grid_opacity(grid, value);
    return rf_drawing_box(drawing, &shown, rf_grid_x(grid, column), rf_grid_y(grid, row),
                          width - edge, height - edge, error);
}

rf_status rf_grid_frame(rf_drawing *drawing, const rf_grid *grid, rf_error *error)
{
    const rf_look frame = {.classes = "edge"};
    return rf_drawing_box(drawing, &frame, grid->left - 0.5, grid->top - 0.5, grid->side + 0.5,
                          grid->side + 0.5, error);
}

rf_status rf_view_draw_bins(rf_drawing *drawing, const rf_grid *where, const double *values,
                            const char *title, double step, rf_error *error)
{
    rf_grid grid = *where;
    const rf_look head = {.size = 13.0};
    grid.most = 0.0;
    for (int64_t i = 0; i < grid.rows * grid.columns; i++) {
        grid.most = fmax(grid.most, values[i]);
    }
    RF_TRY(rf_drawing_words(drawing, &head, grid.left, grid.top - 8.0, title, error));
    RF_TRY(rf_drawing_open_group(drawing, &(rf_look){.step = step}, error));
    for (int64_t i = 0; i < grid.rows * grid.columns; i++) {
        if (values[i] > 0.0) {
            RF_TRY(rf_drawing_data(drawing, "row", (double)(i / grid.columns), error));
            RF_TRY(rf_drawing_data(drawing, "column", (double)(i % grid.columns), error));
            RF_TRY(rf_drawing_data(drawing, "value", values[i], error));
            RF_TRY(rf_grid_cell(drawing, &grid, i / grid.columns, i % grid.columns, values[i],
                                &(rf_look){.classes = "dot s0"}, error));
        }
    }
    RF_TRY(rf_drawing_close_group(drawing, error));
    return rf_grid_frame(drawing, &grid, error);
}
