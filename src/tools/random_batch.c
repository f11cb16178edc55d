/* Random tokens and labels, the same every time: what is timed or measured does not depend on them,
 * but each class wants its own kind of label. O(batch x length). */
#include "tools/random_batch.h"

#include "base/memory.h"
#include "base/random.h"

static rf_status fill_ids(int64_t count, int64_t vocabulary, rf_random_batch *random,
                          rf_error *error)
{
    const rf_random_key key = {.purpose = RF_PURPOSE_TEST};
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof(int32_t), "tokens", &memory, error));
    random->ids = memory;
    for (int64_t i = 0; i < count; i++) {
        random->ids[i] = (int32_t)rf_random_below(&key, (uint64_t)i, (uint64_t)vocabulary);
    }
    return RF_OK;
}

/* Classifiers: a label a row, or a number for each label of a row. */
static rf_status fill_classes(const rf_config *config, rf_random_batch *random, rf_error *error)
{
    rf_batch *batch = &random->batch;
    bool single = rf_config_problem(config) == RF_PROBLEM_SINGLE;
    int64_t count = single ? batch->batch : batch->batch * config->labels;
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * (single ? sizeof(int32_t) : sizeof(float)), "labels",
                       &memory, error));
    if (single) {
        random->labels = memory;
        batch->labels = random->labels;
        for (int64_t i = 0; i < count; i++) {
            random->labels[i] = (int32_t)(i % config->labels);
        }
    } else {
        random->values = memory;
        batch->values = random->values;
        for (int64_t i = 0; i < count; i++) {
            random->values[i] = (float)(i % 2);
        }
    }
    return RF_OK;
}

/* Every answer is the whole row. */
static rf_status fill_answers(rf_random_batch *random, rf_error *error)
{
    rf_batch *batch = &random->batch;
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)batch->batch * 2 * sizeof(int32_t), "labels", &memory, error));
    random->labels = memory;
    batch->labels = random->labels;
    for (int64_t i = 0; i < batch->batch; i++) {
        random->labels[2 * i] = 0;
        random->labels[2 * i + 1] = (int32_t)(batch->length - 1);
    }
    return RF_OK;
}

rf_status rf_random_batch_make(const rf_config *config, int64_t batch, int64_t length,
                               rf_random_batch *random, rf_error *error)
{
    RF_TRY(fill_ids(batch * length, config->vocabulary, random, error));
    random->batch = (rf_batch){.batch = batch, .length = length, .ids = random->ids};
    random->factor = 1.0F / (float)batch;
    if (config->model_class == RF_CLASS_CLASSIFIER) {
        return fill_classes(config, random, error);
    }
    if (config->model_class == RF_CLASS_ANSWERER) {
        return fill_answers(random, error);
    }
    if (rf_class_has_lm_head(config->model_class)) {
        random->batch.labels = random->ids;
        random->factor = 1.0F / (float)rf_batch_scored(&random->batch);
    }
    return RF_OK;
}

void rf_random_batch_clear(rf_random_batch *random)
{
    rf_release(random->ids);
    rf_release(random->labels);
    rf_release(random->values);
    *random = (rf_random_batch){0};
}
