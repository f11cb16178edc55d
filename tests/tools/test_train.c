/* rf_train as a caller sees it: samples written by the model on the way, event files beside the
 * other records. */
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "reformer/train.h"

#include <string.h>

static const char model[] =
    "{\"attention_head_size\": 8, \"attn_layers\": [\"local\", \"lsh\"], \"axial_pos_embds_dim\": "
    "[8, 8], "
    "\"axial_pos_shape\": [8, 16], \"feed_forward_size\": 24, \"hidden_size\": 16, "
    "\"local_attn_chunk_length\": 8, \"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": "
    "128, "
    "\"num_attention_heads\": 2, \"num_buckets\": 4, \"num_hashes\": 2, \"vocab_size\": 258, "
    "\"is_decoder\": true}";

typedef struct samples {
    int count;
    int64_t last_step;
    size_t size;
    char text[4][256];
} samples;

static void take_sample(void *user, int64_t step, const char *bytes, size_t size)
{
    samples *seen = user;
    assert_true(seen->count < 4 && size < sizeof seen->text[0]);
    memcpy(seen->text[seen->count], bytes, size);
    seen->count++;
    seen->last_step = step;
    seen->size = size;
}

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), name, &path, error));
    return path;
}

static rf_train_options run_options(const char *data, const char *output)
{
    rf_train_options options;
    rf_train_options_default(&options);
    options.model_config = model;
    options.data = data;
    options.output = output;
    options.steps = 4;
    options.batch = 2;
    options.length = 32;
    options.threads = 1;
    options.eval_every = 0;
    options.sample_every = 2;
    options.sample_tokens = 20;
    return options;
}

static int count_events(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    int events = 0;
    assert_ok(rf_folder_list(folder, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        events += strncmp(names[i], "events.out.tfevents.", 20) == 0 ? 1 : 0;
    }
    rf_names_release(names, count);
    return events;
}

static void samples_go_on_from_the_prompt(void **state)
{
    (void)state;
    char *data = path_of("text.txt");
    char *output = path_of("run");
    char text[2000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "abcdefgh \n"[i * i % 10];
    }
    assert_ok(rf_file_write_atomic(data, text, sizeof text, error));
    rf_train_options options = run_options(data, output);
    samples seen = {0};
    rf_train_result result;
    options.sample = take_sample;
    options.user = &seen;
    options.sample_prompt = "In the beginning";
    assert_ok(rf_train(&options, &result, error));
    assert_int_equal(seen.count, 3); /* before the first step, after 2, at the end */
    assert_int_equal(seen.last_step, 4);
    assert_int_equal(result.step, 4);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(seen.text[i], "In the beginning", 16);
    }
    assert_true(seen.size > 16 && seen.size <= 36); /* ids that are no byte write nothing */
    char *kept = NULL;
    size_t size = 0;
    char *path = path_of("run/samples/step-4.txt");
    assert_ok(rf_file_read(path, 4096, &kept, &size, error));
    assert_int_equal(size, seen.size);
    assert_memory_equal(kept, seen.text[2], size);
    assert_int_equal(count_events(output), RF_WITH_PROTOBUF_C);
    rf_release(kept);
    rf_release(path);
    rf_release(data);
    rf_release(output);
}

/* What a sample takes beside the run is planned, so that a limit holds with samples too. */
static void samples_are_planned(void **state)
{
    (void)state;
    static const char longer[] =
        "{\"attention_head_size\": 8, \"attn_layers\": [\"lsh\"], \"axial_pos_embds_dim\": [8, 8], "
        "\"axial_pos_shape\": [64, 64], \"feed_forward_size\": 24, \"hidden_size\": 16, "
        "\"lsh_attn_chunk_length\": 8, \"max_position_embeddings\": 4096, \"num_attention_heads\": "
        "2, "
        "\"num_buckets\": 4, \"num_hashes\": 2, \"vocab_size\": 258, \"is_decoder\": true}";
    char *data = path_of("text.txt");
    char *without_samples = path_of("planned-without");
    char *with_samples = path_of("planned-with");
    rf_train_options options = run_options(data, without_samples);
    rf_train_result result;
    const size_t before = rf_memory_in_use();
    options.model_config = longer;
    options.sample_every = 0;
    assert_ok(rf_train(&options, &result, error));
    const uint64_t without = result.planned_bytes;
    options.output = with_samples;
    options.sample_every = 2;
    options.sample_tokens = 3000;
    rf_memory_reset_peak();
    assert_ok(rf_train(&options, &result, error));
    assert_true(result.planned_bytes > without + 16384);
    assert_true(result.peak_bytes - before <= result.planned_bytes);
    assert_int_equal(rf_memory_in_use(), before);
    rf_release(data);
    rf_release(without_samples);
    rf_release(with_samples);
}

/* Drawing samples takes nothing from the randomness of training. */
static void samples_do_not_change_the_run(void **state)
{
    (void)state;
    char *data = path_of("text.txt");
    char *with = path_of("with");
    char *without = path_of("without");
    rf_train_options options = run_options(data, with);
    rf_train_result first;
    rf_train_result second;
    assert_ok(rf_train(&options, &first, error));
    options.output = without;
    options.sample_every = 0;
    assert_ok(rf_train(&options, &second, error));
    assert_true(first.loss == second.loss);
    assert_true(first.best_validation_loss == second.best_validation_loss);
    rf_release(data);
    rf_release(with);
    rf_release(without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_go_on_from_the_prompt),
        cmocka_unit_test(samples_are_planned),
        cmocka_unit_test(samples_do_not_change_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
