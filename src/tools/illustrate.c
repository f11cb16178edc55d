/* `illustrate`: pictures of what a Reformer does, as one page or as files, drawn from what the
 * library computes with the model on the CPU. Each scene costs about as much as a forward pass of
 * its few tokens. */
#include "base/file.h"
#include "base/memory.h"
#include "tools/scene.h"
#include "tools/token_text.h"

#include <stdio.h>
#include <string.h>

enum { SCENES = 8, FIRST_BYTE = 2 };

/* In the order of the page. */
static const rf_scene *const all_scenes[SCENES] = {
    &rf_scene_hyperplane, &rf_scene_angular,    &rf_scene_lsh,      &rf_scene_local,
    &rf_scene_attention,  &rf_scene_reversible, &rf_scene_chunking, &rf_scene_axial};

/* Ecclesiastes 3, verses 1 and 2, in the King James Bible. */
static const char usual_text[] =
    "To every thing there is a season, and a time to every purpose under the heaven: a time to be "
    "born, and a time to die; a time to plant, and a time to pluck up that which is planted.";

/* Of bytes, small enough to be drawn, with random weights that are large enough to tell tokens
 * apart. */
static const char usual_model[] =
    "{\"attention_head_size\": 16, \"attn_layers\": [\"local\", \"lsh\"], \"axial_pos_embds_dim\": "
    "[8, 24], \"axial_pos_shape\": [16, 16], \"feed_forward_size\": 64, \"hidden_size\": 32, "
    "\"is_decoder\": true, \"local_attn_chunk_length\": 16, \"lsh_attn_chunk_length\": 8, "
    "\"max_position_embeddings\": 256, \"num_attention_heads\": 2, \"num_buckets\": 16, "
    "\"num_hashes\": 2, \"vocab_size\": 258, \"initializer_range\": 0.3, \"axial_norm_std\": 0.2}";

const char *rf_illustrate_scene(size_t index)
{
    return index < SCENES ? all_scenes[index]->name : NULL;
}

/* ---- what scenes share ------------------------------------------------------------------- */

rf_status rf_scene_choose(const char *what, int64_t wanted, int64_t usual, int64_t count,
                          int64_t *chosen, rf_error *error)
{
    *chosen = wanted == -1 ? usual : wanted;
    if (*chosen >= 0 && *chosen < count) {
        return RF_OK;
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "%s is %lld, expected 0 to %lld: they are counted from 0", what,
                        (long long)*chosen, (long long)count - 1);
}

rf_status rf_scene_token(const rf_scene_context *context, int64_t position, rf_text *text,
                         rf_error *error)
{
    const char *from = context->text + context->tokens.begins[position];
    const char *end = context->text + context->tokens.ends[position];
    for (; from < end && *from == ' '; from++) {
        RF_TRY(rf_text_format(text, error, "\xE2\x90\xA3"));
    }
    return rf_visible_text(from, (size_t)(end - from), text, error);
}

json_t *rf_scene_reals(const float *values, int64_t count)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_real((double)values[i]));
    }
    return array;
}

json_t *rf_scene_integers(const int32_t *values, int64_t count)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_integer(values[i]));
    }
    return array;
}

/* ---- which scenes ------------------------------------------------------------------------ */

static rf_status unknown_scene(const char *name, size_t size, rf_error *error)
{
    char names[400];
    size_t used = 0;
    for (size_t i = 0; i < SCENES && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 all_scenes[i]->name);
    }
    return rf_error_set(error, RF_ERR_ARGUMENT, "there is no scene '%.*s', expected some of %s",
                        (int)(size < 40 ? size : 40), name, names);
}

/* Those of names, "a,b", in that order and once each; all for NULL. */
static rf_status choose_scenes(const char *names, const rf_scene *chosen[SCENES], size_t *count,
                               rf_error *error)
{
    *count = 0;
    for (size_t i = 0; names == NULL && i < SCENES; i++) {
        chosen[(*count)++] = all_scenes[i];
    }
    for (const char *name = names; name != NULL;) {
        const char *comma = strchr(name, ',');
        size_t size = comma != NULL ? (size_t)(comma - name) : strlen(name);
        const rf_scene *found = NULL;
        for (size_t i = 0; i < SCENES; i++) {
            const char *known = all_scenes[i]->name;
            found = strlen(known) == size && memcmp(known, name, size) == 0 ? all_scenes[i] : found;
        }
        if (found == NULL) {
            return unknown_scene(name, size, error);
        }
        for (size_t i = 0; i < *count; i++) {
            if (chosen[i] == found) {
                return rf_error_set(error, RF_ERR_ARGUMENT, "scene %s is named twice", found->name);
            }
        }
        chosen[(*count)++] = found;
        name = comma != NULL ? comma + 1 : NULL;
    }
    return RF_OK;
}

/* ---- model and tokens -------------------------------------------------------------------- */

/* The small model's tokens: bytes, as Hugging Face's of enwik8 are numbered. */
static rf_status count_bytes(const char *text, size_t size, rf_encoding *tokens, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate(size * sizeof(int32_t), "tokens", &memory, error));
    tokens->ids = memory;
    RF_TRY(rf_allocate(size * sizeof(int64_t), "tokens", &memory, error));
    tokens->begins = memory;
    RF_TRY(rf_allocate(size * sizeof(int64_t), "tokens", &memory, error));
    tokens->ends = memory;
    tokens->count = (int64_t)size;
    for (size_t i = 0; i < size; i++) {
        tokens->ids[i] = (unsigned char)text[i] + FIRST_BYTE;
        tokens->begins[i] = (int64_t)i;
        tokens->ends[i] = (int64_t)i + 1;
    }
    return RF_OK;
}

static rf_status open_model(rf_scene_context *context, rf_error *error)
{
    const rf_illustrate_options *options = context->options;
    const rf_model_options how = {.device = "cpu",
                                  .threads = options->threads,
                                  .num_hashes = options->num_hashes,
                                  .extend_positions = options->extend_positions,
                                  .log = options->log};
    if (options->model != NULL) {
        return rf_model_load(options->model, &how, &context->model, error);
    }
    context->is_random = true;
    return rf_model_create(usual_model, options->seed, "huggingface", &how, &context->model, error);
}

static rf_status read_tokens(rf_scene_context *context, rf_error *error)
{
    const rf_illustrate_options *options = context->options;
    context->text = options->text != NULL ? options->text : usual_text;
    size_t size = options->text != NULL ? options->text_size : sizeof usual_text - 1;
    if (context->is_random) {
        RF_TRY(count_bytes(context->text, size, &context->tokens, error));
    } else {
        rf_tokenizer *tokenizer = NULL;
        RF_TRY(rf_tokenizer_load(options->model, &tokenizer, error));
        rf_status status = rf_tokenizer_tokenize(tokenizer, (const uint8_t *)context->text, size,
                                                 &context->tokens, error);
        rf_tokenizer_destroy(tokenizer);
        RF_TRY(status);
    }
    int64_t most = rf_model_max_length(context->model);
    if (context->tokens.count > most) {
        rf_log_write(&options->log, RF_LOG_WARNING,
                     "the text has %lld tokens, the model %lld positions: the first %lld are drawn",
                     (long long)context->tokens.count, (long long)most, (long long)most);
        context->tokens.count = most;
    }
    return context->tokens.count >= 2
               ? RF_OK
               : rf_error_set(error, RF_ERR_ARGUMENT, "a text of at least 2 tokens is needed");
}

/* ---- drawing and writing ----------------------------------------------------------------- */

typedef struct pictures {
    rf_scene_context context;
    rf_workspace workspace;
    const rf_scene *scenes[SCENES];
    rf_drawing drawings[SCENES];
    json_t *numbers[SCENES];
    size_t count;
    json_t *files;
} pictures;

/* What was drawn of scene `i` and the scene itself go. */
static void leave_out(pictures *p, size_t i)
{
    rf_drawing_clear(&p->drawings[i]);
    json_decref(p->numbers[i]);
    p->count--;
    for (; i < p->count; i++) {
        p->scenes[i] = p->scenes[i + 1];
    }
}

static rf_status draw_scene(pictures *p, size_t i, rf_error *error)
{
    const rf_scene *scene = p->scenes[i];
    size_t mark = rf_workspace_mark(&p->workspace);
    p->drawings[i] =
        (rf_drawing){.name = scene->name, .title = scene->title, .description = scene->summary};
    p->numbers[i] = json_object();
    rf_status status = scene->draw(&p->context, &p->drawings[i], p->numbers[i], error);
    rf_workspace_release(&p->workspace, mark);
    return status;
}

static rf_status draw_scenes(pictures *p, rf_error *error)
{
    const rf_illustrate_options *options = p->context.options;
    for (size_t i = 0; i < p->count;) {
        rf_error reason = {0};
        rf_status status = draw_scene(p, i, &reason);
        if (status == RF_OK) {
            i++;
        } else if (status == RF_ERR_UNSUPPORTED && options->scenes == NULL) {
            rf_log_write(&options->log, RF_LOG_INFO, "scene %s is left out: %s", p->scenes[i]->name,
                         reason.message);
            leave_out(p, i);
        } else {
            return rf_error_set(error, status, "scene %s: %s", p->scenes[i]->name, reason.message);
        }
    }
    return RF_OK;
}

static rf_status write_file(pictures *p, const char *path, const rf_text *text, rf_error *error)
{
    RF_TRY(rf_file_write_atomic(path, text->bytes, text->size, error));
    return json_array_append_new(p->files, json_string(path)) == 0
               ? RF_OK
               : rf_error_set(error, RF_ERR_MEMORY, "no memory for the report");
}

static rf_status write_page(pictures *p, const char *path, rf_error *error)
{
    rf_text html = {0};
    rf_status status =
        rf_scene_page(&p->context, p->scenes, p->drawings, p->numbers, p->count, &html, error);
    if (status == RF_OK) {
        status = write_file(p, path, &html, error);
    }
    rf_release(html.bytes);
    return status;
}

static rf_status write_picture(pictures *p, const char *folder, size_t i, rf_error *error)
{
    rf_text svg = {0};
    char *path = NULL;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_string_format(&path, error, "%s/%s.svg", folder, p->scenes[i]->name));
    RF_TRY_DONE(rf_drawing_finish(&p->drawings[i], true, &svg, error));
    RF_TRY_DONE(write_file(p, path, &svg, error));
done:
    rf_release(path);
    rf_release(svg.bytes);
    return status;
}

static rf_status write_output(pictures *p, rf_error *error)
{
    const char *output = p->context.options->output;
    if (output == NULL) {
        return RF_OK;
    }
    size_t length = strlen(output);
    if (length > 5 && strcmp(output + length - 5, ".html") == 0) {
        return write_page(p, output, error);
    }
    RF_TRY(rf_folder_create(output, error));
    for (size_t i = 0; i < p->count; i++) {
        RF_TRY(write_picture(p, output, i, error));
    }
    return RF_OK;
}

static rf_status write_report(const pictures *p, char **report, rf_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:O}", "name", p->scenes[i]->name,
                                                    "title", p->scenes[i]->title, "numbers",
                                                    p->numbers[i]));
    }
    const char *model = p->context.options->model;
    json_t *object =
        json_pack("{s:s?, s:I, s:O, s:O}", "model", model, "tokens",
                  (json_int_t)p->context.tokens.count, "files", p->files, "scenes", list);
    json_decref(list);
    rf_status status = rf_json_text(object, true, report, error);
    json_decref(object);
    return status;
}

static void clear(pictures *p)
{
    for (size_t i = 0; i < p->count; i++) {
        rf_drawing_clear(&p->drawings[i]);
        json_decref(p->numbers[i]);
    }
    json_decref(p->files);
    if (p->workspace.device != NULL) {
        rf_workspace_clear(&p->workspace);
    }
    rf_encoding_clear(&p->context.tokens);
    rf_model_destroy(p->context.model);
}

rf_status rf_illustrate(const rf_illustrate_options *options, char **report, rf_error *error)
{
    pictures p = {.context = {.options = options}, .files = json_array()};
    rf_status status = RF_OK;
    *report = NULL;
    RF_TRY_DONE(choose_scenes(options->scenes, p.scenes, &p.count, error));
    RF_TRY_DONE(open_model(&p.context, error));
    RF_TRY_DONE(read_tokens(&p.context, error));
    rf_workspace_init(&p.workspace, p.context.model->device);
    RF_TRY_DONE(rf_workspace_allocate(&p.workspace, RF_SCENE_WORKSPACE, error));
    p.context.operations =
        (rf_context){.device = p.context.model->device, .workspace = &p.workspace};
    RF_TRY_DONE(draw_scenes(&p, error));
    RF_TRY_DONE(write_output(&p, error));
    RF_TRY_DONE(write_report(&p, report, error));
done:
    clear(&p);
    return status;
}
