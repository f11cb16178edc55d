/* Pictures: what is drawn is what operations give, worked out here once more; the files are
 * well-formed, and the same twice. */
#include "no_memory.h"
#include "support.h"
#include "xml.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "model/model.h"
#include "reformer/tools.h"

#include <math.h>
#include <string.h>

enum { MOST_BYTES = 1 << 22 };

static const char config[] =
    "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\"], \"axial_pos_embds_dim\": "
    "[6, 10], \"axial_pos_shape\": [8, 24], \"feed_forward_size\": 24, \"hidden_size\": 16, "
    "\"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": "
    "192, \"num_attention_heads\": 2, \"num_buckets\": 4, \"vocab_size\": 258, \"is_decoder\": "
    "true, \"hash_seed\": 4, \"initializer_range\": 0.3, \"axial_norm_std\": 0.3}";
static const char text[] = "a text of <some> & \"other\" tokens, which is long enough\n";

/* The model's folder, made once. */
static const char *model_folder(void)
{
    static char *folder = NULL;
    if (folder == NULL) {
        rf_model *model = NULL;
        assert_ok(rf_path_join(test_folder(), "model", &folder, error));
        assert_ok(rf_model_create(config, 3, "huggingface", NULL, &model, error));
        assert_ok(rf_model_save(model, folder, NULL, error));
        rf_model_destroy(model);
    }
    return folder;
}

static rf_illustrate_options options_of(const char *scenes, const char *output)
{
    return (rf_illustrate_options){.model = model_folder(),
                                   .text = text,
                                   .text_size = sizeof text - 1,
                                   .scenes = scenes,
                                   .layer = -1,
                                   .head = -1,
                                   .round = -1,
                                   .position = -1,
                                   .seed = 5,
                                   .output = output};
}

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static char *read_file(const char *path, size_t *size)
{
    char *bytes = NULL;
    assert_ok(rf_file_read(path, MOST_BYTES, &bytes, size, error));
    return bytes;
}

/* One scene: its picture (released with rf_release), and its numbers. */
typedef struct shown {
    char *svg;
    json_t *report;
    const json_t *numbers;
} shown;

static shown show(rf_illustrate_options options)
{
    shown s = {0};
    char *report = NULL;
    char *path = NULL;
    size_t size = 0;
    options.output = path_of("pictures");
    assert_ok(rf_illustrate(&options, &report, error));
    assert_ok(rf_string_format(&path, error, "%s/%s.svg", options.output, options.scenes));
    s.svg = read_file(path, &size);
    assert_xml(s.svg, size);
    s.report = json_loads(report, 0, NULL);
    s.numbers = json_object_get(json_array_get(json_object_get(s.report, "scenes"), 0), "numbers");
    assert_non_null(s.numbers);
    rf_release(path);
    rf_release(report);
    rf_release((void *)(uintptr_t)options.output);
    return s;
}

static void end(shown *s)
{
    rf_release(s->svg);
    json_decref(s->report);
}

static double at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

/* ---- hashing ----------------------------------------------------------------------------- */

static void test_hyperplane(void **state)
{
    (void)state;
    shown s = show(options_of("hyperplane", NULL));
    const json_t *points = json_object_get(s.numbers, "points");
    const json_t *normals = json_object_get(s.numbers, "normals");
    const json_t *buckets = json_object_get(s.numbers, "buckets");
    assert_int_equal(json_array_size(points), 12);
    assert_int_equal(json_array_size(normals), 3);
    for (size_t i = 0; i < 12; i++) {
        int bucket = 0;
        double x = xml_number(s.svg, "data-x", i);
        double y = xml_number(s.svg, "data-y", i);
        assert_true(fabs(x - at(json_array_get(points, i), 0)) < 1e-7);
        assert_true(fabs(y - at(json_array_get(points, i), 1)) < 1e-7);
        for (size_t k = 0; k < 3; k++) {
            double side = x * xml_number(s.svg, "data-normal-x", k) +
                          y * xml_number(s.svg, "data-normal-y", k);
            bucket += side < 0.0 ? 1 << k : 0;
        }
        assert_int_equal((int)xml_number(s.svg, "data-bucket", i), bucket);
        assert_int_equal((int)at(buckets, i), bucket);
        /* The point stands where its numbers say. */
        assert_true(fabs(xml_number(s.svg, "cx", 3 + 2 * i + 1) - (260.0 + 200.0 * x)) < 0.01);
        assert_true(fabs(xml_number(s.svg, "cy", 3 + 2 * i + 1) - (222.0 - 200.0 * y)) < 0.01);
    }
    end(&s);
}

/* The quarter that a vector points into. */
static int quarter(double x, double y)
{
    const double values[4] = {x, y, -x, -y};
    int best = 0;
    for (int i = 1; i < 4; i++) {
        best = values[i] > values[best] ? i : best;
    }
    return best;
}

static void test_angular(void **state)
{
    (void)state;
    shown s = show(options_of("angular", NULL));
    const json_t *points = json_object_get(s.numbers, "points");
    const json_t *rotations = json_object_get(s.numbers, "rotations");
    const json_t *buckets = json_object_get(s.numbers, "buckets");
    const json_t *agreements = json_object_get(s.numbers, "agreements");
    for (size_t pair = 0; pair < 2; pair++) {
        int agreed = 0;
        for (size_t round = 0; round < 3; round++) {
            int found[2];
            for (size_t i = 0; i < 2; i++) {
                const json_t *point = json_array_get(points, 2 * pair + i);
                double turned[2];
                for (size_t k = 0; k < 2; k++) {
                    turned[k] = at(point, 0) * at(rotations, 2 * round + k) +
                                at(point, 1) * at(rotations, 6 + 2 * round + k);
                }
                /* Drawn vectors: each row has four panels of two. */
                size_t drawn = pair * 8 + 2 + 2 * round + i;
                assert_true(fabs(turned[0] - xml_number(s.svg, "data-x", drawn)) < 1e-6);
                assert_true(fabs(turned[1] - xml_number(s.svg, "data-y", drawn)) < 1e-6);
                found[i] = quarter(turned[0], turned[1]);
                assert_int_equal((int)at(buckets, round * 4 + 2 * pair + i), found[i]);
            }
            assert_int_equal((int)xml_number(s.svg, "data-first", pair * 3 + round), found[0]);
            assert_int_equal((int)xml_number(s.svg, "data-second", pair * 3 + round), found[1]);
            agreed += found[0] == found[1];
        }
        assert_int_equal((int)at(agreements, pair), agreed);
    }
    end(&s);
}

/* ---- a layer there and back -------------------------------------------------------------- */

typedef struct seen {
    int32_t first[2][2]; /* before and behind layer 1, of each stream: the number asked for */
    int64_t index;
} seen;

static rf_status see(void *user, int64_t layer, const rf_tensor streams[2], rf_error *error)
{
    seen *s = user;
    (void)error;
    for (size_t k = 0; k < 2 && layer >= 1; k++) {
        s->first[layer - 1][k] = ((const int32_t *)streams[k].data)[s->index];
    }
    return RF_OK;
}

static void test_reversible(void **state)
{
    (void)state;
    rf_illustrate_options options = options_of("reversible", NULL);
    options.position = 7;
    shown s = show(options);
    int32_t ids[sizeof text - 1];
    rf_model *model = NULL;
    seen truth = {.index = (int64_t)7 * 16 + 1}; /* the second number of token 7 */
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        ids[i] = (unsigned char)text[i] + 2;
    }
    rf_batch batch = {.batch = 1, .length = (int64_t)(sizeof text - 1), .ids = ids};
    rf_hooks hooks = {.user = &truth, .streams = see};
    assert_ok(rf_model_load(model_folder(), NULL, &model, error));
    assert_ok(rf_model_evaluate(model, &batch, &hooks, error));
    const char *const names[] = {"before", "behind"};
    for (size_t when = 0; when < 2; when++) {
        for (size_t k = 0; k < 2; k++) {
            const json_t *stream = json_array_get(json_object_get(s.numbers, names[when]), k);
            assert_int_equal((int64_t)at(stream, 1), truth.first[when][k]);
        }
    }
    assert_true(
        json_equal(json_object_get(s.numbers, "before"), json_object_get(s.numbers, "restored")));
    assert_int_equal(json_integer_value(json_object_get(s.numbers, "largest_difference")), 0);
    assert_int_equal(json_integer_value(json_object_get(s.numbers, "compared")),
                     2 * 16 * (int64_t)(sizeof text - 1));
    assert_true(xml_number(s.svg, "data-difference", 0) == 0.0);
    assert_true(xml_number(s.svg, "data-difference", 1) > 0.0);
    /* Rows of three: X, what is added, their sum. */
    for (size_t row = 0; row < 12; row += 3) {
        for (size_t c = 0; c < 3; c++) {
            double sum = xml_number(s.svg, "data-value", 3 * row + c) +
                         xml_number(s.svg, "data-value", 3 * (row + 1) + c);
            assert_true(sum == xml_number(s.svg, "data-value", 3 * (row + 2) + c));
        }
    }
    assert_int_equal((int32_t)xml_number(s.svg, "data-value", 1), truth.first[0][0]);
    assert_int_equal((int32_t)xml_number(s.svg, "data-value", 7), truth.first[1][0]);
    rf_model_destroy(model);
    end(&s);
}

/* ---- chunks ------------------------------------------------------------------------------ */

static void test_chunking(void **state)
{
    (void)state;
    rf_illustrate_options options = options_of("chunking", NULL);
    shown s = show(options);
    const json_t *chunks = json_object_get(s.numbers, "chunks");
    assert_int_equal(json_array_size(chunks), 4); /* 192, 48, 12, 3 */
    for (size_t i = 0; i < json_array_size(chunks); i++) {
        const json_t *chunk = json_array_get(chunks, i);
        double rows = json_number_value(json_object_get(chunk, "rows"));
        double bytes = json_number_value(json_object_get(chunk, "bytes"));
        double inner = ceil(rows * 24.0 * 4.0 / 256.0) * 256.0;
        double norm = ceil(rows * 16.0 * 4.0 / 256.0) * 256.0;
        assert_true(rows == 192.0 / pow(4.0, (double)i));
        assert_true(bytes >= inner && bytes <= inner + norm);
        assert_true(xml_number(s.svg, "data-bytes", i) == bytes);
        assert_null(json_object_get(chunk, "seconds"));
    }
    assert_true(json_number_value(json_object_get(s.numbers, "largest_difference")) < 1e-4);
    assert_int_equal(xml_count(s.svg, "data-seconds"), 0);
    end(&s);
    options.timing = true;
    s = show(options);
    chunks = json_object_get(s.numbers, "chunks");
    for (size_t i = 0; i < 4; i++) {
        double seconds = json_number_value(json_object_get(json_array_get(chunks, i), "seconds"));
        assert_true(seconds > 0.0);
        assert_true(fabs(xml_number(s.svg, "data-seconds", i) / seconds - 1.0) < 1e-6);
    }
    end(&s);
}

/* ---- positions --------------------------------------------------------------------------- */

static void test_axial(void **state)
{
    (void)state;
    rf_illustrate_options options = options_of("axial", NULL);
    options.position = 101; /* row 4, column 5 of 8 x 24 */
    shown s = show(options);
    rf_model *model = NULL;
    assert_ok(rf_model_load(model_folder(), NULL, &model, error));
    const json_t *vector = json_object_get(s.numbers, "vector");
    const float *tables[2];
    for (int k = 0; k < 2; k++) {
        tables[k] = model->values +
                    rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, k)->offset;
    }
    const size_t cells = 8 * 6 + 16 * 10; /* of the tables, and then the vector's */
    for (size_t i = 0; i < 16; i++) {
        double value = i < 6 ? (double)tables[0][4 * 6 + i] : (double)tables[1][5 * 10 + i - 6];
        assert_true(at(vector, i) == value);
        assert_true(fabs(xml_number(s.svg, "data-value", cells + i) - value) <= 1e-8);
    }
    for (size_t i = 0; i < 8 * 6; i++) { /* all rows of the first table */
        assert_true(fabs(xml_number(s.svg, "data-value", i) - (double)tables[0][i]) <= 1e-8);
    }
    /* Every one and a half rows of the second, but the fifth for the fourth. */
    static const size_t rows[16] = {0, 1, 3, 5, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22};
    for (size_t i = 0; i < 16 * 10; i++) {
        double value = (double)tables[1][rows[i / 10] * 10 + i % 10];
        assert_true(fabs(xml_number(s.svg, "data-value", 48 + i) - value) <= 1e-8);
    }
    assert_int_equal(xml_count(s.svg, "data-value"), cells + 16);
    rf_model_destroy(model);
    end(&s);
}

/* ---- pages and files --------------------------------------------------------------------- */

static char *draw_page(const rf_illustrate_options *options, size_t *size)
{
    char *report = NULL;
    assert_ok(rf_illustrate(options, &report, error));
    rf_release(report);
    return read_file(options->output, size);
}

/* Every picture in a page is well-formed; returns how many there are. */
static size_t check_pictures(const char *page)
{
    size_t count = 0;
    for (const char *from = strstr(page, "<svg "); from != NULL; from = strstr(from + 1, "<svg ")) {
        const char *last = strstr(from, "</svg>\n");
        assert_non_null(last);
        assert_xml(from, (size_t)(last - from) + 7);
        count++;
    }
    return count;
}

static void check_ids(const char *page)
{
    for (const char *from = strstr(page, " id=\""); from != NULL;
         from = strstr(from + 1, " id=\"")) {
        char id[80];
        size_t length = strcspn(from + 5, "\"") + 6;
        assert_true(length < sizeof id);
        memcpy(id, from, length);
        id[length] = '\0';
        if (xml_count(page, id) != 1) {
            fail_msg("%s stands %zu times", id, xml_count(page, id));
        }
    }
}

static void test_page(void **state)
{
    (void)state;
    char *path = path_of("page.html");
    rf_illustrate_options options = options_of(NULL, path);
    options.command = "reformer illustrate --data 'a & b'";
    size_t scenes = 0;
    size_t sizes[2];
    while (rf_illustrate_scene(scenes) != NULL) {
        scenes++;
    }
    char *first = draw_page(&options, &sizes[0]);
    char *second = draw_page(&options, &sizes[1]);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(first, second, sizes[0]);
    assert_true(sizes[0] < 2000000);
    assert_int_equal(check_pictures(first), scenes);
    check_ids(first);
    assert_non_null(strstr(first, "--data 'a &amp; b'"));
    assert_non_null(strstr(first, "name=\"viewport\""));
    /* Nothing is fetched or run; the names of namespaces are no addresses. */
    assert_null(strstr(first, "<script"));
    assert_null(strstr(first, "url("));
    assert_null(strstr(first, " src="));
    assert_int_equal(xml_count(first, "http"),
                     xml_count(first, "xmlns=\"http://www.w3.org/2000/svg\""));
    options.seed = 6;
    rf_release(second);
    second = draw_page(&options, &sizes[1]);
    assert_true(sizes[0] != sizes[1] || memcmp(first, second, sizes[0]) != 0);
    rf_release(first);
    rf_release(second);
    rf_release(path);
}

/* Without a model, without a text: a small one, a verse. */
static void test_small_model(void **state)
{
    (void)state;
    char *path = path_of("small.html");
    size_t size = 0;
    rf_illustrate_options options = options_of("reversible,axial", path);
    options.model = NULL;
    options.text = NULL;
    char *page = draw_page(&options, &size);
    assert_int_equal(check_pictures(page), 2);
    assert_non_null(strstr(page, "weights are random (seed 5)"));
    assert_true(strstr(page, "id=\"reversible\"") < strstr(page, "id=\"axial\""));
    rf_release(page);
    rf_release(path);
}

static void check_refused(rf_illustrate_options options, rf_status expected, const char *words)
{
    rf_error error = {0};
    char *report = NULL;
    assert_int_equal(rf_illustrate(&options, &report, &error), expected);
    assert_null(report);
    if (strstr(error.message, words) == NULL) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_refused(options_of("axial,sharp", NULL), RF_ERR_ARGUMENT, "no scene 'sharp', expected");
    check_refused(options_of("axial,axial", NULL), RF_ERR_ARGUMENT, "axial is named twice");
    check_refused(options_of("", NULL), RF_ERR_ARGUMENT, "no scene ''");
    rf_illustrate_options options = options_of("reversible", NULL);
    options.layer = 2;
    check_refused(options, RF_ERR_ARGUMENT, "scene reversible: layer is 2, expected 0 to 1");
    options = options_of("axial", NULL);
    options.position = 192;
    check_refused(options, RF_ERR_ARGUMENT, "position is 192, expected 0 to 191");
    options.position = 0;
    options.text_size = 1;
    check_refused(options, RF_ERR_ARGUMENT, "at least 2 tokens");
    options.model = "no-such-model";
    check_refused(options, RF_ERR_FILE, "no-such-model");
}

/* A model without tables of positions and without a second stream: of all scenes the others. */
static void test_left_out(void **state)
{
    (void)state;
    static const char other[] =
        "{\"attention_head_size\": 8, \"attn_layers\": [\"local\"], \"feed_forward_size\": 24, "
        "\"hidden_size\": 16, \"local_attn_chunk_length\": 8, \"max_position_embeddings\": 64, "
        "\"num_attention_heads\": 2, \"vocab_size\": 258, \"is_decoder\": true, "
        "\"axial_pos_embds\": false, \"reformer_c\": {\"position_kind\": \"sinusoidal\", "
        "\"residual\": \"standard\"}}";
    rf_model *model = NULL;
    char *report = NULL;
    char *folder = path_of("other");
    assert_ok(rf_model_create(other, 3, "huggingface", NULL, &model, error));
    assert_ok(rf_model_save(model, folder, NULL, error));
    rf_model_destroy(model);
    rf_illustrate_options options = options_of(NULL, NULL);
    options.model = folder;
    assert_ok(rf_illustrate(&options, &report, error));
    assert_non_null(strstr(report, "\"hyperplane\""));
    assert_null(strstr(report, "\"axial\""));
    assert_null(strstr(report, "\"reversible\""));
    rf_release(report);
    options.scenes = "axial";
    check_refused(options, RF_ERR_UNSUPPORTED, "sinusoids");
    options.scenes = "reversible";
    check_refused(options, RF_ERR_UNSUPPORTED, "standard residuals");
    rf_release(folder);
}

/* Models of every class can be drawn; a bare one has no backward. */
static void test_classes(void **state)
{
    (void)state;
    static const char *const classes[] = {"ReformerForMaskedLM",
                                          "ReformerForSequenceClassification",
                                          "ReformerForQuestionAnswering", "ReformerModel"};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        rf_model *model = NULL;
        char *report = NULL;
        char *text_of_config = NULL;
        char *folder = path_of(classes[i]);
        const char *decoder = strstr(config, "true");
        assert_ok(rf_string_format(&text_of_config, error,
                                   "%.*sfalse, \"architectures\": [\"%s\"]%s",
                                   (int)(decoder - config), config, classes[i], decoder + 4));
        assert_ok(rf_model_create(text_of_config, 3, "huggingface", NULL, &model, error));
        assert_ok(rf_model_save(model, folder, NULL, error));
        rf_model_destroy(model);
        rf_illustrate_options options = options_of(NULL, NULL);
        options.model = folder;
        assert_ok(rf_illustrate(&options, &report, error));
        assert_non_null(strstr(report, "\"chunking\""));
        assert_true((strstr(report, "\"largest_difference\": 0,") != NULL) == (i < 3));
        rf_release(report);
        rf_release(folder);
        rf_release(text_of_config);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    rf_illustrate_options options = options_of("hyperplane,reversible,chunking,axial", NULL);
    size_t before = rf_memory_in_use();
    rf_status status = RF_ERR_MEMORY;
    int attempts = 0;
    for (; status != RF_OK && attempts < 4000; attempts += 7) {
        int left = attempts;
        char *report = NULL;
        rf_memory_set_hook(fail_after, &left);
        status = rf_illustrate(&options, &report, NULL);
        rf_memory_set_hook(NULL, NULL);
        rf_release(report);
        assert_int_equal(rf_memory_in_use(), before);
    }
    assert_int_equal(status, RF_OK);
    assert_true(attempts > 20);
}

/* The reader itself tells good from bad. */
static void test_reader(void **state)
{
    (void)state;
    static const char *const bad[] = {"<a>",
                                      "<a></b>",
                                      "<a b=1/>",
                                      "<a b=\"<\"/>",
                                      "<a>&x;</a>",
                                      "<a>\xC3(</a>",
                                      "<a/><b/>",
                                      "<a b=\"1\"b=\"2\"/>",
                                      "<a>\x01</a>",
                                      "x",
                                      "<a b=\"1\" b=\"\"/>"};
    const char *why = NULL;
    size_t place = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(xml_is_well_formed(bad[i], strlen(bad[i]), &why, &place));
        assert_non_null(why);
    }
    static const char good[] = "<a x=\"1\" y=\"&amp;\"><b/>\xC3\xA9 &lt;<c>t</c></a>\n";
    assert_xml(good, sizeof good - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),   cmocka_unit_test(test_hyperplane),
        cmocka_unit_test(test_angular),  cmocka_unit_test(test_reversible),
        cmocka_unit_test(test_chunking), cmocka_unit_test(test_axial),
        cmocka_unit_test(test_page),     cmocka_unit_test(test_small_model),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_classes),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
