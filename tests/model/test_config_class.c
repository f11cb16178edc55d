/* Classes in a configuration: every one read and written as Hugging Face does, labels, problems,
 * pooling, and one class made another. */
#include "config_support.h"

#include <string.h>

static rf_config classifier(const char *more)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"architectures\": [\"ReformerForSequenceClassification\"]%s%s}",
                   more[0] != '\0' ? ", " : "", more);
    rf_config config;
    assert_ok(parse_changed_config(text, RF_CONFIG_FOREIGN, NULL, &config, error));
    return config;
}

static json_t *written(const rf_config *config)
{
    json_t *object = NULL;
    assert_ok(rf_config_to_json(config, &object, error));
    return object;
}

static void test_every_class_round_trips(void **state)
{
    (void)state;
    for (int i = 0; i < RF_CLASS_COUNT; i++) {
        char text[256];
        rf_config config;
        rf_config again;
        rf_model_class found = RF_CLASS_COUNT;
        (void)snprintf(text, sizeof text, "{\"architectures\": [\"%s\"], \"is_decoder\": %s}",
                       rf_class_name((rf_model_class)i),
                       i == RF_CLASS_CAUSAL_LM ? "true" : "false");
        assert_ok(parse_changed_config(text, RF_CONFIG_FOREIGN, NULL, &config, error));
        assert_int_equal(config.model_class, i);
        json_t *object = written(&config);
        assert_string_equal(
            json_string_value(json_array_get(json_object_get(object, "architectures"), 0)),
            rf_class_name((rf_model_class)i));
        assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer");
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_int_equal(again.model_class, i);
        assert_ok(rf_class_of_task(rf_class_task((rf_model_class)i), &found, error));
        assert_int_equal(found, i);
        json_decref(object);
        rf_config_clear(&config);
        rf_config_clear(&again);
    }
}

static void test_labels(void **state)
{
    (void)state;
    rf_config config = classifier("");
    assert_int_equal(config.labels, 2);
    assert_string_equal(rf_config_label(&config, 1), "LABEL_1");
    rf_config_clear(&config);
    config = classifier("\"num_labels\": 5");
    assert_int_equal(config.labels, 5);
    json_t *object = written(&config);
    assert_null(json_object_get(object, "num_labels"));
    assert_int_equal(json_object_size(json_object_get(object, "id2label")), 5);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(object, "label2id"), "LABEL_4")), 4);
    json_decref(object);
    rf_config_clear(&config);
    config = classifier("\"id2label\": {\"0\": \"bad\", \"1\": \"so so\", \"2\": \"good\"}");
    assert_int_equal(config.labels, 3);
    assert_string_equal(rf_config_label(&config, 2), "good");
    const char *const same[] = {"a", "a"};
    rf_error fault = {0};
    assert_int_equal(rf_config_set_labels(&config, 2, same, &fault), RF_ERR_CONFIG);
    assert_non_null(strstr(fault.message, "\"a\""));
    rf_config_clear(&config);
}

static void test_labels_that_disagree(void **state)
{
    (void)state;
    heard said = {0};
    rf_config config;
    assert_ok(parse_changed_config("{\"num_labels\": 4, \"id2label\": {\"0\": \"x\"}}",
                                   RF_CONFIG_FOREIGN, &said, &config, error));
    assert_int_equal(config.labels, 1);
    assert_int_equal(said.lines, 1);
    assert_non_null(strstr(said.text, "id2label"));
    rf_config_clear(&config);
}

static void test_problem(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        rf_problem problem;
    } cases[] = {
        {"", RF_PROBLEM_SINGLE},
        {"\"num_labels\": 1", RF_PROBLEM_REGRESSION},
        {"\"num_labels\": 1, \"problem_type\": null", RF_PROBLEM_REGRESSION},
        {"\"problem_type\": \"regression\"", RF_PROBLEM_REGRESSION},
        {"\"problem_type\": \"multi_label_classification\"", RF_PROBLEM_MULTIPLE},
        {"\"num_labels\": 1, \"problem_type\": \"single_label_classification\"", RF_PROBLEM_SINGLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_config config = classifier(cases[i].text);
        assert_int_equal(rf_config_problem(&config), cases[i].problem);
        config.problem = rf_config_problem(&config);
        json_t *object = written(&config);
        rf_config again;
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_int_equal(again.problem, cases[i].problem);
        json_decref(object);
        rf_config_clear(&again);
        rf_config_clear(&config);
    }
}

static void test_dropout(void **state)
{
    (void)state;
    rf_config config = classifier("");
    assert_true(config.classifier_dropout < 0.0);
    json_t *object = written(&config);
    assert_true(json_is_null(json_object_get(object, "classifier_dropout")));
    json_decref(object);
    config.classifier_dropout = 0.0;
    object = written(&config);
    assert_true(json_is_real(json_object_get(object, "classifier_dropout")));
    json_decref(object);
    rf_config_clear(&config);
}

/* What transformers wrote is pooled as it does; our own causal recipes pool the last position,
 * which transformers could not compute. */
static void test_pooling(void **state)
{
    (void)state;
    static const char recipe[] = "{\"architectures\": [\"ReformerForSequenceClassification\"]}";
    rf_config config = classifier("");
    assert_true(config.causal);
    assert_int_equal(config.pooling, RF_POOLING_FIRST);
    rf_config_clear(&config);
    assert_ok(parse_changed_config(recipe, RF_CONFIG_OURS, NULL, &config, error));
    assert_int_equal(config.pooling, RF_POOLING_LAST);
    json_t *object = written(&config);
    assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer_c");
    rf_config again;
    assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
    assert_int_equal(again.pooling, RF_POOLING_LAST);
    json_decref(object);
    rf_config_clear(&again);
    rf_config_clear(&config);
    config = classifier("\"is_decoder\": false, \"reformer_c\": {\"pooling\": \"mean\"}");
    assert_int_equal(config.pooling, RF_POOLING_MEAN);
    rf_config_clear(&config);
}

/* The table of token types is ours alone: read, written, and no model for transformers. */
static void test_token_types(void **state)
{
    (void)state;
    rf_config config = classifier("\"reformer_c\": {\"type_vocab_size\": 2}");
    rf_config again;
    rf_error fault = {0};
    assert_int_equal(config.type_vocabulary, 2);
    json_t *object = written(&config);
    assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer_c");
    assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
    assert_int_equal(again.type_vocabulary, 2);
    json_decref(object);
    rf_config_clear(&again);
    rf_config_clear(&config);
    config = classifier("");
    assert_int_equal(config.type_vocabulary, 0);
    rf_config_clear(&config);
    assert_int_equal(parse_changed_config("{\"reformer_c\": {\"type_vocab_size\": 1}}",
                                          RF_CONFIG_FOREIGN, NULL, &config, &fault),
                     RF_ERR_FORMAT);
    assert_non_null(strstr(fault.message, "type_vocab_size"));
}

static rf_config chosen(const char *task)
{
    rf_class_choice space = {0};
    const rf_class_choice *choice = NULL;
    rf_config config;
    assert_ok(rf_class_choose(task, NULL, &space, &choice, error));
    json_t *object = json_pack("{s:b, s:s}", "is_decoder", 0, "problem_type", "regression");
    assert_non_null(object);
    assert_ok(rf_config_parse_as("model", object, RF_CONFIG_OURS, choice, NULL, &config, error));
    json_decref(object);
    return config;
}

/* One class with its two labels, or another with a second head; written, read again, left. */
static void test_next_sentence(void **state)
{
    (void)state;
    static const char *const tasks[] = {"next-sentence", "masked-lm,next-sentence",
                                        "next-sentence,masked-lm"};
    rf_error fault = {0};
    for (int i = 0; i < 3; i++) {
        rf_config config = chosen(tasks[i]);
        rf_config again;
        assert_int_equal(config.model_class, i == 0 ? RF_CLASS_CLASSIFIER : RF_CLASS_MASKED_LM);
        assert_true(rf_config_classifies(&config));
        assert_int_equal(config.next_sentence, RF_UNIT_SENTENCE);
        assert_int_equal(rf_config_problem(&config), RF_PROBLEM_SINGLE);
        assert_string_equal(rf_config_task(&config), tasks[i > 0 ? 1 : 0]);
        assert_string_equal(rf_config_label(&config, 1), "not_next");
        config.next_sentence = RF_UNIT_PARAGRAPH;
        json_t *object = written(&config);
        assert_string_equal(json_string_value(json_object_get(object, "model_type")), "reformer");
        assert_ok(rf_config_parse("config.json", object, RF_CONFIG_FOREIGN, NULL, &again, error));
        assert_int_equal(again.next_sentence, RF_UNIT_PARAGRAPH);
        assert_int_equal(again.labels, 2);
        assert_ok(rf_config_set_class(&again, RF_CLASS_MASKED_LM, RF_DIRECTION_AS_IS, NULL, error));
        assert_false(rf_config_classifies(&again));
        assert_string_equal(rf_config_task(&again), "masked-lm");
        json_decref(object);
        rf_config_clear(&again);
        rf_config_clear(&config);
    }
    rf_config none;
    assert_int_equal(parse_changed_config("{\"architectures\": [\"ReformerForQuestionAnswering\"], "
                                          "\"reformer_c\": {\"next_sentence\": \"line\"}}",
                                          RF_CONFIG_FOREIGN, NULL, &none, &fault),
                     RF_ERR_CONFIG);
    assert_non_null(strstr(fault.message, "ReformerForQuestionAnswering"));
    assert_int_equal(parse_changed_config("{\"reformer_c\": {\"next_sentence\": true}}",
                                          RF_CONFIG_FOREIGN, NULL, &none, &fault),
                     RF_ERR_FORMAT);
    assert_non_null(strstr(fault.message, "reformer_c.next_sentence"));
}

static void test_made_another(void **state)
{
    (void)state;
    heard said = {0};
    rf_log log = {.write = hear, .user = &said};
    const char *const names[] = {"no", "yes", "perhaps"};
    rf_class_choice masked = {.model_class = RF_CLASS_MASKED_LM};
    rf_class_choice classes = {.model_class = RF_CLASS_CLASSIFIER, .labels = 3, .names = names};
    rf_class_choice causal = {.model_class = RF_CLASS_CAUSAL_LM};
    rf_config config;
    json_t *object = changed_config("{}");
    assert_ok(rf_config_parse_as("test", object, RF_CONFIG_FOREIGN, &masked, &log, &config, error));
    assert_false(config.causal);
    assert_non_null(strstr(said.text, "is_decoder: false"));
    rf_config_clear(&config);
    assert_ok(
        rf_config_parse_as("test", object, RF_CONFIG_FOREIGN, &classes, &log, &config, error));
    assert_int_equal(config.labels, 3);
    assert_string_equal(rf_config_label(&config, 2), "perhaps");
    assert_int_equal(config.pooling, RF_POOLING_LAST);
    rf_config_clear(&config);
    json_decref(object);
    object = changed_config("{\"architectures\": [\"ReformerForMaskedLM\"], \"is_decoder\": false, "
                            "\"lsh_num_chunks_after\": 1}");
    said.lines = 0;
    assert_ok(rf_config_parse_as("test", object, RF_CONFIG_FOREIGN, &causal, &log, &config, error));
    assert_true(config.causal);
    assert_int_equal(config.lsh.chunks_after, 0);
    assert_int_equal(said.lines, 2);
    rf_config_clear(&config);
    json_decref(object);
}

static const char *set_direction(const char *keys, const char *task, const char *direction,
                                 rf_config *config, heard *said)
{
    static rf_error fault;
    rf_log log = {.write = hear, .user = said};
    rf_class_choice space = {0};
    const rf_class_choice *choice = NULL;
    json_t *object = changed_config(keys);
    *said = (heard){0};
    fault = (rf_error){0};
    *config = (rf_config){0};
    if (rf_class_choose(task, direction, &space, &choice, &fault) == RF_OK) {
        (void)!rf_config_parse_as("test", object, RF_CONFIG_FOREIGN, choice, &log, config, &fault);
    }
    json_decref(object);
    return fault.message;
}

/* The windows of a causal model reach ahead as far as back once it is none; and back again. */
static void test_directions(void **state)
{
    (void)state;
    heard said;
    rf_config config;
    static const char both[] =
        "{\"architectures\": [\"ReformerForMaskedLM\"], \"is_decoder\": false, "
        "\"local_num_chunks_after\": 1}";
    static const char wide[] = "{\"local_num_chunks_before\": 3}";
    assert_string_equal(set_direction(wide, "masked-lm", NULL, &config, &said), "");
    assert_false(config.causal);
    assert_int_equal(config.local.chunks_after, 3);
    assert_int_equal(config.lsh.chunks_after, 1);
    assert_int_equal(said.lines, 3);
    json_t *object = written(&config);
    assert_true(json_is_false(json_object_get(object, "is_decoder")));
    assert_int_equal(json_integer_value(json_object_get(object, "local_num_chunks_after")), 3);
    json_decref(object);
    rf_config_clear(&config);
    assert_string_equal(set_direction("{}", "classify", "bidirectional", &config, &said), "");
    assert_false(config.causal);
    assert_int_equal(config.pooling, RF_POOLING_FIRST);
    rf_config_clear(&config);
    assert_string_equal(set_direction("{}", "answer", "as-is", &config, &said), "");
    assert_true(config.causal);
    assert_int_equal(said.lines, 0);
    rf_config_clear(&config);
    assert_string_equal(set_direction(both, "classify", "causal", &config, &said), "");
    assert_true(config.causal);
    assert_int_equal(config.local.chunks_after, 0);
    assert_int_equal(config.pooling, RF_POOLING_LAST);
    rf_config_clear(&config);
    assert_string_equal(set_direction(both, NULL, "bidirectional", &config, &said), "");
    assert_int_equal(config.local.chunks_after, 1); /* it was so before: nothing is changed */
    assert_int_equal(config.lsh.chunks_after, 0);
    assert_int_equal(said.lines, 0);
    rf_config_clear(&config);
    assert_non_null(
        strstr(set_direction("{}", "lm", "bidirectional", &config, &said), "masked-lm"));
    assert_non_null(strstr(set_direction(both, NULL, "causal", &config, &said), "task lm"));
    assert_non_null(strstr(set_direction("{}", "lm", "left", &config, &said), "\"left\""));
}

static void test_unknown_task(void **state)
{
    (void)state;
    rf_model_class found;
    rf_error fault = {0};
    assert_int_equal(rf_class_of_task("translate", &found, &fault), RF_ERR_ARGUMENT);
    assert_non_null(strstr(fault.message, "masked-lm"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_class_round_trips),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_labels_that_disagree),
        cmocka_unit_test(test_problem),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_pooling),
        cmocka_unit_test(test_token_types),
        cmocka_unit_test(test_next_sentence),
        cmocka_unit_test(test_made_another),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_unknown_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
