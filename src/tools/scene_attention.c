/* Scene `attention`: what one token looks at, in one head of one layer, over the positions of the
 * text, the rounds merged by their normalisers as the model merges them. The numbers are those of
 * `attend`. Long texts are drawn in stretches, with the heaviest tokens by name. */
#include "base/memory.h"
#include "tools/attention_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUR_TOKENS = 32, LEFT = 6, WIDTH = 508, BARS = 52, STRETCHES = 96, TOP = 8, AROUND = 9 };
enum { MOST_COLOURS = 6 };

typedef struct ranked {
    int64_t index;
    double weight;
} ranked;

typedef struct attention_scene {
    rf_attention_view view;
    rf_drawing *drawing;
    double y;
    ranked top[TOP];
    int64_t top_count;
} attention_scene;

/* The heaviest of the row, and of equal ones the first. */
static void rank(attention_scene *s)
{
    const rf_attention_row *row = &s->view.row;
    for (int64_t i = 0; i < row->count; i++) {
        int64_t place = s->top_count;
        while (place > 0 && s->top[place - 1].weight < row->weights[i]) {
            place--;
        }
        if (place >= TOP) {
            continue;
        }
        s->top_count += s->top_count < TOP;
        memmove(&s->top[place + 1], &s->top[place],
                sizeof s->top[0] * (size_t)(s->top_count - place - 1));
        s->top[place] = (ranked){i, row->weights[i]};
    }
}

static double heaviest(const attention_scene *s)
{
    return s->top_count > 0 ? s->top[0].weight : 0.0;
}

/* ---- bars -------------------------------------------------------------------------------- */

/* parts [rounds] on top of each other, as high as `height` for the weight `most`; or, lying, side
 * by side. */
static rf_status draw_parts(attention_scene *s, const double *parts, double most, rf_grid where,
                            bool lying, rf_error *error)
{
    double at = 0.0;
    for (int64_t r = 0; r < s->view.row.rounds; r++) {
        double size = most > 0.0 ? where.side * parts[r] / most : 0.0;
        const rf_look look = {.classes = rf_view_colour(r)};
        if (size < 0.005) {
            continue;
        }
        RF_TRY(lying ? rf_drawing_box(s->drawing, &look, where.left + at, where.top, size,
                                      (double)where.rows, error)
                     : rf_drawing_box(s->drawing, &look, where.left, where.top - at - size,
                                      (double)where.columns, size, error));
        at += size;
    }
    return RF_OK;
}

static rf_status draw_legend(attention_scene *s, rf_error *error)
{
    int64_t rounds = s->view.row.rounds < MOST_COLOURS ? s->view.row.rounds : MOST_COLOURS;
    s->y += 20.0;
    for (int64_t r = 0; r < rounds && rounds > 1; r++) {
        double x = LEFT + 84.0 * (double)r;
        char share[32];
        rf_view_weight(s->view.row.shares[r], share);
        RF_TRY(rf_drawing_data(s->drawing, "share", s->view.row.shares[r], error));
        RF_TRY(rf_drawing_data(s->drawing, "round", (double)r, error));
        RF_TRY(rf_drawing_note(s->drawing, error, "round %lld has %s of the weight", (long long)r,
                               share));
        RF_TRY(rf_drawing_box(s->drawing, &(rf_look){.classes = rf_view_colour(r)}, x, s->y - 10.0,
                              12.0, 12.0, error));
        RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.size = 13.0}, x + 17.0, s->y, error,
                                "round %lld", (long long)r));
    }
    s->y += rounds > 1 ? 8.0 : -12.0;
    return RF_OK;
}

/* ---- the heaviest ------------------------------------------------------------------------ */

/* Some tokens around one, which stands in brackets, as a line of text. */
static rf_status context_of(const attention_scene *s, int64_t position, rf_text *line,
                            rf_error *error)
{
    int64_t last = position + AROUND < s->view.length ? position + AROUND : s->view.length - 1;
    for (int64_t i = position - AROUND > 0 ? position - AROUND : 0; i <= last; i++) {
        RF_TRY(rf_text_append(line, "[", i == position, error));
        RF_TRY(rf_scene_token(s->view.context, i, line, error));
        RF_TRY(rf_text_append(line, "]", i == position, error));
    }
    return RF_OK;
}

static rf_status draw_line(attention_scene *s, int64_t at, bool with_context, rf_text *text,
                           rf_error *error)
{
    const rf_attention_row *row = &s->view.row;
    const rf_look plain = {.size = 13.0};
    const rf_look mono = {.classes = "mono", .size = 12.0};
    const rf_grid bar = {.left = 56.0, .top = s->y - 11.0, .side = 146.0, .rows = 13};
    double most = heaviest(s);
    char weight[32];
    rf_view_weight(row->weights[at], weight);
    text->size = 0;
    RF_TRY(rf_text_append(text, "", 0, error));
    RF_TRY(with_context ? context_of(s, row->positions[at], text, error)
                        : rf_scene_token(s->view.context, row->positions[at], text, error));
    RF_TRY(rf_drawing_data(s->drawing, "top-position", (double)row->positions[at], error));
    RF_TRY(rf_drawing_data(s->drawing, "weight", row->weights[at], error));
    RF_TRY(rf_drawing_open_group(s->drawing, &(rf_look){0}, error));
    RF_TRY(rf_drawing_words(s->drawing, &plain, LEFT, s->y, weight, error));
    RF_TRY(draw_parts(s, row->parts + at * row->rounds, most, bar, true, error));
    RF_TRY(rf_drawing_print(s->drawing, &plain, 210.0, s->y, error, "%lld",
                            (long long)row->positions[at]));
    RF_TRY(rf_drawing_words(s->drawing, &mono, 268.0, s->y, text->bytes, error));
    return rf_drawing_close_group(s->drawing, error);
}

static rf_status draw_top(attention_scene *s, bool with_context, json_t *numbers, rf_error *error)
{
    const rf_attention_row *row = &s->view.row;
    json_t *list = json_array();
    rf_text text = {0};
    rf_status status = RF_OK;
    RF_TRY(rf_json_set(numbers, "top", list, error));
    s->y += 24.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.classes = "bold"}, LEFT, s->y, error,
                            "The heaviest %lld of %lld", (long long)s->top_count,
                            (long long)row->count));
    for (int64_t i = 0; i < s->top_count; i++) {
        int64_t at = s->top[i].index;
        s->y += 21.0;
        RF_TRY_DONE(draw_line(s, at, with_context, &text, error));
        json_t *item = json_pack("[I, f]", (json_int_t)row->positions[at], row->weights[at]);
        RF_TRY_DONE(json_array_append_new(list, item) == 0
                        ? RF_OK
                        : rf_error_set(error, RF_ERR_MEMORY, "no memory for the numbers"));
    }
    s->y += 14.0;
done:
    rf_release(text.bytes);
    return status;
}

/* ---- few tokens -------------------------------------------------------------------------- */

/* Index in the row of each token, -1: not seen. */
static int64_t index_in(const rf_attention_row *row, int64_t position)
{
    for (int64_t i = 0; i < row->count; i++) {
        if (row->positions[i] == position) {
            return i;
        }
    }
    return -1;
}

static rf_status draw_token(attention_scene *s, const rf_strip *strip, int64_t token,
                            json_t *attended, rf_error *error)
{
    const rf_attention_row *row = &s->view.row;
    int64_t at = index_in(row, token);
    double most = heaviest(s);
    double x = rf_strip_x(strip, token);
    double y = rf_strip_y(strip, token);
    const rf_grid shade = {.most = most};
    rf_look look = {.classes = "faint"};
    if (at >= 0) {
        const rf_grid bar = {.left = x,
                             .top = y - 2.0,
                             .side = BARS - 8.0,
                             .columns = (int64_t)fmax(2.0, strip->cell - 2.0)};
        look.classes = "dot s0";
        look.opacity = 0.6 * rf_grid_opacity(&shade, row->weights[at]);
        RF_TRY(rf_drawing_data(s->drawing, "attended", (double)token, error));
        RF_TRY(rf_drawing_data(s->drawing, "weight", row->weights[at], error));
        RF_TRY(rf_drawing_open_group(s->drawing, &(rf_look){0}, error));
        RF_TRY(draw_parts(s, row->parts + at * row->rounds, most, bar, false, error));
        RF_TRY(rf_drawing_close_group(s->drawing, error));
        json_t *item = json_pack("[I, f]", (json_int_t)token, row->weights[at]);
        for (int64_t r = 0; r < row->rounds; r++) {
            (void)json_array_append_new(item, json_real(row->parts[at * row->rounds + r]));
        }
        RF_TRY(json_array_append_new(attended, item) == 0
                   ? RF_OK
                   : rf_error_set(error, RF_ERR_MEMORY, "no memory for the numbers"));
    }
    RF_TRY(rf_strip_token(s->drawing, &s->view, strip, token, token, &look, error));
    return token == s->view.query
               ? rf_drawing_box(s->drawing, &(rf_look){.classes = "line s1"}, x - 0.5, y - 0.5,
                                strip->cell, strip->height + 1.0, error)
               : RF_OK;
}

static rf_status draw_few(attention_scene *s, json_t *numbers, rf_error *error)
{
    json_t *attended = json_array();
    RF_TRY(rf_json_set(numbers, "attended", attended, error));
    rf_strip strip = {0};
    RF_TRY(rf_strip_make(&s->view, s->view.length, 0, &strip, error));
    strip.buckets = false;
    strip.row_step = strip.height + BARS;
    strip.top = s->y + BARS;
    for (int64_t i = 0; i < s->view.length; i++) {
        RF_TRY(draw_token(s, &strip, i, attended, error));
    }
    s->y = rf_strip_y(&strip, s->view.length - 1) + strip.height;
    RF_TRY(draw_legend(s, error));
    return draw_top(s, false, numbers, error);
}

/* ---- many tokens ------------------------------------------------------------------------- */

static rf_status draw_bars(attention_scene *s, const double *sums, json_t *list, rf_error *error)
{
    int64_t rounds = s->view.row.rounds;
    double step = (double)WIDTH / STRETCHES;
    double most = 0.0;
    for (int64_t i = 0; i < STRETCHES; i++) {
        double sum = 0.0;
        for (int64_t r = 0; r < rounds; r++) {
            sum += sums[i * rounds + r];
        }
        most = fmax(most, sum);
        (void)json_array_append_new(list, json_real(sum));
    }
    for (int64_t i = 0; i < STRETCHES; i++) {
        const rf_grid bar = {.left = LEFT + step * (double)i,
                             .top = s->y,
                             .side = 120.0,
                             .columns = (int64_t)(step - 0.5)};
        double sum = json_real_value(json_array_get(list, (size_t)i));
        RF_TRY(
            rf_drawing_data(s->drawing, "first", (double)(i * s->view.length / STRETCHES), error));
        RF_TRY(rf_drawing_data(s->drawing, "weight", sum, error));
        RF_TRY(rf_drawing_open_group(s->drawing, &(rf_look){0}, error));
        RF_TRY(draw_parts(s, sums + i * rounds, most, bar, false, error));
        RF_TRY(rf_drawing_close_group(s->drawing, error));
    }
    return RF_OK;
}

static rf_status draw_axis(attention_scene *s, rf_error *error)
{
    const rf_look small = {.classes = "muted", .size = 12.0};
    const rf_look end = {.classes = "muted", .size = 12.0, .anchor = RF_ANCHOR_END};
    double x = LEFT + (double)WIDTH * ((double)s->view.query + 0.5) / (double)s->view.length;
    RF_TRY(rf_drawing_line(s->drawing, &(rf_look){.classes = "axis"}, LEFT, s->y + 0.5,
                           LEFT + WIDTH, s->y + 0.5, error));
    RF_TRY(rf_drawing_note(s->drawing, error, "the token that looks"));
    RF_TRY(
        rf_drawing_circle(s->drawing, &(rf_look){.classes = "dot s1"}, x, s->y + 5.0, 4.0, error));
    s->y += 20.0;
    RF_TRY(rf_drawing_words(s->drawing, &small, LEFT, s->y, "position 0", error));
    RF_TRY(rf_drawing_print(s->drawing, &end, LEFT + WIDTH, s->y, error, "%lld",
                            (long long)s->view.length - 1));
    RF_TRY(rf_drawing_print(
        s->drawing, &(rf_look){.classes = "muted", .size = 12.0, .anchor = RF_ANCHOR_MIDDLE},
        LEFT + WIDTH / 2.0, s->y, error,
        "weight of each of %d stretches; the dot is the token that looks", STRETCHES));
    return RF_OK;
}

static rf_status draw_many(attention_scene *s, json_t *numbers, rf_error *error)
{
    const rf_attention_row *row = &s->view.row;
    json_t *list = json_array();
    void *memory = NULL;
    rf_status status = RF_OK;
    RF_TRY(rf_json_set(numbers, "stretches", list, error));
    RF_TRY(rf_allocate_zeroed((size_t)(STRETCHES * row->rounds) * sizeof(double), "stretches",
                              &memory, error));
    double *sums = memory;
    for (int64_t i = 0; i < row->count * row->rounds; i++) {
        int64_t stretch = row->positions[i / row->rounds] * STRETCHES / s->view.length;
        sums[stretch * row->rounds + i % row->rounds] += row->parts[i];
    }
    s->y += 130.0;
    RF_TRY_DONE(draw_bars(s, sums, list, error));
    RF_TRY_DONE(draw_axis(s, error));
    RF_TRY_DONE(draw_legend(s, error));
    RF_TRY_DONE(draw_top(s, true, numbers, error));
done:
    rf_release(memory);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status draw_head(attention_scene *s, rf_error *error)
{
    const rf_attention_info *info = &s->view.info;
    char text[RF_VIEW_LABEL];
    RF_TRY(rf_view_text(&s->view, s->view.query, text, error));
    s->y = 18.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.classes = "muted", .size = 13.0}, LEFT, s->y,
                            error, "layer %lld (%s), head %lld, counted from 0",
                            (long long)info->place.layer, info->kind, (long long)info->place.head));
    s->y += 24.0;
    RF_TRY(rf_drawing_print(s->drawing, &(rf_look){.classes = "bold"}, LEFT, s->y, error,
                            "Token %lld \xE2\x80\x9C%.20s\xE2\x80\x9D looks at %lld of %lld tokens",
                            (long long)s->view.query, text, (long long)s->view.row.count,
                            (long long)s->view.length));
    s->y += 8.0;
    return RF_OK;
}

static rf_status draw(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                      rf_error *error)
{
    attention_scene s = {.drawing = drawing};
    bool strips = false;
    rf_status status = RF_OK;
    drawing->width = RF_SCENE_WIDTH;
    RF_TRY_DONE(rf_view_open(&s.view, context, rf_view_layer(context, NULL),
                             context->is_random && context->options->text == NULL ? OUR_TOKENS : 0,
                             error));
    RF_TRY_DONE(rf_view_numbers(&s.view, numbers, error));
    RF_TRY_DONE(rf_view_look(&s.view, s.view.query, error));
    rank(&s);
    RF_TRY_DONE(draw_head(&s, error));
    RF_TRY_DONE(rf_view_has_strips(&s.view, &strips, error));
    RF_TRY_DONE(strips ? draw_few(&s, numbers, error) : draw_many(&s, numbers, error));
    drawing->height = s.y;
done:
    rf_view_close(&s.view);
    return status;
}

const rf_scene rf_scene_attention = {
    .name = "attention",
    .title = "What a token looks at",
    .summary = "The weights of one token over the positions of the text, in one head of one layer. "
               "Where a layer hashes several times, each round finds its own candidates, and the "
               "rounds are merged by how much weight their candidates have.",
    .draw = draw,
};
