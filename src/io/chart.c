/* The layout of a line chart: ranges, round ticks (1, 2, 5 times a power of ten; Heckbert 1990),
 * grid, lines, legend. Time and memory are in proportion to the number of points. */
#include "io/chart.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/chart_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    LEFT = 78,
    RIGHT = 24,
    TOP = 44,
    BOTTOM = 56,
    MOST_TICKS = 40,
    LEGEND_ROW = 20,
    LEGEND_TEXT = 30, /* from the legend's left edge to its words */
    LONGEST_LEGEND = 28
};

typedef struct scale {
    double low, high;   /* of the data; logarithms to base 10 where is_log */
    double first, last; /* pixels */
    bool is_log;
    double ticks[MOST_TICKS]; /* in the data's own unit */
    int tick_count;
    double step; /* between ticks, 0 on a log axis */
} scale;

bool rf_chart_dashes(size_t series, double dashes[2])
{
    static const double patterns[][2] = {{8.0, 4.0}, {2.0, 3.0}};
    size_t turn = series / RF_DRAWING_COLOURS;
    if (turn == 0) {
        return false;
    }
    dashes[0] = patterns[(turn - 1) % 2][0];
    dashes[1] = patterns[(turn - 1) % 2][1];
    return true;
}

/* ---- text -------------------------------------------------------------------------------- */

static rf_status draw_text(rf_chart_canvas *canvas, rf_chart_label label, size_t limit,
                           rf_error *error)
{
    char clean[RF_DRAWING_CLEAN_BYTES];
    rf_xml_clean(label.text, limit, clean);
    label.text = clean;
    return clean[0] != '\0' ? canvas->label(canvas, &label, error) : RF_OK;
}

/* ---- scales ------------------------------------------------------------------------------ */

static bool place_value(const scale *on, double value, double *pixel)
{
    if (!isfinite(value) || (on->is_log && value <= 0.0)) {
        return false;
    }
    double position = on->is_log ? log10(value) : value;
    *pixel = on->first + (position - on->low) / (on->high - on->low) * (on->last - on->first);
    return true;
}

static bool is_drawn(const rf_chart *chart, const rf_chart_series *series, size_t i)
{
    double x = series->x[i];
    double y = series->y[i];
    return isfinite(x) && isfinite(y) && !(chart->x_log && x <= 0.0) && !(chart->y_log && y <= 0.0);
}

static void include(scale *axis, double value)
{
    double position = axis->is_log ? log10(value) : value;
    axis->low = fmin(axis->low, position);
    axis->high = fmax(axis->high, position);
}

/* A range with some width, also without points, for a single one, and for values near the largest
 * double. */
static void settle_range(scale *axis, double margin)
{
    if (!(axis->low <= axis->high)) {
        axis->low = 0.0;
        axis->high = 1.0;
    }
    axis->low = fmax(axis->low, -1e300);
    axis->high = fmin(axis->high, 1e300);
    double size = fmax(fabs(axis->low), fabs(axis->high));
    if (axis->high - axis->low <= 1e-12 * size || axis->high <= axis->low) {
        double half = axis->is_log ? 0.5 : size > 0.0 ? 0.1 * size : 0.5;
        axis->low -= half;
        axis->high += half;
    }
    double added = margin * (axis->high - axis->low);
    axis->low -= added;
    axis->high += added;
}

/* Height of a bar up to and with series `last` of place i. */
static double stacked(const rf_chart *chart, size_t last, size_t i)
{
    double sum = 0.0;
    for (size_t s = 0; s <= last; s++) {
        const rf_chart_series *series = &chart->series[s];
        sum += i < series->count && is_drawn(chart, series, i) ? fmax(0.0, series->y[i]) : 0.0;
    }
    return sum;
}

static void find_bar_ranges(const rf_chart *chart, scale *x, scale *y)
{
    const rf_chart_series *first = chart->series;
    size_t count = chart->series_count > 0 ? first->count : 0;
    include(y, 0.0);
    for (size_t i = 0; i < count; i++) {
        if (is_drawn(chart, first, i)) {
            include(x, first->x[i]);
            include(y, stacked(chart, chart->series_count - 1, i));
        }
    }
    settle_range(x, 0.5 / (double)(count > 0 ? count : 1));
    settle_range(y, 0.0);
}

static void find_ranges(const rf_chart *chart, scale *x, scale *y)
{
    *x = (scale){.low = HUGE_VAL, .high = -HUGE_VAL, .is_log = chart->x_log};
    *y = (scale){.low = HUGE_VAL, .high = -HUGE_VAL, .is_log = chart->y_log};
    if (chart->bars) {
        find_bar_ranges(chart, x, y);
        return;
    }
    for (size_t s = 0; s < chart->series_count; s++) {
        const rf_chart_series *series = &chart->series[s];
        for (size_t i = 0; i < series->count; i++) {
            if (is_drawn(chart, series, i)) {
                include(x, series->x[i]);
                include(y, series->y[i]);
            }
        }
    }
    settle_range(x, 0.0);
    settle_range(y, 0.04);
}

static double round_step(double rough)
{
    double power = pow(10.0, floor(log10(rough)));
    double lead = rough / power;
    return power * (lead <= 1.0 ? 1.0 : lead <= 2.0 ? 2.0 : lead <= 5.0 ? 5.0 : 10.0);
}

static void linear_ticks(scale *axis, double low, double high, int wanted)
{
    axis->tick_count = 0;
    axis->step = round_step((high - low) / wanted);
    double first = ceil(low / axis->step - 1e-9);
    for (int i = 0; i < MOST_TICKS; i++) {
        double value = (first + i) * axis->step;
        if (value > high + 1e-9 * axis->step) {
            break;
        }
        axis->ticks[axis->tick_count++] = value;
    }
}

/* Powers of ten; 2 and 5 times them too where there are few; plain ticks where even those are. */
static void log_ticks(scale *axis, int wanted)
{
    static const double factors[] = {1.0, 2.0, 5.0};
    double decades = axis->high - axis->low;
    int factor_count = decades < 3.0 ? 3 : 1;
    int stride = decades > wanted ? (int)ceil(decades / wanted) : 1;
    int last = (int)floor(axis->high);
    axis->step = 0.0;
    axis->tick_count = 0;
    for (int power = (int)floor(axis->low); power <= last; power += stride) {
        for (int i = 0; i < factor_count && axis->tick_count < MOST_TICKS; i++) {
            double position = power + log10(factors[i]);
            if (position >= axis->low - 1e-9 && position <= axis->high + 1e-9) {
                axis->ticks[axis->tick_count++] = factors[i] * pow(10.0, power);
            }
        }
    }
    if (axis->tick_count < 3) {
        linear_ticks(axis, pow(10.0, axis->low), pow(10.0, axis->high), wanted);
    }
}

static void set_ticks(scale *axis, int wanted)
{
    if (axis->is_log) {
        log_ticks(axis, wanted);
    } else {
        linear_ticks(axis, axis->low, axis->high, wanted);
    }
}

/* As many decimals as the step between ticks needs. */
static void name_tick(const scale *axis, double value, char *text, size_t size)
{
    double largest = fmax(fabs(axis->ticks[0]), fabs(axis->ticks[axis->tick_count - 1]));
    if (axis->step == 0.0) {
        (void)snprintf(text, size, "%g", value);
    } else if (largest < 1e6 && axis->step >= 1e-4) {
        int decimals = (int)fmax(0.0, -floor(log10(axis->step) + 1e-9));
        double shown = fabs(value) < 1e-6 * axis->step ? 0.0 : value;
        (void)snprintf(text, size, "%.*f", decimals, shown);
    } else {
        double digits = floor(log10(largest)) - floor(log10(axis->step) + 1e-9) + 1.0;
        double shown = fabs(value) < 1e-6 * axis->step ? 0.0 : value;
        (void)snprintf(text, size, "%.*g", (int)fmin(15.0, fmax(1.0, digits)), shown);
    }
    rf_text_fix_number(text);
}

/* ---- drawing ----------------------------------------------------------------------------- */

static rf_status draw_x_axis(const rf_chart *chart, const scale *x, const scale *y,
                             rf_chart_canvas *canvas, rf_error *error)
{
    for (int i = 0; i < x->tick_count; i++) {
        double at = 0.0;
        char text[48];
        if (!place_value(x, x->ticks[i], &at)) {
            continue;
        }
        rf_chart_point low = {at, y->first};
        rf_chart_point high = {at, y->last};
        name_tick(x, x->ticks[i], text, sizeof text);
        rf_chart_label label = {{at, y->first + 18.0}, text, RF_ANCHOR_MIDDLE, 12.0, false};
        RF_TRY(canvas->rule(canvas, low, high, false, error));
        RF_TRY(draw_text(canvas, label, sizeof text, error));
    }
    rf_chart_point start = {x->first, y->first};
    rf_chart_point end = {x->last, y->first};
    rf_chart_label name = {{(x->first + x->last) / 2.0, RF_CHART_HEIGHT - 12.0},
                           chart->x_label,
                           RF_ANCHOR_MIDDLE,
                           13.0,
                           false};
    RF_TRY(canvas->rule(canvas, start, end, true, error));
    return draw_text(canvas, name, 80, error);
}

static rf_status draw_y_axis(const rf_chart *chart, const scale *x, const scale *y,
                             rf_chart_canvas *canvas, rf_error *error)
{
    for (int i = 0; i < y->tick_count; i++) {
        double at = 0.0;
        char text[48];
        if (!place_value(y, y->ticks[i], &at)) {
            continue;
        }
        rf_chart_point left = {x->first, at};
        rf_chart_point right = {x->last, at};
        name_tick(y, y->ticks[i], text, sizeof text);
        rf_chart_label label = {{x->first - 8.0, at + 4.0}, text, RF_ANCHOR_END, 12.0, false};
        RF_TRY(canvas->rule(canvas, left, right, false, error));
        RF_TRY(draw_text(canvas, label, sizeof text, error));
    }
    rf_chart_point start = {x->first, y->first};
    rf_chart_point end = {x->first, y->last};
    rf_chart_label name = {
        {18.0, (y->first + y->last) / 2.0}, chart->y_label, RF_ANCHOR_MIDDLE, 13.0, true};
    RF_TRY(canvas->rule(canvas, start, end, true, error));
    return draw_text(canvas, name, 60, error);
}

/* points[0, count): a stretch without gaps. */
static rf_status draw_stretch(rf_chart_canvas *canvas, const rf_chart_point *points, size_t count,
                              size_t series, rf_error *error)
{
    if (count == 1) {
        return canvas->dot(canvas, points[0], series, error);
    }
    return count > 1 ? canvas->line(canvas, points, count, series, error) : RF_OK;
}

static rf_status draw_series(const rf_chart_series *series, size_t index, const scale *x,
                             const scale *y, rf_chart_canvas *canvas, rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate(series->count * sizeof(rf_chart_point), "a chart's line", &memory, error));
    rf_chart_point *points = memory;
    size_t count = 0;
    for (size_t i = 0; i < series->count; i++) {
        rf_chart_point point = {0.0, 0.0};
        if (place_value(x, series->x[i], &point.x) && place_value(y, series->y[i], &point.y)) {
            points[count++] = point;
        } else {
            RF_TRY_DONE(draw_stretch(canvas, points, count, index, error));
            count = 0;
        }
    }
    status = draw_stretch(canvas, points, count, index, error);
done:
    rf_release(memory);
    return status;
}

/* The part of each bar that is series `index`. */
static rf_status draw_bars(const rf_chart *chart, size_t index, const scale *x, const scale *y,
                           rf_chart_canvas *canvas, rf_error *error)
{
    const rf_chart_series *series = &chart->series[index];
    double half = 0.35 * (x->last - x->first) / (double)(series->count + 1);
    for (size_t i = 0; i < series->count; i++) {
        rf_chart_point low = {0.0, 0.0};
        rf_chart_point high = {0.0, 0.0};
        double below = index > 0 ? stacked(chart, index - 1, i) : 0.0;
        double above = stacked(chart, index, i);
        if (above > below && place_value(x, series->x[i], &low.x) &&
            place_value(y, below, &low.y) && place_value(y, above, &high.y)) {
            high.x = low.x + half;
            low.x -= half;
            RF_TRY(canvas->box(canvas, low, high, index, error));
        }
    }
    return RF_OK;
}

static size_t legend_characters(const rf_chart *chart)
{
    size_t longest = 0;
    for (size_t i = 0; i < chart->series_count; i++) {
        size_t length = chart->series[i].name != NULL ? strlen(chart->series[i].name) : 0;
        longest = length > longest ? length : longest;
    }
    return longest < LONGEST_LEGEND ? longest : LONGEST_LEGEND;
}

/* Beside the plot, one row a series; the last row that fits counts those that do not. */
static rf_status draw_legend(const rf_chart *chart, double left, rf_chart_canvas *canvas,
                             rf_error *error)
{
    size_t rows = (RF_CHART_HEIGHT - TOP - BOTTOM) / LEGEND_ROW;
    for (size_t i = 0; i < chart->series_count && i < rows; i++) {
        double middle = TOP + LEGEND_ROW * ((double)i + 0.5);
        char more[48];
        rf_chart_label label = {{left + LEGEND_TEXT, middle + 4.0},
                                chart->series[i].name,
                                RF_ANCHOR_START,
                                12.0,
                                false};
        if (i + 1 == rows && chart->series_count > rows) {
            (void)snprintf(more, sizeof more, "and %zu more", chart->series_count - i);
            label.text = more;
        } else {
            rf_chart_point ends[] = {{left, middle}, {left + LEGEND_TEXT - 6.0, middle}};
            RF_TRY(canvas->line(canvas, ends, 2, i, error));
        }
        RF_TRY(draw_text(canvas, label, LONGEST_LEGEND, error));
    }
    return RF_OK;
}

rf_status rf_chart_draw(const rf_chart *chart, rf_chart_canvas *canvas, rf_error *error)
{
    scale x;
    scale y;
    size_t characters = legend_characters(chart);
    double legend = characters > 0 ? LEGEND_TEXT + 7.0 * (double)characters + 12.0 : 0.0;
    find_ranges(chart, &x, &y);
    x.first = LEFT;
    x.last = RF_CHART_WIDTH - RIGHT - legend;
    y.first = RF_CHART_HEIGHT - BOTTOM;
    y.last = TOP;
    set_ticks(&x, 6);
    set_ticks(&y, 6);
    rf_chart_label title = {
        {RF_CHART_WIDTH / 2.0, 26.0}, chart->title, RF_ANCHOR_MIDDLE, 16.0, false};
    RF_TRY(draw_text(canvas, title, 90, error));
    RF_TRY(draw_x_axis(chart, &x, &y, canvas, error));
    RF_TRY(draw_y_axis(chart, &x, &y, canvas, error));
    for (size_t i = 0; i < chart->series_count; i++) {
        RF_TRY(chart->bars ? draw_bars(chart, i, &x, &y, canvas, error)
                           : draw_series(&chart->series[i], i, &x, &y, canvas, error));
    }
    return characters > 0 ? draw_legend(chart, x.last + 16.0, canvas, error) : RF_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static rf_status write_svg(const rf_chart *chart, const char *path, rf_error *error)
{
    char *svg = NULL;
    RF_TRY(rf_chart_svg(chart, &svg, error));
    rf_status status = rf_file_write_atomic(path, svg, strlen(svg), error);
    rf_release(svg);
    return status;
}

static rf_status write_png(const rf_chart *chart, const char *path, rf_error *error)
{
    rf_text png = {0};
    rf_status status = rf_chart_png(chart, &png, error);
    if (status == RF_OK) {
        status = rf_file_write_atomic(path, png.bytes, png.size, error);
    }
    rf_release(png.bytes);
    return status;
}

rf_status rf_chart_write(const rf_chart *chart, const char *path, rf_error *error)
{
    if (ends_with(path, ".svg")) {
        return write_svg(chart, path, error);
    }
    if (ends_with(path, ".png")) {
        return write_png(chart, path, error);
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "%s: a chart's file ends in .svg or .png", path);
}
