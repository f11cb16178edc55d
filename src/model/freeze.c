/* Which parameters are frozen, by patterns of their names. One measure does for matching and for
 * help: the edit distance (Levenshtein 1966) between pattern and name, where * takes in any
 * characters and ? one for nothing; 0 is a match. Cost: pattern times name, for each parameter. */
#include "model/parameters.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST = 255, NEAREST = 3 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Of a pattern of `length` characters, at most LONGEST. */
static int distance(const char *pattern, size_t length, const char *name)
{
    int row[LONGEST + 1]; /* from the pattern so far to each start of the name */
    int size = (int)strnlen(name, LONGEST);
    for (int j = 0; j <= size; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < length; i++) {
        bool any = pattern[i] == '*';
        int diagonal = row[0];
        row[0] += any ? 0 : 1;
        for (int j = 1; j <= size; j++) {
            int above = row[j];
            bool same = pattern[i] == '?' || pattern[i] == name[j - 1];
            int kept = diagonal + (same || any ? 0 : 1);
            row[j] = least(kept, least(above, row[j - 1]) + (any ? 0 : 1));
            diagonal = above;
        }
    }
    return row[size];
}

/* The better of the names with and without the prefix. */
static int distance_of(const char *pattern, size_t length, const char *name)
{
    static const char prefix[] = "reformer.";
    size_t start = sizeof prefix - 1;
    int whole = distance(pattern, length, name);
    if (strncmp(name, prefix, start) != 0) {
        return whole;
    }
    return least(whole, distance(pattern, length, name + start));
}

static rf_status names_nothing(const rf_parameters *parameters, const char *pattern, size_t length,
                               rf_error *error)
{
    char text[1024] = "";
    size_t used = 0;
    int last = -1;
    int64_t last_index = -1;
    for (int place = 0; place < NEAREST; place++) {
        int best = -1;
        int64_t best_index = -1;
        for (int64_t i = 0; i < parameters->items_count; i++) {
            int far = distance_of(pattern, length, parameters->items[i].name);
            bool told = far < last || (far == last && i <= last_index);
            if (!told && (best < 0 || far < best)) {
                best = far;
                best_index = i;
            }
        }
        if (best_index >= 0 && used < sizeof text) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%.200s",
                                     place > 0 ? ", " : "", parameters->items[best_index].name);
            last = best;
            last_index = best_index;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "freeze: \"%.*s\" names no tensor of the model; the nearest are %s",
                        (int)(length > 100 ? 100 : length), pattern, text);
}

static rf_status freeze_pattern(rf_parameters *parameters, const char *pattern, size_t length,
                                rf_error *error)
{
    bool found = false;
    if (length == 0 || length > LONGEST) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "freeze: a pattern has %zu characters, expected 1 to %d", length,
                            LONGEST);
    }
    for (int64_t i = 0; i < parameters->items_count; i++) {
        rf_parameter *item = &parameters->items[i];
        if (distance_of(pattern, length, item->name) == 0) {
            item->frozen = true;
            found = true;
        }
    }
    return found ? RF_OK : names_nothing(parameters, pattern, length, error);
}

rf_status rf_parameters_freeze(rf_parameters *parameters, const char *patterns, rf_error *error)
{
    for (const char *at = patterns;; at++) {
        at += strspn(at, " ");
        size_t length = strcspn(at, ",");
        RF_TRY(freeze_pattern(parameters, at, length, error));
        at += length;
        if (*at == '\0') {
            break;
        }
    }
    rf_parameters_lay_out(parameters);
    if (parameters->frozen_count == parameters->block_count) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "freeze: \"%.200s\" names every tensor, so nothing is left to train",
                            patterns);
    }
    return RF_OK;
}
