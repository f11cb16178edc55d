/* Documents that share a sequence: what one says never reaches another, to the bit, and where
 * chunks fall alike each is computed as if it stood alone. */
#include "small_model.h"
#include "support.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 96, DOCUMENTS = 3, SMALL_IDS = 40 };

typedef struct document {
    int64_t start, end;
} document;
static const document parts[DOCUMENTS] = {{0, 27}, {27, 70}, {70, LENGTH}};   /* any borders */
static const document aligned[DOCUMENTS] = {{0, 32}, {32, 48}, {48, LENGTH}}; /* of chunks */

typedef struct collected {
    int64_t vocabulary;
    float *logits; /* [rows, vocabulary] */
} collected;

static rf_status collect(void *user, int64_t first_row, const rf_tensor *logits, rf_error *error)
{
    (void)error;
    const collected *c = user;
    memcpy(c->logits + first_row * c->vocabulary, logits->data, rf_tensor_size(logits));
    return RF_OK;
}

static float *floats(int64_t count)
{
    float *values = calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    return values;
}

static void mark(const document *documents, int32_t *segments)
{
    for (int32_t i = 0; i < DOCUMENTS; i++) {
        for (int64_t token = documents[i].start; token < documents[i].end; token++) {
            segments[token] = i;
        }
    }
}

/* Logits [length, vocabulary] and gradients [all parameters] of a sum of losses, added to what is
 * there. labels NULL: the ids. */
static void run(rf_model *model, const int32_t *ids, const int32_t *labels, const int32_t *segments,
                int64_t length, float *logits, float *gradients)
{
    collected c = {model->config.vocabulary, logits};
    rf_runner *runner = NULL;
    rf_outcome outcome;
    rf_runner_options options = {.batch = 1,
                                 .length = length,
                                 .gradients = true,
                                 .segments = segments != NULL,
                                 .hooks = {.user = &c, .logits = collect}};
    rf_batch batch = {.batch = 1,
                      .length = length,
                      .ids = ids,
                      .labels = labels != NULL ? labels : ids,
                      .segments = segments};
    assert_ok(rf_runner_create(model, &options, &runner, error));
    assert_ok(rf_runner_forward(runner, &batch, 0, 0, &outcome, error));
    assert_ok(rf_runner_train(runner, &batch, 0, 0, 1.0F, &outcome, error));
    for (int64_t i = 0; i < model->parameters.block_count; i++) {
        gradients[i] += rf_runner_gradients(runner)[i];
    }
    rf_runner_destroy(runner);
}

/* Every token's segment is that of one token in another document: whatever this says, the others'
 * logits and all that their losses move keep every bit, in local layers and in hashing ones. */
static void check_apart(const char *layers, const char *stream)
{
    small_model small = small_model_default;
    small.layers = layers;
    small.stream = stream;
    rf_model *model = small_model_create(&small, 3);
    int64_t vocabulary = model->config.vocabulary;
    int64_t count = model->parameters.block_count;
    int32_t *ids = small_model_tokens(model, LENGTH, 4);
    int32_t segments[LENGTH];
    int32_t labels[LENGTH];
    float *logits[2];
    float *gradients[2];
    mark(parts, segments);
    for (int i = 0; i < 2; i++) {
        logits[i] = floats(LENGTH * vocabulary);
        gradients[i] = floats(count);
        for (int64_t token = 0; token < LENGTH; token++) {
            bool is_second = segments[token] == 1;
            if (is_second) { /* says other things in the second run; nobody else uses its words */
                ids[token] =
                    SMALL_IDS + (int32_t)((token * (i + 3) + i) % (vocabulary - SMALL_IDS));
            } else {
                ids[token] %= SMALL_IDS;
            }
            labels[token] = is_second ? -100 : ids[token];
        }
        run(model, ids, labels, segments, LENGTH, logits[i], gradients[i]);
    }
    for (int64_t token = 0; token < LENGTH; token++) {
        const float *one = logits[0] + token * vocabulary;
        const float *other = logits[1] + token * vocabulary;
        bool is_same = memcmp(one, other, (size_t)vocabulary * sizeof *one) == 0;
        assert_true(is_same == (segments[token] != 1));
    }
    for (int64_t i = 0; i < count; i++) {
        assert_true(gradients[0][i] == gradients[1][i]);
    }
    const rf_parameter *table = rf_parameters_find(&model->parameters, RF_PARAMETER_WORD, -1, 0);
    const float *rows = gradients[0] + table->offset;
    for (int64_t i = SMALL_IDS * model->config.hidden; i < vocabulary * model->config.hidden; i++) {
        assert_true(rows[i] == 0.0F);
    }
    for (int i = 0; i < 2; i++) {
        free(logits[i]);
        free(gradients[i]);
    }
    rf_release(ids);
    rf_model_destroy(model);
}

static void test_documents_are_apart(void **state)
{
    (void)state;
    check_apart("\"local\", \"local\"", "fixed32");
    check_apart("\"lsh\", \"lsh\"", "fixed32");
    check_apart("\"local\", \"lsh\", \"local\", \"lsh\"", "fixed32");
    check_apart("\"lsh\", \"local\"", "float32");
}

/* Without positions, and where documents start at chunks, a packed sequence of a local model is its
 * documents. */
static void test_local_documents_are_as_alone(void **state)
{
    (void)state;
    small_model small = small_model_default;
    small.layers = "\"local\", \"local\"";
    small.stream = "float32";
    rf_model *model = small_model_create(&small, 5);
    int64_t vocabulary = model->config.vocabulary;
    int64_t count = model->parameters.block_count;
    for (int axis = 0; axis < 2; axis++) {
        const rf_parameter *table =
            rf_parameters_find(&model->parameters, RF_PARAMETER_POSITION, -1, axis);
        memset(model->values + table->offset, 0, (size_t)table->count * sizeof(float));
    }
    int32_t *ids = small_model_tokens(model, LENGTH, 6);
    int32_t segments[LENGTH];
    float *packed = floats(LENGTH * vocabulary);
    float *alone = floats(LENGTH * vocabulary);
    float *packed_gradients = floats(count);
    float *gradients = floats(count);
    mark(aligned, segments);
    run(model, ids, NULL, segments, LENGTH, packed, packed_gradients);
    for (int i = 0; i < DOCUMENTS; i++) {
        run(model, ids + aligned[i].start, NULL, NULL, aligned[i].end - aligned[i].start,
            alone + aligned[i].start * vocabulary, gradients);
    }
    double largest = 0.0;
    for (int64_t i = 0; i < LENGTH * vocabulary; i++) {
        assert_true(fabsf(packed[i] - alone[i]) < 1e-4F);
    }
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)gradients[i]));
    }
    /* Positions are another matter: there each document has its own. */
    const rf_parameter *table = rf_parameters_find(&model->parameters, RF_PARAMETER_WORD, -1, 0);
    for (int64_t i = table->offset; i < table->offset + table->count; i++) {
        assert_true(fabs((double)packed_gradients[i] - (double)gradients[i]) < 1e-4 * largest);
    }
    free(packed);
    free(alone);
    free(packed_gradients);
    free(gradients);
    rf_release(ids);
    rf_model_destroy(model);
}

static void test_rejected(void **state)
{
    (void)state;
    rf_model *model = small_model_create(&small_model_default, 1);
    int32_t *ids = small_model_tokens(model, LENGTH, 1);
    int32_t segments[LENGTH] = {0};
    rf_batch batch = {.batch = 1, .length = LENGTH, .ids = ids, .segments = segments};
    rf_outcome outcome;
    for (int planned = 0; planned < 2; planned++) {
        rf_runner *runner = NULL;
        rf_runner_options options = {.batch = 1, .length = LENGTH, .segments = planned != 0};
        assert_ok(rf_runner_create(model, &options, &runner, error));
        segments[7] = planned != 0 ? LENGTH : 0;
        rf_error message = {0};
        assert_int_equal(rf_runner_forward(runner, &batch, 0, 0, &outcome, &message),
                         RF_ERR_ARGUMENT);
        assert_non_null(strstr(message.message, planned != 0 ? "position 7" : "not planned"));
        segments[7] = 0;
        rf_runner_destroy(runner);
    }
    rf_release(ids);
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents_are_apart),
                                       cmocka_unit_test(test_local_documents_are_as_alone),
                                       cmocka_unit_test(test_rejected)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
