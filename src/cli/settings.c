/* Merging the sources of settings. Each source only fills what no higher one has said, so they are
 * read from the highest down. */
#include "settings.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_BYTES = 256, NO_OPTION = RF_MAX_OPTIONS };

void rf_settings_init(rf_settings *settings, const rf_command *command)
{
    *settings = (rf_settings){.command = command};
}

void rf_settings_clear(rf_settings *settings)
{
    for (size_t i = 0; i < RF_MAX_OPTIONS; i++) {
        json_decref(settings->items[i].value);
    }
    json_decref(settings->model);
    *settings = (rf_settings){0};
}

/* Index of the option of a long name of `length` bytes, or NO_OPTION. */
static size_t find_option(const rf_command *command, const char *name, size_t length)
{
    size_t count = rf_command_option_count(command);
    for (size_t i = 0; i < count; i++) {
        const char *candidate = rf_command_option(command, i)->name;
        if (strncmp(candidate, name, length) == 0 && candidate[length] == '\0') {
            return i;
        }
    }
    return NO_OPTION;
}

static size_t find_letter(const rf_command *command, char letter)
{
    size_t count = rf_command_option_count(command);
    for (size_t i = 0; i < count; i++) {
        if (letter != 0 && rf_command_option(command, i)->letter == letter) {
            return i;
        }
    }
    return NO_OPTION;
}

/* Put a fresh value in its place. Of one source the last wins, or all are kept where the option
 * repeats; of two the higher wins. */
static rf_status place(rf_settings *settings, size_t index, json_t *value, rf_origin origin,
                       rf_error *error)
{
    rf_setting *item = &settings->items[index];
    if (item->origin == origin && json_is_array(item->value)) {
        int failed = json_array_extend(item->value, value);
        json_decref(value);
        return failed != 0
                   ? rf_cli_fail(error, RF_ERR_MEMORY, "out of memory while reading the options")
                   : RF_OK;
    }
    if (item->origin > origin) {
        json_decref(value);
        return RF_OK;
    }
    json_decref(item->value);
    item->value = value;
    item->origin = origin;
    return RF_OK;
}

static rf_status place_text(rf_settings *settings, size_t index, const char *label,
                            const char *text, rf_origin origin, rf_error *error)
{
    json_t *value = NULL;
    rf_status status = rf_option_from_text(rf_command_option(settings->command, index), label, text,
                                           &value, error);
    return status == RF_OK ? place(settings, index, value, origin, error) : status;
}

static rf_status unknown_option(const rf_command *command, const char *argument, size_t length,
                                rf_error *error)
{
    const char *names[RF_MAX_OPTIONS];
    char word[RF_OPTION_NAME_BYTES];
    size_t count = rf_command_option_count(command);
    for (size_t i = 0; i < count; i++) {
        names[i] = rf_command_option(command, i)->name;
    }
    snprintf(word, sizeof word, "%.*s", (int)(length > 60 ? 60 : length), argument);
    for (char *c = word; *c != '\0'; c++) {
        *c = isprint((unsigned char)*c) != 0 ? *c : '?';
    }
    const char *stem = word + strspn(word, "-");
    const char *nearest = rf_cli_nearest(stem, names, count);
    if (nearest == NULL && strncmp(stem, "no-", 3) == 0) {
        nearest = rf_cli_nearest(stem + 3, names, count);
    }
    if (nearest == NULL) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s has no option %s", command->name, word);
    }
    return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s has no option %s; did you mean --%s?",
                       command->name, word, nearest);
}

/* What may be the value of the option before it: anything but another option. */
static bool looks_like_option(const char *text)
{
    return text[0] == '-' && (text[1] == '-' || isalpha((unsigned char)text[1]) != 0);
}

/* A reader's place in the arguments. */
typedef struct reader {
    size_t count, at; /* at: the next argument */
    const char *const *arguments;
} reader;

/* The option's value from `attached` (after "=" or the letter) or from the next argument. */
static rf_status read_value(rf_settings *settings, reader *from, size_t index, const char *label,
                            const char *attached, rf_error *error)
{
    const rf_option *option = rf_command_option(settings->command, index);
    const char *text = attached;
    if (option->kind == RF_OPTION_FLAG && attached == NULL) {
        text = "yes";
    } else if (attached == NULL) {
        if (from->at >= from->count) {
            return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s needs a value: %s %s", label, label,
                               option->argument);
        }
        text = from->arguments[from->at];
        if (looks_like_option(text)) {
            return rf_cli_fail(error, RF_ERR_ARGUMENT,
                               "%s needs a value before '%.80s' (write %s=%.80s if that is it)",
                               label, text, label, text);
        }
        from->at++;
    }
    return place_text(settings, index, label, text, RF_ORIGIN_COMMAND_LINE, error);
}

static rf_status read_long(rf_settings *settings, reader *from, const char *argument,
                           rf_error *error)
{
    char label[LABEL_BYTES];
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    const char *attached = name[length] == '=' ? name + length + 1 : NULL;
    size_t index = find_option(settings->command, name, length);
    if (index != NO_OPTION) {
        snprintf(label, sizeof label, "--%s", rf_command_option(settings->command, index)->name);
        return read_value(settings, from, index, label, attached, error);
    }
    if (strncmp(name, "no-", 3) == 0 && length > 3) {
        index = find_option(settings->command, name + 3, length - 3);
    }
    if (index == NO_OPTION || rf_command_option(settings->command, index)->kind != RF_OPTION_FLAG) {
        return unknown_option(settings->command, argument, length + 2, error);
    }
    if (attached != NULL) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--no-%s takes no value",
                           rf_command_option(settings->command, index)->name);
    }
    return place_text(settings, index, argument, "no", RF_ORIGIN_COMMAND_LINE, error);
}

static rf_status read_short(rf_settings *settings, reader *from, const char *argument,
                            rf_error *error)
{
    char label[] = {'-', argument[1], '\0'};
    size_t index = find_letter(settings->command, argument[1]);
    bool flag =
        index != NO_OPTION && rf_command_option(settings->command, index)->kind == RF_OPTION_FLAG;
    if (index == NO_OPTION || (flag && argument[2] != '\0')) {
        return unknown_option(settings->command, argument, strlen(argument), error);
    }
    const char *attached = argument[2] == '\0' ? NULL : argument + 2 + (argument[2] == '=' ? 1 : 0);
    return read_value(settings, from, index, label, attached, error);
}

rf_status rf_settings_read_arguments(rf_settings *settings, size_t count,
                                     const char *const *arguments, rf_error *error)
{
    reader from = {.count = count, .arguments = arguments};
    bool options_end = false;
    rf_status status = RF_OK;
    while (status == RF_OK && from.at < count) {
        const char *argument = arguments[from.at++];
        if (options_end || argument[0] != '-' || argument[1] == '\0') {
            if (settings->argument_count >= settings->command->most_arguments) {
                return rf_cli_fail(
                    error, RF_ERR_ARGUMENT, "'%.100s' is not expected here: %s takes %s", argument,
                    settings->command->name,
                    settings->command->positional != NULL ? settings->command->positional
                                                          : "options only");
            }
            settings->arguments[settings->argument_count++] = argument;
        } else if (strcmp(argument, "--") == 0) {
            options_end = true;
        } else if (argument[1] == '-') {
            status = read_long(settings, &from, argument, error);
        } else {
            status = read_short(settings, &from, argument, error);
        }
    }
    return status;
}

rf_status rf_settings_read_environment(rf_settings *settings,
                                       const char *(*lookup)(const char *name), rf_error *error)
{
    size_t count = rf_command_option_count(settings->command);
    rf_status status = RF_OK;
    for (size_t i = 0; status == RF_OK && i < count; i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        char name[RF_OPTION_NAME_BYTES];
        rf_option_environment_name(option, name);
        const char *text = lookup(name);
        if (text != NULL && text[0] != '\0' && strcmp(option->name, "help") != 0) {
            status = place_text(settings, i, name, text, RF_ORIGIN_ENVIRONMENT, error);
        }
    }
    return status;
}

/* The index of the option with this key in the file, or NO_OPTION. */
static size_t find_key(const rf_command *command, const char *key)
{
    size_t count = rf_command_option_count(command);
    for (size_t i = 0; i < count; i++) {
        const char *candidate = rf_command_option(command, i)->key;
        if (candidate != NULL && strcmp(candidate, key) == 0) {
            return i;
        }
    }
    return NO_OPTION;
}

static rf_status unknown_key(const rf_command *command, const char *name, const char *key,
                             rf_error *error)
{
    const char *keys[RF_MAX_OPTIONS];
    size_t count = 0;
    for (size_t i = 0; i < rf_command_option_count(command); i++) {
        const char *candidate = rf_command_option(command, i)->key;
        if (candidate != NULL) {
            keys[count++] = candidate;
        }
    }
    const char *nearest = rf_cli_nearest(key, keys, count);
    return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s: \"%s\" has no key \"%.60s\"%s%s%s", name,
                       command->name, key, nearest != NULL ? "; did you mean \"" : "",
                       nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
}

static rf_status read_section(rf_settings *settings, const char *name, json_t *section,
                              rf_error *error)
{
    const char *key = NULL;
    json_t *from = NULL;
    rf_status status = RF_OK;
    json_object_foreach(section, key, from)
    {
        char label[LABEL_BYTES];
        json_t *value = NULL;
        size_t index = find_key(settings->command, key);
        if (index == NO_OPTION) {
            status = unknown_key(settings->command, name, key, error);
        } else if (!json_is_null(from)) {
            snprintf(label, sizeof label, "%.180s: %s.%s", name, settings->command->name, key);
            status = rf_option_from_json(rf_command_option(settings->command, index), label, from,
                                         &value, error);
            status =
                status == RF_OK ? place(settings, index, value, RF_ORIGIN_FILE, error) : status;
        }
        if (status != RF_OK) {
            break;
        }
    }
    return status;
}

/* A section's name is a command that reads files, "model", or "description". */
static rf_status check_section_name(const char *name, const char *key, rf_error *error)
{
    const char *names[RF_MAX_OPTIONS] = {"model", "description"};
    size_t count = 2;
    for (size_t i = 0; i < rf_command_count(); i++) {
        if ((rf_command_at(i)->shared & RF_SHARED_CONFIG) != 0) {
            names[count++] = rf_command_at(i)->name;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], key) == 0) {
            return RF_OK;
        }
    }
    const char *nearest = rf_cli_nearest(key, names, count);
    return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s: there is no section \"%.60s\"%s%s%s", name, key,
                       nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                       nearest != NULL ? "\"?"
                                       : " (sections are \"model\" and the names of commands)");
}

rf_status rf_settings_read_object(rf_settings *settings, const char *name, json_t *object,
                                  rf_error *error)
{
    const char *key = NULL;
    json_t *section = NULL;
    if (!json_is_object(object)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "%s: expected an object such as {\"model\": {...}, \"train\": {...}}",
                           name);
    }
    json_object_foreach(object, key, section)
    {
        rf_status status = check_section_name(name, key, error);
        bool text = strcmp(key, "description") == 0;
        if (status == RF_OK && (text ? !json_is_string(section) : !json_is_object(section))) {
            status = rf_cli_fail(error, RF_ERR_ARGUMENT, "%s: section \"%s\" is not %s", name, key,
                                 text ? "a text" : "an object");
        }
        if (status == RF_OK && strcmp(key, settings->command->name) == 0) {
            status = read_section(settings, name, section, error);
        }
        if (status != RF_OK) {
            return status;
        }
    }
    json_decref(settings->model);
    settings->model = json_incref(json_object_get(object, "model"));
    snprintf(settings->file, sizeof settings->file, "%s", name);
    return RF_OK;
}

bool rf_settings_forget_file(rf_settings *settings, const char *name)
{
    size_t index = find_option(settings->command, name, strlen(name));
    bool says = index != NO_OPTION && settings->items[index].origin == RF_ORIGIN_FILE;
    if (says) {
        json_decref(settings->items[index].value);
        settings->items[index] = (rf_setting){0};
    }
    return says;
}

rf_status rf_settings_read_defaults(rf_settings *settings, rf_error *error)
{
    size_t count = rf_command_option_count(settings->command);
    rf_status status = RF_OK;
    for (size_t i = 0; status == RF_OK && i < count; i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        if (option->preset != NULL && settings->items[i].value == NULL) {
            status =
                place_text(settings, i, option->name, option->preset, RF_ORIGIN_DEFAULT, error);
        }
    }
    return status;
}

static rf_status check_arguments(const rf_settings *settings, rf_error *error)
{
    const rf_command *command = settings->command;
    if (settings->argument_count < command->least_arguments) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s needs %s", command->name,
                           command->positional);
    }
    if (command->choices != NULL && settings->argument_count > 0) {
        const rf_option first = {.kind = RF_OPTION_CHOICE, .choices = command->choices};
        json_t *value = NULL;
        rf_status status =
            rf_option_from_text(&first, command->positional, settings->arguments[0], &value, error);
        json_decref(value);
        return status;
    }
    return RF_OK;
}

rf_status rf_settings_check(const rf_settings *settings, rf_error *error)
{
    size_t count = rf_command_option_count(settings->command);
    for (size_t i = 0; i < count; i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        if (option->required && settings->items[i].value == NULL) {
            return rf_cli_fail(error, RF_ERR_ARGUMENT, "%s needs --%s %s", settings->command->name,
                               option->name, option->argument);
        }
    }
    rf_status status = check_arguments(settings, error);
    if (status == RF_OK && settings->command->check != NULL) {
        status = settings->command->check(settings, error);
    }
    return status;
}

static const rf_setting *find(const rf_settings *settings, const char *name)
{
    static const rf_setting none = {0};
    size_t index = find_option(settings->command, name, strlen(name));
    return index == NO_OPTION ? &none : &settings->items[index];
}

bool rf_settings_has(const rf_settings *settings, const char *name)
{
    return find(settings, name)->value != NULL;
}

rf_origin rf_settings_origin(const rf_settings *settings, const char *name)
{
    return find(settings, name)->origin;
}

const json_t *rf_settings_value(const rf_settings *settings, const char *name)
{
    return find(settings, name)->value;
}

bool rf_settings_flag(const rf_settings *settings, const char *name)
{
    return json_is_true(find(settings, name)->value);
}

int64_t rf_settings_integer(const rf_settings *settings, const char *name)
{
    return json_integer_value(find(settings, name)->value);
}

double rf_settings_number(const rf_settings *settings, const char *name)
{
    return json_number_value(find(settings, name)->value);
}

const char *rf_settings_string(const rf_settings *settings, const char *name)
{
    return json_string_value(find(settings, name)->value);
}

rf_status rf_settings_either(const rf_settings *settings, const char *first, const char *second,
                             bool *first_wins, rf_error *error)
{
    rf_origin one = rf_settings_origin(settings, first);
    rf_origin other = rf_settings_origin(settings, second);
    if (one == other && one != RF_ORIGIN_NONE) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--%s and --%s exclude each other; give one of them", first, second);
    }
    *first_wins = one > other;
    return RF_OK;
}

/* Strings may hold any bytes; a record is JSON, so what is no UTF-8 is replaced. */
static json_t *recorded(const json_t *value)
{
    if (json_is_string(value)) {
        return rf_cli_json_text(json_string_value(value), json_string_length(value));
    }
    if (!json_is_array(value)) {
        return json_deep_copy(value);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_array_append_new(list, recorded(json_array_get(value, i)));
    }
    return list;
}

json_t *rf_settings_record(const rf_settings *settings)
{
    json_t *section = json_object();
    size_t count = rf_command_option_count(settings->command);
    for (size_t i = 0; i < count; i++) {
        const rf_option *option = rf_command_option(settings->command, i);
        if (option->key != NULL && settings->items[i].value != NULL) {
            json_object_set_new(section, option->key, recorded(settings->items[i].value));
        }
    }
    json_t *record = json_object();
    json_object_set_new(record, settings->command->name, section);
    if (settings->model != NULL) {
        json_object_set(record, "model", settings->model);
    }
    return record;
}
