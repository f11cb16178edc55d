/* Records of a run. metrics.jsonl is only ever appended to, one flushed line a time, so a killed
 * run loses nothing but perhaps its last line, which the next start removes. The lines are
 * formatted into a fixed buffer: a step that logs allocates nothing. */
#include "train/record.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/chart.h"
#include "io/json.h"
#include "io/tensorboard.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1024, NUMBER_BYTES = 40, METRICS_LIMIT_BITS = 32 };

struct rf_recorder {
    char *output;  /* folder */
    char *metrics; /* path */
    FILE *file;
    rf_tensorboard *board; /* NULL: none */
    char line[LINE_BYTES];
};

/* ---- metrics.jsonl ----------------------------------------------------------------------- */

/* Whether a line belongs to the part of the run that is continued; what is no line of ours does
 * not. */
static bool is_kept(const rf_recorder_options *options, const char *line, size_t size)
{
    json_t *object = NULL;
    bool kept = false;
    if (rf_json_parse_object("metrics.jsonl", line, size, &object, NULL) == RF_OK) {
        const json_t *step = json_object_get(object, "step");
        const char *kind = json_string_value(json_object_get(object, "kind"));
        bool is_evaluation = kind != NULL && strcmp(kind, "evaluation") == 0;
        kept = json_is_integer(step) &&
               json_integer_value(step) <= (is_evaluation ? options->evaluated : options->step);
    }
    json_decref(object);
    return kept;
}

/* Keep what is_kept says; a last line that was cut off goes too. */
static rf_status cut_metrics(const char *path, const rf_recorder_options *options, rf_error *error)
{
    char *text = NULL;
    size_t size = 0;
    size_t kept = 0;
    if (!rf_file_exists(path)) {
        return RF_OK;
    }
    RF_TRY(rf_file_read(path, (size_t)1 << METRICS_LIMIT_BITS, &text, &size, error));
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        if (end != NULL && is_kept(options, text + at, length)) {
            memmove(text + kept, text + at, length + 1);
            kept += length + 1;
        }
        at += length + 1;
    }
    rf_status status = kept == size ? RF_OK : rf_file_write_atomic(path, text, kept, error);
    rf_release(text);
    return status;
}

static rf_status append_line(rf_recorder *recorder, rf_error *error)
{
    size_t size = strlen(recorder->line);
    errno = 0;
    if (fwrite(recorder->line, 1, size, recorder->file) != size || fflush(recorder->file) != 0) {
        rf_status code = errno == ENOSPC || errno == EDQUOT ? RF_ERR_NO_SPACE : RF_ERR_FILE;
        return rf_error_set(error, code, "%s: cannot append a line: %s", recorder->metrics,
                            code == RF_ERR_NO_SPACE ? "the disk is full" : "writing failed");
    }
    return RF_OK;
}

/* A JSON number: all digits a double has, null where it is not finite. */
static const char *number(double value, char text[NUMBER_BYTES])
{
    if (isfinite(value)) {
        (void)snprintf(text, NUMBER_BYTES, "%.17g", value);
    } else {
        (void)snprintf(text, NUMBER_BYTES, "null");
    }
    return text;
}

static rf_status board_scalar(rf_recorder *recorder, const char *tag, int64_t step, double value,
                              rf_error *error)
{
    if (recorder->board == NULL) {
        return RF_OK;
    }
    return rf_tensorboard_scalar(recorder->board, tag, step, value, error);
}

static rf_status board_flush(rf_recorder *recorder, rf_error *error)
{
    return recorder->board == NULL ? RF_OK : rf_tensorboard_flush(recorder->board, error);
}

/* The line so far is a text that is cut at LINE_BYTES; ours are shorter. */
static void add_to_line(rf_recorder *recorder, const char *format, ...) RF_PRINTF(2, 3);
static void add_to_line(rf_recorder *recorder, const char *format, ...)
{
    size_t size = strlen(recorder->line);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(recorder->line + size, LINE_BYTES - size, format, arguments);
    va_end(arguments);
}

rf_status rf_recorder_step(rf_recorder *recorder, const rf_train_progress *progress,
                           rf_error *error)
{
    char loss[NUMBER_BYTES];
    char bits[NUMBER_BYTES];
    char norm[NUMBER_BYTES];
    char rate[NUMBER_BYTES];
    (void)snprintf(recorder->line, LINE_BYTES,
                   "{\"kind\": \"step\", \"step\": %lld, \"loss\": %s, \"bits_per_token\": %s, "
                   "\"gradient_norm\": %s, \"rate\": %s, \"padding\": %.6g, "
                   "\"tokens_per_second\": %.6g, \"seconds\": %.3f}\n",
                   (long long)progress->step, number(progress->loss, loss),
                   number(progress->bits_per_token, bits), number(progress->gradient_norm, norm),
                   number(progress->rate, rate), progress->padding, progress->tokens_per_second,
                   progress->seconds);
    RF_TRY(append_line(recorder, error));
    RF_TRY(board_scalar(recorder, "train/loss", progress->step, progress->loss, error));
    RF_TRY(board_scalar(recorder, "train/gradient_norm", progress->step, progress->gradient_norm,
                        error));
    RF_TRY(board_scalar(recorder, "train/rate", progress->step, progress->rate, error));
    RF_TRY(board_scalar(recorder, "train/tokens_per_second", progress->step,
                        progress->tokens_per_second, error));
    return board_flush(recorder, error);
}

rf_status rf_recorder_evaluation(rf_recorder *recorder, const rf_train_progress *progress,
                                 int64_t tokens, rf_error *error)
{
    const rf_figures *figures = &progress->validation;
    char text[NUMBER_BYTES];
    recorder->line[0] = '\0';
    add_to_line(recorder, "{\"kind\": \"evaluation\", \"step\": %lld", (long long)progress->step);
    for (int64_t i = 0; i < figures->count; i++) {
        add_to_line(recorder, ", \"%s\": %s", figures->items[i].name,
                    number(figures->items[i].value, text));
    }
    add_to_line(recorder, ", \"tokens\": %lld, \"is_best\": %s, \"seconds\": %.3f}\n",
                (long long)tokens, progress->is_best ? "true" : "false", progress->seconds);
    RF_TRY(append_line(recorder, error));
    for (int64_t i = 0; i < figures->count; i++) {
        char tag[NUMBER_BYTES];
        (void)snprintf(tag, sizeof tag, "validation/%s", figures->items[i].name);
        RF_TRY(board_scalar(recorder, tag, progress->step, figures->items[i].value, error));
    }
    return board_flush(recorder, error);
}

rf_status rf_recorder_event(rf_recorder *recorder, int64_t step, const char *event,
                            const char *text, rf_error *error)
{
    (void)snprintf(recorder->line, LINE_BYTES,
                   "{\"kind\": \"event\", \"step\": %lld, \"event\": \"%s\", \"text\": \"%s\"}\n",
                   (long long)step, event, text);
    return append_line(recorder, error);
}

rf_status rf_recorder_sample(rf_recorder *recorder, int64_t step, const uint8_t *bytes, size_t size,
                             rf_error *error)
{
    char *folder = NULL;
    char *path = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_path_join(recorder->output, "samples", &folder, error));
    RF_TRY_DONE(rf_folder_create(folder, error));
    RF_TRY_DONE(rf_string_format(&path, error, "%s/step-%lld.txt", folder, (long long)step));
    RF_TRY_DONE(rf_file_write_atomic(path, bytes, size, error));
done:
    rf_release(path);
    rf_release(folder);
    return status;
}

/* ---- the chart --------------------------------------------------------------------------- */

typedef struct curve {
    double *x, *y; /* [count of lines at most], in one allocation that begins at x */
    size_t count;
} curve;

static void add_point(const json_t *object, curve *to)
{
    const json_t *loss = json_object_get(object, "loss");
    if (json_is_number(loss)) {
        to->x[to->count] = json_number_value(json_object_get(object, "step"));
        to->y[to->count] = json_number_value(loss) / log(2.0);
        to->count++;
    }
}

static void read_point(const char *line, size_t size, curve curves[2])
{
    json_t *object = NULL;
    if (rf_json_parse_object("metrics.jsonl", line, size, &object, NULL) == RF_OK) {
        const char *kind = json_string_value(json_object_get(object, "kind"));
        bool is_step = kind != NULL && strcmp(kind, "step") == 0;
        add_point(object, &curves[is_step ? 0 : 1]);
    }
    json_decref(object);
}

/* Losses in bits, of the steps and of the evaluations, from the lines of a text. */
static rf_status read_curves(const char *text, size_t size, curve curves[2], rf_error *error)
{
    size_t lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    for (int i = 0; i < 2; i++) {
        void *memory = NULL;
        RF_TRY(rf_allocate(2 * lines * sizeof(double), "the points of a chart", &memory, error));
        curves[i].x = memory;
        curves[i].y = curves[i].x + lines;
    }
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        if (end != NULL) {
            read_point(text + at, length, curves);
        }
        at += length + 1;
    }
    return RF_OK;
}

static rf_status draw(const rf_recorder *recorder, const rf_chart *chart, rf_error *error)
{
    static const char *const names[] = {"loss.svg", "loss.png"};
    for (size_t i = 0; i < 2; i++) {
        char *path = NULL;
        rf_error reason = {0};
        RF_TRY(rf_path_join(recorder->output, names[i], &path, error));
        rf_status status = rf_chart_write(chart, path, &reason);
        rf_release(path);
        /* The SVG is the chart; a build without cairo has no PNG beside it. */
        if (status != RF_OK && !(i == 1 && status == RF_ERR_UNSUPPORTED)) {
            return rf_error_set(error, status, "%s", reason.message);
        }
    }
    return RF_OK;
}

rf_status rf_recorder_chart(rf_recorder *recorder, rf_error *error)
{
    char *text = NULL;
    size_t size = 0;
    curve curves[2] = {{0}, {0}};
    rf_chart_series series[2];
    rf_status status = RF_OK;
    RF_TRY_DONE(
        rf_file_read(recorder->metrics, (size_t)1 << METRICS_LIMIT_BITS, &text, &size, error));
    RF_TRY_DONE(read_curves(text, size, curves, error));
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        if (curves[i].count > 0) {
            series[count++] = (rf_chart_series){.name = i == 0 ? "training" : "validation",
                                                .x = curves[i].x,
                                                .y = curves[i].y,
                                                .count = curves[i].count};
        }
    }
    if (count > 0) {
        rf_chart chart = {.title = "Loss",
                          .x_label = "step",
                          .y_label = "bits",
                          .series = series,
                          .series_count = count};
        status = draw(recorder, &chart, error);
    }
done:
    rf_release(curves[0].x);
    rf_release(curves[1].x);
    rf_release(text);
    return status;
}

/* ---- opening and closing ----------------------------------------------------------------- */

static rf_status open_board(rf_recorder *recorder, const rf_recorder_options *options,
                            rf_error *error)
{
    rf_error reason = {0};
    rf_status status = rf_tensorboard_create(options->output, &recorder->board, &reason);
    if (status == RF_ERR_UNSUPPORTED) {
        rf_log_write(&options->log, RF_LOG_NOTICE, "no event files: %s", reason.message);
        return RF_OK;
    }
    return status == RF_OK ? RF_OK : rf_error_set(error, status, "%s", reason.message);
}

/* metrics.jsonl, cut and open at its end. */
static rf_status open_metrics(rf_recorder *recorder, const rf_recorder_options *options,
                              rf_error *error)
{
    RF_TRY(cut_metrics(recorder->metrics, options, error));
    recorder->file = fopen(recorder->metrics, "a");
    return recorder->file != NULL
               ? RF_OK
               : rf_error_set(error, RF_ERR_FILE, "%s: cannot be opened for writing",
                              recorder->metrics);
}

rf_status rf_recorder_rewind(rf_recorder *recorder, int64_t step, int64_t evaluated,
                             rf_error *error)
{
    const rf_recorder_options options = {.step = step, .evaluated = evaluated};
    (void)fclose(recorder->file); /* every line was flushed */
    recorder->file = NULL;
    return open_metrics(recorder, &options, error);
}

rf_status rf_recorder_open(const rf_recorder_options *options, rf_recorder **recorder,
                           rf_error *error)
{
    void *memory = NULL;
    rf_status status = RF_OK;
    *recorder = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof **recorder, "the records of a run", &memory, error));
    rf_recorder *opened = memory;
    RF_TRY_DONE(rf_string_copy(options->output, &opened->output, error));
    RF_TRY_DONE(rf_path_join(options->output, "metrics.jsonl", &opened->metrics, error));
    RF_TRY_DONE(open_metrics(opened, options, error));
    if (options->tensorboard) {
        status = open_board(opened, options, error);
    }
done:
    if (status != RF_OK) {
        rf_recorder_close(opened);
        return status;
    }
    *recorder = opened;
    return RF_OK;
}

void rf_recorder_close(rf_recorder *recorder)
{
    if (recorder == NULL) {
        return;
    }
    if (recorder->file != NULL) {
        (void)fclose(recorder->file);
    }
    rf_tensorboard_close(recorder->board);
    rf_release(recorder->metrics);
    rf_release(recorder->output);
    rf_release(recorder);
}
