/* What is refused before a run starts, in which words, and with no file touched. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The run is refused with this code and these words, and its folder is as it was. */
static void expect_refusal(const rf_train_options *options, rf_status code, const char *first,
                           const char *second)
{
    rf_train_result result;
    rf_error error = {0};
    bool was_there = options->output != NULL && rf_folder_exists(options->output);
    assert_int_equal(rf_trainer_run(options, NULL, &result, &error), code);
    if (strstr(error.message, first) == NULL || strstr(error.message, second) == NULL) {
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", error.message, first, second);
    }
    assert_true(options->output == NULL || rf_folder_exists(options->output) == was_there);
}

static void train(const rf_train_options *options)
{
    rf_train_result result;
    assert_ok(rf_trainer_run(options, NULL, &result, error));
}

static void options_out_of_range_are_named(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        double value;
        bool is_number;
        const char *name;
    } cases[] = {
        {offsetof(rf_train_options, steps), 0, false, "steps"},
        {offsetof(rf_train_options, batch), 0, false, "batch"},
        {offsetof(rf_train_options, batch), -3, false, "batch"},
        {offsetof(rf_train_options, length), 1, false, "length"},
        {offsetof(rf_train_options, accumulate), 0, false, "accumulate"},
        {offsetof(rf_train_options, keep), 0, false, "keep"},
        {offsetof(rf_train_options, log_every), 0, false, "log_every"},
        {offsetof(rf_train_options, rate), -1, true, "rate"},
        {offsetof(rf_train_options, rate), (double)NAN, true, "rate"},
        {offsetof(rf_train_options, rate), (double)INFINITY, true, "rate"},
        {offsetof(rf_train_options, beta1), 1, true, "beta1"},
        {offsetof(rf_train_options, beta2), -0.1, true, "beta2"},
        {offsetof(rf_train_options, epsilon), 0, true, "epsilon"},
        {offsetof(rf_train_options, epsilon), 1e-300, true, "epsilon"},
        {offsetof(rf_train_options, spike_guard), 0.5, true, "spike_guard"},
        {offsetof(rf_train_options, final_rate), 1.5, true, "final_rate"},
        {offsetof(rf_train_options, clip), -1, true, "clip"},
        {offsetof(rf_train_options, time_limit_seconds), -1, true, "time_limit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_train_options options = small_run("range");
        char *field = (char *)&options + cases[i].offset;
        int64_t integer = cases[i].is_number ? 0 : (int64_t)cases[i].value;
        memcpy(field, cases[i].is_number ? (const void *)&cases[i].value : (const void *)&integer,
               8);
        expect_refusal(&options, RF_ERR_ARGUMENT, cases[i].name, " is ");
    }
}

static void words_that_are_not_known_are_named(void **state)
{
    (void)state;
    rf_train_options options = small_run("words");
    options.schedule = "cosin";
    expect_refusal(&options, RF_ERR_ARGUMENT, "cosin", "inverse-square-root");
    options = small_run("words");
    options.on_nan = "ignore";
    expect_refusal(&options, RF_ERR_ARGUMENT, "on_nan", "skip");
    options = small_run("words");
    options.stream = "int8";
    expect_refusal(&options, RF_ERR_ARGUMENT, "int8", "float32");
    options = small_run("words");
    options.initialisation = "zero";
    expect_refusal(&options, RF_ERR_ARGUMENT, "initialisation", "huggingface");
    options = small_run("words");
    options.lm_head_bias = "maybe";
    expect_refusal(&options, RF_ERR_ARGUMENT, "maybe", "");
    options = small_run("words");
    options.num_buckets = "7";
    expect_refusal(&options, RF_ERR_CONFIG, "num_buckets", "7");
    options = small_run("words");
    options.device = "abacus";
    expect_refusal(&options, RF_ERR_ARGUMENT, "abacus", "cpu");
}

static void missing_sources_are_named(void **state)
{
    (void)state;
    rf_train_options options = small_run("sources");
    options.data = NULL;
    expect_refusal(&options, RF_ERR_ARGUMENT, "data", "");
    options = small_run("sources");
    options.output = NULL;
    expect_refusal(&options, RF_ERR_ARGUMENT, "output", "");
    options = small_run("sources");
    options.model_config = NULL;
    expect_refusal(&options, RF_ERR_ARGUMENT, "model", "");
    options = small_run("sources");
    options.valid = options.data;
    expect_refusal(&options, RF_ERR_ARGUMENT, "valid_bytes", "");
    options = small_run("sources");
    options.model_config = "{\"hidden_size\": }";
    expect_refusal(&options, RF_ERR_FORMAT, "configuration", "");
    options = small_run("sources");
    options.init_from = scratch("nowhere");
    options.model_config = NULL;
    expect_refusal(&options, RF_ERR_FILE, "nowhere", "");
    options = small_run("sources");
    options.init_from = scratch("nowhere");
    expect_refusal(&options, RF_ERR_FILE, "nowhere", "not there");
    options.init_from = options.data;
    expect_refusal(&options, RF_ERR_FILE, options.data, "a file");
}

/* What belongs to another task, optimizer or schedule is told, and nothing else is. */
static void options_that_do_nothing_are_named(void **state)
{
    (void)state;
    log_book book;
    rf_train_options options = small_run("idle");
    options.steps = 1;
    options.schedule = "constant";
    options.final_rate = 0.0;
    options.log = log_to(&book);
    train(&options);
    assert_null(strstr(book.text, "does nothing"));
    options = small_run("busy");
    options.steps = 1;
    options.mask_rate = 0.3;
    options.mask_token = 5;
    options.label_field = "mood";
    options.adafactor_clip = 2.0;
    options.schedule = "constant";
    options.decay_steps = 3;
    options.log = log_to(&book);
    train(&options);
    static const char *const told[] = {"mask_rate does nothing", "mask_token", "label_field",
                                       "adafactor_clip", "decay_steps"};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (strstr(book.text, told[i]) == NULL) {
            fail_msg("nothing is said of %s: %s", told[i], book.text);
        }
    }
}

static void texts_that_are_too_short_are_refused_with_their_sizes(void **state)
{
    (void)state;
    rf_train_options options = small_run("short");
    options.data = scratch("not-there");
    expect_refusal(&options, RF_ERR_FILE, "not-there", "");
    options = small_run("short");
    options.data = scratch("short.txt");
    assert_ok(rf_file_write_atomic(options.data, "0123456789", 10, error));
    options.valid_bytes = 0;
    expect_refusal(&options, RF_ERR_ARGUMENT, "10 bytes", "32");
    options = small_run("short");
    options.valid_bytes = 31;
    expect_refusal(&options, RF_ERR_ARGUMENT, "31 bytes", "32");
    options = small_run("short");
    options.valid_bytes = 0;
    options.valid = scratch("short.txt");
    expect_refusal(&options, RF_ERR_ARGUMENT, "short.txt: 10 bytes", "32");
}

static void a_length_beyond_the_positions_is_refused(void **state)
{
    (void)state;
    rf_train_options options = small_run("positions");
    options.length = 65;
    expect_refusal(&options, RF_ERR_CONFIG, "65", "64");
}

/* The small model with one value replaced; lives until the program ends. */
static const char *model_with(const char *from, const char *to)
{
    static char changed[2][2048];
    static int next;
    const char *text = small_model(", \"num_buckets\": 4");
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *into = changed[next++ % 2];
    (void)snprintf(into, sizeof changed[0], "%.*s%s%s", (int)(at - text), text, to,
                   at + strlen(from));
    return into;
}

static void models_that_cannot_learn_to_write_bytes_are_refused(void **state)
{
    (void)state;
    rf_train_options options = small_run("models");
    options.model_config = model_with("258", "100");
    expect_refusal(&options, RF_ERR_UNSUPPORTED, "100", "256");
    options.model_config = model_with("\"is_decoder\": true", "\"is_decoder\": false");
    expect_refusal(&options, RF_ERR_CONFIG, "is_decoder", "true");
}

static void a_plan_beyond_the_memory_is_refused_in_gib(void **state)
{
    (void)state;
    rf_train_options options = small_run("memory");
    options.memory_limit = 100000;
    expect_refusal(&options, RF_ERR_MEMORY, "GiB", "smaller batch");
    options.memory_limit = 0;
    options.batch = 1 << 22; /* 2^27 tokens */
    options.length = 32;
    expect_refusal(&options, RF_ERR_MEMORY, "GiB", "4194304");
}

static void a_folder_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    rf_train_options options = small_run("folder");
    const char *file = scratch("a-file");
    assert_ok(rf_file_write_atomic(file, "x", 1, error));
    options.output = file;
    expect_refusal(&options, RF_ERR_FILE, "a-file", "");
    options.output = scratch("a-file/inside");
    expect_refusal(&options, RF_ERR_FILE, "a-file", "");
    if (geteuid() != 0) { /* root writes everywhere */
        const char *closed = scratch("closed");
        assert_ok(rf_folder_create(closed, error));
        assert_int_equal(chmod(closed, 0500), 0);
        options.output = closed;
        expect_refusal(&options, RF_ERR_FILE, "closed", "");
    }
}

static void a_folder_with_a_model_is_not_overwritten(void **state)
{
    (void)state;
    rf_train_options options = small_run("twice");
    options.steps = 2;
    options.eval_every = 0;
    train(&options);
    size_t size = 0;
    size_t size_after = 0;
    const char *before = read_text(options.output, "metrics.jsonl", &size);
    expect_refusal(&options, RF_ERR_ARGUMENT, "twice", "resume");
    assert_ok(rf_folder_remove(scratch("twice/checkpoints"), error));
    expect_refusal(&options, RF_ERR_ARGUMENT, "twice", "model.safetensors");
    const char *after = read_text(options.output, "metrics.jsonl", &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    options.resume = true;
    expect_refusal(&options, RF_ERR_FILE, "twice", "no complete checkpoint");
}

/* Files that are called like a run's are not removed where no run has been. */
static void what_is_not_of_a_run_stays(void **state)
{
    (void)state;
    rf_train_options options = small_run("foreign");
    char *path = NULL;
    assert_ok(rf_folder_create(scratch("foreign/samples"), error));
    assert_ok(rf_string_format(&path, error, "%s/mine", scratch("foreign/samples")));
    assert_ok(rf_file_write_atomic(path, "x", 1, error));
    expect_refusal(&options, RF_ERR_ARGUMENT, "samples", "choose another");
    assert_true(rf_file_exists(path));
    rf_release(path);
    assert_ok(rf_folder_remove(scratch("foreign/samples"), error));
    assert_ok(rf_string_format(&path, error, "%s/loss.txt", scratch("foreign")));
    assert_ok(rf_file_write_atomic(path, "x", 1, error));
    train(&options);
    assert_true(rf_file_exists(path));
    rf_release(path);
    /* A model without checkpoints can neither be resumed nor replaced: both say so. */
    assert_ok(rf_folder_remove(scratch("foreign/checkpoints"), error));
    options.resume = true;
    expect_refusal(&options, RF_ERR_FILE, "no complete checkpoint", "init_from");
}

/* Of two runs in one folder the second is refused, new or resumed, and harms nothing. */
static int start_another(void *user)
{
    rf_train_options options = *(rf_train_options *)user;
    options.should_stop = NULL;
    expect_refusal(&options, RF_ERR_FILE, options.output, "another run is writing");
    options.resume = true;
    expect_refusal(&options, RF_ERR_FILE, options.output, "another run is writing");
    return 0;
}

static void a_folder_has_one_run_at_a_time(void **state)
{
    (void)state;
    rf_train_options options = small_run("alone");
    options.steps = 2;
    options.should_stop = start_another;
    options.user = &options;
    train(&options);
    assert_true(rf_file_exists(scratch("alone/checkpoints/step-2/state.json")));
}

static void nothing_to_resume_is_said(void **state)
{
    (void)state;
    rf_train_options options = small_run("resume-nothing");
    options.resume = true;
    expect_refusal(&options, RF_ERR_FILE, "resume-nothing", "no complete checkpoint");
}

static void another_model_is_not_resumed(void **state)
{
    (void)state;
    rf_train_options options = small_run("other-model");
    options.steps = 2;
    options.eval_every = 0;
    train(&options);
    options.resume = true;
    options.steps = 4;
    options.model_config = small_model(", \"num_buckets\": 4, \"layer_norm_eps\": 1e-6");
    expect_refusal(&options, RF_ERR_CONFIG, "another model", "layer_norm_eps");
    options.model_config = small_model(", \"num_buckets\": 8");
    expect_refusal(&options, RF_ERR_CONFIG, "another model", "num_buckets");
    options.model_config = NULL;
    options.num_buckets = "8";
    expect_refusal(&options, RF_ERR_CONFIG, "num_buckets 8", "4");
    options.num_buckets = "4";
    train(&options);
}

/* A checkpoint of another run, put into this one's folder. */
static void a_foreign_checkpoint_is_told_by_its_configuration(void **state)
{
    (void)state;
    rf_train_options mine = small_run("mine");
    rf_train_options theirs = small_run("theirs");
    mine.steps = theirs.steps = 2;
    mine.eval_every = theirs.eval_every = 0;
    theirs.model_config = small_model(", \"num_buckets\": 4, \"hidden_act\": \"gelu\"");
    train(&mine);
    train(&theirs);
    assert_ok(rf_folder_rename(scratch("theirs/checkpoints/step-2"),
                               scratch("mine/checkpoints/step-3"), error));
    mine.resume = true;
    mine.model_config = NULL;
    mine.steps = 5;
    expect_refusal(&mine, RF_ERR_CONFIG, "another model", "hidden_act");
}

static void what_changed_since_is_said_on_resume(void **state)
{
    (void)state;
    log_book book;
    rf_train_options options = small_run("changed");
    options.steps = 2;
    options.eval_every = 0;
    train(&options);
    options.resume = true;
    options.steps = 3;
    options.rate = 0.5;
    options.batch = 3;
    options.seed = 99;
    options.data = small_text("other.txt", 5000);
    options.log = log_to(&book);
    train(&options);
    static const char *const words[] = {"steps was 2 and is 3", "rate was 0.01 and is 0.5",
                                        "batch was 2 and is 3", "seed, 7, is kept",
                                        "training text is not the one"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(book.text, words[i]) == NULL) {
            fail_msg("the log lacks \"%s\":\n%s", words[i], book.text);
        }
    }
}

static void damage(const char *folder, const char *name, size_t keep, const char *instead)
{
    size_t size = 0;
    const char *text = read_text(folder, name, &size);
    char *path = NULL;
    assert_ok(rf_path_join(folder, name, &path, error));
    if (instead != NULL) {
        assert_ok(rf_file_write_atomic(path, instead, strlen(instead), error));
    } else {
        assert_ok(rf_file_write_atomic(path, text, size > keep ? keep : size, error));
    }
    rf_release(path);
}

static void a_damaged_checkpoint_is_refused_by_file(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t keep;
        const char *instead;
        const char *word;
    } cases[] = {
        {"state.json", 40, NULL, "state.json"},
        {"state.json", 0, "{\"version\": 2}", "version 2"},
        {"state.json", 0, "{\"version\": 1, \"step\": 3}", "missing"},
        {"optimizer.safetensors", 1000, NULL, "optimizer.safetensors"},
        {"optimizer.safetensors", 4, NULL, "optimizer.safetensors"},
        {"model.safetensors", 2000, NULL, "model.safetensors"},
        {"config.json", 0, "{}", "config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "damaged-%zu", i);
        rf_train_options options = small_run(name);
        rf_train_result result;
        rf_error reason = {0};
        char *folder = NULL;
        options.steps = 2;
        options.eval_every = 0;
        train(&options);
        assert_ok(rf_string_format(&folder, error, "%s/checkpoints/step-2", options.output));
        damage(folder, cases[i].file, cases[i].keep, cases[i].instead);
        options.resume = true;
        options.steps = 3;
        assert_true(rf_trainer_run(&options, NULL, &result, &reason) != RF_OK);
        if (strstr(reason.message, cases[i].word) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", reason.message, cases[i].word);
        }
        rf_release(folder);
    }
}

/* An incomplete checkpoint is passed over. */
static void the_highest_complete_checkpoint_is_resumed(void **state)
{
    (void)state;
    rf_train_options options = small_run("highest");
    options.save_every = 2;
    options.steps = 4;
    options.eval_every = 0;
    train(&options);
    assert_ok(rf_folder_remove(scratch("highest/checkpoints/step-4/state.json"), error));
    assert_ok(rf_folder_create(scratch("highest/checkpoints/step-9"), error));
    assert_ok(rf_folder_create(scratch("highest/checkpoints/unfinished-6"), error));
    assert_ok(rf_folder_create(scratch("highest/checkpoints/step-x"), error));
    static const char *const strays[] = {"highest/samples/step-3.txt.7-0.tmp",
                                         "highest/spiece.model.7-1.tmp"};
    assert_ok(rf_folder_create(scratch("highest/samples"), error));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(rf_file_write_atomic(scratch(strays[i]), "x", 1, error));
    }
    char *path = NULL;
    assert_ok(rf_checkpoint_find(options.output, &path, error));
    assert_non_null(path);
    assert_string_equal(strrchr(path, '/'), "/step-2");
    rf_release(path);
    options.resume = true;
    train(&options);
    assert_false(rf_folder_exists(scratch("highest/checkpoints/unfinished-6")));
    assert_false(rf_file_exists(scratch(strays[0])) || rf_file_exists(scratch(strays[1])));
    assert_true(rf_file_exists(scratch("highest/checkpoints/step-4/state.json")));
}

/* A model of 64 positions goes on with windows of 100 tokens; what the optimizer knows is of tables
 * that stay. */
static void a_model_is_trained_on_longer_windows(void **state)
{
    (void)state;
    rf_error reason = {0};
    rf_train_result result;
    rf_train_options options = small_run("shorter");
    options.steps = 2;
    train(&options);
    options = small_run("longer");
    options.model_config = NULL;
    options.init_from = scratch("shorter");
    options.extend_positions = 100;
    options.length = 100;
    options.steps = 2;
    train(&options);
    size_t size = 0;
    assert_non_null(strstr(read_text(options.output, "config.json", &size), "13,"));
    options.init_from = NULL;
    options.resume = true;
    options.steps = 3;
    train(&options);
    options.extend_positions = 200;
    options.steps = 4;
    assert_int_equal(rf_trainer_run(&options, NULL, &result, &reason), RF_ERR_CONFIG);
    assert_non_null(strstr(reason.message, "has 104 positions"));
    assert_non_null(strstr(reason.message, "init_from"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(words_that_are_not_known_are_named),
        cmocka_unit_test(missing_sources_are_named),
        cmocka_unit_test(options_that_do_nothing_are_named),
        cmocka_unit_test(texts_that_are_too_short_are_refused_with_their_sizes),
        cmocka_unit_test(a_length_beyond_the_positions_is_refused),
        cmocka_unit_test(models_that_cannot_learn_to_write_bytes_are_refused),
        cmocka_unit_test(a_plan_beyond_the_memory_is_refused_in_gib),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_refused),
        cmocka_unit_test(a_folder_with_a_model_is_not_overwritten),
        cmocka_unit_test(what_is_not_of_a_run_stays),
        cmocka_unit_test(a_folder_has_one_run_at_a_time),
        cmocka_unit_test(nothing_to_resume_is_said),
        cmocka_unit_test(another_model_is_not_resumed),
        cmocka_unit_test(a_foreign_checkpoint_is_told_by_its_configuration),
        cmocka_unit_test(what_changed_since_is_said_on_resume),
        cmocka_unit_test(a_damaged_checkpoint_is_refused_by_file),
        cmocka_unit_test(the_highest_complete_checkpoint_is_resumed),
        cmocka_unit_test(a_model_is_trained_on_longer_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
