/* The scenes lsh, local and attention: what stands in the pictures, read back from them, against
 * the rows of the library and against the sets that the plan's definition gives. */
#include "support.h"
#include "xml.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/inside.h"
#include "reformer/tools.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LENGTH = 47, MOST = 64, MOST_FILE = 1 << 26, LONG = 65536, HEAD = 1, CELLS = 48 };

static const char text[] = "a <sea> & a \"sea\", a\n\xFFsea & a sea, a see <a/> b";

/* layers: local, lsh, full; without the last and with 65,536 positions. */
static void make_model(const char *folder, bool causal, bool is_long, rf_model **model)
{
    char config[1024];
    rf_model_options options = {.device = "cpu", .threads = 1, .task = causal ? "lm" : "masked-lm"};
    (void)snprintf(config, sizeof config,
                   "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\"%s], "
                   "\"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [%d, 256], "
                   "\"feed_forward_size\": 24, \"hidden_size\": 16, \"local_attn_chunk_length\": "
                   "%d, \"lsh_attn_chunk_length\": %d, \"lsh_num_chunks_after\": %d, "
                   "\"local_num_chunks_after\": %d, \"max_position_embeddings\": %d, "
                   "\"num_attention_heads\": 2, \"num_buckets\": 6, \"num_hashes\": 2, "
                   "\"vocab_size\": 258, \"is_decoder\": %s, \"hash_seed\": 4, "
                   "\"initializer_range\": 0.4, \"axial_norm_std\": 0.4}",
                   is_long ? "" : ", \"full\"", is_long ? 256 : 1, is_long ? 64 : 8,
                   is_long ? 64 : 8, causal ? 0 : 1, causal ? 0 : 1, is_long ? LONG : 256,
                   causal ? "true" : "false");
    assert_ok(rf_model_create(config, 3, "huggingface", &options, model, error));
    assert_ok(rf_model_save(*model, folder, NULL, error));
}

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

/* The picture of one scene, and its numbers. */
static char *draw(rf_illustrate_options options, const char *scene, json_t **numbers)
{
    char name[64];
    char *report = NULL;
    char *svg = NULL;
    json_t *object = NULL;
    size_t size = 0;
    char *folder = path_of("pictures");
    (void)snprintf(name, sizeof name, "pictures/%s.svg", scene);
    char *path = path_of(name);
    options.scenes = scene;
    options.output = folder;
    options.threads = 1;
    assert_ok(rf_illustrate(&options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    *numbers = json_incref(
        json_object_get(json_array_get(json_object_get(object, "scenes"), 0), "numbers"));
    assert_non_null(*numbers);
    assert_ok(rf_file_read(path, MOST_FILE, &svg, &size, error));
    json_decref(object);
    rf_text_release(report);
    rf_release(path);
    rf_release(folder);
    return svg;
}

static int64_t whole(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

/* ---- reading SVG ------------------------------------------------------------------------- */

/* The value of an attribute of the tag that begins here; false where it has none. */
static bool read_attribute(const char *tag, const char *name, double *value)
{
    char wanted[64];
    const char *end = strchr(tag, '>');
    (void)snprintf(wanted, sizeof wanted, " %s=\"", name);
    const char *at = strstr(tag, wanted);
    if (at == NULL || end == NULL || at > end) {
        return false;
    }
    const char *digits = at + strlen(wanted);
    char *after = NULL;
    *value = strtod(digits, &after);
    assert_true(after != digits && *after == '"');
    return true;
}

static double number_of(const char *tag, const char *name)
{
    double value = 0.0;
    if (!read_attribute(tag, name, &value)) {
        fail_msg("no %s in %.120s", name, tag);
    }
    return value;
}

static const char *next_tag(const char *at)
{
    return at != NULL ? strchr(at + 1, '<') : NULL;
}

/* ---- the library's rows ------------------------------------------------------------------ */

typedef struct seen {
    rf_attention *attention;
    rf_attention_info info;
    double weight[MOST][MOST]; /* of a round, or merged */
    bool listed[MOST][MOST];
    double sum[MOST]; /* of merged rows */
    bool alone[MOST]; /* itself is all that the token sees */
} seen;

static void look(rf_model *model, int64_t layer, int64_t head, int64_t length, int64_t round,
                 seen *s)
{
    int32_t ids[MOST] = {0};
    const rf_attention_place place = {layer, head};
    for (int64_t i = 0; i < length; i++) {
        ids[i] = (int32_t)(unsigned char)text[i] + 2;
    }
    memset(s, 0, sizeof *s);
    assert_ok(rf_model_attention(model, ids, NULL, length, &place, 1, &s->attention, error));
    s->info = rf_attention_describe(s->attention);
    for (int64_t query = 0; query < length; query++) {
        rf_attention_row row;
        assert_ok(rf_attention_weights(s->attention, query, &row, error));
        s->alone[query] = row.log_norm < -9e4F;
        for (int64_t i = 0; i < row.count; i++) {
            s->listed[query][row.positions[i]] = true;
            s->sum[query] += row.weights[i];
            s->weight[query][row.positions[i]] =
                round < 0 ? row.weights[i] : row.parts[i * row.rounds + round];
        }
        rf_attention_row_clear(&row);
    }
}

/* Whether the round's window of the query holds the key, by the definition. */
static bool in_window(const seen *s, int64_t round, int64_t query, int64_t key)
{
    const rf_attention_info *info = &s->info;
    int64_t chunks = info->slots / info->chunk;
    int64_t own = -1;
    bool across = strcmp(info->wrap, "rounds") == 0;
    int64_t ring = across ? chunks * info->rounds : chunks;
    for (int64_t slot = 0; slot < info->slots; slot++) {
        const int32_t *order = rf_attention_order(s->attention, round);
        if ((order != NULL ? order[slot] : slot) == query) {
            own = (across ? round * chunks : 0) + slot / info->chunk;
        }
    }
    for (int64_t shift = -info->before; shift <= info->after; shift++) {
        int64_t chunk = (own + shift + ring) % ring;
        const int32_t *order = rf_attention_order(s->attention, across ? chunk / chunks : round);
        for (int64_t i = 0; i < info->chunk; i++) {
            int64_t slot = chunk % chunks * info->chunk + i;
            if ((order != NULL ? order[slot] : slot) == key) {
                return !(info->causal && key > query);
            }
        }
    }
    return false;
}

static void compare(const char *what, double drawn, double expected)
{
    if (fabs(drawn - expected) > 1e-8 * fmax(1.0, fabs(expected))) {
        fail_msg("%s: %.12g is drawn, expected %.12g", what, drawn, expected);
    }
}

/* Adds up what the cells named `name` say of each pair. */
static void read_cells(const char *svg, const char *name, double weights[MOST][MOST],
                       bool listed[MOST][MOST])
{
    double query = 0.0;
    memset(weights, 0, sizeof(double) * MOST * MOST);
    memset(listed, 0, sizeof(bool) * MOST * MOST);
    for (const char *tag = svg; tag != NULL; tag = next_tag(tag)) {
        if (read_attribute(tag, name, &query)) {
            int64_t key = (int64_t)number_of(tag, "data-key");
            weights[(int64_t)query][key] += number_of(tag, "data-weight");
            listed[(int64_t)query][key] = true;
        }
    }
}

/* ---- lsh --------------------------------------------------------------------------------- */

static void check_places(const char *svg, const seen *s, int64_t round)
{
    const int32_t *order = rf_attention_order(s->attention, round);
    const int32_t *buckets = rf_attention_buckets(s->attention, round);
    int64_t count = 0;
    double slot = 0.0;
    for (const char *tag = svg; tag != NULL; tag = next_tag(tag)) {
        if (read_attribute(tag, "data-slot", &slot)) {
            int64_t position = (int64_t)number_of(tag, "data-position");
            assert_int_equal(position, order[(int64_t)slot]);
            assert_int_equal((int64_t)number_of(tag, "data-bucket"), buckets[position]);
            count++;
        }
    }
    assert_int_equal(count, LENGTH);
}

static void check_lsh(const char *folder, rf_model *model, int64_t round)
{
    static seen s;
    static double drawn[MOST][MOST];
    static bool listed[MOST][MOST];
    json_t *numbers = NULL;
    const rf_illustrate_options options = {.model = folder,
                                           .text = text,
                                           .text_size = LENGTH,
                                           .layer = -1,
                                           .head = HEAD,
                                           .round = round,
                                           .position = 20};
    char *svg = draw(options, "lsh", &numbers);
    assert_xml(svg, strlen(svg));
    look(model, 1, HEAD, LENGTH, round, &s);
    assert_int_equal(whole(numbers, "query"), 20);
    check_places(svg, &s, round);
    for (int which = 0; which < 2; which++) {
        read_cells(svg, which == 0 ? "data-query" : "data-sorted-query", drawn, listed);
        for (int64_t query = 0; query < LENGTH; query++) {
            for (int64_t key = 0; key < LENGTH; key++) {
                assert_int_equal(listed[query][key], in_window(&s, round, query, key));
                assert_true(s.listed[query][key] || !listed[query][key]);
                compare("weight", drawn[query][key], s.weight[query][key]);
            }
            assert_true(fabs(s.sum[query] - 1.0) < (s.alone[query] ? 5e-3 : 1e-6));
        }
    }
    json_decref(numbers);
    rf_release(svg);
    rf_attention_destroy(s.attention);
}

static void test_lsh(void **state)
{
    (void)state;
    assert_int_equal(sizeof text - 1, LENGTH);
    for (int causal = 0; causal < 2; causal++) {
        rf_model *model = NULL;
        char *folder = path_of(causal != 0 ? "causal" : "both");
        make_model(folder, causal != 0, false, &model);
        check_lsh(folder, model, 0);
        check_lsh(folder, model, 1);
        rf_model_destroy(model);
        rf_release(folder);
    }
}

/* ---- local ------------------------------------------------------------------------------- */

/* The small layer of the scene, made once more. */
static rf_model *small_layer(bool causal)
{
    char config[800];
    rf_model *model = NULL;
    const rf_model_options options = {
        .device = "cpu", .threads = 1, .task = causal ? "lm" : "embed"};
    (void)snprintf(config, sizeof config,
                   "{\"attention_head_size\": 16, \"attn_layers\": [\"local\"], "
                   "\"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [4, 4], "
                   "\"feed_forward_size\": 16, \"hidden_size\": 16, \"is_decoder\": %s, "
                   "\"local_attn_chunk_length\": 4, \"max_position_embeddings\": 16, "
                   "\"num_attention_heads\": 1, \"vocab_size\": 258, \"initializer_range\": 0.3, "
                   "\"axial_norm_std\": 1.0}",
                   causal ? "true" : "false");
    assert_ok(rf_model_create(config, 0, "huggingface", &options, &model, error));
    return model;
}

/* Both parts, whose cells follow each other in the picture. */
static void check_local(const char *svg, const seen *s, int64_t length, int64_t chunk)
{
    static double drawn[MOST][MOST];
    static bool listed[MOST][MOST];
    read_cells(svg, "data-query", drawn, listed);
    for (int64_t query = 0; query < length; query++) {
        double sum = 0.0;
        for (int64_t key = 0; key < length; key++) {
            int64_t chunks = (length + chunk - 1) / chunk;
            int64_t back = (query / chunk - key / chunk + chunks) % chunks;
            bool near = back <= 1 || (!s->info.causal && s->info.after > 0 && back == chunks - 1);
            assert_int_equal(listed[query][key], near && !(s->info.causal && key > query));
            compare("weight", drawn[query][key], s->weight[query][key]);
            sum += drawn[query][key];
        }
        assert_true(fabs(sum - 1.0) < 1e-6);
    }
}

static void test_local(void **state)
{
    (void)state;
    static seen s;
    for (int causal = 0; causal < 2; causal++) {
        rf_model *model = NULL;
        json_t *numbers = NULL;
        char *folder = path_of(causal != 0 ? "causal" : "both");
        make_model(folder, causal != 0, false, &model);
        const rf_illustrate_options options = {.model = folder,
                                               .text = text,
                                               .text_size = LENGTH,
                                               .layer = -1,
                                               .head = HEAD,
                                               .round = -1,
                                               .position = -1};
        char *svg = draw(options, "local", &numbers);
        assert_xml(svg, strlen(svg));
        char *second = strstr(svg, "The model&apos;s layer 0");
        second = second != NULL ? second : strstr(svg, "The model's layer 0");
        assert_non_null(second);
        look(model, 0, HEAD, LENGTH, -1, &s);
        check_local(second, &s, LENGTH, 8);
        rf_attention_destroy(s.attention);
        *second = '\0';
        assert_non_null(strstr(svg, "data-from-chunk=\"0\" data-to-chunk=\"3\""));
        rf_model *layer = small_layer(causal != 0);
        look(layer, 0, 0, 16, -1, &s);
        assert_string_equal(s.info.wrap, "round");
        check_local(svg, &s, 16, 4);
        rf_attention_destroy(s.attention);
        rf_model_destroy(layer);
        rf_model_destroy(model);
        json_decref(numbers);
        rf_release(svg);
        rf_release(folder);
    }
}

/* ---- attention --------------------------------------------------------------------------- */

/* The rows of `attend`. */
static json_t *attend(const char *folder, int64_t layer, int64_t position)
{
    char *report = NULL;
    json_t *object = NULL;
    const rf_attend_options options = {.model = folder,
                                       .text = text,
                                       .text_size = LENGTH,
                                       .layer = layer,
                                       .head = HEAD,
                                       .positions = &position,
                                       .position_count = 1,
                                       .device = "cpu",
                                       .threads = 1};
    assert_ok(rf_attend(&options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    json_t *query = json_incref(json_array_get(json_object_get(object, "queries"), 0));
    json_decref(object);
    rf_text_release(report);
    return query;
}

static void check_tops(const char *svg, const json_t *list)
{
    size_t count = 0;
    double position = 0.0;
    for (const char *tag = svg; tag != NULL; tag = next_tag(tag)) {
        if (read_attribute(tag, "data-top-position", &position)) {
            const json_t *item = json_array_get(list, count++);
            assert_int_equal((int64_t)position, whole(item, "position"));
            compare("top", number_of(tag, "data-weight"),
                    json_real_value(json_object_get(item, "weight")));
        }
    }
    assert_int_equal(count, json_array_size(list) < 8 ? json_array_size(list) : 8);
}

static void check_attention(const char *folder, int64_t layer, int64_t position)
{
    json_t *numbers = NULL;
    double weights[LENGTH] = {0};
    double key = 0.0;
    double sum = 0.0;
    size_t count = 0;
    const rf_illustrate_options options = {.model = folder,
                                           .text = text,
                                           .text_size = LENGTH,
                                           .layer = layer,
                                           .head = HEAD,
                                           .round = -1,
                                           .position = position};
    char *svg = draw(options, "attention", &numbers);
    json_t *query = attend(folder, layer, position);
    const json_t *list = json_object_get(query, "attended");
    assert_xml(svg, strlen(svg));
    for (const char *tag = svg; tag != NULL; tag = next_tag(tag)) {
        if (read_attribute(tag, "data-attended", &key)) {
            weights[(int64_t)key] = number_of(tag, "data-weight");
            sum += weights[(int64_t)key];
            count++;
        }
    }
    assert_int_equal(count, json_array_size(list));
    assert_true(fabs(sum - 1.0) < (count == 1 ? 5e-3 : 1e-6));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        compare("attended", weights[whole(item, "position")],
                json_real_value(json_object_get(item, "weight")));
    }
    check_tops(svg, list);
    json_decref(query);
    json_decref(numbers);
    rf_release(svg);
}

static void test_attention(void **state)
{
    (void)state;
    rf_model *model = NULL;
    char *folder = path_of("causal");
    make_model(folder, true, false, &model);
    for (int64_t layer = 0; layer < 3; layer++) {
        check_attention(folder, layer, 0);
        check_attention(folder, layer, 30);
        check_attention(folder, layer, LENGTH - 1);
    }
    rf_model_destroy(model);
    rf_release(folder);
}

/* ---- many tokens ------------------------------------------------------------------------- */

/* Every cell of bins is one of the numbers; rows do not weigh more than all. */
static void check_bins(const char *svg, const json_t *numbers, const char *const *names,
                       size_t count)
{
    size_t which = 0;
    double row = 0.0;
    double last = -1.0;
    for (const char *tag = svg; tag != NULL; tag = next_tag(tag)) {
        if (!read_attribute(tag, "data-row", &row)) {
            continue;
        }
        double column = number_of(tag, "data-column");
        which += row * CELLS + column <= last;
        last = row * CELLS + column;
        assert_true(which < count);
        const json_t *rows = json_object_get(numbers, names[which]);
        const json_t *value = json_array_get(json_array_get(rows, (size_t)row), (size_t)column);
        compare(names[which], number_of(tag, "data-value"), json_number_value(value));
    }
    assert_int_equal(which, count - 1);
    for (size_t r = 0; r < CELLS; r++) {
        const json_t *list = json_array_get(json_object_get(numbers, "weights_by_position"), r);
        double sum = 0.0;
        for (size_t c = 0; c < json_array_size(list); c++) {
            sum += json_number_value(json_array_get(list, c));
        }
        assert_int_equal(json_array_size(list), CELLS);
        assert_true(sum > 0.0 && sum < 1.01);
    }
}

static void check_long(const char *scene, const rf_illustrate_options *options)
{
    static const char *const of_lsh[] = {"tokens_by_position", "tokens_by_slot",
                                         "weights_by_position", "weights_by_slot"};
    static const char *const of_local[] = {"weights_by_position"};
    json_t *numbers = NULL;
    json_t *again = NULL;
    clock_t before = clock();
    char *svg = draw(*options, scene, &numbers);
    assert_true((double)(clock() - before) / CLOCKS_PER_SEC < 10.0);
    assert_true(strlen(svg) < 600000); /* three of them, and the others, in 2 MB */
    assert_xml(svg, strlen(svg));
    char *second = draw(*options, scene, &again);
    assert_string_equal(svg, second);
    assert_int_equal(json_equal(numbers, again), 1);
    if (strcmp(scene, "lsh") == 0) {
        check_bins(svg, numbers, of_lsh, 4);
    } else if (strcmp(scene, "local") == 0) {
        check_bins(svg, json_object_get(numbers, "model"), of_local, 1);
    } else {
        const json_t *list = json_object_get(numbers, "stretches");
        double sum = 0.0;
        for (size_t i = 0; i < json_array_size(list); i++) {
            sum += json_number_value(json_array_get(list, i));
        }
        assert_true(fabs(sum - 1.0) < 1e-6);
    }
    json_decref(numbers);
    json_decref(again);
    rf_release(svg);
    rf_release(second);
}

static void test_long(void **state)
{
    (void)state;
    rf_model *model = NULL;
    char *folder = path_of("long");
    void *memory = NULL;
    make_model(folder, true, true, &model);
    assert_ok(rf_allocate(LONG, "a text", &memory, error));
    char *many = memory;
    for (int64_t i = 0; i < LONG; i++) {
        many[i] = text[i * i % 97 % LENGTH];
    }
    const rf_illustrate_options options = {.model = folder,
                                           .text = many,
                                           .text_size = LONG,
                                           .layer = -1,
                                           .head = -1,
                                           .round = -1,
                                           .position = -1};
    check_long("lsh", &options);
    check_long("local", &options);
    check_long("attention", &options);
    rf_release(memory);
    rf_model_destroy(model);
    rf_release(folder);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    rf_model *model = NULL;
    char *folder = path_of("causal");
    make_model(folder, true, false, &model);
    static const struct {
        int64_t layer, head, round, position;
        const char *scene, *message;
    } cases[] = {
        {3, -1, -1, -1, "attention", "scene attention: layer is 3, expected 0 to 2"},
        {-1, 2, -1, -1, "lsh", "scene lsh: head is 2, expected 0 to 1"},
        {-1, -1, 2, -1, "lsh", "scene lsh: round is 2, expected 0 to 1"},
        {-1, -1, -1, 47, "lsh", "scene lsh: position is 47, expected 0 to 46"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *report = NULL;
        rf_error failure = {0};
        const rf_illustrate_options options = {.model = folder,
                                               .text = text,
                                               .text_size = LENGTH,
                                               .scenes = cases[i].scene,
                                               .layer = cases[i].layer,
                                               .head = cases[i].head,
                                               .round = cases[i].round,
                                               .position = cases[i].position,
                                               .threads = 1};
        assert_int_equal(rf_illustrate(&options, &report, &failure), RF_ERR_ARGUMENT);
        if (strstr(failure.message, cases[i].message) == NULL) {
            fail_msg("expected '%s', found '%s'", cases[i].message, failure.message);
        }
    }
    rf_model_destroy(model);
    rf_release(folder);
}

/* ---- memory ------------------------------------------------------------------------------ */

static bool countdown(void *user, size_t size)
{
    int64_t *left = user;
    (void)size;
    return (*left)-- > 0;
}

/* Whichever allocation fails, nothing is left behind. */
static void test_memory(void **state)
{
    (void)state;
    rf_model *model = NULL;
    char *folder = path_of("causal");
    make_model(folder, true, false, &model);
    const rf_illustrate_options options = {.model = folder,
                                           .text = text,
                                           .text_size = LENGTH,
                                           .scenes = "lsh,local,attention",
                                           .layer = -1,
                                           .head = -1,
                                           .round = -1,
                                           .position = -1,
                                           .threads = 1};
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    for (int64_t allowed = 0; status != RF_OK;
         allowed += 7) { /* it is the same code again and again */
        int64_t left = allowed;
        char *report = NULL;
        rf_error failure = {0};
        rf_memory_set_hook(countdown, &left);
        status = rf_illustrate(&options, &report, &failure);
        rf_memory_set_hook(NULL, NULL);
        assert_true(status == RF_OK || status == RF_ERR_MEMORY);
        rf_text_release(report);
        assert_true(rf_memory_in_use() == before);
    }
    rf_model_destroy(model);
    rf_release(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lsh),       cmocka_unit_test(test_local),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_long),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
