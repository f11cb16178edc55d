/* Calls that no program should make: what is missing, negative or too large is refused by name, and
 * nothing is written. */
#include "support.h"

#include "base/memory.h"
#include "reformer/reformer.h"

#include <stdio.h>
#include <string.h>

static const char config[] =
    "{\"attn_layers\": [\"local\", \"lsh\"], \"hidden_size\": 16, \"num_attention_heads\": 2, "
    "\"attention_head_size\": 8, \"feed_forward_size\": 20, \"vocab_size\": 258, "
    "\"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, \"num_buckets\": 4, "
    "\"axial_pos_shape\": [8, 8], \"axial_pos_embds_dim\": [6, 10], "
    "\"max_position_embeddings\": 64";

static rf_model *create(const char *task, const char *rest)
{
    char text[1024];
    rf_model *model = NULL;
    const rf_model_options options = {.task = task};
    (void)snprintf(text, sizeof text, "%s%s", config, rest);
    assert_ok(rf_model_create(text, 7, NULL, &options, &model, error));
    return model;
}

static void expect(rf_status status, const rf_error *reason, const char *words)
{
    assert_int_equal(status, RF_ERR_ARGUMENT);
    if (strstr(reason->message, words) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", words, reason->message);
    }
}

static void test_nothing_given(void **state)
{
    (void)state;
    rf_error reason = {0};
    rf_model *model = NULL;
    rf_session *session = NULL;
    expect(rf_model_load(NULL, NULL, &model, &reason), &reason, "folder is needed");
    expect(rf_model_create(NULL, 0, NULL, NULL, &model, &reason), &reason, "configuration");
    assert_null(model);
    model = create(NULL, ", \"is_decoder\": true}");
    size_t before = rf_memory_in_use();
    expect(rf_model_save(model, NULL, NULL, &reason), &reason, "folder to save to");
    expect(rf_session_create(model, NULL, &session, &reason), &reason, "capacity");
    rf_generate_options options = {.prompt_count = 3, .max_new_tokens = 1};
    rf_sampling_default(&options.sampling);
    expect(rf_generate(model, &options, NULL, &reason), &reason, "none was given");
    assert_int_equal(rf_memory_in_use(), before);
    rf_model_destroy(model);
}

static void test_labels(void **state)
{
    (void)state;
    rf_error reason = {0};
    rf_model *model = NULL;
    const char *names[] = {"good", NULL};
    rf_model_options options = {.task = "classify", .labels = -3};
    char text[1024];
    (void)snprintf(text, sizeof text, "%s}", config);
    expect(rf_model_create(text, 7, NULL, &options, &model, &reason), &reason, "-3 labels");
    options.labels = 2;
    options.label_names = names;
    expect(rf_model_create(text, 7, NULL, &options, &model, &reason), &reason, "label 1 of 2");
    assert_null(model);
}

static void test_sizes(void **state)
{
    (void)state;
    rf_error reason = {0};
    float vectors[16];
    const int32_t ids[4] = {1, 2, 3, 4};
    rf_model *model = create("masked-lm", "}");
    assert_true(rf_model_layout(model, INT64_MAX) >= rf_model_layout(model, INT64_MAX - 8));
    assert_true(rf_model_layout(model, -1) == rf_model_layout(model, 1));
    expect(rf_model_token_vectors(model, ids, -1, vectors, &reason), &reason, "-1 tokens");
    const rf_fill_options places = {.count = -1, .top = 1};
    rf_candidate candidate;
    expect(rf_model_fill(model, ids, NULL, 1, 4, &places, &candidate, &reason), &reason,
           "-1 places");
    rf_model_destroy(model);
    model = create("answer", "}");
    rf_span span;
    const rf_answer_options options = {.longest = -1};
    expect(rf_model_answer(model, ids, NULL, 1, 4, &options, 1, &span, &reason), &reason,
           "longest is -1");
    rf_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_given),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
