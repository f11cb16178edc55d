/* The evaluation protocol, counted by hand, and texts that are none: a WAV file and random bytes,
 * trained and judged. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

static const char *trained(void)
{
    static const char *folder;
    if (folder == NULL) {
        rf_train_options options = small_run("judged");
        rf_train_result result;
        assert_ok(rf_trainer_run(&options, NULL, &result, error));
        folder = options.output;
    }
    return folder;
}

static rf_evaluate_options judge(const char *data)
{
    return (rf_evaluate_options){.model = trained(), .data = data, .threads = 1};
}

static rf_evaluation evaluate(const rf_evaluate_options *options)
{
    rf_evaluation result;
    assert_ok(rf_evaluate(options, &result, error));
    return result;
}

/* 100 bytes in windows of 32: three windows, the last 4 bytes dropped, 31 tokens of each scored. */
static void the_mean_is_that_of_the_windows_one_by_one(void **state)
{
    (void)state;
    const char *data = small_text("hundred.txt", 100);
    rf_evaluate_options options = judge(data);
    size_t size = 0;
    const uint8_t *bytes = (const uint8_t *)read_text(test_folder(), "hundred.txt", &size);
    size_t windows = size / 32;
    rf_evaluation result = evaluate(&options);
    assert_int_equal(result.length, 32); /* the training length */
    assert_int_equal(result.windows, windows);
    assert_int_equal(result.tokens, windows * 31);

    rf_model *model = NULL;
    double sum = 0.0;
    assert_ok(rf_model_load(trained(), NULL, &model, error));
    for (size_t w = 0; w < windows; w++) {
        int32_t ids[32];
        float nll[31];
        for (size_t i = 0; i < 32; i++) {
            ids[i] = bytes[w * 32 + i] + 2;
        }
        assert_ok(rf_model_nll(model, ids, NULL, 1, 32, nll, error));
        for (size_t i = 0; i < 31; i++) {
            sum += (double)nll[i];
        }
    }
    rf_model_destroy(model);
    double expected = sum / (double)(windows * 31);
    assert_true(fabs(result.loss - expected) < 1e-6 * expected);
    assert_true(fabs(result.perplexity - exp(result.loss)) < 1e-9 * result.perplexity);
    assert_true(fabs(result.bits_per_byte - result.loss / log(2.0)) < 1e-12);
    assert_true(result.bits_per_token == result.bits_per_byte);
    assert_true(result.accuracy >= 0.0 && result.accuracy <= 1.0);
}

static void batches_and_repeats_change_nothing(void **state)
{
    (void)state;
    rf_evaluate_options options = judge(small_text("small.txt", 4000));
    rf_evaluation one = evaluate(&options);
    rf_evaluation again = evaluate(&options);
    assert_true(one.loss == again.loss && one.accuracy == again.accuracy);
    options.batch = 3;
    options.threads = 2;
    rf_evaluation three = evaluate(&options);
    assert_int_equal(one.tokens, three.tokens);
    assert_true(fabs(one.loss - three.loss) < 1e-6);
}

/* The last evaluation of a run says what evaluating its model on its held-out bytes says. */
static void a_run_and_a_later_evaluation_agree(void **state)
{
    (void)state;
    rf_train_options run = small_run("agree");
    rf_train_result result;
    run.steps = 5;
    run.seed = 3;
    assert_ok(rf_trainer_run(&run, NULL, &result, error));
    rf_evaluate_options options = judge(run.data);
    options.model = run.output;
    options.last_bytes = 400;
    options.batch = 2;
    options.seed = 3;
    rf_evaluation later = evaluate(&options);
    assert_int_equal(later.windows, 12);
    assert_true(later.loss == result.best_validation_loss);
}

/* With another number of rounds than is trained with, in streams that keep the buckets and in those
 * that do not. */
static void evaluations_of_a_run_may_have_other_rounds(void **state)
{
    (void)state;
    static const char *const streams[] = {"fixed32", "float32"};
    for (int i = 0; i < 2; i++) {
        rf_train_options run = small_run(i == 0 ? "rounds-fixed" : "rounds-float");
        rf_train_result plain;
        rf_train_result result;
        run.steps = 3;
        run.stream = streams[i];
        assert_ok(rf_trainer_run(&run, NULL, &plain, error));
        run.output = small_run(i == 0 ? "rounds-fixed-4" : "rounds-float-4").output;
        run.eval_num_hashes = 5;
        assert_ok(rf_trainer_run(&run, NULL, &result, error));
        assert_true(result.loss == plain.loss); /* training is as it was */
        rf_evaluate_options options = judge(run.data);
        options.model = run.output;
        options.last_bytes = 400;
        options.batch = run.batch;
        options.seed = run.seed;
        options.num_hashes = 5;
        assert_true(evaluate(&options).loss == result.best_validation_loss);
        options.num_hashes = 0;
        assert_true(evaluate(&options).loss == plain.best_validation_loss);
        options.attention = "full";
        assert_true(evaluate(&options).loss != plain.best_validation_loss);
    }
}

static void length_rounds_and_seed_matter_as_told(void **state)
{
    (void)state;
    rf_evaluate_options options = judge(small_text("small.txt", 4000));
    rf_evaluation base = evaluate(&options);
    options.length = 64;
    rf_evaluation longer = evaluate(&options);
    assert_int_equal(longer.length, 64);
    assert_int_equal(longer.windows, base.windows / 2);
    options.length = 0;
    options.seed = 1;
    assert_true(evaluate(&options).loss != base.loss);
    options.seed = 0;
    options.num_hashes = 4;
    assert_true(evaluate(&options).loss != base.loss);
}

typedef struct watcher {
    int64_t asked, stop_at, done, total;
} watcher;

static int ask(void *user)
{
    watcher *seen = user;
    seen->asked++;
    return seen->asked >= seen->stop_at ? 1 : 0;
}

static void watch(void *user, int64_t tokens_done, int64_t tokens_total)
{
    watcher *seen = user;
    assert_true(tokens_done > seen->done);
    seen->done = tokens_done;
    seen->total = tokens_total;
}

static void progress_is_shown_and_a_request_to_stop_is_heard(void **state)
{
    (void)state;
    watcher seen = {.stop_at = 1000000};
    rf_evaluate_options options = judge(small_text("small.txt", 4000));
    options.should_stop = ask;
    options.progress = watch;
    options.user = &seen;
    rf_evaluation result = evaluate(&options);
    assert_int_equal(seen.done, seen.total);
    assert_int_equal(seen.total, result.windows * 32);
    seen = (watcher){.stop_at = 3};
    rf_error error = {0};
    assert_int_equal(rf_evaluate(&options, &result, &error), RF_ERR_CANCELLED);
    assert_int_equal(seen.asked, 3);
}

static void expect_refusal(const rf_evaluate_options *options, rf_status code, const char *first,
                           const char *second)
{
    rf_evaluation result;
    rf_error error = {0};
    assert_int_equal(rf_evaluate(options, &result, &error), code);
    if (strstr(error.message, first) == NULL || strstr(error.message, second) == NULL) {
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", error.message, first, second);
    }
}

static void what_cannot_be_judged_is_refused(void **state)
{
    (void)state;
    const char *tiny = scratch("tiny.txt");
    assert_ok(rf_file_write_atomic(tiny, "0123456789", 10, error));
    rf_evaluate_options options = judge(tiny);
    expect_refusal(&options, RF_ERR_ARGUMENT, "tiny.txt: 10 bytes", "32");
    options = judge(small_text("small.txt", 4000));
    options.last_bytes = 31;
    expect_refusal(&options, RF_ERR_ARGUMENT, "last 31 bytes", "32");
    options.last_bytes = -1;
    expect_refusal(&options, RF_ERR_ARGUMENT, "last_bytes", "");
    options = judge(scratch("no-such-text"));
    expect_refusal(&options, RF_ERR_FILE, "no-such-text", "");
    options = judge(small_text("small.txt", 4000));
    options.length = 65;
    expect_refusal(&options, RF_ERR_CONFIG, "65", "64");
    options = judge(small_text("small.txt", 4000));
    options.model = scratch("no-such-model");
    expect_refusal(&options, RF_ERR_FILE, "no-such-model", "");
}

static void put(uint8_t **at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *(*at)++ = (uint8_t)(value >> 8 * i);
    }
}

/* A RIFF file of 16-bit samples: two seconds of two tones, every other byte 0. */
static size_t write_wav(const char *path)
{
    enum { SAMPLES = 4000 };
    static uint8_t file[44 + 2 * SAMPLES];
    uint8_t *at = file;
    memcpy(at, "RIFF", 4);
    at += 4;
    put(&at, 36 + 2 * SAMPLES, 4);
    memcpy(at, "WAVEfmt ", 8);
    at += 8;
    put(&at, 16, 4);
    put(&at, 1, 2); /* PCM */
    put(&at, 1, 2); /* mono */
    put(&at, 2000, 4);
    put(&at, 4000, 4);
    put(&at, 2, 2);
    put(&at, 16, 2);
    memcpy(at, "data", 4);
    at += 4;
    put(&at, 2 * SAMPLES, 4);
    for (int i = 0; i < SAMPLES; i++) {
        double x = 8000.0 * sin(0.2 * i) + 3000.0 * sin(0.05 * i);
        put(&at, (uint32_t)((int32_t)x / 256 * 256), 2);
    }
    assert_ok(rf_file_write_atomic(path, file, sizeof file, error));
    return sizeof file;
}

static size_t write_noise(const char *path)
{
    static uint8_t file[6000];
    uint32_t random = 99;
    for (size_t i = 0; i < sizeof file; i++) {
        random = random * 1664525U + 1013904223U;
        file[i] = (uint8_t)(random >> 24);
    }
    assert_ok(rf_file_write_atomic(path, file, sizeof file, error));
    return sizeof file;
}

static void sound_and_noise_are_texts_too(void **state)
{
    (void)state;
    double bits[2];
    for (int i = 0; i < 2; i++) {
        rf_train_options run = small_run(i == 0 ? "sound" : "noise");
        rf_train_result result;
        run.data = scratch(i == 0 ? "tones.wav" : "noise.bin");
        size_t size = i == 0 ? write_wav(run.data) : write_noise(run.data);
        run.steps = 60;
        run.eval_every = 0;
        assert_ok(rf_trainer_run(&run, NULL, &result, error));
        rf_evaluate_options options = judge(run.data);
        options.model = run.output;
        rf_evaluation judged = evaluate(&options);
        assert_int_equal(judged.tokens, (int64_t)(size / 32) * 31);
        bits[i] = judged.bits_per_byte;
    }
    assert_true(bits[0] < 7.5); /* tones can be learned, */
    assert_true(bits[1] > 7.8); /* noise cannot */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_is_that_of_the_windows_one_by_one),
        cmocka_unit_test(batches_and_repeats_change_nothing),
        cmocka_unit_test(a_run_and_a_later_evaluation_agree),
        cmocka_unit_test(evaluations_of_a_run_may_have_other_rounds),
        cmocka_unit_test(length_rounds_and_seed_matter_as_told),
        cmocka_unit_test(progress_is_shown_and_a_request_to_stop_is_heard),
        cmocka_unit_test(what_cannot_be_judged_is_refused),
        cmocka_unit_test(sound_and_noise_are_texts_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
