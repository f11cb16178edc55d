/* Scene `axial`: the tables of the model's positions, and how one position's vector is put together
 * of one row of each (Kitaev et al. 2020, appendix; Hugging Face's axial position embeddings).
 * Tables and vector are the model's own; the vector is made by the operation that models use. Of a
 * large table only some rows and columns are shown. */
#include "base/memory.h"
#include "tools/scene.h"

#include <math.h>

enum { MOST_ROWS = 16, MOST_CELLS = 32, CELL = 13, LEFT = 34, TOP = 62, GAP = 46 };

/* What is shown of one table. */
typedef struct table {
    rf_tensor values; /* [rows, width], the model's */
    int64_t rows, width;
    int64_t digit; /* the row of the position */
    int row_count, column_count;
    int64_t shown_rows[MOST_ROWS];
    double left; /* of its picture, pixels */
    int first;   /* cells of the vector before its own */
} table;

typedef struct tables {
    int count;
    table items[RF_MAX_AXES];
    int64_t position, positions;
    rf_tensor vector; /* [hidden] */
    double largest;   /* of what is shown, without signs */
} tables;

static float value_at(const table *t, int64_t row, int64_t column)
{
    return ((const float *)t->values.data)[row * t->width + column];
}

/* Columns are taken evenly. */
static int64_t column_at(const table *t, int column)
{
    return column * t->width / t->column_count;
}

/* Rows are taken evenly, but that of the position is among them. */
static void choose_rows(table *t)
{
    int nearest = 0;
    t->row_count = t->rows < MOST_ROWS ? (int)t->rows : MOST_ROWS;
    for (int i = 0; i < t->row_count; i++) {
        t->shown_rows[i] = i * t->rows / t->row_count;
        nearest = t->shown_rows[i] <= t->digit ? i : nearest;
    }
    t->shown_rows[nearest] = t->digit;
}

static void find_tables(rf_model *model, tables *all)
{
    all->count = model->config.positions == RF_POSITIONS_AXIAL ? model->config.axes : 1;
    int64_t rest = all->position;
    for (int k = all->count - 1; k >= 0; k--) {
        table *t = &all->items[k];
        rf_tensor stored = rf_parameter_tensor(
            rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, k), model->values);
        t->width = stored.shape[stored.rank - 1];
        t->rows = rf_tensor_count(&stored) / t->width;
        t->values = rf_tensor_reshape_2(&stored, t->rows, t->width);
        t->digit = rest % t->rows;
        rest /= t->rows;
        int most = MOST_CELLS / all->count > 0 ? MOST_CELLS / all->count : 1;
        t->column_count = t->width < most ? (int)t->width : most;
        choose_rows(t);
    }
    double left = LEFT;
    for (int k = 0; k < all->count; k++) {
        table *t = &all->items[k];
        t->left = left;
        t->first = k > 0 ? t[-1].first + t[-1].column_count : 0;
        left += t->column_count * CELL + GAP;
        for (int i = 0; i < t->row_count * t->column_count; i++) {
            float value =
                value_at(t, t->shown_rows[i / t->column_count], column_at(t, i % t->column_count));
            all->largest = fmax(all->largest, fabs((double)value));
        }
    }
}

/* The vector of the position, by the model's own operation, into memory of the workspace. */
static rf_status make_vector(const rf_scene_context *context, tables *all, rf_error *error)
{
    rf_context operations = context->operations;
    rf_position call = {
        .kind = RF_POSITION_TABLES, .axes = all->count, .length = 1, .offset = all->position};
    for (int k = 0; k < all->count; k++) {
        call.tables[k] = all->items[k].values;
    }
    RF_TRY(rf_workspace_take_2(operations.workspace, "a position", RF_F32, 1,
                               context->model->config.hidden, &all->vector, error));
    call.y = all->vector;
    return rf_op_position(&operations, &call, error);
}

/* ---- the picture ------------------------------------------------------------------------- */

static rf_status draw_cell(rf_drawing *drawing, const tables *all, float value, double x, double y,
                           rf_error *error)
{
    double part = all->largest > 0.0 ? fabs((double)value) / all->largest : 0.0;
    const rf_look look = {.classes = value < 0.0F ? "dot s0" : "dot s1",
                          .opacity = fmax(0.01, part)};
    RF_TRY(rf_drawing_data(drawing, "value", (double)value, error));
    return rf_drawing_box(drawing, &look, x, y, CELL, CELL, error);
}

static rf_status draw_table(rf_drawing *drawing, const tables *all, int k, rf_error *error)
{
    const table *t = &all->items[k];
    const rf_look head = {.classes = "bold"};
    RF_TRY(rf_drawing_print(drawing, &head, t->left, TOP - 36.0, error, "Table %d", k + 1));
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.classes = "muted", .size = 13.0}, t->left,
                            TOP - 16.0, error, "%lld rows of %lld", (long long)t->rows,
                            (long long)t->width));
    for (int r = 0; r < t->row_count; r++) {
        int64_t row = t->shown_rows[r];
        double y = TOP + CELL * r;
        bool is_chosen = row == t->digit;
        const rf_look name = {
            .classes = is_chosen ? "bold" : "muted", .anchor = RF_ANCHOR_END, .size = 12.0};
        RF_TRY(rf_drawing_print(drawing, &name, t->left - 5.0, y + 11.0, error, "%lld",
                                (long long)row));
        for (int c = 0; c < t->column_count; c++) {
            RF_TRY(draw_cell(drawing, all, value_at(t, row, column_at(t, c)), t->left + CELL * c, y,
                             error));
        }
        if (is_chosen) {
            RF_TRY(rf_drawing_box(drawing, &(rf_look){.classes = "edge", .step = k + 1.0}, t->left,
                                  y, CELL * t->column_count, CELL, error));
        }
    }
    return RF_OK;
}

/* The part of the vector that comes from a table, which it leaves to stand at `top`. */
static rf_status draw_part(rf_drawing *drawing, const tables *all, int k, double top,
                           rf_error *error)
{
    const table *t = &all->items[k];
    const float *vector = all->vector.data;
    int64_t before = 0;
    int shown = 0;
    for (int i = 0; i < k; i++) {
        before += all->items[i].width;
    }
    for (int r = 0; r < t->row_count; r++) {
        shown = t->shown_rows[r] == t->digit ? r : shown;
    }
    double left = LEFT + CELL * t->first;
    const rf_look group = {
        .step = k + 2.0, .from_x = t->left - left, .from_y = TOP + CELL * shown - top};
    RF_TRY(rf_drawing_open_group(drawing, &group, error));
    for (int c = 0; c < t->column_count; c++) {
        RF_TRY(
            draw_cell(drawing, all, vector[before + column_at(t, c)], left + CELL * c, top, error));
    }
    RF_TRY(rf_drawing_box(drawing, &(rf_look){.classes = "edge"}, left, top, CELL * t->column_count,
                          CELL, error));
    return rf_drawing_close_group(drawing, error);
}

static int highest_table(const tables *all)
{
    int rows = 0;
    for (int k = 0; k < all->count; k++) {
        rows = all->items[k].row_count > rows ? all->items[k].row_count : rows;
    }
    return rows;
}

/* Blue is below 0 and orange above, as strong as the number is large. */
static rf_status draw_scale(rf_drawing *drawing, const tables *all, double y, rf_error *error)
{
    enum { STEPS = 8 };
    const rf_look name = {.size = 13.0};
    RF_TRY(rf_drawing_print(drawing, &(rf_look){.size = 13.0, .anchor = RF_ANCHOR_END}, LEFT + 62.0,
                            y + 11.0, error, "%.3f", -all->largest));
    for (int i = -STEPS; i <= STEPS; i++) {
        const rf_look look = {.classes = i < 0 ? "dot s0" : "dot s1",
                              .opacity = fmax(0.01, fabs(i / (double)STEPS))};
        RF_TRY(
            rf_drawing_box(drawing, &look, LEFT + 70.0 + 10.0 * (i + STEPS), y, 10.0, CELL, error));
    }
    return rf_drawing_print(drawing, &name, LEFT + 78.0 + 10.0 * (2 * STEPS + 1), y + 11.0, error,
                            "%.3f", all->largest);
}

static rf_status draw_tables(rf_drawing *drawing, const tables *all, rf_error *error)
{
    const table *last = &all->items[all->count - 1];
    const double words = TOP + CELL * highest_table(all) + 34.0;
    const double top = words + 14.0;
    rf_text digits = {0};
    rf_status status = RF_OK;
    drawing->width = fmax(RF_SCENE_WIDTH, last->left + CELL * last->column_count + 20.0);
    drawing->height = top + CELL + 62.0;
    for (int k = 0; k < all->count; k++) {
        RF_TRY_DONE(draw_table(drawing, all, k, error));
        RF_TRY_DONE(rf_text_format(&digits, error, "%s%lld", k > 0 ? ", " : "",
                                   (long long)all->items[k].digit));
    }
    RF_TRY_DONE(rf_drawing_print(drawing, &(rf_look){.classes = "bold"}, LEFT, words, error,
                                 "Position %lld: row%s %s", (long long)all->position,
                                 all->count > 1 ? "s" : "", digits.bytes));
    for (int k = 0; k < all->count; k++) {
        RF_TRY_DONE(draw_part(drawing, all, k, top, error));
    }
    RF_TRY_DONE(draw_scale(drawing, all, top + CELL + 28.0, error));
done:
    rf_release(digits.bytes);
    return status;
}

static rf_status report(const tables *all, int64_t hidden, json_t *numbers, rf_error *error)
{
    json_t *list = json_array();
    for (int k = 0; k < all->count; k++) {
        const table *t = &all->items[k];
        (void)json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "rows", (json_int_t)t->rows,
                                                    "width", (json_int_t)t->width, "row",
                                                    (json_int_t)t->digit));
    }
    RF_TRY(rf_json_set(numbers, "tables", list, error));
    RF_TRY(rf_json_set(numbers, "position", json_integer(all->position), error));
    RF_TRY(rf_json_set(numbers, "positions", json_integer(all->positions), error));
    RF_TRY(rf_json_set(numbers, "largest", json_real(all->largest), error));
    return rf_json_set(numbers, "vector", rf_scene_reals(all->vector.data, hidden), error);
}

static rf_status draw_axial(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                            rf_error *error)
{
    const rf_config *config = &context->model->config;
    tables all = {.positions = rf_config_max_length(config)};
    if (config->positions == RF_POSITIONS_SINUSOIDAL) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "the model's positions are sinusoids, without a table");
    }
    RF_TRY(rf_scene_choose("position", context->options->position, context->tokens.count - 1,
                           all.positions, &all.position, error));
    find_tables(context->model, &all);
    RF_TRY(make_vector(context, &all, error));
    RF_TRY(draw_tables(drawing, &all, error));
    return report(&all, config->hidden, numbers, error);
}

const rf_scene rf_scene_axial = {
    .name = "axial",
    .title = "Axial positions: a long row of vectors from two short tables",
    .summary =
        "A table with a vector for every position of a long text would be larger than the rest of "
        "the model. Instead positions are laid out in a rectangle, row after row, with a table for "
        "its rows and one for its columns: a position's vector is the one beside the other. Two "
        "positions of the same row share one part, two of the same column the other. Blue is "
        "below zero, orange above, as strong as the number is large. Of large tables every so many "
        "rows and columns are shown.",
    .draw = draw_axial};
