/* `curves`: a figure of one or more training runs against steps, seconds or tokens, from their
 * records (docs/training.md, "Records"), as a chart and as JSON. Time and memory are in proportion
 * to the lines of the records. */
#include "base/file.h"
#include "base/memory.h"
#include "io/chart.h"
#include "io/json.h"
#include "reformer/tools.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_RUNS = 32, METRICS_LIMIT_BITS = 32, TRAINING = 0, EVALUATION = 1, PARTS = 2 };
static const char *const part_names[PARTS] = {"training", "evaluation"};

typedef enum axis { AXIS_STEP, AXIS_SECONDS, AXIS_TOKENS } axis;
static const char *const axis_names[] = {"step", "seconds", "tokens"};

typedef struct line {
    double *x, *y; /* [count], in one allocation that begins at x */
    size_t count;
} line;

typedef struct run {
    const char *folder;
    char *name;
    line lines[PARTS];
    double tokens;         /* of a step; axis of tokens */
    double steps, seconds; /* of the last line that has them */
} run;

typedef struct curves {
    const rf_curves_options *options;
    axis along;
    const char *figure;
    bool wanted[PARTS];
    run runs[MOST_RUNS];
    char *names[PARTS * MOST_RUNS]; /* of the chart's lines */
    json_t *report;
} curves;

/* ---- options ----------------------------------------------------------------------------- */

static rf_status parse_axis(const char *word, axis *along, rf_error *error)
{
    *along = AXIS_STEP;
    for (int i = 0; word != NULL && i < 3; i++) {
        if (strcmp(word, axis_names[i]) == 0) {
            *along = (axis)i;
            return RF_OK;
        }
    }
    return word == NULL ? RF_OK
                        : rf_error_set(error, RF_ERR_ARGUMENT,
                                       "x is \"%.60s\", expected step, seconds or tokens", word);
}

static rf_status parse_part(const char *word, bool wanted[PARTS], rf_error *error)
{
    bool both = word == NULL || strcmp(word, "both") == 0;
    for (int i = 0; i < PARTS; i++) {
        wanted[i] = both || strcmp(word, part_names[i]) == 0;
    }
    return wanted[TRAINING] || wanted[EVALUATION]
               ? RF_OK
               : rf_error_set(error, RF_ERR_ARGUMENT,
                              "part is \"%.60s\", expected both, training or evaluation", word);
}

static rf_status check_options(curves *c, rf_error *error)
{
    const rf_curves_options *options = c->options;
    if (options->count < 1 || options->count > MOST_RUNS) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "%zu runs were given, expected 1 to %d",
                            options->count, MOST_RUNS);
    }
    if (options->smooth < 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "smooth is %lld, expected 0 or more",
                            (long long)options->smooth);
    }
    c->figure = options->figure != NULL ? options->figure : "loss";
    RF_TRY(parse_part(options->part, c->wanted, error));
    return parse_axis(options->x, &c->along, error);
}

/* ---- one run ----------------------------------------------------------------------------- */

/* The last part of a path, without slashes at its end. */
static rf_status folder_name(const char *folder, char **name, rf_error *error)
{
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/') {
        size--;
    }
    size_t first = size;
    while (first > 0 && folder[first - 1] != '/') {
        first--;
    }
    return rf_string_format(name, error, "%.*s", (int)(size - first), folder + first);
}

static rf_status read_object(const char *folder, const char *name, json_t **object, rf_error *error)
{
    char *path = NULL;
    RF_TRY(rf_path_join(folder, name, &path, error));
    rf_status status = rf_json_read_object(path, object, error);
    rf_release(path);
    return status;
}

/* The length that a run settled on where its options left it open. */
static double settled_length(const char *folder)
{
    json_t *config = NULL;
    double length = 0.0;
    if (read_object(folder, "config.json", &config, NULL) == RF_OK) {
        length = json_number_value(
            json_object_get(json_object_get(config, "reformer_c"), "training_length"));
    }
    json_decref(config);
    return length;
}

/* Tokens of an update: batch x accumulate x length. */
static rf_status read_tokens(run *r, rf_error *error)
{
    json_t *record = NULL;
    RF_TRY(read_object(r->folder, "train.json", &record, error));
    const json_t *train = json_object_get(record, "train");
    double length = json_number_value(json_object_get(train, "length"));
    length = length > 0.0 ? length : settled_length(r->folder);
    r->tokens = json_number_value(json_object_get(train, "batch")) *
                json_number_value(json_object_get(train, "accumulate")) * length;
    json_decref(record);
    return r->tokens > 0.0
               ? RF_OK
               : rf_error_set(error, RF_ERR_FORMAT,
                              "%s: its train.json does not say how many tokens an update has; draw "
                              "it by step or seconds",
                              r->folder);
}

static void add_point(const curves *c, run *r, int part, const json_t *object)
{
    const json_t *step = json_object_get(object, "step");
    const json_t *seconds = json_object_get(object, "seconds");
    const json_t *value = json_object_get(object, c->figure);
    line *to = &r->lines[part];
    r->steps = fmax(r->steps, json_number_value(step));
    r->seconds = fmax(r->seconds, json_number_value(seconds));
    if (!c->wanted[part] || !json_is_number(value)) {
        return;
    }
    to->x[to->count] = c->along == AXIS_SECONDS ? json_number_value(seconds)
                       : c->along == AXIS_STEP  ? json_number_value(step)
                                                : json_number_value(step) * r->tokens;
    to->y[to->count++] = json_number_value(value);
}

/* A line that is cut off, or that a later version has written, is passed over. */
static void read_line(const curves *c, run *r, const char *text, size_t size)
{
    json_t *object = NULL;
    if (rf_json_parse_object("metrics.jsonl", text, size, &object, NULL) == RF_OK) {
        const char *kind = json_string_value(json_object_get(object, "kind"));
        if (kind != NULL && strcmp(kind, "step") == 0) {
            add_point(c, r, TRAINING, object);
        } else if (kind != NULL && strcmp(kind, part_names[EVALUATION]) == 0) {
            add_point(c, r, EVALUATION, object);
        }
    }
    json_decref(object);
}

static rf_status read_lines(const curves *c, run *r, const char *text, size_t size, rf_error *error)
{
    size_t lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    for (int i = 0; i < PARTS; i++) {
        void *memory = NULL;
        RF_TRY(rf_allocate(2 * lines * sizeof(double), "the points of a curve", &memory, error));
        r->lines[i].x = memory;
        r->lines[i].y = r->lines[i].x + lines;
    }
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        read_line(c, r, text + at, length);
        at += length + 1;
    }
    return RF_OK;
}

/* Each value becomes the mean of itself and of up to `width` - 1 before it. */
static void smooth(line *of, size_t width)
{
    double sum = 0.0;
    for (size_t i = of->count; width > 1 && i > 0;
         i--) { /* from the end: what is before it stays */
        size_t last = i - 1;
        size_t first = last + 1 > width ? last + 1 - width : 0;
        sum = 0.0;
        for (size_t j = first; j <= last; j++) {
            sum += of->y[j];
        }
        of->y[last] = sum / (double)(last - first + 1);
    }
}

static rf_status read_run(curves *c, size_t index, rf_error *error)
{
    run *r = &c->runs[index];
    char *path = NULL;
    char *text = NULL;
    size_t size = 0;
    rf_status status = RF_OK;
    const char *given = c->options->names != NULL ? c->options->names[index] : NULL;
    r->folder = c->options->folders[index];
    RF_TRY_DONE(given != NULL ? rf_string_copy(given, &r->name, error)
                              : folder_name(r->folder, &r->name, error));
    RF_TRY_DONE(rf_path_join(r->folder, "metrics.jsonl", &path, error));
    RF_TRY_DONE(rf_file_read(path, (size_t)1 << METRICS_LIMIT_BITS, &text, &size, error));
    if (c->along == AXIS_TOKENS) {
        RF_TRY_DONE(read_tokens(r, error));
    }
    RF_TRY_DONE(read_lines(c, r, text, size, error));
    if (r->lines[TRAINING].count + r->lines[EVALUATION].count == 0) {
        status = rf_error_set(error, RF_ERR_FORMAT,
                              "%s: no line has the figure \"%.60s\"; records hold loss, "
                              "gradient_norm, rate and tokens_per_second of steps, and the figures "
                              "of evaluations",
                              path, c->figure);
    }
    smooth(&r->lines[TRAINING], (size_t)c->options->smooth);
done:
    rf_release(path);
    rf_release(text);
    return status;
}

/* ---- the chart --------------------------------------------------------------------------- */

static rf_status line_name(const curves *c, const run *r, int part, char **name, rf_error *error)
{
    bool both = c->wanted[TRAINING] && c->wanted[EVALUATION];
    return both ? rf_string_format(name, error, "%s, %s", r->name, part_names[part])
                : rf_string_copy(r->name, name, error);
}

/* All training curves, then all of evaluation. */
static rf_status draw(curves *c, rf_error *error)
{
    rf_chart_series series[PARTS * MOST_RUNS];
    char label[80];
    size_t count = 0;
    const size_t runs = c->options->count;
    for (size_t i = 0; i < PARTS * runs; i++) {
        const int part = i < runs ? TRAINING : EVALUATION;
        const run *r = &c->runs[part == TRAINING ? i : i - runs];
        if (r->lines[part].count > 0) {
            RF_TRY(line_name(c, r, part, &c->names[count], error));
            series[count] = (rf_chart_series){.name = c->names[count],
                                              .x = r->lines[part].x,
                                              .y = r->lines[part].y,
                                              .count = r->lines[part].count};
            count++;
        }
    }
    bool nats = strcmp(c->figure, "loss") == 0;
    (void)snprintf(label, sizeof label, "%.60s%s", c->figure, nats ? " (nats)" : "");
    const rf_chart chart = {.title = c->options->title != NULL ? c->options->title : c->figure,
                            .x_label = axis_names[c->along],
                            .y_label = label,
                            .x_log = c->options->x_log,
                            .y_log = c->options->y_log,
                            .series = series,
                            .series_count = count};
    return rf_chart_write(&chart, c->options->output, error);
}

/* ---- the report -------------------------------------------------------------------------- */

static json_t *points_of(const line *of)
{
    json_t *list = json_array();
    for (size_t i = 0; i < of->count; i++) {
        (void)json_array_append_new(list, json_pack("[f, f]", of->x[i], of->y[i]));
    }
    return list;
}

/* {"last", "lowest", "highest", "points"} */
static rf_status add_part(json_t *to, const char *name, const line *of, rf_error *error)
{
    if (of->count == 0) {
        return RF_OK;
    }
    double lowest = of->y[0];
    double highest = of->y[0];
    for (size_t i = 1; i < of->count; i++) {
        lowest = fmin(lowest, of->y[i]);
        highest = fmax(highest, of->y[i]);
    }
    return rf_json_set(to, name,
                       json_pack("{s:f, s:f, s:f, s:o}", "last", of->y[of->count - 1], "lowest",
                                 lowest, "highest", highest, "points", points_of(of)),
                       error);
}

static rf_status make_report(curves *c, rf_error *error)
{
    json_t *runs = json_array();
    c->report =
        json_pack("{s:s, s:s, s:o}", "x", axis_names[c->along], "figure", c->figure, "runs", runs);
    for (size_t i = 0; c->report != NULL && i < c->options->count; i++) {
        const run *r = &c->runs[i];
        json_t *one = json_pack("{s:s, s:s, s:f, s:f}", "name", r->name, "folder", r->folder,
                                "steps", r->steps, "seconds", r->seconds);
        if (json_array_append_new(runs, one) != 0) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "the name or the folder of run %zu is no UTF-8 text, or memory ran "
                                "out",
                                i + 1);
        }
        for (int part = 0; part < PARTS; part++) {
            RF_TRY(add_part(one, part_names[part], &r->lines[part], error));
        }
    }
    return c->report != NULL
               ? RF_OK
               : rf_error_set(error, RF_ERR_FORMAT,
                              "the figure's name is no UTF-8 text, or memory ran out");
}

static void clear(curves *c)
{
    for (size_t i = 0; i < MOST_RUNS; i++) {
        rf_release(c->runs[i].name);
        for (int part = 0; part < PARTS; part++) {
            rf_release(c->runs[i].lines[part].x);
        }
    }
    for (size_t i = 0; i < PARTS * (size_t)MOST_RUNS; i++) {
        rf_release(c->names[i]);
    }
    json_decref(c->report);
}

rf_status rf_curves(const rf_curves_options *options, char **report, rf_error *error)
{
    curves c = {.options = options};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(check_options(&c, error));
    for (size_t i = 0; i < options->count; i++) {
        RF_TRY_DONE(read_run(&c, i, error));
    }
    RF_TRY_DONE(make_report(&c, error));
    if (options->output != NULL) {
        RF_TRY_DONE(draw(&c, error));
    }
    RF_TRY_DONE(rf_json_text(c.report, true, report, error));
done:
    clear(&c);
    return status;
}
