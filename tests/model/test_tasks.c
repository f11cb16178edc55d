/* Vectors, missing tokens, labels and answers, against what the same model's scores say when they
 * are worked out here; and a model loaded for another task. */
#include "support.h"

#include "model/model.h"
#include "reformer/tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 2, LENGTH = 37, HIDDEN = 16, VOCABULARY = 23, LABELS = 3, KEPT = 20 };

typedef struct inputs {
    int32_t ids[BATCH * LENGTH];
    uint8_t mask[BATCH * LENGTH]; /* row 1 has KEPT tokens */
} inputs;

static inputs make_inputs(void)
{
    inputs in;
    fill_ids(in.ids, BATCH * LENGTH, VOCABULARY, 0);
    for (int i = 0; i < BATCH * LENGTH; i++) {
        in.mask[i] = i < LENGTH + KEPT;
    }
    return in;
}

static rf_model *create(const char *task, const char *more)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"attn_layers\": [\"local\", \"lsh\"], \"hidden_size\": %d, "
                   "\"num_attention_heads\": 2, \"attention_head_size\": 8, "
                   "\"feed_forward_size\": 20, \"vocab_size\": %d, \"local_attn_chunk_length\": 8, "
                   "\"lsh_attn_chunk_length\": 8, \"num_buckets\": 4, \"hash_seed\": 1, "
                   "\"axial_pos_shape\": [8, 8], \"axial_pos_embds_dim\": [6, 10], "
                   "\"max_position_embeddings\": 64, \"initializer_range\": 0.4, "
                   "\"is_decoder\": %s%s}",
                   HIDDEN, VOCABULARY, strcmp(task, "lm") == 0 ? "true" : "false", more);
    rf_model *model = NULL;
    rf_model_options options = {.device = "cpu", .threads = 1, .task = task};
    if (strcmp(task, "classify") == 0) {
        options.labels = LABELS;
    }
    assert_ok(rf_model_create(text, 7, "huggingface", &options, &model, error));
    return model;
}

static double length_of(const float *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

static void check_pooling(rf_model *model, int64_t layer, int64_t width)
{
    inputs in = make_inputs();
    static float rows[BATCH * LENGTH * 2 * HIDDEN];
    float pooled[BATCH * 2 * HIDDEN];
    static const char *const words[] = {"mean", "first", "last"};
    rf_embed_options options = {.pooling = "none", .layer = layer};
    assert_int_equal(rf_model_embedding_width(model, &options), width);
    assert_ok(rf_model_embed(model, in.ids, in.mask, BATCH, LENGTH, &options, rows, error));
    assert_true(length_of(rows + (LENGTH + KEPT) * width, width) == 0.0); /* padding */
    for (int w = 0; w < 3; w++) {
        options.pooling = words[w];
        assert_ok(rf_model_embed(model, in.ids, in.mask, BATCH, LENGTH, &options, pooled, error));
        for (int64_t i = 0; i < BATCH * width; i++) {
            int64_t b = i / width;
            int64_t kept = b == 0 ? LENGTH : KEPT;
            double sum = 0.0;
            for (int64_t t = 0; t < kept; t++) {
                bool counts = w == 0 || t == (w == 1 ? 0 : kept - 1);
                sum += counts ? (double)rows[(b * LENGTH + t) * width + i % width] : 0.0;
            }
            sum /= w == 0 ? (double)kept : 1.0;
            assert_true(fabs(sum - (double)pooled[i]) < 1e-6);
        }
    }
    options.normalise = true;
    assert_ok(rf_model_embed(model, in.ids, in.mask, BATCH, LENGTH, &options, pooled, error));
    assert_true(fabs(length_of(pooled, width) - 1.0) < 1e-6);
}

static void test_vectors(void **state)
{
    (void)state;
    static const char *const tasks[] = {"lm", "embed", "classify"};
    for (int i = 0; i < 3; i++) {
        rf_model *model = create(tasks[i], "");
        check_pooling(model, 0, 2 * HIDDEN);
        check_pooling(model, -1, HIDDEN);
        check_pooling(model, 1, HIDDEN);
        check_pooling(model, 2, HIDDEN);
        rf_model_destroy(model);
    }
}

/* The embeddings of a token and its position do not depend on other tokens; the output does. */
static void test_layers_differ(void **state)
{
    (void)state;
    rf_model *model = create("embed", "");
    inputs in = make_inputs();
    float before[2 * HIDDEN];
    float after[2 * HIDDEN];
    for (int64_t layer = -1; layer <= 1; layer++) {
        rf_embed_options options = {.pooling = "first", .layer = layer};
        assert_ok(rf_model_embed(model, in.ids, NULL, 1, LENGTH, &options, before, error));
        in.ids[3] = (in.ids[3] + 1) % VOCABULARY;
        assert_ok(rf_model_embed(model, in.ids, NULL, 1, LENGTH, &options, after, error));
        size_t size = (size_t)rf_model_embedding_width(model, &options) * sizeof(float);
        assert_true((memcmp(before, after, size) == 0) == (layer == -1));
    }
    rf_model_destroy(model);
}

static void test_fill(void **state)
{
    (void)state;
    rf_model *model = create("masked-lm", "");
    inputs in = make_inputs();
    const int64_t places[2] = {5, LENGTH + 19};
    rf_candidate found[2 * VOCABULARY];
    float logits[VOCABULARY];
    assert_int_equal(rf_model_mask_token(model), -1);
    assert_ok(rf_model_fill(model, in.ids, in.mask, BATCH, LENGTH,
                            &(rf_fill_options){places, 2, VOCABULARY}, found, error));
    for (int i = 0; i < 2; i++) {
        double sum = 0.0;
        rf_candidate best[4];
        static float all[BATCH * VOCABULARY];
        assert_ok(rf_model_logits(model, in.ids, in.mask, BATCH, LENGTH, places[i] % LENGTH, 1, all,
                                  error));
        memcpy(logits, all + places[i] / LENGTH * VOCABULARY, sizeof logits);
        for (int c = 0; c < VOCABULARY; c++) {
            const rf_candidate *at = &found[i * VOCABULARY + c];
            sum += (double)at->probability;
            assert_true(c == 0 || at[-1].probability >= at->probability);
            double odds = (double)logits[at->id] - (double)logits[found[i * VOCABULARY].id];
            double shares =
                log((double)at->probability / (double)found[i * VOCABULARY].probability);
            assert_true(fabs(odds - shares) < 1e-4);
        }
        assert_true(fabs(sum - 1.0) < 1e-5);
        assert_ok(rf_model_fill(model, in.ids, in.mask, BATCH, LENGTH,
                                &(rf_fill_options){&places[i], 1, 4}, best, error));
        for (int c = 0; c < 4; c++) {
            assert_int_equal(best[c].id, found[i * VOCABULARY + c].id);
        }
    }
    rf_model_destroy(model);
}

static void test_classify(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *problem;
    } cases[] = {
        {"", "single"},
        {", \"problem_type\": \"multi_label_classification\"", "multiple"},
        {", \"problem_type\": \"regression\", \"reformer_c\": {\"pooling\": \"mean\"}",
         "regression"},
    };
    inputs in = make_inputs();
    for (int c = 0; c < 3; c++) {
        rf_model *model = create("classify", cases[c].keys);
        float scores[BATCH * LABELS];
        float shares[BATCH * LABELS];
        assert_string_equal(rf_model_problem(model), cases[c].problem);
        assert_int_equal(rf_model_labels(model), LABELS);
        assert_string_equal(rf_model_label_name(model, 2), "LABEL_2");
        assert_null(rf_model_label_name(model, LABELS));
        assert_ok(rf_model_classify(model, in.ids, in.mask, BATCH, LENGTH, scores, shares, error));
        for (int b = 0; b < BATCH; b++) {
            double sum = 0.0;
            for (int i = 0; i < LABELS; i++) {
                sum += exp((double)scores[b * LABELS + i]);
            }
            for (int i = 0; i < LABELS; i++) {
                double x = (double)scores[b * LABELS + i];
                double expected = c == 0 ? exp(x) / sum : c == 1 ? 1.0 / (1.0 + exp(-x)) : x;
                assert_true(fabs(expected - (double)shares[b * LABELS + i]) < 1e-6);
            }
        }
        assert_ok(rf_model_classify(model, in.ids, in.mask, BATCH, LENGTH, scores, NULL, error));
        rf_model_destroy(model);
    }
}

static void test_answer(void **state)
{
    (void)state;
    enum { TOP = 5, LONGEST = 4 };
    rf_model *model = create("answer", "");
    inputs in = make_inputs();
    const int64_t first[BATCH] = {9, 3};
    rf_span spans[BATCH * TOP];
    rf_span all[BATCH * LENGTH * LONGEST];
    rf_answer_options options = {.first = first, .longest = LONGEST};
    assert_ok(rf_model_answer(model, in.ids, in.mask, BATCH, LENGTH, &options, TOP, spans, error));
    assert_ok(rf_model_answer(model, in.ids, in.mask, BATCH, LENGTH, &options, LENGTH * LONGEST,
                              all, error));
    for (int b = 0; b < BATCH; b++) {
        int64_t end = b == 0 ? LENGTH : KEPT;
        double sum = 0.0;
        int64_t count = 0;
        for (int i = 0; i < LENGTH * LONGEST && all[b * LENGTH * LONGEST + i].start >= 0; i++) {
            const rf_span *at = &all[b * LENGTH * LONGEST + i];
            assert_true(at->start >= first[b] && at->end < end && at->start <= at->end);
            assert_true(at->end - at->start < LONGEST);
            assert_true(i == 0 || at[-1].score >= at->score);
            sum += (double)at->probability;
            count++;
        }
        int64_t n = end - first[b];
        assert_int_equal(count, n * LONGEST - LONGEST * (LONGEST - 1) / 2);
        assert_true(sum > 0.0 && sum <= 1.0 + 1e-6);
        assert_memory_equal(&spans[b * TOP], &all[b * LENGTH * LONGEST], TOP * sizeof *spans);
    }
    rf_model_destroy(model);
}

static void test_refused(void **state)
{
    (void)state;
    inputs in = make_inputs();
    float out[BATCH * LENGTH * 2 * HIDDEN];
    rf_candidate found[4];
    rf_span span;
    int64_t place = BATCH * LENGTH;
    rf_error fault = {0};
    rf_model *model = create("masked-lm", "");
    rf_embed_options options = {.pooling = "max"};
    assert_int_equal(rf_model_embed(model, in.ids, NULL, 1, LENGTH, &options, out, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "\"max\""));
    options = (rf_embed_options){.layer = 3};
    assert_int_equal(rf_model_embed(model, in.ids, NULL, 1, LENGTH, &options, out, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "layer is 3"));
    assert_int_equal(rf_model_fill(model, in.ids, NULL, BATCH, LENGTH,
                                   &(rf_fill_options){&place, 1, 4}, found, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "place 74"));
    assert_int_equal(rf_model_classify(model, in.ids, NULL, 1, LENGTH, out, NULL, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "ReformerForSequenceClassification"));
    assert_int_equal(rf_model_answer(model, in.ids, NULL, 1, LENGTH, NULL, 1, &span, &fault),
                     RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "ReformerForQuestionAnswering"));
    assert_int_equal(rf_model_nll(model, in.ids, NULL, 1, LENGTH, out, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "ReformerForMaskedLM"));
    rf_model_destroy(model);
}

/* ---- another task from a folder ---------------------------------------------------------- */

typedef struct ear {
    char text[2048];
} ear;

static void hear(void *user, rf_log_level level, const char *message)
{
    ear *log = user;
    (void)level;
    size_t used = strlen(log->text);
    (void)snprintf(log->text + used, sizeof log->text - used, "%s\n", message);
}

/* A head is dropped and another added, and said; the model below it is the same; what is kept
 * answers as before. */
static void test_another_task(void **state)
{
    (void)state;
    char folder[4096];
    float before[2 * HIDDEN];
    float after[2 * HIDDEN];
    inputs in = make_inputs();
    ear log = {""};
    const char *const names[] = {"red", "green"};
    rf_model *model = create("masked-lm", "");
    (void)snprintf(folder, sizeof folder, "%s/masked", test_folder());
    assert_ok(rf_model_save(model, folder, NULL, error));
    assert_ok(rf_model_embed(model, in.ids, NULL, 1, LENGTH, NULL, before, error));
    rf_model_destroy(model);
    static const char *const tasks[] = {"classify", "answer", "embed", "masked-lm"};
    for (int i = 0; i < 4; i++) {
        rf_model_options options = {.device = "cpu",
                                    .task = tasks[i],
                                    .labels = 2,
                                    .label_names = names,
                                    .log = {.write = hear, .user = &log}};
        log.text[0] = '\0';
        assert_ok(rf_model_load(folder, &options, &model, error));
        assert_string_equal(rf_model_task(model), tasks[i]);
        assert_ok(rf_model_embed(model, in.ids, NULL, 1, LENGTH, NULL, after, error));
        assert_memory_equal(before, after, sizeof before);
        assert_true((strstr(log.text, "lm_head.decoder.weight") != NULL) == (i < 3));
        assert_true((strstr(log.text, "classifier.out_proj.weight") != NULL) == (i == 0));
        assert_true((strstr(log.text, "qa_outputs.weight") != NULL) == (i == 1));
        if (i == 0) {
            assert_string_equal(rf_model_label_name(model, 1), "green");
            char other[4200];
            (void)snprintf(other, sizeof other, "%s/classifier", test_folder());
            assert_ok(rf_model_save(model, other, NULL, error));
        }
        rf_model_destroy(model);
    }
    rf_error fault = {0}; /* without a task the folder must be what it says */
    char other[4200];
    (void)snprintf(other, sizeof other, "%s/classifier", test_folder());
    rf_model_options plain = {.device = "cpu"};
    assert_ok(rf_model_load(other, &plain, &model, error));
    assert_string_equal(rf_model_task(model), "classify");
    rf_model_destroy(model);
    rf_model_options wrong = {.device = "cpu", .task = "sing"};
    assert_int_equal(rf_model_load(other, &wrong, &model, &fault), RF_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),      cmocka_unit_test(test_layers_differ),
        cmocka_unit_test(test_fill),         cmocka_unit_test(test_classify),
        cmocka_unit_test(test_answer),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_another_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
