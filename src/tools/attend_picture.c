/* Weights over positions as needles, which the chart draws as one line along its base: at a
 * position up to the weight and down again. */
#include "base/memory.h"
#include "io/chart.h"
#include "tools/attend.h"

#include <stdio.h>
#include <string.h>

enum { MOST_NEEDLES = 1000, POINTS = 3, TITLE = 160 };

rf_status rf_attend_picture_check(const char *path, rf_error *error)
{
    size_t size = strlen(path);
    if (size > 4 &&
        (strcmp(path + size - 4, ".svg") == 0 || strcmp(path + size - 4, ".png") == 0)) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "the picture is \"%.200s\", expected a name that ends in .svg or .png",
                        path);
}

/* Positions that share a needle: 1, or a stretch. */
static int64_t stretch_of(const rf_attention_row *row)
{
    int64_t span = row->count > 0 ? row->positions[row->count - 1] - row->positions[0] + 1 : 1;
    return row->count > MOST_NEEDLES ? (span + MOST_NEEDLES - 1) / MOST_NEEDLES : 1;
}

/* The heaviest of each stretch; needles [row->count]. Gives how many. */
static int64_t pick(const rf_attention_row *row, int64_t *needles)
{
    int64_t stretch = stretch_of(row);
    int64_t count = 0;
    int64_t last = -1;
    for (int64_t i = 0; i < row->count; i++) {
        int64_t place = (row->positions[i] - row->positions[0]) / stretch;
        if (place != last) {
            needles[count++] = i;
        } else if (row->weights[i] > row->weights[needles[count - 1]]) {
            needles[count - 1] = i;
        }
        last = place;
    }
    return count;
}

rf_status rf_attend_picture_add(rf_attend_picture *picture, int64_t query, const char *text,
                                const rf_attention_row *row, rf_error *error)
{
    int64_t index = picture->count;
    void *memory = NULL;
    void *needle_memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_allocate((size_t)row->count * sizeof(int64_t), "needles", &needle_memory, error));
    int64_t *needles = needle_memory;
    size_t size = (size_t)pick(row, needles) * POINTS;
    RF_TRY_DONE(rf_allocate(2 * size * sizeof(double), "points of a picture", &memory, error));
    double *x = memory;
    picture->points[index] = x;
    picture->sizes[index] = size;
    picture->count++;
    for (size_t i = 0; i < size; i++) {
        int64_t at = needles[i / POINTS];
        x[i] = (double)row->positions[at];
        x[size + i] = i % POINTS == 1 ? row->weights[at] : 0.0;
    }
    RF_TRY_DONE(rf_string_format(&picture->names[index], error, "%lld \xe2\x80\x9c%s\xe2\x80\x9d",
                                 (long long)query, text));
done:
    rf_release(needle_memory);
    return status;
}

rf_status rf_attend_picture_write(const rf_attend_picture *picture, const rf_attention_info *info,
                                  const char *path, rf_error *error)
{
    rf_chart_series series[RF_ATTEND_MOST_LINES] = {{0}};
    char title[TITLE];
    for (int64_t i = 0; i < picture->count; i++) {
        series[i] = (rf_chart_series){.name = picture->names[i],
                                      .x = picture->points[i],
                                      .y = picture->points[i] + picture->sizes[i],
                                      .count = picture->sizes[i]};
    }
    (void)snprintf(title, sizeof title, "What tokens look at: layer %lld (%s), head %lld",
                   (long long)info->place.layer, info->kind, (long long)info->place.head);
    rf_chart chart = {.title = title,
                      .x_label = "position",
                      .y_label = "attention weight",
                      .series = series,
                      .series_count = (size_t)picture->count};
    return rf_chart_write(&chart, path, error);
}

void rf_attend_picture_clear(rf_attend_picture *picture)
{
    for (int64_t i = 0; i < RF_ATTEND_MOST_LINES; i++) {
        rf_release(picture->names[i]);
        rf_release(picture->points[i]);
    }
    *picture = (rf_attend_picture){0};
}
