/* Words near to an expression, against vectors and cosines that are worked out here. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/inside.h"
#include "reformer/tasks.h"
#include "reformer/tools.h"

#include <math.h>
#include <string.h>

enum { HIDDEN = 16, WORDS = 6, MOST_TEXT = 128 };

static const char config[] =
    "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\"], \"axial_pos_embds_dim\": "
    "[8, 8], \"axial_pos_shape\": [8, 16], \"feed_forward_size\": 24, \"hidden_size\": 16, "
    "\"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": "
    "128, \"num_attention_heads\": 2, \"num_buckets\": 4, \"vocab_size\": 258, \"is_decoder\": "
    "true, \"hash_seed\": 4, \"initializer_range\": 0.3, \"axial_norm_std\": 0.3}";

/* Each word stands twice; by the number of its uses, then by bytes, this is their order. */
static const char text[] = "ox ewe ram cow, ram ox; cow ewe sow hen. hen sow? ox!";
static const char *const words[WORDS] = {"ox", "cow", "ewe", "hen", "ram", "sow"};

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static rf_model *make_model(const char *folder)
{
    rf_model *model = NULL;
    rf_model_options options = {.device = "cpu", .threads = 1};
    assert_ok(rf_model_create(config, 3, "huggingface", &options, &model, error));
    assert_ok(rf_model_save(model, folder, NULL, error));
    return model;
}

/* ---- what is expected -------------------------------------------------------------------- */

/* Mean vector of word w. rows: of every byte of the text, or NULL: from the table. */
static void mean_vector(const rf_model *model, const float *rows, int64_t width, int w, bool last,
                        double *mean)
{
    size_t size = strlen(words[w]);
    int64_t count = 0;
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (size_t at = 0; at + size < sizeof text; at++) {
        bool starts = at == 0 || strchr(" ,.;", text[at - 1]) != NULL;
        if (!starts || strncmp(text + at, words[w], size) != 0) {
            continue;
        }
        for (size_t i = last ? size - 1 : 0; i < size; i++) {
            float row[2 * HIDDEN];
            const int32_t id = (int32_t)(unsigned char)text[at + i] + 2;
            if (rows == NULL) {
                assert_ok(rf_model_token_vectors(model, &id, 1, row, error));
            } else {
                memcpy(row, rows + (int64_t)(at + i) * width, (size_t)width * sizeof *row);
            }
            for (int64_t k = 0; k < width; k++) {
                mean[k] += (double)row[k];
            }
            count++;
        }
    }
    assert_true(count > 0);
    for (int64_t k = 0; k < width; k++) {
        mean[k] /= (double)count;
    }
}

static double dot(const double *a, const double *b, int64_t width)
{
    double sum = 0.0;
    for (int64_t i = 0; i < width; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void normalise(double *x, int64_t width)
{
    double length = sqrt(dot(x, x, width));
    for (int64_t i = 0; i < width; i++) {
        x[i] /= length;
    }
}

typedef struct expected {
    double vectors[WORDS][2 * HIDDEN];
    double cosines[WORDS];
} expected;

/* ox - cow + hen */
static void work_out(expected *e, int64_t width, bool center)
{
    double mean[2 * HIDDEN] = {0};
    double sum[2 * HIDDEN] = {0};
    for (int64_t i = 0; i < width; i++) {
        for (int w = 0; w < WORDS && center; w++) {
            mean[i] += e->vectors[w][i] / WORDS;
        }
    }
    for (int w = 0; w < WORDS; w++) {
        for (int64_t i = 0; i < width; i++) {
            e->vectors[w][i] -= mean[i];
        }
        normalise(e->vectors[w], width);
    }
    for (int64_t i = 0; i < width; i++) {
        sum[i] = e->vectors[0][i] - e->vectors[1][i] + e->vectors[3][i];
    }
    normalise(sum, width);
    for (int w = 0; w < WORDS; w++) {
        e->cosines[w] = dot(sum, e->vectors[w], width);
    }
}

static void check_report(const expected *e, const rf_nearest_options *options, int64_t tokens)
{
    char *report = NULL;
    json_t *object = NULL;
    double before = 2.0;
    assert_ok(rf_nearest(options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    const json_t *list = json_object_get(object, "nearest");
    assert_int_equal(json_integer_value(json_object_get(object, "words")), WORDS);
    assert_int_equal(json_integer_value(json_object_get(object, "tokens")), tokens);
    assert_int_equal(json_array_size(json_object_get(object, "expression")), 3);
    assert_int_equal(json_array_size(list), 3); /* of six, three are in the expression */
    for (size_t i = 0; i < 3; i++) {
        const json_t *item = json_array_get(list, i);
        const char *word = json_string_value(json_object_get(item, "word"));
        double cosine = json_number_value(json_object_get(item, "cosine"));
        int w = 0;
        while (w < WORDS && strcmp(words[w], word) != 0) {
            w++;
        }
        assert_true(w == 2 || w >= 4);
        assert_int_equal(json_integer_value(json_object_get(item, "count")), 2);
        assert_true(fabs(cosine - e->cosines[w]) < 1e-5);
        assert_true(cosine <= before);
        before = cosine;
    }
    json_decref(object);
    rf_text_release(report);
}

static void test_cosines(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *data = path_of("text");
    rf_model *model = make_model(folder);
    int32_t ids[MOST_TEXT];
    static float rows[MOST_TEXT * 2 * HIDDEN];
    static expected e;
    int64_t length = (int64_t)sizeof text - 1;
    assert_ok(rf_file_write_atomic(data, text, (size_t)length, error));
    for (int64_t i = 0; i < length; i++) {
        ids[i] = (int32_t)(unsigned char)text[i] + 2;
    }
    for (int variant = 0; variant < 5; variant++) {
        bool table = variant == 0;
        rf_nearest_options options = {.model = folder,
                                      .data = data,
                                      .expression = "ox-cow +hen",
                                      .vectors = table ? "table" : NULL,
                                      .pooling = variant == 3 ? "last" : NULL,
                                      .layer = variant == 2 ? 1 : 0,
                                      .center = variant == 4,
                                      .min_count = 2,
                                      .device = "cpu",
                                      .threads = 1};
        rf_embed_options how = {.pooling = "none", .layer = options.layer};
        int64_t width = table ? HIDDEN : rf_model_embedding_width(model, &how);
        assert_ok(rf_model_embed(model, ids, NULL, 1, length, &how, rows, error));
        for (int w = 0; w < WORDS; w++) {
            mean_vector(model, table ? NULL : rows, width, w, variant == 3, e.vectors[w]);
        }
        work_out(&e, width, options.center);
        check_report(&e, &options, table ? 0 : length);
    }
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(data);
}

/* However long the windows, every word of a text is seen once, and every byte goes through once at
 * least. The words are those of windows that are cut between words. */
static void test_windows(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *data = path_of("long");
    rf_model *model = make_model(folder);
    static char all[4096];
    size_t size = 0;
    for (int i = 0; i < 60; i++) {
        const char *word = words[i % 5];
        memcpy(all + size, word, strlen(word));
        size += strlen(word);
        all[size++] = i % 7 == 0 ? '\n' : ' ';
    }
    assert_ok(rf_file_write_atomic(data, all, size, error));
    for (int64_t length = 3; length <= 48; length += 9) {
        char *report = NULL;
        json_t *object = NULL;
        rf_nearest_options options = {.model = folder,
                                      .data = data,
                                      .expression = "cow",
                                      .length = length,
                                      .device = "cpu",
                                      .threads = 1};
        assert_ok(rf_nearest(&options, &report, error));
        assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
        assert_true(json_integer_value(json_object_get(object, "tokens")) >= (json_int_t)size);
        assert_int_equal(json_array_size(json_object_get(object, "nearest")), 4);
        json_decref(object);
        rf_text_release(report);
    }
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(data);
}

static void check_refusal(rf_nearest_options options, const char *message)
{
    char *report = NULL;
    rf_error error = {0};
    assert_int_equal(rf_nearest(&options, &report, &error), RF_ERR_ARGUMENT);
    assert_null(report);
    if (strstr(error.message, message) == NULL) {
        fail_msg("expected '%s', found '%s'", message, error.message);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    char *folder = path_of("model");
    char *data = path_of("text");
    rf_model *model = make_model(folder);
    static const char *const wrong[] = {"",           "+",      "ox +",  "ox cow",
                                        "ox + - cow", "3 oxen", "ox * 2"};
    rf_nearest_options options = {.model = folder, .data = data, .device = "cpu", .threads = 1};
    assert_ok(rf_file_write_atomic(data, text, sizeof text - 1, error));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        options.expression = wrong[i];
        check_refusal(options, "expected words with + and - between them");
    }
    options.expression = "yak";
    check_refusal(options, "no word stands in the text 5 times");
    options.min_count = 1;
    check_refusal(options, "'yak' does not stand in the text");
    options.vectors = "both";
    check_refusal(options, "expected table or context");
    options.vectors = NULL;
    options.pooling = "first";
    check_refusal(options, "expected mean or last");
    options.pooling = NULL;
    options.data = NULL;
    check_refusal(options, "tokens are bytes");
    options.vectors = "context";
    check_refusal(options, "need a text");
    rf_model_destroy(model);
    rf_release(folder);
    rf_release(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosines),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
