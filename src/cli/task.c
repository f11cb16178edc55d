/* A model, its tokenizer and texts for the commands that use a model's head. */
#include "task.h"

#include "message.h"

#include <stdio.h>
#include <string.h>

enum { LARGEST_TEXT = 1 << 30 };

rf_status rf_task_check(const rf_settings *settings, rf_error *error)
{
    if (rf_settings_has(settings, "text") && rf_settings_has(settings, "data")) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--text and --data exclude each other; give one of them");
    }
    return RF_OK;
}

static rf_status load(rf_task *task, const rf_settings *settings, rf_error *error)
{
    const char *folder = rf_settings_string(settings, "model");
    rf_model_options options = {
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .stream = rf_settings_string(settings, "stream"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .attention = rf_settings_string(settings, "attention"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .log = rf_cli_log(settings),
    };
    *task = (rf_task){.settings = settings};
    rf_status status = rf_model_load(folder, &options, &task->model, error);
    return status == RF_OK ? rf_tokenizer_load(folder, &task->tokenizer, error) : status;
}

rf_status rf_task_open(rf_task *task, const rf_settings *settings, rf_error *error)
{
    const char *text = rf_settings_string(settings, "text");
    const char *data = rf_settings_string(settings, "data");
    rf_status status = load(task, settings, error);
    if (status != RF_OK) {
        return status;
    }
    return text != NULL
               ? rf_bytes_append(&task->input, text, strlen(text), error)
               : rf_bytes_read_file(&task->input, data != NULL ? data : "-", LARGEST_TEXT, error);
}

static void close_task(rf_task *task)
{
    rf_bytes_clear(&task->input);
    rf_tokenizer_destroy(task->tokenizer);
    rf_model_destroy(task->model);
}

int rf_task_finish(rf_task *task, const rf_settings *settings, json_t *results, rf_status status,
                   const rf_error *error)
{
    if (status == RF_OK && results != NULL) {
        (void)rf_cli_print_json(json_incref(results));
    }
    json_decref(results);
    close_task(task);
    return rf_cli_report(settings->command, status, error);
}

rf_status rf_task_each(rf_task *task, rf_task_visitor visit, void *user, rf_error *error)
{
    const char *text = task->input.data != NULL ? task->input.data : "";
    size_t all = task->input.size;
    int64_t number = 0;
    if (!rf_settings_flag(task->settings, "lines")) {
        return visit(task, 0, text, all, user, error);
    }
    for (size_t at = 0; at < all;) {
        const char *newline = memchr(text + at, '\n', all - at);
        size_t size = newline != NULL ? (size_t)(newline - text) - at : all - at;
        task->line = number + 1;
        rf_status status = visit(task, number++, text + at, size, user, error);
        if (status != RF_OK) {
            return status;
        }
        at += size + 1;
    }
    return RF_OK;
}

rf_status rf_task_tokens(rf_task *task, const char *text, size_t size, rf_encoding *encoding,
                         rf_error *error)
{
    rf_status status =
        rf_tokenizer_tokenize(task->tokenizer, (const uint8_t *)text, size, encoding, error);
    char name[40] = "the text";
    if (task->line > 0) {
        (void)snprintf(name, sizeof name, "line %lld", (long long)task->line);
    }
    if (status == RF_OK && encoding->count == 0) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s has no token; give one that has", name);
    }
    if (status == RF_OK && encoding->count > rf_model_max_length(task->model)) {
        return rf_cli_fail(
            error, RF_ERR_ARGUMENT,
            "%s has %lld tokens, but the model has %lld positions; shorten it, or give "
            "--extend-positions %lld",
            name, (long long)encoding->count, (long long)rf_model_max_length(task->model),
            (long long)encoding->count);
    }
    return status;
}

rf_status rf_task_space(rf_bytes *bytes, int64_t count, size_t size, rf_error *error)
{
    static const char zeros[4096];
    size_t left = (size_t)count * size;
    rf_status status = RF_OK;
    while (left > 0 && status == RF_OK) {
        size_t part = left < sizeof zeros ? left : sizeof zeros;
        status = rf_bytes_append(bytes, zeros, part, error);
        left -= part;
    }
    return status;
}
