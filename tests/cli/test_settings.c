/* The settings of a call: reading arguments, which source wins, configuration objects, the record
 * of a run, and that the program's defaults are the library's. */
#include "support.h"

#include "cli/settings.h"

#include "reformer/generate.h"
#include "reformer/train.h"

#include <stdbool.h>
#include <string.h>

enum { MOST = 8 };

/* Read a command line of words separated by one blank each into settings. */
static rf_status read_line(rf_settings *settings, const char *command, const char *line,
                           rf_error *error)
{
    static char words[512];
    const char *arguments[MOST];
    size_t count = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *at = words; at != NULL && *at != '\0' && count < MOST;) {
        arguments[count++] = at;
        at = strchr(at, ' ');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    rf_settings_init(settings, rf_command_find(command));
    return rf_settings_read_arguments(settings, count, arguments, error);
}

static void test_ways_to_write(void **state)
{
    static const struct {
        const char *line;
        int64_t steps;
        bool tensorboard;
    } cases[] = {
        {"--steps 7", 7, true},
        {"--steps=7", 7, true},
        {"-n 7", 7, true},
        {"-n7", 7, true},
        {"-n=7", 7, true},
        {"--steps 5 --steps 7", 7, true},
        {"--no-tensorboard", 1000, false},
        {"--tensorboard=no", 1000, false},
        {"--no-tensorboard --tensorboard", 1000, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_settings settings;
        assert_ok(read_line(&settings, "train", cases[i].line, error));
        assert_ok(rf_settings_read_defaults(&settings, error));
        assert_int_equal(rf_settings_integer(&settings, "steps"), cases[i].steps);
        assert_int_equal(rf_settings_flag(&settings, "tensorboard"), cases[i].tensorboard);
        rf_settings_clear(&settings);
    }
}

static void test_misuse(void **state)
{
    static const struct {
        const char *command, *line, *message;
    } cases[] = {
        {"train", "--stepz 5", "train has no option --stepz; did you mean --steps?"},
        {"train", "--no-tensorbord",
         "train has no option --no-tensorbord; did you mean --tensorboard?"},
        {"train", "--no-steps", "train has no option --no-steps; did you mean --steps?"},
        {"train", "--qqqqqqqqqqqqqqq", "train has no option --qqqqqqqqqqqqqqq"},
        {"train", "-Z", "train has no option -Z"},
        {"train", "-qx", "train has no option -qx"},
        {"train", "--steps", "--steps needs a value: --steps N"},
        {"train", "-n", "-n needs a value: -n N"},
        {"train", "--data --output x",
         "--data needs a value before '--output' (write --data=--output if that is it)"},
        {"train", "--no-tensorboard=1", "--no-tensorboard takes no value"},
        {"train", "--tensorboard=perhaps", "--tensorboard is 'perhaps', expected yes or no"},
        {"train", "book.txt", "'book.txt' is not expected here: train takes options only"},
        {"bench", "step step",
         "'step' is not expected here: bench takes "
         "step|memory|attention|generate|reversal|scaling|collisions"},
        {"plan", "--length 16,x",
         "--length is '16,x', expected integers with commas between them from 2 to 2147483647"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_settings settings;
        rf_error fault = {0};
        assert_int_equal(read_line(&settings, cases[i].command, cases[i].line, &fault),
                         RF_ERR_ARGUMENT);
        assert_string_equal(fault.message, cases[i].message);
        rf_settings_clear(&settings);
    }
}

static void test_rules(void **state)
{
    static const struct {
        const char *command, *line, *message; /* NULL: sound */
    } cases[] = {
        {"eval", "--model m", "eval needs --data TEXT"},
        {"eval", "-m m -d d", NULL},
        {"train", "-d d -o o",
         "there is no model to train: give --config FILE with a \"model\" section (or a preset "
         "such as "
         "--config quickstart), --init-from DIR or --resume"},
        {"train", "-d d -o o --resume", NULL},
        {"train", "-d d -o o --resume --init-from x",
         "--resume and --init-from exclude each other; give one of them"},
        {"generate", "-m m --prompt a --prompt-file b",
         "--prompt and --prompt-file exclude each other; give one of them"},
        {"generate", "-m m -o f --json",
         "--output and --json exclude each other; give one of them"},
        {"plan", "-l 16",
         "plan needs a model: --model DIR, or --config FILE with a \"model\" section (or the name "
         "of a preset)"},
        {"bench", "-m m", "bench needs step|memory|attention|generate|reversal|scaling|collisions"},
        {"bench", "-m m stepp",
         "step|memory|attention|generate|reversal|scaling|collisions is 'stepp', expected one of "
         "step, memory, attention, generate, reversal, scaling, collisions"},
        {"completion", "fish", "bash|zsh is 'fish', expected one of bash, zsh"},
        {"manual", "", "manual needs DIR"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_settings settings;
        rf_error fault = {0};
        assert_ok(read_line(&settings, cases[i].command, cases[i].line, error));
        rf_status status = rf_settings_check(&settings, &fault);
        assert_string_equal(fault.message, cases[i].message != NULL ? cases[i].message : "");
        assert_int_equal(status, cases[i].message != NULL ? RF_ERR_ARGUMENT : RF_OK);
        rf_settings_clear(&settings);
    }
}

static const char *environment(const char *name)
{
    if (strcmp(name, "REFORMER_STEPS") == 0) {
        return "20";
    }
    if (strcmp(name, "REFORMER_BATCH") == 0) {
        return "2";
    }
    return strcmp(name, "REFORMER_LENGTH") == 0 ? "" : NULL; /* an empty one counts as absent */
}

static const char *bad_environment(const char *name)
{
    return strcmp(name, "REFORMER_STEPS") == 0 ? "many" : NULL;
}

static void test_precedence(void **state)
{
    rf_settings settings;
    rf_error fault = {0};
    (void)state;
    json_t *file = json_loads("{\"train\": {\"steps\": 30, \"batch\": 3, \"length\": 300, "
                              "\"seed\": null}, \"model\": {\"a\": 1}}",
                              0, NULL);
    assert_ok(read_line(&settings, "train", "--steps 10", error));
    assert_ok(rf_settings_read_environment(&settings, environment, error));
    assert_ok(rf_settings_read_object(&settings, "f.json", file, error));
    assert_ok(rf_settings_read_defaults(&settings, error));
    assert_int_equal(rf_settings_integer(&settings, "steps"), 10);
    assert_int_equal(rf_settings_origin(&settings, "steps"), RF_ORIGIN_COMMAND_LINE);
    assert_int_equal(rf_settings_integer(&settings, "batch"), 2);
    assert_int_equal(rf_settings_origin(&settings, "batch"), RF_ORIGIN_ENVIRONMENT);
    assert_int_equal(rf_settings_integer(&settings, "length"), 300);
    assert_int_equal(rf_settings_origin(&settings, "length"), RF_ORIGIN_FILE);
    assert_int_equal(rf_settings_integer(&settings, "accumulate"), 1);
    assert_int_equal(rf_settings_origin(&settings, "accumulate"), RF_ORIGIN_DEFAULT);
    assert_int_equal(rf_settings_origin(&settings, "valid"), RF_ORIGIN_NONE);
    assert_int_equal(json_integer_value(json_object_get(settings.model, "a")), 1);
    rf_settings_clear(&settings);
    json_decref(file);
    rf_settings_init(&settings, &rf_command_train);
    assert_int_equal(rf_settings_read_environment(&settings, bad_environment, &fault),
                     RF_ERR_ARGUMENT);
    assert_string_equal(fault.message,
                        "REFORMER_STEPS is 'many', expected an integer of at least 1");
    rf_settings_clear(&settings);
}

static void test_objects(void **state)
{
    static const struct {
        const char *text, *message; /* NULL: sound */
    } cases[] = {
        {"{}", NULL},
        {"{\"description\": \"x\", \"eval\": {\"data\": \"d\"}, \"model\": {}}", NULL},
        {"{\"train\": {\"step\": 5}}", "f: \"train\" has no key \"step\"; did you mean \"steps\"?"},
        {"{\"train\": {\"stop_after\": 5}}", "f: \"train\" has no key \"stop_after\""},
        {"{\"trian\": {}}", "f: there is no section \"trian\"; did you mean \"train\"?"},
        {"{\"zzzzzzzzz\": {}}",
         "f: there is no section \"zzzzzzzzz\" (sections are \"model\" and the names of commands)"},
        {"{\"train\": []}", "f: section \"train\" is not an object"},
        {"{\"model\": \"x\"}", "f: section \"model\" is not an object"},
        {"{\"description\": 1}", "f: section \"description\" is not a text"},
        {"{\"train\": {\"steps\": \"5\"}}",
         "f: train.steps is '\"5\"', expected an integer of at least 1"},
        {"{\"train\": {\"batch\": -5}}",
         "f: train.batch is '-5', expected an integer from 1 to 1048576"},
        {"[]", "f: expected an object such as {\"model\": {...}, \"train\": {...}}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_settings settings;
        rf_error fault = {0};
        json_t *object = json_loads(cases[i].text, 0, NULL);
        rf_settings_init(&settings, &rf_command_train);
        rf_status status = rf_settings_read_object(&settings, "f", object, &fault);
        assert_string_equal(fault.message, cases[i].message != NULL ? cases[i].message : "");
        assert_int_equal(status, cases[i].message != NULL ? RF_ERR_ARGUMENT : RF_OK);
        rf_settings_clear(&settings);
        json_decref(object);
    }
}

/* What is recorded reads back as the same settings; what belongs to one call is not recorded. */
static void test_record(void **state)
{
    rf_settings first;
    rf_settings second;
    (void)state;
    assert_ok(read_line(&first, "train",
                        "--rate 0.003 --stop-after 5 --time-limit 1h -d b\xFF.txt --resume",
                        error));
    assert_ok(rf_settings_read_defaults(&first, error));
    json_t *record = rf_settings_record(&first);
    json_t *section = json_object_get(record, "train");
    assert_null(json_object_get(section, "stop_after"));
    assert_null(json_object_get(section, "resume"));
    assert_string_equal(json_string_value(json_object_get(section, "data")), "b\xEF\xBF\xBD.txt");
    rf_settings_init(&second, &rf_command_train);
    assert_ok(rf_settings_read_object(&second, "record", record, error));
    json_t *again = rf_settings_record(&second);
    assert_int_equal(json_equal(record, again), 1);
    json_decref(record);
    json_decref(again);
    rf_settings_clear(&first);
    rf_settings_clear(&second);
}

static void assert_default(const rf_settings *settings, const char *name, double expected)
{
    double value = json_is_boolean(rf_settings_value(settings, name))
                       ? (rf_settings_flag(settings, name) ? 1.0 : 0.0)
                       : rf_settings_number(settings, name);
    if (value < expected || value > expected) {
        fail_msg("--%s is %g by default, in the library %g", name, value, expected);
    }
}

static void assert_default_words(const rf_settings *settings, const rf_train_options *train)
{
    assert_string_equal(rf_settings_string(settings, "optimizer"), train->optimizer);
    assert_string_equal(rf_settings_string(settings, "adafactor-semantics"),
                        train->adafactor_semantics);
    assert_string_equal(rf_settings_string(settings, "schedule"), train->schedule);
    assert_string_equal(rf_settings_string(settings, "on-nan"), train->on_nan);
    assert_string_equal(rf_settings_string(settings, "initialisation"), train->initialisation);
}

static void assert_default_numbers(const rf_settings *settings, const rf_train_options *train)
{
    const struct {
        const char *name;
        double expected;
    } numbers[] = {
        {"valid-bytes", (double)train->valid_bytes},
        {"steps", (double)train->steps},
        {"stop-after", (double)train->stop_after},
        {"time-limit", train->time_limit_seconds},
        {"patience", (double)train->patience},
        {"batch", (double)train->batch},
        {"length", (double)train->length},
        {"accumulate", (double)train->accumulate},
        {"sequential", train->sequential},
        {"pack", train->pack},
        {"batch-by-length", train->batch_by_length},
        {"seed", (double)train->seed},
        {"rate", train->rate},
        {"warmup", (double)train->warmup},
        {"final-rate", train->final_rate},
        {"decay-steps", (double)train->decay_steps},
        {"decay-fraction", train->decay_fraction},
        {"spike-guard", train->spike_guard},
        {"milestone-every", (double)train->milestone_every},
        {"overfit-batches", (double)train->overfit_batches},
        {"label-smoothing", train->label_smoothing},
        {"beta1", train->beta1},
        {"beta2", train->beta2},
        {"epsilon", train->epsilon},
        {"weight-decay", train->weight_decay},
        {"clip", train->clip},
        {"adafactor-relative-step", train->adafactor_relative_step},
        {"adafactor-clip", train->adafactor_clip},
        {"adafactor-beta1", train->adafactor_beta1},
        {"verify-reversal", train->verify_reversal},
        {"eval-every", (double)train->eval_every},
        {"eval-tokens", (double)train->eval_tokens},
        {"eval-num-hashes", (double)train->eval_num_hashes},
        {"save-every", (double)train->save_every},
        {"keep", (double)train->keep},
        {"log-every", (double)train->log_every},
        {"sample-every", (double)train->sample_every},
        {"sample-tokens", (double)train->sample_tokens},
        {"sample-temperature", train->sample_temperature},
        {"tensorboard", train->tensorboard},
        {"memory-limit", (double)train->memory_limit},
        {"threads", train->threads},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_default(settings, numbers[i].name, numbers[i].expected);
    }
}

static void test_library_defaults(void **state)
{
    rf_settings settings;
    rf_train_options train = {0};
    rf_sampling sampling = {0};
    (void)state;
    rf_train_options_default(&train);
    rf_settings_init(&settings, &rf_command_train);
    assert_ok(rf_settings_read_defaults(&settings, error));
    assert_default_numbers(&settings, &train);
    assert_default_words(&settings, &train);
    rf_settings_clear(&settings);
    rf_sampling_default(&sampling);
    rf_settings_init(&settings, &rf_command_generate);
    assert_ok(rf_settings_read_defaults(&settings, error));
    assert_default(&settings, "temperature", sampling.temperature);
    assert_default(&settings, "top-k", (double)sampling.top_k);
    assert_default(&settings, "top-p", sampling.top_p);
    assert_default(&settings, "min-p", sampling.min_p);
    assert_default(&settings, "repetition-penalty", sampling.repetition_penalty);
    rf_settings_clear(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways_to_write),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_library_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
