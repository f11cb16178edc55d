/* Scenes of `illustrate`: pictures drawn from what the library's own operations compute, each in a
 * file scene_NAME.c with a row in illustrate.c's table. */
#ifndef RF_TOOLS_SCENE_H
#define RF_TOOLS_SCENE_H

#include "io/drawing.h"
#include "io/json.h"
#include "model/model.h"
#include "reformer/tokenizer.h"
#include "reformer/tools.h"

/* What a scene draws from. */
typedef struct rf_scene_context {
    const rf_illustrate_options *options; /* layer, head, round and position are -1 where the scene
                                             is to choose; see rf_scene_choose */
    rf_model *model; /* on the CPU; a small one with random weights where none was given */
    bool is_random;
    const char *text;      /* what was tokenized */
    rf_encoding tokens;    /* at least two, at most as many as the model has positions */
    rf_context operations; /* for calls of operations by themselves: the model's device, and a
                              workspace of RF_SCENE_WORKSPACE bytes */
} rf_scene_context;
enum { RF_SCENE_WORKSPACE = 1 << 22 };

typedef struct rf_scene {
    const char *name;    /* a word: of --scenes, of the file, and of anchors in the page */
    const char *title;   /* a line */
    const char *summary; /* a paragraph: what is seen */
    /* Draw, setting width and height, and put every number that is drawn into the object; both are
     * the caller's. Name, title and description are set before. Equal options give equal bytes.
     * RF_ERR_UNSUPPORTED where the model has nothing of the kind: the scene is then left out of a
     * page of all. */
    rf_status (*draw)(const rf_scene_context *context, rf_drawing *drawing, json_t *numbers,
                      rf_error *error);
} rf_scene;

extern const rf_scene rf_scene_hyperplane, rf_scene_angular, rf_scene_lsh, rf_scene_local,
    rf_scene_attention, rf_scene_reversible, rf_scene_chunking, rf_scene_axial;

/* The width of a drawing that can be read on a phone with words of 14 pixels. */
enum { RF_SCENE_WIDTH = 520 };

/* An option that counts from 0: `wanted`, or `usual` if it is -1. RF_ERR_ARGUMENT, naming `what`,
 * unless it is below `count`. */
RF_MUST_CHECK rf_status rf_scene_choose(const char *what, int64_t wanted, int64_t usual,
                                        int64_t count, int64_t *chosen, rf_error *error);
/* Append a token's bytes as rf_visible_text shows them, blanks before it as U+2423. */
RF_MUST_CHECK rf_status rf_scene_token(const rf_scene_context *context, int64_t position,
                                       rf_text *text, rf_error *error);
/* An array of numbers; NULL if out of memory, which rf_json_set reports. */
json_t *rf_scene_reals(const float *values, int64_t count);
json_t *rf_scene_integers(const int32_t *values, int64_t count);

/* The page of illustrate_page.c: one HTML document of all drawings. numbers: an object for each. */
RF_MUST_CHECK rf_status rf_scene_page(const rf_scene_context *context,
                                      const rf_scene *const *scenes, const rf_drawing *drawings,
                                      json_t *const *numbers, size_t count, rf_text *html,
                                      rf_error *error);

#endif
