/* Configuration files: found by path or by the name of a preset, read, and merged with the other
 * sources. */
#include "config_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS = 3, LISTED = 32, FILE_LIMIT = 1 << 24 };

/* The folder of the program itself, without a slash at the end; false where the system does not
 * say. */
static bool program_folder(char folder[RF_PATH_BYTES])
{
    ssize_t length = readlink("/proc/self/exe", folder, RF_PATH_BYTES - 1);
    if (length <= 0) {
        return false;
    }
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        return false;
    }
    *slash = '\0';
    return true;
}

/* Where presets are looked for, in order; returns how many folders there are. */
static size_t preset_folders(char folders[FOLDERS][RF_PATH_BYTES])
{
    char own[RF_PATH_BYTES];
    snprintf(folders[0], RF_PATH_BYTES, "configs");
    if (!program_folder(own)) {
        return 1;
    }
    int first = snprintf(folders[1], RF_PATH_BYTES, "%s/../configs", own);
    int second = snprintf(folders[2], RF_PATH_BYTES, "%s/../share/reformer/configs", own);
    return first < RF_PATH_BYTES && second < RF_PATH_BYTES ? FOLDERS : 1;
}

/* The names of the presets there are, with commas, for a message. */
static void list_presets(char *text, size_t size)
{
    char folders[FOLDERS][RF_PATH_BYTES];
    size_t count = preset_folders(folders);
    text[0] = '\0';
    for (size_t i = 0; i < count && text[0] == '\0'; i++) {
        DIR *folder = opendir(folders[i]);
        size_t used = 0;
        const struct dirent *entry = NULL;
        while (folder != NULL && (entry = readdir(folder)) != NULL) {
            const char *end = strstr(entry->d_name, ".json");
            if (end != NULL && end[5] == '\0' && used + 2 < size) {
                int written = snprintf(text + used, size - used, "%s%.*s", used > 0 ? ", " : "",
                                       (int)(end - entry->d_name), entry->d_name);
                used += written > 0 ? (size_t)written : 0;
            }
        }
        if (folder != NULL) {
            closedir(folder);
        }
    }
}

/* The path of a configuration file: `name` itself if there is such a file, else NAME.json in
 * ./configs, or in the folders configs and share/reformer/configs beside the program's own. */
static rf_status find_config(const char *name, char path[RF_PATH_BYTES], rf_error *error)
{
    char folders[FOLDERS][RF_PATH_BYTES];
    char known[240];
    struct stat about;
    bool folder = stat(name, &about) == 0 && S_ISDIR(about.st_mode) && strchr(name, '/') == NULL;
    if (!folder && access(name, R_OK) == 0 && strlen(name) < RF_PATH_BYTES) {
        snprintf(path, RF_PATH_BYTES, "%s", name);
        return RF_OK;
    }
    size_t count = strchr(name, '/') == NULL ? preset_folders(folders) : 0;
    for (size_t i = 0; i < count; i++) {
        int length = snprintf(path, RF_PATH_BYTES, "%.3000s/%.200s.json", folders[i], name);
        if (length < RF_PATH_BYTES && access(path, R_OK) == 0) {
            return RF_OK;
        }
    }
    path[0] = '\0';
    list_presets(known, sizeof known);
    return rf_cli_fail(error, RF_ERR_ARGUMENT,
                       "--config: there is no file '%.100s' and no preset of that name%s%s", name,
                       known[0] != '\0' ? "; presets are " : "", known);
}

static rf_status read_file(rf_settings *settings, const char *path, rf_error *error)
{
    rf_bytes text = {0};
    json_error_t fault = {0};
    json_t *object = NULL;
    rf_status status = rf_bytes_read_file(&text, path, FILE_LIMIT, error);
    if (status == RF_OK) {
        object = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &fault);
        status = object != NULL
                     ? rf_settings_read_object(settings, path, object, error)
                     : rf_cli_fail(error, RF_ERR_ARGUMENT, "%.200s is not a JSON file: line %d: %s",
                                   path, fault.line, fault.text);
    }
    json_decref(object);
    rf_bytes_clear(&text);
    return status;
}

static const char *look_up(const char *name)
{
    return getenv(name);
}

rf_status rf_settings_read(rf_settings *settings, size_t count, const char *const *arguments,
                           rf_error *error)
{
    char path[RF_PATH_BYTES] = "";
    rf_status status = rf_settings_read_arguments(settings, count, arguments, error);
    if (status == RF_OK && !rf_settings_flag(settings, "help")) {
        status = rf_settings_read_environment(settings, look_up, error);
    }
    if (status == RF_OK && rf_settings_has(settings, "config")) {
        status = find_config(rf_settings_string(settings, "config"), path, error);
    } else if (status == RF_OK && settings->command->implied_file != NULL) {
        bool found = settings->command->implied_file(settings, path, sizeof path);
        path[0] = found ? path[0] : '\0';
    }
    if (status == RF_OK && path[0] != '\0' && !rf_settings_flag(settings, "help")) {
        status = read_file(settings, path, error);
    }
    if (status == RF_OK && settings->command->settle != NULL) {
        settings->command->settle(settings);
    }
    return status == RF_OK ? rf_settings_read_defaults(settings, error) : status;
}
