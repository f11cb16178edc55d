/* Scene `lsh`: what an LSH layer does with a text's own tokens (Kitaev et al. 2020, section 2 and
 * figure 2): hash, sort, cut, look at one's own chunk and the one before; and the matrix of
 * attention in the order of the text and in the sorted one. Long texts are drawn in stretches. */
#include "tools/attention_view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OUR_TOKENS = 32, MOST_MOVING = 700, MATRIX_TOP = 26 };
enum { BUCKET_ROWS = 24, MATRIX_SIDE = 246, LEFT = 6, RIGHT = 268 };

typedef struct lsh_scene {
    rf_attention_view view;
    rf_drawing *drawing;
    json_t *pairs;
    double y; /* where the next thing goes */
    rf_strip text, sorted;
    rf_grid before, after;
    int64_t extra; /* columns of `after` left of the round: of the round before it */
    int64_t cells;
} lsh_scene;

static rf_status head(lsh_scene *s, const char *text, rf_error *error)
{
    const rf_look look = {.classes = "bold"};
    s->y += 22.0;
    RF_TRY(rf_drawing_words(s->drawing, &look, LEFT, s->y, text, error));
    s->y += 10.0;
    return RF_OK;
}

/* ---- strips ------------------------------------------------------------------------------ */

/* Colours go by the number of a bucket among those that are used, so that neighbours differ. */
static const char *colour_of(const rf_attention_view *view, int64_t token)
{
    int64_t bucket = rf_view_bucket(view, token);
    int64_t rank = 0;
    int64_t last = -1;
    for (int64_t slot = 0; slot < view->info.slots && bucket >= 0; slot++) {
        int64_t other = rf_view_token(view, slot);
        int64_t its = other >= 0 ? rf_view_bucket(view, other) : last;
        if (its >= bucket) {
            break;
        }
        rank += its != last;
        last = its;
    }
    return bucket >= 0 ? rf_view_colour(rank) : "faint";
}

static rf_status draw_text_order(lsh_scene *s, rf_error *error)
{
    rf_attention_view *view = &s->view;
    bool hashed = view->info.buckets > 0;
    char title[RF_VIEW_LABEL];
    (void)snprintf(title, sizeof title,
                   hashed ? "Hash: every token gets one of %lld buckets"
                          : "One chunk: nothing is hashed",
                   (long long)view->info.buckets);
    RF_TRY(head(s, title, error));
    RF_TRY(rf_strip_make(view, view->length, 0, &s->text, error));
    s->text.top = s->y;
    for (int64_t i = 0; i < view->length; i++) {
        const rf_look look = {.classes = colour_of(view, i), .opacity = hashed ? 0.4 : 1.0};
        RF_TRY(rf_strip_token(s->drawing, view, &s->text, i, i, &look, error));
    }
    s->y = rf_strip_bottom(&s->text);
    return RF_OK;
}

/* Slots of a chunk, or of a bucket. */
typedef struct run {
    int64_t number, first, end;
} run;

static run chunk_run(const lsh_scene *s, int64_t chunk)
{
    int64_t size = s->view.info.chunk;
    return (run){chunk, chunk * size, (chunk + 1) * size};
}

/* The slots of a token's bucket. */
static run bucket_run(const lsh_scene *s, int64_t token)
{
    const rf_attention_view *view = &s->view;
    int64_t bucket = rf_view_bucket(view, token);
    run found = {bucket, -1, -1};
    for (int64_t slot = 0; slot < view->info.slots; slot++) {
        int64_t other = rf_view_token(view, slot);
        if (other >= 0 && rf_view_bucket(view, other) == bucket) {
            found.first = found.first < 0 ? slot : found.first;
            found.end = slot + 1;
        }
    }
    return found;
}

/* Calls for each stretch [first, last] of a run that stands in one row of the strip. */
typedef rf_status (*on_stretch)(lsh_scene *s, int64_t number, int64_t first, int64_t last,
                                const rf_look *look, rf_error *error);
static rf_status each_stretch(lsh_scene *s, run of, on_stretch call, const rf_look *look,
                              rf_error *error)
{
    for (int64_t first = of.first; first < of.end;) {
        int64_t row_end = (first / s->sorted.per_row + 1) * s->sorted.per_row;
        int64_t next = row_end < of.end ? row_end : of.end;
        RF_TRY(call(s, of.number, first, next - 1, look, error));
        first = next;
    }
    return RF_OK;
}

static rf_status draw_bracket(lsh_scene *s, int64_t chunk, int64_t first, int64_t last,
                              const rf_look *look, rf_error *error)
{
    const rf_look label = {
        .classes = "muted", .size = 11.0, .anchor = RF_ANCHOR_MIDDLE, .step = look->step};
    double left = rf_strip_x(&s->sorted, first);
    double right = rf_strip_x(&s->sorted, last) + s->sorted.cell - 1.0;
    double y = rf_strip_y(&s->sorted, first) + s->sorted.height + 18.0;
    RF_TRY(rf_drawing_line(s->drawing, look, left, y, right, y, error));
    return rf_drawing_print(s->drawing, &label, (left + right) / 2.0, y + 12.0, error,
                            right - left > 52.0 ? "chunk %lld" : "%lld", (long long)chunk);
}

static rf_status draw_outline(lsh_scene *s, int64_t number, int64_t first, int64_t last,
                              const rf_look *look, rf_error *error)
{
    double left = rf_strip_x(&s->sorted, first) - 2.0;
    double right = rf_strip_x(&s->sorted, last) + s->sorted.cell + 1.0;
    RF_TRY(rf_drawing_data(s->drawing, "seen", (double)number, error));
    return rf_drawing_box(s->drawing, look, left, rf_strip_y(&s->sorted, first) - 2.0, right - left,
                          s->sorted.height + 4.0, error);
}

static rf_status draw_slot(lsh_scene *s, int64_t slot, rf_error *error)
{
    int64_t token = rf_view_token(&s->view, slot);
    double x = rf_strip_x(&s->sorted, slot);
    double y = rf_strip_y(&s->sorted, slot);
    if (token < 0) {
        return rf_drawing_box(s->drawing, &(rf_look){.classes = "faint"}, x, y,
                              s->sorted.cell - 1.0, s->sorted.height, error);
    }
    const rf_look look = {.classes = colour_of(&s->view, token),
                          .opacity = 0.4,
                          .step = 2.0,
                          .from_x = rf_strip_x(&s->text, token) - x,
                          .from_y = rf_strip_y(&s->text, token) - y};
    RF_TRY(rf_drawing_data(s->drawing, "slot", (double)slot, error));
    return rf_strip_token(s->drawing, &s->view, &s->sorted, slot, token, &look, error);
}

static rf_status draw_sorted(lsh_scene *s, rf_error *error)
{
    const rf_attention_info *info = &s->view.info;
    RF_TRY(head(s, "Sort: by bucket, within a bucket by position", error));
    RF_TRY(rf_strip_make(&s->view, info->slots, info->chunk, &s->sorted, error));
    s->sorted.row_step += 26.0;
    s->sorted.top = s->y;
    for (int64_t slot = 0; slot < info->slots; slot++) {
        RF_TRY(draw_slot(s, slot, error));
    }
    for (int64_t i = 0; i < info->slots / info->chunk && !info->whole_buckets; i++) {
        const rf_look line = {.classes = "axis", .step = 5.0};
        RF_TRY(each_stretch(s, chunk_run(s, i), draw_bracket, &line, error));
    }
    s->y = rf_strip_bottom(&s->sorted) - 8.0;
    return RF_OK;
}

static rf_status say(lsh_scene *s, const char *line, rf_error *error)
{
    s->y += 17.0;
    return rf_drawing_words(s->drawing, &(rf_look){.size = 13.0}, LEFT, s->y - 5.0, line, error);
}

/* In words, what the chosen token sees. */
static rf_status tell_seen(lsh_scene *s, rf_error *error)
{
    const rf_attention_view *view = &s->view;
    const rf_attention_info *info = &view->info;
    char text[RF_VIEW_LABEL];
    char line[RF_DRAWING_CLEAN_BYTES];
    int64_t own = rf_view_slot(view, view->query) / info->chunk;
    RF_TRY(rf_view_text(view, view->query, text, error));
    if (info->whole_buckets) {
        RF_TRY(head(s, "No chunks: look at the whole bucket", error));
        (void)snprintf(line, sizeof line,
                       "Token %lld \xE2\x80\x9C%.40s\xE2\x80\x9D sees its bucket (orange),",
                       (long long)view->query, text);
    } else {
        char title[RF_VIEW_LABEL];
        (void)snprintf(title, sizeof title, "Cut into chunks of %lld, and look",
                       (long long)info->chunk);
        RF_TRY(head(s, title, error));
        (void)snprintf(line, sizeof line,
                       "Token %lld \xE2\x80\x9C%.40s\xE2\x80\x9D in chunk %lld (orange) sees that "
                       "chunk and those in blue,",
                       (long long)view->query, text, (long long)own);
    }
    RF_TRY(say(s, line, error));
    if (info->same_bucket && !info->whole_buckets) {
        RF_TRY(say(s, "of them what is in its own bucket,", error));
    }
    RF_TRY(say(s,
               info->causal ? "of them what is not later in the text; itself only where there is "
                              "nothing else."
                            : "itself only where there is nothing else.",
               error));
    if (view->pair_count > 0 && view->pairs[0].round != view->round) {
        (void)snprintf(line, sizeof line,
                       "Before the first chunk of a round comes the last of round %lld.",
                       (long long)view->pairs[0].round);
        RF_TRY(say(s, line, error));
    }
    return RF_OK;
}

/* What the chosen token sees is outlined: chunks as the pairs of its row have them, or its bucket.
 */
static rf_status draw_seen(lsh_scene *s, rf_error *error)
{
    rf_attention_view *view = &s->view;
    const rf_attention_info *info = &view->info;
    const rf_look own = {.classes = "line s1", .step = 6.0};
    const rf_look other = {.classes = "line s0", .step = 6.0};
    int64_t last_shift = -info->before - 1;
    RF_TRY(rf_view_look(view, view->query, error));
    RF_TRY(tell_seen(s, error));
    for (int64_t i = 0; i < view->pair_count && !info->whole_buckets; i++) {
        const rf_view_pair *pair = &view->pairs[i];
        if (pair->shift != last_shift && pair->round == view->round) {
            RF_TRY(each_stretch(s, chunk_run(s, pair->slot / info->chunk), draw_outline,
                                pair->shift == 0 ? &own : &other, error));
        }
        last_shift = pair->shift;
    }
    if (info->whole_buckets) {
        RF_TRY(each_stretch(s, bucket_run(s, view->query), draw_outline, &own, error));
    }
    int64_t slot = rf_view_slot(view, view->query);
    return rf_drawing_box(s->drawing, &(rf_look){.classes = "edge", .step = 6.0},
                          rf_strip_x(&s->sorted, slot), rf_strip_y(&s->sorted, slot),
                          s->sorted.cell - 1.0, s->sorted.height, error);
}

/* ---- matrices of few tokens -------------------------------------------------------------- */

/* The column of `after` that a place has; -1 where it is too far away to be drawn. */
static int64_t column_of(const lsh_scene *s, const rf_view_pair *pair)
{
    int64_t slots = s->view.info.slots;
    int64_t column = s->extra + pair->slot;
    if (pair->round != s->view.round) {
        column += pair->shift < 0 ? -slots : slots;
    }
    return column < s->after.columns ? column : -1;
}

static rf_status draw_pair(lsh_scene *s, int64_t query, const rf_view_pair *pair, rf_error *error)
{
    const rf_attention_view *view = &s->view;
    int64_t bucket = rf_view_bucket(view, query);
    bool together = bucket >= 0 && bucket == rf_view_bucket(view, pair->key);
    rf_look look = {.classes = together ? "dot s1" : "dot s0"};
    int64_t slot = rf_view_slot(view, query);
    int64_t column = column_of(s, pair);
    for (int which = 0; which < (view->info.buckets > 0 ? 2 : 1); which++) {
        const rf_grid *grid = which == 0 ? &s->before : &s->after;
        int64_t row = which == 0 ? query : slot;
        int64_t at = which == 0 ? pair->key : column;
        if (at < 0) {
            continue;
        }
        RF_TRY(rf_drawing_data(s->drawing, which == 0 ? "query" : "sorted-query", (double)query,
                               error));
        RF_TRY(rf_drawing_data(s->drawing, "key", (double)pair->key, error));
        RF_TRY(rf_drawing_data(s->drawing, "weight", pair->weight, error));
        if (which == 1 && s->cells <= MOST_MOVING) {
            look.step = 8.0;
            look.from_x = rf_grid_x(&s->before, pair->key) - rf_grid_x(grid, column);
            look.from_y = rf_grid_y(&s->before, query) - rf_grid_y(grid, slot);
        }
        RF_TRY(rf_grid_cell(s->drawing, grid, row, at, pair->weight, &look, error));
    }
    return json_array_append_new(s->pairs, json_pack("[I, I, I, I, f]", (json_int_t)query,
                                                     (json_int_t)pair->key, (json_int_t)pair->round,
                                                     (json_int_t)pair->slot, pair->weight)) == 0
               ? RF_OK
               : rf_error_set(error, RF_ERR_MEMORY, "no memory for the numbers");
}

/* Both matrices' sizes, and the heaviest weight. */
static rf_status measure(lsh_scene *s, rf_error *error)
{
    rf_attention_view *view = &s->view;
    const rf_attention_info *info = &view->info;
    bool across = strcmp(info->wrap, "rounds") == 0 && info->rounds > 1;
    int64_t beyond = across ? info->after * info->chunk : 0;
    double most = 0.0;
    s->extra = across ? info->before * info->chunk : 0;
    for (int64_t query = 0; query < view->length; query++) {
        RF_TRY(rf_view_look(view, query, error));
        s->cells += view->pair_count;
        for (int64_t i = 0; i < view->pair_count; i++) {
            most = fmax(most, view->pairs[i].weight);
        }
    }
    s->before = (rf_grid){.left = LEFT,
                          .top = s->y + MATRIX_TOP,
                          .side = MATRIX_SIDE,
                          .rows = view->length,
                          .columns = view->length,
                          .most = most};
    s->after = s->before;
    s->after.left = RIGHT;
    s->after.rows = info->slots;
    s->after.columns = s->extra + info->slots + beyond;
    return RF_OK;
}

static rf_status draw_borders(lsh_scene *s, rf_error *error)
{
    const rf_grid *grid = &s->after;
    const rf_look faint = {.classes = "grid"};
    const rf_look strong = {.classes = "axis"};
    int64_t chunk = s->view.info.chunk;
    double right = grid->left + grid->side;
    double bottom = grid->top + grid->side;
    for (int64_t column = chunk; column < grid->columns; column += chunk) {
        bool edge = column == s->extra || column == s->extra + grid->rows;
        RF_TRY(rf_drawing_line(s->drawing, edge ? &strong : &faint, rf_grid_x(grid, column),
                               grid->top, rf_grid_x(grid, column), bottom, error));
    }
    for (int64_t row = chunk; row < grid->rows; row += chunk) {
        RF_TRY(rf_drawing_line(s->drawing, &faint, grid->left, rf_grid_y(grid, row), right,
                               rf_grid_y(grid, row), error));
    }
    return RF_OK;
}

/* Lines of words below the matrices. */
static rf_status explain(lsh_scene *s, const char *const *lines, size_t count, rf_error *error)
{
    const rf_look small = {.classes = "muted", .size = 12.5};
    for (size_t i = 0; i < count; i++) {
        s->y += 17.0;
        RF_TRY(rf_drawing_words(s->drawing, &small, LEFT, s->y, lines[i], error));
    }
    s->y += 10.0;
    return RF_OK;
}

static rf_status draw_matrices(lsh_scene *s, json_t *numbers, rf_error *error)
{
    static const char *const lines[] = {
        ("A row is the token that looks, a column the token looked at; the stronger, the more "
         "weight."),
        "Orange: both are in the same bucket. Faint: seen, but next to no weight.",
        "Left of the line: the last chunk of the round before, which the first chunk sees."};
    const rf_look small = {.size = 13.0};
    rf_attention_view *view = &s->view;
    s->pairs = json_array();
    RF_TRY(rf_json_set(numbers, "pairs", s->pairs, error));
    bool hashed = view->info.buckets > 0;
    RF_TRY(head(s, hashed ? "The matrix of attention of this round" : "The matrix of attention",
                error));
    RF_TRY(measure(s, error));
    RF_TRY(rf_drawing_words(s->drawing, &small, s->before.left, s->y + 16.0,
                            "in the order of the text", error));
    if (hashed) {
        RF_TRY(rf_drawing_words(s->drawing, &small, s->after.left, s->y + 16.0, "sorted", error));
        RF_TRY(draw_borders(s, error));
        RF_TRY(rf_grid_frame(s->drawing, &s->after, error));
    }
    for (int64_t query = 0; query < view->length; query++) {
        RF_TRY(rf_view_look(view, query, error));
        for (int64_t i = 0; i < view->pair_count; i++) {
            RF_TRY(draw_pair(s, query, &view->pairs[i], error));
        }
    }
    RF_TRY(rf_grid_frame(s->drawing, &s->before, error));
    s->y = s->before.top + s->before.side + 4.0;
    return explain(s, lines, !hashed ? 1 : s->extra > 0 ? 3 : 2, error);
}

static json_t *buckets_json(const rf_attention_view *view)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < view->length; i++) {
        (void)json_array_append_new(list, json_integer((json_int_t)rf_view_bucket(view, i)));
    }
    return list;
}

static json_t *order_json(const rf_attention_view *view)
{
    json_t *list = json_array();
    for (int64_t slot = 0; slot < view->info.slots; slot++) {
        (void)json_array_append_new(list, json_integer((json_int_t)rf_view_token(view, slot)));
    }
    return list;
}

/* Every token by itself: hash, sort, cut and look. */
static rf_status draw_strips(lsh_scene *s, json_t *numbers, rf_error *error)
{
    RF_TRY(rf_json_set(numbers, "bucket", buckets_json(&s->view), error));
    RF_TRY(rf_json_set(numbers, "order", order_json(&s->view), error));
    RF_TRY(draw_text_order(s, error));
    if (s->view.info.buckets == 0) {
        return RF_OK;
    }
    RF_TRY(draw_sorted(s, error));
    return draw_seen(s, error);
}

/* ---- many tokens ------------------------------------------------------------------------- */

/* How many tokens of each stretch of buckets stand in each stretch of positions, or of slots.
 * counts [BUCKET_ROWS, CELLS] */
static void count_tokens(const rf_attention_view *view, bool sorted, double *counts)
{
    int64_t buckets = view->info.buckets;
    int64_t rows = buckets < BUCKET_ROWS ? buckets : BUCKET_ROWS;
    int64_t places = sorted ? view->info.slots : view->length;
    memset(counts, 0, sizeof(double) * BUCKET_ROWS * RF_VIEW_CELLS);
    for (int64_t i = 0; i < places; i++) {
        int64_t token = sorted ? rf_view_token(view, i) : i;
        if (token >= 0) {
            int64_t row = rf_view_bucket(view, token) * rows / buckets;
            counts[row * RF_VIEW_CELLS + i * RF_VIEW_CELLS / places] += 1.0;
        }
    }
}

static rf_status draw_buckets(lsh_scene *s, bool sorted, json_t *numbers, rf_error *error)
{
    double counts[BUCKET_ROWS * RF_VIEW_CELLS];
    const rf_attention_view *view = &s->view;
    int64_t rows = view->info.buckets < BUCKET_ROWS ? view->info.buckets : BUCKET_ROWS;
    const rf_grid grid = {.left = sorted ? RIGHT : LEFT,
                          .top = s->y + MATRIX_TOP,
                          .side = MATRIX_SIDE,
                          .rows = rows,
                          .columns = RF_VIEW_CELLS};
    count_tokens(view, sorted, counts);
    RF_TRY(rf_json_set(numbers, sorted ? "tokens_by_slot" : "tokens_by_position",
                       rf_view_bins_json(counts, rows, RF_VIEW_CELLS), error));
    return rf_view_draw_bins(s->drawing, &grid, counts,
                             sorted ? "buckets over sorted slots" : "buckets over positions",
                             sorted ? 2.0 : 0.0, error);
}

static rf_status draw_bins(lsh_scene *s, json_t *numbers, rf_error *error)
{
    double values[2][RF_VIEW_CELLS * RF_VIEW_CELLS];
    static const char *const names[] = {"weights_by_position", "weights_by_slot"};
    static const char *const titles[] = {"weights in the order of the text", "sorted"};
    int64_t samples = 0;
    RF_TRY(rf_view_bins(&s->view, values[0], values[1], &samples, error));
    RF_TRY(rf_json_set(numbers, "samples", json_integer((json_int_t)samples), error));
    for (int i = 0; i < 2; i++) {
        const rf_grid grid = {.left = i == 0 ? LEFT : RIGHT,
                              .top = s->y + MATRIX_TOP,
                              .side = MATRIX_SIDE,
                              .rows = RF_VIEW_CELLS,
                              .columns = RF_VIEW_CELLS};
        RF_TRY(rf_json_set(numbers, names[i],
                           rf_view_bins_json(values[i], RF_VIEW_CELLS, RF_VIEW_CELLS), error));
        RF_TRY(
            rf_view_draw_bins(s->drawing, &grid, values[i], titles[i], i == 0 ? 0.0 : 4.0, error));
    }
    return RF_OK;
}

/* Hash and sort, by stretches. */
static rf_status draw_staircase(lsh_scene *s, json_t *numbers, rf_error *error)
{
    static const char *const lines[] = {
        "Left to right: the text, then the sorted slots; top to bottom: buckets; the stronger,",
        "the more tokens. Sorting makes a staircase of what was spread over the whole text."};
    const rf_attention_info *info = &s->view.info;
    const rf_look plain = {.size = 13.0};
    bool hashed = info->buckets > 0;
    RF_TRY(head(s, hashed ? "Hash and sort" : "One chunk: nothing is hashed", error));
    RF_TRY(rf_drawing_print(s->drawing, &plain, LEFT, s->y + 10.0, error,
                            "%lld tokens, %lld buckets, %lld slots in chunks of %lld",
                            (long long)s->view.length, (long long)info->buckets,
                            (long long)info->slots, (long long)info->chunk));
    s->y += 14.0;
    if (!hashed) {
        return RF_OK;
    }
    RF_TRY(draw_buckets(s, false, numbers, error));
    RF_TRY(draw_buckets(s, true, numbers, error));
    s->y += MATRIX_TOP + MATRIX_SIDE + 4.0;
    return explain(s, lines, 2, error);
}

static rf_status draw_stretches(lsh_scene *s, json_t *numbers, rf_error *error)
{
    static const char *const lines[] = {
        "A row is a stretch of tokens that look, a column one that they look at, by the mean",
        "weight. Sorted, all that is seen lies near the diagonal, so chunks can hold it."};
    RF_TRY(head(s, "The matrix of attention of this round", error));
    RF_TRY(draw_bins(s, numbers, error));
    s->y += MATRIX_TOP + MATRIX_SIDE + 4.0;
    return explain(s, lines, s->view.info.buckets > 0 ? 2 : 1, error);
}

/* ---- the whole --------------------------------------------------------------------------- */

static rf_status draw_round(lsh_scene *s, rf_error *error)
{
    const rf_attention_info *info = &s->view.info;
    s->y = 18.0;
    return rf_drawing_print(s->drawing, &(rf_look){.classes = "muted", .size = 13.0}, LEFT, s->y,
                            error, "layer %lld, head %lld, round %lld of %lld, counted from 0",
                            (long long)info->place.layer, (long long)info->place.head,
                            (long long)s->view.round, (long long)info->rounds);
}

static rf_status draw(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                      rf_error *error)
{
    lsh_scene s = {.drawing = drawing};
    rf_status status = RF_OK;
    int64_t layer = rf_view_layer(context, "lsh");
    bool strips = false;
    drawing->width = RF_SCENE_WIDTH;
    drawing->height = 40.0;
    if (layer < 0) {
        return rf_drawing_words(drawing, &(rf_look){0}, LEFT, 24.0, "The model has no LSH layer.",
                                error);
    }
    RF_TRY_DONE(rf_view_open(&s.view, context, layer,
                             context->is_random && context->options->text == NULL ? OUR_TOKENS : 0,
                             error));
    RF_TRY_DONE(rf_view_numbers(&s.view, numbers, error));
    RF_TRY_DONE(draw_round(&s, error));
    RF_TRY_DONE(rf_view_has_strips(&s.view, &strips, error));
    RF_TRY_DONE(strips ? draw_strips(&s, numbers, error) : draw_staircase(&s, numbers, error));
    RF_TRY_DONE(s.view.length <= RF_VIEW_MOST ? draw_matrices(&s, numbers, error)
                                              : draw_stretches(&s, numbers, error));
    drawing->height = s.y;
done:
    rf_view_close(&s.view);
    return status;
}

const rf_scene rf_scene_lsh = {
    .name = "lsh",
    .title = "Hash, sort, cut: attention among tokens that are alike",
    .summary =
        "An LSH layer does not compare every token with every other. It hashes what each token "
        "asks for, so that like ones mostly share a bucket, sorts by bucket, cuts the sorted row "
        "into chunks of one size, and lets a token look into its own chunk and the one before. "
        "Buckets, order and weights are those of the model.",
    .draw = draw,
};
