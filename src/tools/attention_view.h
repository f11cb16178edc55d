/* One head of one layer over a scene's tokens, as the scenes of attention see it: a round, a token
 * that looks, where everybody stands; and what these scenes draw alike, strips of tokens and
 * matrices of weights. */
#ifndef RF_TOOLS_ATTENTION_VIEW_H
#define RF_TOOLS_ATTENTION_VIEW_H

#include "model/attention_weights.h"
#include "tools/scene.h"

/* Matrices have a cell for each two of up to MOST tokens; of more, cells for CELLS equal stretches,
 * for which the rows of up to SAMPLES tokens are worked out. */
enum { RF_VIEW_MOST = 64, RF_VIEW_CELLS = 48, RF_VIEW_SAMPLES = 2048, RF_VIEW_LABEL = 80 };

/* A query sees a key once in each place where the round's window has it. */
typedef struct rf_view_pair {
    int64_t key, round, slot; /* round and slot of the place */
    int64_t shift;            /* its chunk, counted from the query's */
    double weight;            /* over all rounds merged; a key's places share its part alike */
} rf_view_pair;

/* Zero-initialise; close after any outcome. */
typedef struct rf_attention_view {
    const rf_scene_context *context;
    rf_model *model; /* NULL: the context's; else the view's own */
    int64_t length, round, query;
    rf_attention *attention;
    rf_attention_info info;
    rf_view_pair *pairs; /* [most_pairs] of the row that was asked for last */
    int64_t pair_count, most_pairs;
    rf_attention_row row; /* the same row, all rounds */
    int32_t *copies;      /* [length], zeros between calls */
} rf_attention_view;

/* The layer that the options name if it is of this kind (NULL: any), else the first of this kind;
 * -1 where there is none. */
int64_t rf_view_layer(const rf_scene_context *context, const char *kind);
/* The first `length` tokens (0: all) go through the layer. Head, round and token are those of the
 * options, or 0, 0 and the last. */
RF_MUST_CHECK rf_status rf_view_open(rf_attention_view *view, const rf_scene_context *context,
                                     int64_t layer, int64_t length, rf_error *error);
void rf_view_close(rf_attention_view *view);
/* The chunk at a distance from a chunk of the view's round; false: there is none, or it has been
 * seen at a smaller distance. */
bool rf_view_chunk(const rf_attention_view *view, int64_t chunk, int64_t shift, int64_t *round,
                   int64_t *number);
/* What a query sees: sets row, and pairs to those of the view's round. */
RF_MUST_CHECK rf_status rf_view_look(rf_attention_view *view, int64_t query, rf_error *error);

/* Where a token stands in the view's round; its bucket there, -1 where nothing is hashed; the token
 * of a slot, -1 for none. */
int64_t rf_view_slot(const rf_attention_view *view, int64_t token);
int64_t rf_view_bucket(const rf_attention_view *view, int64_t token);
int64_t rf_view_token(const rf_attention_view *view, int64_t slot);

/* A token's text, cut where it is too long. */
RF_MUST_CHECK rf_status rf_view_text(const rf_attention_view *view, int64_t position,
                                     char text[RF_VIEW_LABEL], rf_error *error);
/* "layer", "kind", ... of the view into numbers. */
RF_MUST_CHECK rf_status rf_view_numbers(const rf_attention_view *view, json_t *numbers,
                                        rf_error *error);

/* ---- strips ------------------------------------------------------------------------------ */

/* Boxes side by side, in rows that are `row_step` apart; a gap after every `chunk` boxes. */
typedef struct rf_strip {
    double left, top, cell, height, row_step, gap;
    int64_t count, per_row, chunk;
    bool buckets; /* numbers below the boxes */
} rf_strip;
/* Whether the view's tokens are few enough to be shown one by one: 256 of one or two characters,
 * 100 of more. */
RF_MUST_CHECK rf_status rf_view_has_strips(const rf_attention_view *view, bool *has,
                                           rf_error *error);
/* As wide as the scene, for the view's tokens; chunk 0: no gaps. */
RF_MUST_CHECK rf_status rf_strip_make(const rf_attention_view *view, int64_t count, int64_t chunk,
                                      rf_strip *strip, rf_error *error);
double rf_strip_x(const rf_strip *strip, int64_t index);
double rf_strip_y(const rf_strip *strip, int64_t index);
double rf_strip_bottom(const rf_strip *strip);
/* A token's box with its text, and its bucket below where there is one. look: classes and opacity
 * of the box, and when it comes and from where. */
RF_MUST_CHECK rf_status rf_strip_token(rf_drawing *drawing, const rf_attention_view *view,
                                       const rf_strip *strip, int64_t index, int64_t token,
                                       const rf_look *look, rf_error *error);
/* "dot sN" of a bucket or any other number: six colours in turn, the ink left out. */
const char *rf_view_colour(int64_t number);
/* A weight with four digits. */
void rf_view_weight(double weight, char text[32]);

/* ---- matrices ---------------------------------------------------------------------------- */

/* Cells of [rows, columns] numbers in a square of `side` pixels at left, top. */
typedef struct rf_grid {
    double left, top, side;
    int64_t rows, columns;
    double most; /* the number that is drawn with full colour */
} rf_grid;
/* Where a cell is. */
double rf_grid_x(const rf_grid *grid, int64_t column);
double rf_grid_y(const rf_grid *grid, int64_t row);
/* Colour as strong as the root of value / most, never quite none. */
double rf_grid_opacity(const rf_grid *grid, double value);
RF_MUST_CHECK rf_status rf_grid_cell(rf_drawing *drawing, const rf_grid *grid, int64_t row,
                                     int64_t column, double value, const rf_look *look,
                                     rf_error *error);
RF_MUST_CHECK rf_status rf_grid_frame(rf_drawing *drawing, const rf_grid *grid, rf_error *error);

/* Of many tokens: by_position and by_slot [CELLS, CELLS], the caller's: the mean over the queries
 * of a row of what they give to the keys of a column in the view's round. slot of a place in
 * another round than the view's: left out. *samples: queries. */
RF_MUST_CHECK rf_status rf_view_bins(rf_attention_view *view, double *by_position, double *by_slot,
                                     int64_t *samples, rf_error *error);
/* [CELLS, CELLS] with a title above; `name` in numbers. */
RF_MUST_CHECK rf_status rf_view_draw_bins(rf_drawing *drawing, const rf_grid *where,
                                          const double *values, const char *title, double step,
                                          rf_error *error);
json_t *rf_view_bins_json(const double *values, int64_t rows, int64_t columns);

#endif
