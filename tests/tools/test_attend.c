/* What tokens look at: the report and the CSV against the rows of the library, and the set of what
 * is attended to against the orders and borders that the report itself lists. */
#include "devices.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/inside.h"
#include "reformer/tools.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LAYERS = 4, LENGTH = 59, MOST_FILE = 1 << 24 };

static const char config[] =
    "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\", \"full\", "
    "\"full_shared\"], \"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [8, 64], "
    "\"feed_forward_size\": 24, \"hidden_size\": 16, \"local_attn_chunk_length\": 8, "
    "\"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": 512, \"num_attention_heads\": 2, "
    "\"num_buckets\": 4, \"num_hashes\": 3, \"vocab_size\": 258, \"is_decoder\": true, "
    "\"hash_seed\": 4, \"initializer_range\": 0.3, \"axial_norm_std\": 0.3}";

/* 59 bytes; one is no UTF-8, and some cannot be seen. */
static const char text[] = "the sea, \"the\" sea\n\tand \xFF the \\ sky <above> & the sea below";

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static rf_model *make_model(const char *folder)
{
    rf_model *model = NULL;
    rf_model_options options = {.device = test_device(), .precision = "f32", .threads = 1};
    assert_int_equal(sizeof text - 1, LENGTH);
    assert_ok(rf_model_create(config, 3, "huggingface", &options, &model, error));
    assert_ok(rf_model_save(model, folder, NULL, error));
    return model;
}

static json_t *report_of(const rf_attend_options *options)
{
    char *report = NULL;
    json_t *object = NULL;
    assert_ok(rf_attend(options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    rf_text_release(report);
    return object;
}

static int64_t whole(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static double real(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static int64_t element(const json_t *list, int64_t index)
{
    return json_integer_value(json_array_get(list, (size_t)index));
}

/* ---- the set ----------------------------------------------------------------------------- */

static int64_t token_in(const json_t *report, int64_t round, int64_t slot)
{
    const json_t *orders = json_object_get(report, "orders");
    if (orders == NULL) {
        return slot < LENGTH ? slot : -1;
    }
    return element(json_array_get(orders, (size_t)round), slot);
}

static void mark_chunk(const json_t *report, int64_t query, int64_t round, int64_t chunk,
                       bool *seen)
{
    const json_t *borders = json_object_get(report, "borders");
    int64_t next = element(borders, chunk) + whole(report, "chunk");
    for (int64_t slot = element(borders, chunk); slot < next; slot++) {
        int64_t token = token_in(report, round, slot);
        if (token >= 0 && token <= query) { /* the model is causal */
            seen[token] = true;
        }
    }
}

/* Everything that the plan lets a query see in the round where it stands in this chunk. */
static void mark_round(const json_t *report, int64_t query, int64_t round, int64_t chunk,
                       bool *seen)
{
    int64_t chunks = (int64_t)json_array_size(json_object_get(report, "borders"));
    int64_t rounds = whole(report, "rounds");
    const char *wrap = json_string_value(json_object_get(report, "wrap"));
    for (int64_t shift = -whole(report, "before"); shift <= whole(report, "after"); shift++) {
        int64_t at = chunk + shift;
        if (strcmp(wrap, "none") == 0) {
            if (at >= 0 && at < chunks) {
                mark_chunk(report, query, round, at, seen);
            }
        } else if (strcmp(wrap, "round") == 0) {
            mark_chunk(report, query, round, (at + chunks) % chunks, seen);
        } else {
            int64_t all = rounds * chunks;
            int64_t number = (round * chunks + at + all) % all;
            mark_chunk(report, query, number / chunks, number % chunks, seen);
        }
    }
}

static void check_set(const json_t *report, const json_t *query)
{
    bool seen[LENGTH] = {false};
    const json_t *rounds = json_object_get(query, "rounds");
    const json_t *attended = json_object_get(query, "attended");
    int64_t position = whole(query, "position");
    assert_int_equal(json_array_size(rounds), whole(report, "rounds"));
    for (int64_t r = 0; r < whole(report, "rounds"); r++) {
        const json_t *round = json_array_get(rounds, (size_t)r);
        int64_t slot = whole(round, "slot");
        assert_int_equal(token_in(report, r, slot), position);
        assert_int_equal(whole(round, "chunk"), slot / whole(report, "chunk"));
        mark_round(report, position, r, whole(round, "chunk"), seen);
    }
    int64_t expected = 0;
    for (int64_t i = 0; i < LENGTH; i++) {
        expected += seen[i];
    }
    assert_int_equal(json_array_size(attended), expected);
    assert_int_equal(whole(query, "count"), expected);
    for (int64_t i = 0; i < expected; i++) {
        assert_true(seen[whole(json_array_get(attended, (size_t)i), "position")]);
    }
}

/* ---- the numbers ------------------------------------------------------------------------- */

static int64_t place_in(const rf_attention_row *row, int64_t position)
{
    for (int64_t i = 0; i < row->count; i++) {
        if (row->positions[i] == position) {
            return i;
        }
    }
    fail_msg("position %lld is not attended to", (long long)position);
    return -1;
}

static void check_row(const rf_attention *attention, const json_t *query)
{
    rf_attention_row row;
    const json_t *list = json_object_get(query, "attended");
    double before = 2.0;
    double sum = 0.0;
    assert_ok(rf_attention_weights(attention, whole(query, "position"), &row, error));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        int64_t at = place_in(&row, whole(item, "position"));
        double weight = real(item, "weight");
        assert_true(weight == row.weights[at]);
        assert_true(weight <= before);
        assert_int_equal(whole(item, "id"), (int)(unsigned char)text[row.positions[at]] + 2);
        for (int64_t r = 0; r < row.rounds; r++) {
            const json_t *parts = json_object_get(item, "parts");
            assert_true(json_number_value(json_array_get(parts, (size_t)r)) ==
                        row.parts[at * row.rounds + r]);
        }
        before = weight;
        sum += weight;
    }
    bool itself_alone = row.log_norm < -9e4F;
    assert_true(fabs(sum - 1.0) < (itself_alone ? 5e-3 : 1e-6));
    assert_true(fabs(real(query, "sum") - sum) < 1e-12);
    assert_true(real(query, "log_norm") == (double)row.log_norm);
    for (int64_t r = 0; r < row.rounds; r++) {
        const json_t *round = json_array_get(json_object_get(query, "rounds"), (size_t)r);
        const int32_t *buckets = rf_attention_buckets(attention, r);
        assert_true(real(round, "share") == row.shares[r]);
        assert_true(buckets == NULL || whole(round, "bucket") == buckets[whole(query, "position")]);
    }
    rf_attention_row_clear(&row);
}

static void check_tokens(const rf_attention *attention, const json_t *report)
{
    rf_attention_info info = rf_attention_describe(attention);
    const json_t *tokens = json_object_get(report, "tokens");
    const json_t *borders = json_object_get(report, "borders");
    assert_int_equal(json_array_size(tokens), LENGTH);
    assert_int_equal(json_array_size(borders), info.slots / info.chunk);
    assert_string_equal(json_string_value(json_object_get(report, "kind")), info.kind);
    for (int64_t r = 0; r < info.rounds && info.buckets > 0; r++) {
        const int32_t *order = rf_attention_order(attention, r);
        const int32_t *buckets = rf_attention_buckets(attention, r);
        for (int64_t i = 0; i < info.slots; i++) {
            assert_int_equal(token_in(report, r, i), order[i]);
        }
        for (int64_t i = 0; i < LENGTH; i++) {
            const json_t *token = json_array_get(tokens, (size_t)i);
            assert_int_equal(element(json_object_get(token, "buckets"), r), buckets[i]);
        }
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 18), "text")),
                        "\\n");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 24), "text")),
                        "\\xFF");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 30), "text")),
                        "\\\\");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 0), "text")), "t");
}

/* A line for each of a query's attended tokens, in ascending order. */
static void check_csv(const char *path, const rf_attention *attention)
{
    char *bytes = NULL;
    size_t size = 0;
    rf_attention_info info = rf_attention_describe(attention);
    assert_ok(rf_file_read(path, MOST_FILE, &bytes, &size, error));
    const char *line = strchr(bytes, '\n') + 1;
    assert_memory_equal(bytes, "query,position,id,text,weight,round_0", 37);
    for (int64_t query = 0; query < LENGTH; query++) {
        rf_attention_row row;
        assert_ok(rf_attention_weights(attention, query, &row, error));
        for (int64_t i = 0; i < row.count; i++) {
            char expected[512];
            int used = snprintf(expected, sizeof expected, "%lld,%lld,%d,\"", (long long)query,
                                (long long)row.positions[i],
                                (int)(unsigned char)text[row.positions[i]] + 2);
            assert_memory_equal(line, expected, (size_t)used);
            line = strstr(line + used, "\",") + 1;
            (void)snprintf(expected, sizeof expected, ",%.17g,", row.weights[i]);
            assert_memory_equal(line, expected, strlen(expected));
            for (int64_t r = 0; r < info.rounds; r++) {
                line = strchr(line + 1, ',');
                (void)snprintf(expected, sizeof expected, ",%.17g", row.parts[i * row.rounds + r]);
                assert_memory_equal(line, expected, strlen(expected));
            }
            line = strchr(line, '\n') + 1;
        }
        rf_attention_row_clear(&row);
    }
    assert_int_equal(line - bytes, size);
    assert_non_null(strstr(bytes, ",36,\"\"\"\","));
    rf_release(bytes);
}

static void test_reports(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *csv = path_of("weights.csv");
    rf_model *model = make_model(folder);
    int64_t all[LENGTH];
    int32_t ids[LENGTH];
    for (int64_t i = 0; i < LENGTH; i++) {
        all[i] = i % 2 == 0 ? i : i - LENGTH;
        ids[i] = (int32_t)(unsigned char)text[i] + 2;
    }
    for (int64_t place = 0; place < 2 * LAYERS; place++) {
        rf_attention_place where = {place / 2, place % 2};
        rf_attend_options options = {.model = folder,
                                     .text = text,
                                     .text_size = LENGTH,
                                     .layer = where.layer,
                                     .head = where.head,
                                     .positions = all,
                                     .position_count = LENGTH,
                                     .csv = csv,
                                     .device = test_device(),
                                     .precision = "f32",
                                     .threads = 1};
        rf_attention *attention = NULL;
        assert_ok(rf_model_attention(model, ids, NULL, LENGTH, &where, 1, &attention, error));
        json_t *report = report_of(&options);
        const json_t *queries = json_object_get(report, "queries");
        assert_int_equal(json_array_size(queries), LENGTH);
        for (size_t i = 0; i < LENGTH; i++) {
            assert_int_equal(whole(json_array_get(queries, i), "position"), i);
            check_row(attention, json_array_get(queries, i));
            check_set(report, json_array_get(queries, i));
        }
        check_tokens(attention, report);
        check_csv(csv, attention);
        json_decref(report);
        rf_attention_destroy(attention);
    }
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(csv);
}

/* ---- which tokens ------------------------------------------------------------------------ */

static void expect_queries(const rf_attend_options *options, const int *expected, size_t count)
{
    json_t *report = report_of(options);
    const json_t *queries = json_object_get(report, "queries");
    assert_int_equal(json_array_size(queries), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *query = json_array_get(queries, i);
        const json_t *attended = json_object_get(query, "attended");
        assert_int_equal(whole(query, "position"), expected[i]);
        int64_t listed = (int64_t)json_array_size(attended);
        assert_true(listed == options->top || listed == whole(query, "count"));
    }
    json_decref(report);
}

static void test_queries(void **state)
{
    (void)state;
    char *folder = path_of("model");
    rf_model *model = make_model(folder);
    rf_attend_options options = {.model = folder,
                                 .text = text,
                                 .text_size = LENGTH,
                                 .layer = -1,
                                 .top = 3,
                                 .device = test_device(),
                                 .precision = "f32",
                                 .threads = 1};
    static const int sea[] = {4, 5, 6, 15, 16, 17, 50, 51, 52};
    static const int mixed[] = {5, 58, 4, 6, 15, 16, 17, 50, 51, 52};
    const int64_t positions[] = {5, -1, 58, -54};
    json_t *report = report_of(&options);
    assert_int_equal(whole(report, "layer"), 1);
    json_decref(report);
    expect_queries(&options, (const int[]){58}, 1);
    options.token = "sea";
    expect_queries(&options, sea, 9);
    options.positions = positions;
    options.position_count = 4;
    expect_queries(&options, mixed, 10);
    options.token = NULL;
    expect_queries(&options, mixed, 2);
    rf_model_destroy(model);
    rf_release(folder);
}

/* 400 tokens: the lists of all of them only where asked for. */
static void test_long(void **state)
{
    (void)state;
    char *folder = path_of("model");
    rf_model *model = make_model(folder);
    char many[400];
    memset(many, 'a', sizeof many);
    rf_attend_options options = {.model = folder,
                                 .text = many,
                                 .text_size = sizeof many,
                                 .layer = 1,
                                 .top = 2,
                                 .device = test_device(),
                                 .precision = "f32",
                                 .threads = 1};
    json_t *report = report_of(&options);
    assert_null(json_object_get(report, "tokens"));
    assert_null(json_object_get(report, "orders"));
    json_decref(report);
    options.tokens = true;
    report = report_of(&options);
    assert_int_equal(json_array_size(json_object_get(report, "tokens")), 400);
    assert_int_equal(json_array_size(json_object_get(report, "orders")), 3);
    json_decref(report);
    rf_model_destroy(model);
    rf_release(folder);
}

/* ---- the picture ------------------------------------------------------------------------- */

static void test_picture(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *picture = path_of("weights.svg");
    rf_model *model = make_model(folder);
    char *bytes = NULL;
    size_t size = 0;
    const int64_t positions[] = {-1, 30};
    rf_attend_options options = {.model = folder,
                                 .text = text,
                                 .text_size = LENGTH,
                                 .layer = 2,
                                 .positions = positions,
                                 .position_count = 2,
                                 .picture = picture,
                                 .device = test_device(),
                                 .precision = "f32",
                                 .threads = 1};
    json_decref(report_of(&options));
    assert_ok(rf_file_read(picture, MOST_FILE, &bytes, &size, error));
    assert_memory_equal(bytes, "<svg ", 5);
    assert_non_null(strstr(bytes, "layer 2 (full), head 0"));
    int64_t points = 0;
    const char *end = strstr(strstr(bytes, " points=\""), "\"/>");
    for (const char *c = strstr(bytes, " points=\""); c < end; c++) {
        points += *c == ',';
    }
    assert_int_equal(points, 3 * LENGTH); /* the last token sees all in a full layer */
    rf_release(bytes);
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(picture);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void check_refusal(rf_attend_options options, const char *message)
{
    char *report = NULL;
    rf_error error = {0};
    assert_int_equal(rf_attend(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_null(report);
    if (strstr(error.message, message) == NULL) {
        fail_msg("expected '%s', found '%s'", message, error.message);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    char *folder = path_of("model");
    rf_model *model = make_model(folder);
    const int64_t outside = 59;
    const int64_t before = -60;
    int64_t many[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    char long_text[600] = {0};
    memset(long_text, 'a', sizeof long_text);
    const rf_attend_options options = {.model = folder,
                                       .text = text,
                                       .text_size = LENGTH,
                                       .device = test_device(),
                                       .precision = "f32",
                                       .threads = 1};
    rf_attend_options wrong = options;
    wrong.positions = &outside;
    wrong.position_count = 1;
    check_refusal(wrong, "position 59 is outside the text of 59 tokens, expected -59 to 58");
    wrong.positions = &before;
    check_refusal(wrong, "position -60 is outside");
    wrong.positions = many;
    wrong.position_count = 8;
    wrong.picture = "weights.svg";
    check_refusal(wrong, "at most 7 tokens look at, but 8 are chosen");
    wrong.picture = "weights.jpeg";
    check_refusal(wrong, "expected a name that ends in .svg or .png");
    wrong = options;
    wrong.token = "whale";
    check_refusal(wrong, "'whale' does not stand in the text");
    wrong.token = "";
    check_refusal(wrong, "'' does not stand in the text");
    wrong = options;
    wrong.layer = 4;
    check_refusal(wrong, "layer 4, head 0");
    wrong.layer = -2;
    check_refusal(wrong, "layer is -2");
    wrong = options;
    wrong.top = -1;
    check_refusal(wrong, "top is -1");
    wrong = options;
    wrong.text_size = 0;
    check_refusal(wrong, "the text has no token");
    wrong.text = long_text;
    wrong.text_size = sizeof long_text;
    check_refusal(wrong, "the text has 600 tokens, but the model has 512 positions");
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

/* Whichever allocation fails: a message, and nothing is left behind. */
static void test_memory(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *csv = path_of("never.csv");
    rf_model *model = make_model(folder);
    rf_attend_options options = {.model = folder,
                                 .text = text,
                                 .text_size = LENGTH,
                                 .layer = 1,
                                 .csv = csv,
                                 .device = test_device(),
                                 .precision = "f32",
                                 .threads = 1};
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    for (int64_t allowed = 0; status != RF_OK; allowed++) {
        int64_t left = allowed;
        char *report = NULL;
        rf_error failure = {0};
        rf_memory_set_hook(countdown, &left);
        status = rf_attend(&options, &report, &failure);
        rf_memory_set_hook(NULL, NULL);
        assert_true(status == RF_OK || status == RF_ERR_MEMORY);
        assert_true((status == RF_OK) == (report != NULL));
        assert_true(status == RF_OK || failure.message[0] != '\0');
        rf_text_release(report);
        assert_true(rf_memory_in_use() == before);
    }
    assert_true(rf_file_exists(csv));
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),  cmocka_unit_test(test_queries),
        cmocka_unit_test(test_long),     cmocka_unit_test(test_picture),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory),
    };
    return run_on_devices("attend", tests, sizeof tests / sizeof tests[0]);
}
