/* The probe's figures against plain computation in double over the same queries, keys and values:
 * every position but the first is looked at, so that which are sampled does not matter. */
#include "devices.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"
#include "reformer/inside.h"
#include "reformer/probe.h"
#include "reformer/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYERS = 4,
    HEADS = 2,
    LENGTH = 150,
    WINDOWS = 2,
    WIDTH = 8,
    CHUNK = 8,
    ROUNDS = 3,
    BUCKETS = 6,
    QUERIES = LENGTH - 1,
    MOST_ROUNDS = 12
};
static const char *const kinds[LAYERS] = {"lsh", "local", "full", "full_shared"};

static const char config[] =
    "{\"attention_head_size\": 8, \"attn_layers\": [\"lsh\", \"local\", \"full\", "
    "\"full_shared\"], \"axial_pos_embds_dim\": [8, 8], \"axial_pos_shape\": [8, 20], "
    "\"feed_forward_size\": 24, \"hidden_size\": 16, \"local_attn_chunk_length\": 8, "
    "\"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": 160, \"num_attention_heads\": 2, "
    "\"num_buckets\": 6, \"num_hashes\": 3, \"vocab_size\": %d, \"is_decoder\": true, "
    "\"initializer_range\": 0.9, \"axial_norm_std\": 0.7%s}";

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static void write_text(const char *path, size_t size)
{
    char *text = NULL;
    void *memory = NULL;
    assert_ok(rf_allocate(size, "text", &memory, error));
    text = memory;
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)('a' + (i * i + i / 7) % 23);
    }
    assert_ok(rf_file_write_atomic(path, text, size, error));
    rf_release(text);
}

/* A model with these further keys, its text, and the options that look at all of it. */
typedef struct subject {
    char *folder, *text;
    rf_probe_options options;
} subject;

static subject make_subject_of(int vocabulary, const char *keys, const char *task)
{
    subject s = {.folder = path_of(task), .text = path_of("text")};
    char json[1024];
    rf_model *model = NULL;
    rf_model_options options = {.device = "cpu", .threads = 1, .task = task};
    (void)snprintf(json, sizeof json, config, vocabulary, keys);
    assert_ok(rf_model_create(json, 3, "huggingface", &options, &model, error));
    assert_ok(rf_model_save(model, s.folder, NULL, error));
    rf_model_destroy(model);
    write_text(s.text, (size_t)WINDOWS * LENGTH + 5);
    s.options = (rf_probe_options){.model = s.folder,
                                   .data = s.text,
                                   .length = LENGTH,
                                   .windows = 9,
                                   .queries = QUERIES,
                                   .most_rounds = MOST_ROUNDS,
                                   .recall = 0.8,
                                   .device = test_device(),
                                   .precision = "f32",
                                   .threads = 2};
    return s;
}

static subject make_subject(const char *keys, const char *task)
{
    return make_subject_of(258, keys, task);
}

static void clear_subject(subject *s)
{
    rf_release(s->folder);
    rf_release(s->text);
}

static json_t *report_of(const rf_probe_options *options)
{
    char *report = NULL;
    json_t *object = NULL;
    assert_ok(rf_probe(options, &report, error));
    assert_ok(rf_json_parse_object("report", report, strlen(report), &object, error));
    rf_text_release(report);
    return object;
}

static double real(const json_t *object, const char *key)
{
    if (!json_is_number(json_object_get(object, key))) {
        fail_msg("%s is no number", key);
    }
    return json_number_value(json_object_get(object, key));
}

static void check_near(const json_t *object, const char *key, double wanted, double tolerance)
{
    const double found = real(object, key);
    if (!(fabs(found - wanted) <= tolerance)) {
        fail_msg("%s is %.9g, expected %.9g", key, found, wanted);
    }
}

/* ---- plain computation ------------------------------------------------------------------- */

typedef struct naive {
    double captured, keys, overlap, nearest[2], error_square, exact_square;
    double largest, empty, entropy;
} naive;

/* Of one query. */
typedef struct query_sight {
    double exact[LENGTH];
    int64_t met[ROUNDS][LENGTH]; /* how often a round's window holds a key */
    int64_t rounds;
} query_sight;

static double score_of(const rf_attention *a, int64_t query, int64_t token)
{
    const float *q = rf_attention_queries(a) + query * WIDTH;
    const float *keys = rf_attention_keys(a);
    const float *k = (keys != NULL ? keys : rf_attention_queries(a)) + token * WIDTH;
    double sum = 0.0;
    double squares = 0.0;
    for (int i = 0; i < WIDTH; i++) {
        sum += (double)q[i] * (double)k[i];
        squares += (double)k[i] * (double)k[i];
    }
    return keys != NULL ? sum / sqrt(WIDTH) : sum / sqrt(squares / WIDTH + 1e-6) / sqrt(WIDTH);
}

static bool may_see(const rf_attention *a, int64_t query, int64_t token)
{
    return token < query || (token == query && rf_attention_keys(a) != NULL);
}

/* Which tokens stand in the chunk of the query's slot and in the one before, round after round; the
 * chunk before a round's first is the last of the round before. */
static void find_windows(const rf_attention *a, int64_t query, query_sight *sight)
{
    const rf_attention_info info = rf_attention_describe(a);
    const int64_t chunks = info.slots / info.chunk;
    memset(sight->met, 0, sizeof sight->met);
    sight->rounds = info.rounds;
    for (int64_t r = 0; r < info.rounds; r++) {
        int64_t slot = 0;
        const int32_t *order = rf_attention_order(a, r);
        while ((order != NULL ? order[slot] : slot) != query) {
            slot++;
        }
        for (int64_t back = 0; back <= info.before; back++) {
            const int64_t all = strcmp(info.wrap, "rounds") == 0 ? info.rounds * chunks : chunks;
            const int64_t base = strcmp(info.wrap, "rounds") == 0 ? r * chunks : 0;
            const int64_t chunk = (base + slot / info.chunk - back + all) % all;
            const int64_t round = strcmp(info.wrap, "rounds") == 0 ? chunk / chunks : r;
            const int32_t *from = rf_attention_order(a, round);
            for (int64_t i = 0; i < info.chunk; i++) {
                const int64_t at = chunk % chunks * info.chunk + i;
                const int64_t token = from != NULL ? from[at] : at < LENGTH ? at : -1;
                if (token >= 0 && may_see(a, query, token)) {
                    sight->met[r][token]++;
                }
            }
        }
    }
}

static void attend_exactly(const rf_attention *a, int64_t query, double exact[LENGTH])
{
    double sum = 0.0;
    for (int64_t i = 0; i < LENGTH; i++) {
        exact[i] = may_see(a, query, i) ? exp(score_of(a, query, i)) : 0.0;
        sum += exact[i];
    }
    for (int64_t i = 0; i < LENGTH; i++) {
        exact[i] /= sum;
    }
}

static int descending(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a > b ? -1 : a < b;
}

static void add_overlap(const query_sight *sight, naive *to)
{
    int pairs = 0;
    double sum = 0.0;
    for (int64_t r = 0; r < sight->rounds; r++) {
        for (int64_t s = r + 1; s < sight->rounds; s++, pairs++) {
            double both = 0.0;
            double either = 0.0;
            for (int64_t i = 0; i < LENGTH; i++) {
                both += sight->met[r][i] > 0 && sight->met[s][i] > 0 ? 1.0 : 0.0;
                either += sight->met[r][i] > 0 || sight->met[s][i] > 0 ? 1.0 : 0.0;
            }
            sum += either > 0.0 ? both / either : 1.0;
        }
    }
    to->overlap += pairs > 0 ? sum / pairs : 0.0;
}

static void add_query(const rf_attention *a, int64_t query, naive *to)
{
    query_sight sight;
    double own[LENGTH] = {0.0};
    double sorted[LENGTH];
    double sum = 0.0;
    attend_exactly(a, query, sight.exact);
    find_windows(a, query, &sight);
    for (int64_t i = 0; i < LENGTH; i++) {
        for (int64_t r = 0; r < sight.rounds; r++) {
            own[i] += (double)sight.met[r][i] * exp(score_of(a, query, i));
        }
        sum += own[i];
        to->captured += own[i] > 0.0 ? sight.exact[i] : 0.0;
        to->keys += own[i] > 0.0 ? 1.0 : 0.0;
    }
    if (!(sum > 0.0)) { /* it meets none of those it may see, and attends to itself */
        const double norm = (double)(float)(-1e5 + log((double)sight.rounds));
        to->keys += 1.0;
        own[query] = (double)sight.rounds * exp(-1e5 - norm);
        sum = 1.0;
    }
    add_overlap(&sight, to);
    memcpy(sorted, sight.exact, sizeof sorted);
    qsort(sorted, LENGTH, sizeof *sorted, descending);
    for (int i = 0; i < 64; i++) {
        to->nearest[0] += i < 32 ? sorted[i] : 0.0;
        to->nearest[1] += sorted[i];
    }
    for (int k = 0; k < WIDTH; k++) {
        double difference = 0.0;
        double exact = 0.0;
        for (int64_t i = 0; i < LENGTH; i++) {
            const double value = (double)rf_attention_values(a)[i * WIDTH + k];
            difference += (own[i] / sum - sight.exact[i]) * value;
            exact += sight.exact[i] * value;
        }
        to->error_square += difference * difference;
        to->exact_square += exact * exact;
    }
}

static void add_loads(const rf_attention *a, naive *to)
{
    for (int64_t r = 0; r < ROUNDS && rf_attention_buckets(a, r) != NULL; r++) {
        double counts[BUCKETS] = {0.0};
        for (int64_t i = 0; i < LENGTH; i++) {
            counts[rf_attention_buckets(a, r)[i]] += 1.0;
        }
        for (int b = 0; b < BUCKETS; b++) {
            to->largest = fmax(to->largest, counts[b]);
            to->empty += counts[b] > 0.0 ? 0.0 : 1.0 / (ROUNDS * WINDOWS);
            to->entropy -= counts[b] > 0.0
                               ? counts[b] / LENGTH * log2(counts[b] / LENGTH) / (ROUNDS * WINDOWS)
                               : 0.0;
        }
    }
}

static void work_out(rf_model *model, const int32_t *ids, naive figures[LAYERS][HEADS])
{
    rf_attention_place places[LAYERS * HEADS];
    rf_attention *attentions[LAYERS * HEADS];
    memset(figures, 0, LAYERS * sizeof figures[0]);
    for (int64_t i = 0; i < (int64_t)LAYERS * HEADS; i++) {
        places[i] = (rf_attention_place){.layer = i / HEADS, .head = i % HEADS};
    }
    for (int window = 0; window < WINDOWS; window++) {
        assert_ok(rf_model_attention(model, ids + window * LENGTH, NULL, LENGTH, places,
                                     LAYERS * HEADS, attentions, error));
        for (int i = 0; i < LAYERS * HEADS; i++) {
            naive *to = &figures[i / HEADS][i % HEADS];
            for (int64_t query = 1; query < LENGTH; query++) {
                add_query(attentions[i], query, to);
            }
            add_loads(attentions[i], to);
            rf_attention_destroy(attentions[i]);
        }
    }
}

/* ---- figures ----------------------------------------------------------------------------- */

static void check_load(const json_t *load, const naive *wanted)
{
    const json_t *histogram = json_object_get(load, "histogram");
    double buckets = 0.0;
    double tokens = 0.0;
    check_near(load, "buckets", BUCKETS, 0.0);
    check_near(load, "even", (double)LENGTH / BUCKETS, 1e-9);
    check_near(load, "rounds", ROUNDS * WINDOWS, 0.0);
    check_near(load, "largest", wanted->largest, 0.0);
    check_near(load, "empty", wanted->empty, 1e-9);
    check_near(load, "entropy", wanted->entropy, 1e-9);
    check_near(load, "entropy_most", log2(BUCKETS), 1e-9);
    assert_true(json_array_size(histogram) > 0);
    for (size_t i = 0; i < json_array_size(histogram); i++) {
        const json_t *item = json_array_get(histogram, i);
        buckets += real(item, "buckets");
        tokens += real(item, "tokens");
        assert_true(real(item, "tokens") >= real(item, "from") * real(item, "buckets"));
        assert_true(real(item, "tokens") <= real(item, "to") * real(item, "buckets"));
    }
    assert_true(buckets == BUCKETS * ROUNDS * WINDOWS);
    assert_true(tokens == LENGTH * ROUNDS * WINDOWS);
}

/* The fewest rounds are those of the curve, which rises to nearly all. */
static void check_rounds(const json_t *figures)
{
    const json_t *curve = json_object_get(figures, "captured_by_rounds");
    const double needed = real(figures, "rounds_needed");
    double last = 0.0;
    assert_int_equal(json_array_size(curve), MOST_ROUNDS);
    for (int r = 0; r < MOST_ROUNDS; r++) {
        const double here = json_number_value(json_array_get(curve, (size_t)r));
        assert_true(here >= last && here <= 1.0 + 1e-6);
        assert_true((here >= 0.8) == (r + 1 >= (int)needed));
        last = here;
    }
    /* other rotations than the model's own, but as many of them as it has capture about as much */
    const double own = json_number_value(json_array_get(curve, ROUNDS - 1));
    assert_true(fabs(own - real(figures, "captured")) < 0.08);
}

static void check_head(const json_t *figures, const naive *wanted, int layer)
{
    const double count = (double)QUERIES * WINDOWS;
    check_near(figures, "captured", wanted->captured / count, 1e-6);
    check_near(figures, "keys", wanted->keys / count, 1e-9);
    check_near(figures, "nearest_32", wanted->nearest[0] / count, 1e-6);
    check_near(figures, "nearest_64", wanted->nearest[1] / count, 1e-6);
    check_near(figures, "output_error", sqrt(wanted->error_square / wanted->exact_square), 2e-5);
    if (layer == 0) {
        check_near(figures, "overlap", wanted->overlap / count, 1e-9);
        check_load(json_object_get(figures, "load"), wanted);
        check_rounds(figures);
        return;
    }
    assert_true(json_is_null(json_object_get(figures, "overlap")));
    assert_true(json_is_null(json_object_get(figures, "load")));
    assert_true(json_is_null(json_object_get(figures, "rounds_needed")));
    assert_true(json_is_null(json_object_get(figures, "captured_by_rounds")));
    if (layer >= 2) {
        check_near(figures, "captured", 1.0, 1e-6);
        check_near(figures, "output_error", 0.0, 2e-5);
    }
}

static void read_ids(int32_t *ids)
{
    for (size_t i = 0; i < (size_t)WINDOWS * LENGTH; i++) {
        ids[i] = (int32_t)('a' + (i * i + i / 7) % 23) + 2;
    }
}

static rf_model *load(const subject *s)
{
    rf_model *model = NULL;
    const rf_model_options how = {.device = test_device(), .precision = "f32", .threads = 1};
    assert_ok(rf_model_load(s->folder, &how, &model, error));
    return model;
}

static void figures_are_those_of_plain_computation(void **state)
{
    (void)state;
    subject s = make_subject("", "lm");
    int32_t ids[WINDOWS * LENGTH];
    naive wanted[LAYERS][HEADS];
    read_ids(ids);
    rf_model *model = load(&s);
    work_out(model, ids, wanted);
    json_t *report = report_of(&s.options);
    const json_t *layers = json_object_get(report, "layers");
    assert_int_equal(json_array_size(layers), LAYERS);
    check_near(report, "windows", WINDOWS, 0.0);
    check_near(report, "queries", QUERIES, 0.0);
    for (int layer = 0; layer < LAYERS; layer++) {
        const json_t *object = json_array_get(layers, (size_t)layer);
        const json_t *heads = json_object_get(object, "heads");
        const json_t *kind = json_array_get(json_object_get(report, "kinds"), (size_t)layer);
        double captured = 0.0;
        assert_string_equal(json_string_value(json_object_get(object, "kind")), kinds[layer]);
        check_near(object, "rounds", layer == 0 ? ROUNDS : 1, 0.0);
        assert_int_equal(json_array_size(heads), HEADS);
        for (int head = 0; head < HEADS; head++) {
            const json_t *figures = json_array_get(heads, (size_t)head);
            check_head(figures, &wanted[layer][head], layer);
            captured += real(figures, "captured") / HEADS;
        }
        check_near(object, "captured", captured, 1e-9);
        assert_non_null(kind); /* each kind has one layer here */
    }
    json_decref(report);
    rf_model_destroy(model);
    clear_subject(&s);
}

/* ---- losses ------------------------------------------------------------------------------ */

static double mean_nll(rf_model *model, const int32_t *ids, const bool *left_out)
{
    float nll[WINDOWS * (LENGTH - 1)];
    double sum = 0.0;
    assert_ok(rf_model_nll_without(model, ids, NULL, WINDOWS, LENGTH, left_out, nll, error));
    for (int i = 0; i < WINDOWS * (LENGTH - 1); i++) {
        sum += (double)nll[i] / (WINDOWS * (LENGTH - 1));
    }
    return sum;
}

static void losses_are_those_without_attention(void **state)
{
    (void)state;
    subject s = make_subject("", "lm");
    int32_t ids[WINDOWS * LENGTH];
    read_ids(ids);
    rf_model *model = load(&s);
    json_t *report = report_of(&s.options);
    const json_t *loss = json_object_get(report, "loss");
    const json_t *without = json_object_get(loss, "without");
    const double normal = mean_nll(model, ids, NULL);
    check_near(loss, "normal", normal, 1e-5);
    check_near(loss, "tokens", WINDOWS * (LENGTH - 1), 0.0);
    assert_int_equal(json_array_size(without), 2 * LAYERS + 1); /* layers, kinds, all */
    for (size_t i = 0; i < json_array_size(without); i++) {
        const json_t *item = json_array_get(without, i);
        const json_t *layers = json_object_get(item, "layers");
        bool left_out[LAYERS] = {false};
        for (size_t k = 0; k < json_array_size(layers); k++) {
            left_out[json_integer_value(json_array_get(layers, k))] = true;
        }
        assert_int_equal(json_array_size(layers), i < 2 * LAYERS ? 1 : LAYERS);
        const double wanted = mean_nll(model, ids, left_out);
        assert_true(fabs(wanted - normal) > 1e-4);
        check_near(item, "loss", wanted, 1e-5);
        check_near(item, "change", wanted - normal, 2e-5);
        if (i < LAYERS) {
            assert_string_equal(json_string_value(json_object_get(item, "what")), "layer");
            check_near(json_array_get(json_object_get(report, "layers"), i), "loss_without", wanted,
                       1e-5);
        }
    }
    json_decref(report);
    rf_model_destroy(model);
    clear_subject(&s);
}

static void check_refusal(rf_probe_options options, rf_status status, const char *words)
{
    char *report = NULL;
    rf_error error = {0};
    assert_int_equal(rf_probe(&options, &report, &error), status);
    assert_null(report);
    if (strstr(error.message, words) == NULL) {
        fail_msg("expected '%s' in: %s", words, error.message);
    }
}

/* The normal loss is that of an evaluation of the same windows. */
static void masked_models_tell_as_in_evaluation(void **state)
{
    (void)state;
    subject s = make_subject(", \"reformer_c\": {\"mask_token\": 1}", "masked-lm");
    rf_evaluation evaluated;
    const rf_evaluate_options how = {.model = s.folder,
                                     .data = s.text,
                                     .length = LENGTH,
                                     .seed = 6,
                                     .device = test_device(),
                                     .precision = "f32",
                                     .threads = 1};
    assert_ok(rf_evaluate(&how, &evaluated, error));
    assert_int_equal(evaluated.windows, WINDOWS);
    s.options.seed = 6;
    json_t *report = report_of(&s.options);
    check_near(json_object_get(report, "loss"), "normal", evaluated.loss, 1e-9);
    check_near(json_object_get(report, "loss"), "tokens", (double)evaluated.tokens, 0.0);
    json_decref(report);
    clear_subject(&s);
}

/* Rows that are made are those that an evaluation with the same seed judges. */
static void made_rows_tell_as_in_evaluation(void **state)
{
    (void)state;
    subject s = make_subject_of(128, "", "lm");
    rf_evaluation evaluated;
    const rf_evaluate_options how = {.model = s.folder,
                                     .data = "copy",
                                     .length = LENGTH,
                                     .distance = 50,
                                     .sequences = WINDOWS,
                                     .seed = 6,
                                     .device = test_device(),
                                     .precision = "f32",
                                     .threads = 1};
    assert_ok(rf_evaluate(&how, &evaluated, error));
    s.options.seed = 6;
    s.options.data = "copy";
    s.options.distance = 50;
    s.options.windows = WINDOWS;
    json_t *report = report_of(&s.options);
    check_near(json_object_get(report, "loss"), "normal", evaluated.loss, 1e-9);
    check_near(json_object_get(report, "loss"), "tokens", (double)evaluated.tokens, 0.0);
    json_decref(report);
    s.options.last_bytes = 100;
    check_refusal(s.options, RF_ERR_ARGUMENT, "last_bytes is for texts");
    s.options.last_bytes = 0;
    s.options.data = s.text;
    check_refusal(s.options, RF_ERR_ARGUMENT, "distance and pairs are for data that are made");
    s.options.distance = 0;
    s.options.data = "addition";
    check_refusal(s.options, RF_ERR_CONFIG, "vocab_size 128");
    clear_subject(&s);
}

static void models_without_such_a_loss_have_none(void **state)
{
    (void)state;
    subject s = make_subject("", "embed");
    json_t *report = report_of(&s.options);
    assert_true(json_is_null(json_object_get(report, "loss")));
    const json_t *first = json_array_get(json_object_get(report, "layers"), 0);
    assert_true(json_is_null(json_object_get(first, "loss_without")));
    assert_true(real(first, "captured") > 0.0);
    json_decref(report);
    clear_subject(&s);
    s = make_subject("", "lm");
    s.options.no_loss = true;
    report = report_of(&s.options);
    assert_true(json_is_null(json_object_get(report, "loss")));
    json_decref(report);
    clear_subject(&s);
}

/* ---- the rest ---------------------------------------------------------------------------- */

static void the_seed_decides(void **state)
{
    (void)state;
    subject s = make_subject("", "lm");
    char *reports[3] = {NULL, NULL, NULL};
    s.options.queries = 20;
    s.options.windows = 1;
    for (int i = 0; i < 3; i++) {
        s.options.seed = i == 2 ? 8 : 7;
        s.options.threads = i + 1;
        assert_ok(rf_probe(&s.options, &reports[i], error));
    }
    assert_string_equal(reports[0], reports[1]);
    assert_string_not_equal(reports[0], reports[2]);
    for (int i = 0; i < 3; i++) {
        rf_text_release(reports[i]);
    }
    clear_subject(&s);
}

static void check_picture(const char *folder, const char *name)
{
    char *path = NULL;
    char *text = NULL;
    size_t size = 0;
    int open = 0;
    assert_ok(rf_path_join(folder, name, &path, error));
    assert_ok(rf_file_read(path, (size_t)1 << 24, &text, &size, error));
    assert_memory_equal(text, "<svg ", 5);
    assert_non_null(strstr(text, "</svg>\n"));
    assert_null(strstr(text, "nan"));
    for (size_t i = 0; i < size; i++) {
        open += text[i] == '<' ? 1 : text[i] == '>' ? -1 : 0;
        assert_in_range(open, 0, 1);
    }
    assert_int_equal(open, 0);
    rf_release(text);
    rf_release(path);
}

static void pictures_and_the_report_are_written(void **state)
{
    (void)state;
    subject s = make_subject("", "lm");
    char *folder = path_of("pictures");
    char *path = NULL;
    json_t *written = NULL;
    s.options.output = folder;
    s.options.queries = 16;
    json_t *report = report_of(&s.options);
    check_picture(folder, "probe-heads.svg");
    check_picture(folder, "probe-rounds.svg");
    check_picture(folder, "probe-loads.svg");
    assert_ok(rf_path_join(folder, "probe.json", &path, error));
    assert_ok(rf_json_read_object(path, &written, error));
    assert_true(json_equal(written, report));
    json_decref(written);
    json_decref(report);
    rf_release(path);
    rf_release(folder);
    clear_subject(&s);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    subject s = make_subject("", "lm");
    rf_probe_options wrong = s.options;
    wrong.data = NULL;
    check_refusal(wrong, RF_ERR_ARGUMENT, "needs a model and a text");
    wrong = s.options;
    wrong.length = 1;
    check_refusal(wrong, RF_ERR_ARGUMENT, "a window needs 2 tokens");
    wrong.length = LENGTH * WINDOWS;
    check_refusal(wrong, RF_ERR_CONFIG, "160");
    wrong = s.options;
    wrong.last_bytes = 100;
    check_refusal(wrong, RF_ERR_ARGUMENT, "100");
    wrong = s.options;
    wrong.queries = 1025;
    check_refusal(wrong, RF_ERR_ARGUMENT, "at most 1024 queries");
    wrong = s.options;
    wrong.most_rounds = 65;
    check_refusal(wrong, RF_ERR_ARGUMENT, "at most 64 rounds");
    wrong = s.options;
    wrong.recall = 1.5;
    check_refusal(wrong, RF_ERR_ARGUMENT, "expected a share of attention");
    wrong = s.options;
    wrong.model = test_folder();
    check_refusal(wrong, RF_ERR_FILE, "config.json");
    clear_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_plain_computation),
        cmocka_unit_test(losses_are_those_without_attention),
        cmocka_unit_test(masked_models_tell_as_in_evaluation),
        cmocka_unit_test(made_rows_tell_as_in_evaluation),
        cmocka_unit_test(models_without_such_a_loss_have_none),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(pictures_and_the_report_are_written),
        cmocka_unit_test(bad_options_are_refused),
    };
    return run_on_devices("probe", tests, sizeof tests / sizeof tests[0]);
}
