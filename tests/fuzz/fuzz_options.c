/* Fuzz target: the options of every command, from a command line or from a configuration file.
 *
 * The first byte chooses the command and (its highest bit) the source. A command line is the rest,
 * cut at NUL bytes; a file is the rest as JSON. What is refused has a message; what is accepted is
 * recorded, and the record reads back as the same settings. */
#include "cli/settings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ARGUMENTS = 64, MOST_BYTES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A refusal without words, or with words that do not end, is a fault. */
static void check_refusal(rf_status status, const rf_error *error)
{
    size_t length = strnlen(error->message, sizeof error->message);
    must(length < sizeof error->message);
    must(status == RF_OK || (length > 0 && error->code == status));
}

static void check_record(const rf_settings *settings)
{
    rf_settings again;
    rf_error error = {0};
    json_t *record = rf_settings_record(settings);
    rf_settings_init(&again, settings->command);
    bool reads_files = (settings->command->shared & RF_SHARED_CONFIG) != 0;
    if (reads_files) {
        must(rf_settings_read_object(&again, "record", record, &error) == RF_OK);
        json_t *second = rf_settings_record(&again);
        must(json_equal(record, second) == 1);
        json_decref(second);
    }
    json_decref(record);
    rf_settings_clear(&again);
}

static rf_status read_line(rf_settings *settings, const char *text, size_t size, rf_error *error)
{
    const char *arguments[MOST_ARGUMENTS];
    size_t count = 0;
    for (size_t at = 0; at < size && count < MOST_ARGUMENTS; at += strlen(text + at) + 1) {
        arguments[count++] = text + at;
    }
    return rf_settings_read_arguments(settings, count, arguments, error);
}

static rf_status read_file(rf_settings *settings, const char *text, size_t size, rf_error *error)
{
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    rf_status status =
        object != NULL ? rf_settings_read_object(settings, "file", object, error) : RF_OK;
    json_decref(object);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[MOST_BYTES + 1];
    rf_settings settings;
    rf_error error = {0};
    if (size < 1 || size > MOST_BYTES) {
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    rf_settings_init(&settings, rf_command_at((data[0] & 127U) % rf_command_count()));
    rf_status status = (data[0] & 128U) != 0 ? read_file(&settings, text, size - 1, &error)
                                             : read_line(&settings, text, size - 1, &error);
    check_refusal(status, &error);
    if (status == RF_OK) {
        must(rf_settings_read_defaults(&settings, &error) == RF_OK);
        check_record(&settings);
        check_refusal(rf_settings_check(&settings, &error), &error);
    }
    rf_settings_clear(&settings);
    return 0;
}
