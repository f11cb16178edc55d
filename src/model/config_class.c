/* Which class a configuration describes, and what the heads of the classes need: labels, the kind
 * of problem, dropout, pooling. Names and defaults are Hugging Face's; pooling is ours. */
#include "base/memory.h"
#include "model/config_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STANDARD_LABELS = 2, MOST_LABELS = 1 << 20 };

static const struct class_words {
    const char *name, *task;
} classes[RF_CLASS_COUNT] = {
    [RF_CLASS_CAUSAL_LM] = {"ReformerModelWithLMHead", "lm"},
    [RF_CLASS_MASKED_LM] = {"ReformerForMaskedLM", "masked-lm"},
    [RF_CLASS_CLASSIFIER] = {"ReformerForSequenceClassification", "classify"},
    [RF_CLASS_ANSWERER] = {"ReformerForQuestionAnswering", "answer"},
    [RF_CLASS_BARE] = {"ReformerModel", "embed"},
};

static const char *const problems[] = {NULL, "regression", "single_label_classification",
                                       "multi_label_classification"};
static const char *const poolings[] = {"first", "mean", "last"};

const char *rf_class_name(rf_model_class model_class)
{
    return classes[model_class].name;
}

const char *rf_class_task(rf_model_class model_class)
{
    return classes[model_class].task;
}

rf_status rf_class_of_task(const char *task, rf_model_class *model_class, rf_error *error)
{
    for (int i = 0; i < RF_CLASS_COUNT; i++) {
        if (strcmp(task, classes[i].task) == 0) {
            *model_class = (rf_model_class)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "task is \"%.60s\", expected lm, masked-lm, next-sentence, "
                        "masked-lm,next-sentence, classify, answer or embed",
                        task);
}

static const char *const next_tasks[] = {"next-sentence", "masked-lm,next-sentence"};

/* A task's word, or two. */
static rf_status parse_task(const char *task, rf_class_choice *choice, rf_error *error)
{
    bool beside = strcmp(task, next_tasks[1]) == 0 || strcmp(task, "next-sentence,masked-lm") == 0;
    choice->next_sentence = beside || strcmp(task, next_tasks[0]) == 0;
    if (choice->next_sentence) {
        choice->model_class = beside ? RF_CLASS_MASKED_LM : RF_CLASS_CLASSIFIER;
        return RF_OK;
    }
    return rf_class_of_task(task, &choice->model_class, error);
}

const char *rf_config_task(const rf_config *config)
{
    if (config->next_sentence == RF_UNIT_NONE) {
        return rf_class_task(config->model_class);
    }
    return next_tasks[config->model_class == RF_CLASS_MASKED_LM ? 1 : 0];
}

bool rf_config_classifies(const rf_config *config)
{
    return config->model_class == RF_CLASS_CLASSIFIER || config->next_sentence != RF_UNIT_NONE;
}

static const char *const units[] = {NULL, "sentence", "line", "paragraph"};
enum { UNITS = sizeof units / sizeof units[0] };

const char *rf_unit_name(rf_unit unit)
{
    return units[unit];
}

rf_status rf_unit_parse(const char *name, rf_unit *unit, rf_error *error)
{
    for (int i = 1; i < UNITS; i++) {
        if (strcmp(name, units[i]) == 0) {
            *unit = (rf_unit)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_ARGUMENT,
                        "parts of a text are \"%.40s\", expected sentence, line or paragraph",
                        name);
}

static const char *const drills[] = {NULL, "copy", "reverse", "addition", "recall"};
enum { DRILLS = sizeof drills / sizeof drills[0] };

const char *rf_drill_name(rf_drill drill)
{
    return drills[drill];
}

rf_drill rf_drill_named(const char *name)
{
    for (int i = 1; name != NULL && i < DRILLS; i++) {
        if (strcmp(name, drills[i]) == 0) {
            return (rf_drill)i;
        }
    }
    return RF_DRILL_NONE;
}

bool rf_class_has_lm_head(rf_model_class model_class)
{
    return model_class == RF_CLASS_CAUSAL_LM || model_class == RF_CLASS_MASKED_LM;
}

rf_problem rf_config_problem(const rf_config *config)
{
    if (config->problem != RF_PROBLEM_OPEN) {
        return config->problem;
    }
    return config->labels == 1 ? RF_PROBLEM_REGRESSION : RF_PROBLEM_SINGLE;
}

static const char *const kind_names[] = {[RF_LAYER_LOCAL] = "local",
                                         [RF_LAYER_LSH] = "lsh",
                                         [RF_LAYER_FULL] = "full",
                                         [RF_LAYER_FULL_SHARED] = "full_shared"};

const char *rf_layer_kind_name(rf_layer_kind kind)
{
    return kind_names[kind];
}

bool rf_layer_kind_parse(const char *name, rf_layer_kind *kind)
{
    for (size_t i = 0; name != NULL && i < sizeof kind_names / sizeof kind_names[0]; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *kind = (rf_layer_kind)i;
            return true;
        }
    }
    return false;
}

bool rf_config_is_huggingface(const rf_config *config)
{
    bool pools = rf_config_classifies(config) && config->pooling != RF_POOLING_FIRST;
    bool has_full = false;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        const rf_layer_kind kind = config->written_kinds[layer];
        has_full = has_full || kind == RF_LAYER_FULL || kind == RF_LAYER_FULL_SHARED;
    }
    return config->positions != RF_POSITIONS_SINUSOIDAL && !pools && !has_full &&
           !config->standard_residual && config->type_vocabulary == 0 &&
           rf_lsh_options_are_plain(&config->lsh_options) && config->hash_kind == RF_HASH_ANGULAR;
}

/* ---- reading ----------------------------------------------------------------------------- */

static rf_status read_architectures(const char *name, const json_t *object, rf_config *config,
                                    rf_error *error)
{
    const json_t *list = json_object_get(object, "architectures");
    config->model_class = RF_CLASS_CAUSAL_LM;
    if (list == NULL || json_is_null(list)) {
        return RF_OK;
    }
    const char *text = json_string_value(json_array_get(list, 0));
    if (text == NULL || json_array_size(list) != 1) {
        return rf_config_wrong_value(name, "architectures", list,
                                     "a list of one name, such as [\"ReformerModelWithLMHead\"]",
                                     error);
    }
    for (int i = 0; i < RF_CLASS_COUNT; i++) {
        if (strcmp(text, classes[i].name) == 0) {
            config->model_class = (rf_model_class)i;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: architectures names %.60s, which is no Reformer; known are "
                        "ReformerModel, ReformerModelWithLMHead, ReformerForMaskedLM, "
                        "ReformerForSequenceClassification and ReformerForQuestionAnswering",
                        name, text);
}

/* One of the words, NULL for a null; count: none of them. */
static int find_word(const char *const *words, int count, const char *text)
{
    int i = 0;
    while (i < count && (words[i] == NULL || strcmp(words[i], text) != 0)) {
        i++;
    }
    return i;
}

static rf_status read_problem(const char *name, const json_t *object, rf_config *config,
                              rf_error *error)
{
    const json_t *value = json_object_get(object, "problem_type");
    config->problem = RF_PROBLEM_OPEN;
    if (value == NULL || json_is_null(value)) {
        return RF_OK;
    }
    const char *text = json_string_value(value);
    int found = text != NULL ? find_word(problems, 4, text) : 4;
    if (found == 4) {
        return rf_config_wrong_value(name, "problem_type", value,
                                     "null, \"regression\", \"single_label_classification\" or "
                                     "\"multi_label_classification\"",
                                     error);
    }
    config->problem = (rf_problem)found;
    return RF_OK;
}

/* id2label: the keys are "0", "1", ..., every value a name. */
static rf_status check_label_names(const char *name, const json_t *map, rf_error *error)
{
    size_t count = json_object_size(map);
    static const char expected[] = "an object with a name for each of \"0\", \"1\", ...";
    if (!json_is_object(map) || count == 0 || count > MOST_LABELS) {
        return rf_config_wrong_value(name, "id2label", map, expected, error);
    }
    for (size_t i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%zu", i);
        if (!json_is_string(json_object_get(map, key))) {
            return rf_config_wrong_value(name, "id2label", map, expected, error);
        }
    }
    return RF_OK;
}

static rf_status read_labels(const char *name, const json_t *object, const rf_log *log,
                             rf_config *config, rf_error *error)
{
    const json_t *names = json_object_get(object, "id2label");
    const json_t *numbers = json_object_get(object, "label2id");
    int64_t given = -1;
    config->labels = STANDARD_LABELS;
    if (numbers != NULL && !json_is_null(numbers) && !json_is_object(numbers)) {
        return rf_config_wrong_value(name, "label2id", numbers, "an object", error);
    }
    if (!rf_json_is_absent_or_null(object, "num_labels")) {
        RF_TRY(rf_json_get_integer(name, object, "num_labels", 1, MOST_LABELS, &given, error));
        config->labels = given;
    }
    if (names == NULL || json_is_null(names)) {
        return RF_OK;
    }
    RF_TRY(check_label_names(name, names, error));
    config->labels = (int64_t)json_object_size(names);
    if (given >= 0 && given != config->labels) {
        rf_log_write(
            log, RF_LOG_WARNING,
            "%s: num_labels is %lld but id2label names %lld labels; id2label counts, as in "
            "transformers",
            name, (long long)given, (long long)config->labels);
    }
    return RF_OK;
}

static rf_status read_classifier_dropout(const char *name, const json_t *object, rf_config *config,
                                         rf_error *error)
{
    config->classifier_dropout = -1.0;
    if (rf_json_is_absent_or_null(object, "classifier_dropout")) {
        return RF_OK;
    }
    RF_TRY(rf_json_get_number(name, object, "classifier_dropout", 0.0, 1.0,
                              &config->classifier_dropout, error));
    if (config->classifier_dropout >= 1.0) {
        return rf_config_wrong_value(name, "classifier_dropout",
                                     json_object_get(object, "classifier_dropout"),
                                     "null, or a probability of at least 0 and below 1", error);
    }
    return RF_OK;
}

/* Position 0 of a causal model has seen one token: our own recipes pool its last one, but what
 * transformers wrote is pooled as transformers does. */
static rf_status read_pooling(const char *name, const json_t *object, rf_config_origin origin,
                              rf_config *config, rf_error *error)
{
    const json_t *ours = json_object_get(object, "reformer_c");
    const json_t *value = json_object_get(ours, "pooling");
    config->pooling =
        origin == RF_CONFIG_OURS && config->causal ? RF_POOLING_LAST : RF_POOLING_FIRST;
    if (value == NULL) {
        return RF_OK;
    }
    const char *text = json_string_value(value);
    int found = text != NULL ? find_word(poolings, 3, text) : 3;
    if (found == 3) {
        return rf_config_wrong_value(name, "reformer_c.pooling", value,
                                     "\"first\", \"mean\" or \"last\"", error);
    }
    config->pooling = (rf_pooling)found;
    return RF_OK;
}

/* A classifier whose file has no names gets the usual ones. */
static rf_status name_labels(rf_config *config, rf_error *error)
{
    bool named = json_is_object(json_object_get(config->json, "id2label"));
    return named || config->model_class != RF_CLASS_CLASSIFIER
               ? RF_OK
               : rf_config_set_labels(config, config->labels, NULL, error);
}

static rf_status read_next_sentence(const char *name, const json_t *object, rf_config *config,
                                    rf_error *error)
{
    const json_t *value = json_object_get(json_object_get(object, "reformer_c"), "next_sentence");
    const char *text = json_string_value(value);
    bool can =
        config->model_class == RF_CLASS_CLASSIFIER || config->model_class == RF_CLASS_MASKED_LM;
    if (value == NULL) {
        return RF_OK;
    }
    if (text == NULL || rf_unit_parse(text, &config->next_sentence, NULL) != RF_OK) {
        return rf_config_wrong_value(name, "reformer_c.next_sentence", value,
                                     "\"sentence\", \"line\" or \"paragraph\"", error);
    }
    if (!can) {
        return rf_error_set(error, RF_ERR_CONFIG,
                            "%s: reformer_c.next_sentence is for a classifier or a masked language "
                            "model, but architectures names %s",
                            name, classes[config->model_class].name);
    }
    return rf_config_set_next_sentence(config, config->next_sentence, error);
}

rf_status rf_config_read_class(const char *name, const json_t *object, rf_config_origin origin,
                               const rf_log *log, rf_config *config, rf_error *error)
{
    RF_TRY(read_architectures(name, object, config, error));
    RF_TRY(read_problem(name, object, config, error));
    RF_TRY(read_labels(name, object, log, config, error));
    RF_TRY(read_classifier_dropout(name, object, config, error));
    RF_TRY(read_pooling(name, object, origin, config, error));
    RF_TRY(read_next_sentence(name, object, config, error));
    return name_labels(config, error);
}

/* ---- writing ----------------------------------------------------------------------------- */

/* num_labels is never written: the names say how many there are, and two is what their absence
 * stands for. */
static rf_status write_labels(const rf_config *config, json_t *object, rf_error *error)
{
    if (json_object_get(object, "id2label") == NULL && config->labels != STANDARD_LABELS) {
        return rf_json_set(object, "num_labels", json_integer(config->labels), error);
    }
    (void)json_object_del(object, "num_labels");
    return RF_OK;
}

rf_status rf_config_write_class(const rf_config *config, json_t *object, rf_error *error)
{
    const char *name = classes[config->model_class].name;
    RF_TRY(rf_json_set(object, "architectures", json_pack("[s]", name), error));
    json_t *dropout =
        config->classifier_dropout < 0.0 ? json_null() : json_real(config->classifier_dropout);
    RF_TRY(rf_json_set(object, "classifier_dropout", dropout, error));
    RF_TRY(write_labels(config, object, error));
    if (config->problem != RF_PROBLEM_OPEN) {
        RF_TRY(rf_json_set(object, "problem_type", json_string(problems[config->problem]), error));
    }
    if (config->next_sentence != RF_UNIT_NONE) {
        RF_TRY(rf_json_set(json_object_get(object, "reformer_c"), "next_sentence",
                           json_string(units[config->next_sentence]), error));
    }
    if (!rf_config_classifies(config) || config->pooling == RF_POOLING_FIRST) {
        return RF_OK;
    }
    return rf_json_set(json_object_get(object, "reformer_c"), "pooling",
                       json_string(poolings[config->pooling]), error);
}

/* ---- labels and classes changed ---------------------------------------------------------- */

const char *rf_config_label(const rf_config *config, int64_t label)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%lld", (long long)label);
    const json_t *names = json_object_get(config->json, "id2label");
    const char *text = json_string_value(json_object_get(names, key));
    return text != NULL ? text : "?";
}

rf_status rf_config_set_labels(rf_config *config, int64_t labels, const char *const *names,
                               rf_error *error)
{
    if (labels < 1 || labels > MOST_LABELS) {
        return rf_error_set(error, RF_ERR_CONFIG, "%lld labels, expected 1 to %d",
                            (long long)labels, (int)MOST_LABELS);
    }
    RF_TRY(rf_json_set(config->json, "id2label", json_object(), error));
    RF_TRY(rf_json_set(config->json, "label2id", json_object(), error));
    json_t *forth = json_object_get(config->json, "id2label");
    json_t *back = json_object_get(config->json, "label2id");
    for (int64_t i = 0; i < labels; i++) {
        char key[32];
        char preset[32];
        (void)snprintf(key, sizeof key, "%lld", (long long)i);
        (void)snprintf(preset, sizeof preset, "LABEL_%lld", (long long)i);
        const char *text = names != NULL ? names[i] : preset;
        if (text == NULL) {
            return rf_error_set(error, RF_ERR_ARGUMENT, "label %lld of %lld has no name",
                                (long long)i, (long long)labels);
        }
        if (json_object_get(back, text) != NULL) {
            return rf_error_set(error, RF_ERR_CONFIG, "two labels are called \"%.80s\"", text);
        }
        RF_TRY(rf_json_set(forth, key, json_string(text), error));
        RF_TRY(rf_json_set(back, text, json_integer(i), error));
    }
    config->labels = labels;
    return RF_OK;
}

rf_status rf_config_set_next_sentence(rf_config *config, rf_unit unit, rf_error *error)
{
    static const char *const names[] = {"is_next", "not_next"};
    bool named = config->labels == 2;
    for (int i = 0; i < 2 && named; i++) {
        named = strcmp(rf_config_label(config, i), names[i]) == 0;
    }
    config->next_sentence = unit;
    config->problem = RF_PROBLEM_SINGLE;
    return named ? RF_OK : rf_config_set_labels(config, 2, names, error);
}

/* "causal", "bidirectional", "as-is" (NULL too). */
static rf_status parse_direction(const char *text, rf_direction *direction, rf_error *error)
{
    static const char *const words[] = {"as-is", "causal", "bidirectional"};
    int found = text == NULL ? 0 : find_word(words, 3, text);
    if (found == 3) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "direction is \"%.60s\", expected as-is, causal or bidirectional",
                            text);
    }
    *direction = (rf_direction)found;
    return RF_OK;
}

rf_status rf_class_choose(const char *task, const char *direction, rf_class_choice *space,
                          const rf_class_choice **choice, rf_error *error)
{
    *choice = NULL;
    RF_TRY(parse_direction(direction, &space->direction, error));
    space->keeps_class = task == NULL;
    if (task == NULL && space->direction == RF_DIRECTION_AS_IS) {
        return RF_OK;
    }
    *choice = space;
    return task != NULL ? parse_task(task, space, error) : RF_OK;
}

static void make_causal(rf_config *config, const rf_log *log)
{
    if (!config->causal) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "is_decoder: true from now on: every token sees only what is before it%s",
                     config->model_class == RF_CLASS_CAUSAL_LM
                         ? ", since a language model predicts what follows"
                         : "");
    }
    if (config->local.chunks_after > 0 || config->lsh.chunks_after > 0) {
        rf_log_write(log, RF_LOG_NOTICE,
                     "local_num_chunks_after and lsh_num_chunks_after: 0 from now on");
    }
    config->causal = true;
    config->local.chunks_after = 0;
    config->lsh.chunks_after = 0;
}

/* As far ahead as back, where a causal model could not look ahead. */
static void look_ahead(rf_config *config, rf_layer_kind kind, const char *key,
                       rf_window_config *window, const rf_log *log)
{
    if (rf_config_kind_count(config, kind) > 0 && window->chunks_after < window->chunks_before) {
        window->chunks_after = window->chunks_before;
        rf_log_write(log, RF_LOG_NOTICE, "%s: %lld from now on", key,
                     (long long)window->chunks_after);
    }
}

static void make_bidirectional(rf_config *config, const rf_log *log)
{
    if (!config->causal) {
        return;
    }
    look_ahead(config, RF_LAYER_LOCAL, "local_num_chunks_after", &config->local, log);
    look_ahead(config, RF_LAYER_LSH, "lsh_num_chunks_after", &config->lsh, log);
    rf_log_write(log, RF_LOG_NOTICE,
                 "is_decoder: false from now on: every token sees both sides; weights that were "
                 "trained to look back only need more training");
    config->causal = false;
}

static rf_status check_direction(rf_model_class model_class, rf_direction direction,
                                 rf_error *error)
{
    if (model_class == RF_CLASS_CAUSAL_LM && direction == RF_DIRECTION_BIDIRECTIONAL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "direction is bidirectional, but a model that predicts what follows "
                            "cannot see it; the task masked-lm can");
    }
    if (model_class == RF_CLASS_MASKED_LM && direction == RF_DIRECTION_CAUSAL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "direction is causal, but a ReformerForMaskedLM tells a masked token "
                            "by both sides; the task lm is causal");
    }
    return RF_OK;
}

rf_status rf_config_set_class(rf_config *config, rf_model_class model_class, rf_direction direction,
                              const rf_log *log, rf_error *error)
{
    rf_model_class before = config->model_class;
    RF_TRY(check_direction(model_class, direction, error));
    config->model_class = model_class;
    if (model_class == RF_CLASS_CAUSAL_LM || direction == RF_DIRECTION_CAUSAL) {
        make_causal(config, log);
    } else if (model_class == RF_CLASS_MASKED_LM || direction == RF_DIRECTION_BIDIRECTIONAL) {
        make_bidirectional(config, log);
    }
    if (model_class == RF_CLASS_ANSWERER && config->labels != 2) {
        RF_TRY(rf_config_set_labels(config, 2, NULL, error));
    }
    const json_t *ours = json_object_get(config->json, "reformer_c");
    if (before != model_class && json_object_get(ours, "pooling") == NULL) {
        config->pooling = config->causal ? RF_POOLING_LAST : RF_POOLING_FIRST;
    }
    config->next_sentence = RF_UNIT_NONE;
    return name_labels(config, error);
}
