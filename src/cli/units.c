/* Sizes and durations as people write them; everything that is not exactly such a text is refused.
 */
#include "units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit size_units[] = {
    {"", 1.0},           {"B", 1.0},
    {"K", 1024.0},       {"KiB", 1024.0},
    {"KB", 1e3},         {"M", 1048576.0},
    {"MiB", 1048576.0},  {"MB", 1e6},
    {"G", 1073741824.0}, {"GiB", 1073741824.0},
    {"GB", 1e9},         {"T", 0x1p40},
    {"TiB", 0x1p40},     {"TB", 1e12},
};

static const unit duration_units[] = {
    {"ms", 1e-3}, {"s", 1.0}, {"m", 60.0}, {"min", 60.0}, {"h", 3600.0}, {"d", 86400.0},
};

bool rf_cli_read_integer(const char *text, int64_t *value)
{
    size_t start = text[0] == '-' || text[0] == '+' ? 1 : 0;
    size_t digits = strspn(text + start, "0123456789");
    if (digits == 0 || text[start + digits] != '\0') {
        return false;
    }
    errno = 0;
    long long read = strtoll(text, NULL, 10);
    if (errno != 0) {
        return false;
    }
    *value = read;
    return true;
}

/* The number at the start of text: its value and where it ends; false if there is none. strtod
 * alone would take "inf", "0x1" and leading blanks. */
static bool read_leading_number(const char *text, double *value, const char **end)
{
    char first = text[0] == '-' || text[0] == '+' ? text[1] : text[0];
    bool hexadecimal = first == '0' && (strchr(text, 'x') != NULL || strchr(text, 'X') != NULL);
    if (first == '\0' || strchr("0123456789.", first) == NULL || hexadecimal) {
        return false;
    }
    char *stop = NULL;
    *value = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*value) != 0;
}

bool rf_cli_read_number(const char *text, double *value)
{
    const char *end = text;
    double read = 0.0;
    if (!read_leading_number(text, &read, &end) || *end != '\0') {
        return false;
    }
    *value = read;
    return true;
}

bool rf_cli_read_size(const char *text, int64_t *bytes)
{
    const char *end = text;
    double number = 0.0;
    if (rf_cli_read_integer(text, bytes)) {
        return *bytes >= 0;
    }
    if (!read_leading_number(text, &number, &end) || number < 0.0) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    for (size_t i = 0; i < sizeof size_units / sizeof size_units[0]; i++) {
        if (strcasecmp(end, size_units[i].name) == 0) {
            double product = number * size_units[i].factor;
            if (product >= 0x1p63 || (product < 1.0 && number > 0.0)) {
                return false;
            }
            *bytes = (int64_t)product;
            return true;
        }
    }
    return false;
}

/* One number and its unit at the start of text. */
static bool read_duration_part(const char *text, double *seconds, const char **end)
{
    double number = 0.0;
    if (!read_leading_number(text, &number, end) || number < 0.0) {
        return false;
    }
    size_t letters = strspn(*end, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (strlen(duration_units[i].name) == letters &&
            strncmp(*end, duration_units[i].name, letters) == 0) {
            *end += letters;
            *seconds += number * duration_units[i].factor;
            return true;
        }
    }
    return false;
}

bool rf_cli_read_duration(const char *text, double *seconds)
{
    double total = 0.0;
    if (rf_cli_read_number(text, &total)) {
        *seconds = total;
        return total >= 0.0;
    }
    total = 0.0;
    const char *at = text;
    while (*at != '\0') {
        if (!read_duration_part(at, &total, &at)) {
            return false;
        }
    }
    *seconds = total;
    return at != text && isfinite(total) != 0;
}

void rf_cli_write_size(double bytes, char *text, size_t size)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t step = 0;
    while (bytes >= 1024.0 && step + 1 < sizeof names / sizeof names[0]) {
        bytes /= 1024.0;
        step++;
    }
    int digits = step == 0 || bytes >= 100.0 ? 0 : (bytes >= 10.0 ? 1 : 2);
    snprintf(text, size, "%.*f %s", digits, bytes, names[step]);
}

void rf_cli_write_duration(double seconds, char *text, size_t size)
{
    if (!(seconds >= 0.0) || seconds > 1e9) {
        snprintf(text, size, "--");
    } else if (seconds < 60.0) {
        snprintf(text, size, "%.1fs", seconds);
    } else if (seconds < 3600.0) {
        int whole = (int)(seconds + 0.5);
        snprintf(text, size, "%dm%02ds", whole / 60, whole % 60);
    } else {
        int64_t minutes = (int64_t)(seconds / 60.0 + 0.5);
        snprintf(text, size, "%lldh%02lldm", (long long)(minutes / 60), (long long)(minutes % 60));
    }
}
