/* From the settings of `bench` to the tool about collisions, and its report as a table. */
#include "bench_collisions.h"

#include "message.h"
#include "table.h"

#include "reformer/bench.h"

#include <stdio.h>
#include <string.h>

bool rf_cli_bench_collisions_takes(const char *name)
{
    static const char *const names[] = {"draws", "seed", "head-width", "output"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

rf_status rf_cli_bench_collisions(const rf_settings *settings, char **report, rf_error *error)
{
    const rf_bench_collisions_options bench = {
        .draws = rf_settings_integer(settings, "draws"),
        .width = rf_settings_integer(settings, "head-width"),
        .seed = (uint64_t)rf_settings_integer(settings, "seed"),
        .output = rf_settings_string(settings, "output"),
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .log = rf_cli_log(settings),
    };
    return rf_bench_collisions(&bench, report, error);
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* A row an angle: one round and what theory says of it, then several rounds. */
static void add_rows(const json_t *hash, json_t *rows)
{
    size_t i = 0;
    const json_t *point = NULL;
    json_array_foreach(json_object_get(hash, "points"), i, point)
    {
        const json_t *rounds = json_object_get(point, "collisions");
        json_t *row = json_pack("[O, o, o]", json_object_get(hash, "hash"),
                                json_sprintf("%.0f", number_of(hash, "buckets")),
                                json_sprintf("%.1f", number_of(point, "degrees")));
        json_array_append_new(
            row, json_sprintf("%.4f", number_of(json_array_get(rounds, 0), "expected")));
        for (size_t n = 0; n < json_array_size(rounds); n++) {
            json_array_append_new(
                row, json_sprintf("%.4f", number_of(json_array_get(rounds, n), "measured")));
        }
        json_array_append_new(rows, row);
    }
}

void rf_cli_print_bench_collisions(const json_t *report)
{
    static const char *const head[] = {"<hash",   "buckets",  "degrees",  "theory",
                                       "1 round", "2 rounds", "4 rounds", "8 rounds"};
    json_t *rows = json_array();
    size_t i = 0;
    const json_t *hash = NULL;
    json_array_foreach(json_object_get(report, "hashes"), i, hash)
    {
        add_rows(hash, rows);
    }
    rf_cli_print_table(head, sizeof head / sizeof head[0], rows);
    json_decref(rows);
    printf("%.0f draws; no share is further than %.1f standard deviations from theory\n",
           number_of(report, "draws"), number_of(report, "largest_sigmas"));
}
