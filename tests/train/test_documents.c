/* Runs on packed documents, and on examples of like length: nothing is predicted across documents,
 * a resumed run has the bits of an uninterrupted one, and evaluations agree. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* 60 documents of 1 to about 150 bytes, with a bar between them. */
static const char *documents(void)
{
    static const char *path;
    char text[16384];
    size_t size = 0;
    uint32_t random = 9;
    if (path != NULL) {
        return path;
    }
    for (int i = 0; i < 60; i++) {
        random = random * 1664525U + 1013904223U;
        int count = 1 + (int)(random >> 16) % (i % 3 == 0 ? 20 : 150);
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", i > 0 ? "|" : "");
        for (int k = 0; k < count; k++) {
            text[size++] = (char)('a' + (i + k * (i % 5 + 1)) % 26);
        }
    }
    path = scratch("documents.txt");
    assert_ok(rf_file_write_atomic(path, text, size, error));
    return path;
}

static rf_train_options packed_run(const char *name)
{
    rf_train_options options = small_run(name);
    options.data = documents();
    options.pack = true;
    options.document_separator = "|";
    return options;
}

static rf_train_result train(const rf_train_options *options)
{
    rf_train_result result;
    assert_ok(rf_trainer_run(options, NULL, &result, error));
    return result;
}

/* Every token but the first of each document is a label once an epoch, none across documents. */
static void labels_stay_in_their_documents(void **state)
{
    (void)state;
    rf_trainer trainer = {0};
    rf_train_options options = packed_run("labels");
    assert_ok(rf_trainer_open(&trainer, &options, NULL, error));
    rf_source *source = &trainer.source;
    int64_t scored = 0;
    for (int64_t i = 0; i < source->packing.windows; i++) {
        rf_batch batch = rf_source_read(source, i, 1);
        assert_non_null(batch.segments);
        scored += rf_model_scored(trainer.model, &batch);
    }
    assert_int_equal(scored, trainer.train.count - trainer.train.documents);
    rf_trainer_clear(&trainer);
}

static void a_masked_model_hides_no_filling(void **state)
{
    (void)state;
    rf_trainer trainer = {0};
    rf_train_options options = packed_run("masked");
    options.task = "masked-lm";
    options.length = 64;
    assert_ok(rf_trainer_open(&trainer, &options, NULL, error));
    rf_source *source = &trainer.valid_source; /* in order: the last window is not full */
    rf_batch batch = rf_source_read(source, source->packing.windows - 1, 1);
    int64_t filling = source->packing.windows * 64 - trainer.valid.count;
    assert_true(filling > 0);
    int64_t told = 0;
    for (int64_t i = 0; i < 64; i++) {
        told += batch.labels[i] != -100 ? 1 : 0;
        assert_true(i < 64 - filling || batch.labels[i] == -100);
    }
    assert_true(told > 0);
    rf_trainer_clear(&trainer);
    (void)train(&options);
}

/* A document here is one word, which is told whole or not at all, whatever becomes of those beside
 * it. */
static void words_end_with_their_documents(void **state)
{
    (void)state;
    rf_trainer trainer = {0};
    rf_train_options options = packed_run("words");
    options.task = "masked-lm";
    options.mask_whole_words = true;
    options.length = 64;
    assert_ok(rf_trainer_open(&trainer, &options, NULL, error));
    rf_source *source = &trainer.source;
    int64_t borders = 0; /* between a document that is told and one that is not */
    for (int64_t window = 0; window < source->packing.windows; window++) {
        rf_batch batch = rf_source_read(source, window, 1);
        int64_t last = batch.segments[63];
        for (int64_t i = 0; i < 63 && batch.segments[i + 1] < last; i++) {
            bool is_same = (batch.labels[i] == -100) == (batch.labels[i + 1] == -100);
            assert_true(is_same || batch.segments[i] != batch.segments[i + 1]);
            borders += is_same ? 0 : 1;
        }
    }
    assert_true(borders > 0);
    rf_trainer_clear(&trainer);
}

static void packed_runs_resume_to_the_same_bits(void **state)
{
    (void)state;
    rf_train_options whole = packed_run("packed-whole");
    rf_train_options parts = packed_run("packed-parts");
    rf_train_result result = train(&whole);
    assert_true(isfinite(result.loss));
    static const int64_t stops[] = {3, 6, 0};
    for (size_t i = 0; i < 3; i++) {
        parts.stop_after = stops[i];
        (void)train(&parts);
        parts.resume = true;
    }
    assert_same_tensors(whole.output, parts.output, "model.safetensors");
    assert_same_metrics(whole.output, parts.output);
    rf_train_options text = small_run("text-instead");
    text.data = documents();
    (void)train(&text);
    assert_true(tensor_difference(whole.output, text.output, "model.safetensors") > 0.0);
}

/* Four windows at once, or one four times. */
static void accumulation_changes_nothing(void **state)
{
    (void)state;
    rf_train_options one = packed_run("packed-4x1");
    rf_train_options four = packed_run("packed-1x4");
    one.steps = four.steps = 3;
    one.batch = four.accumulate = 4;
    one.accumulate = four.batch = 1;
    (void)train(&one);
    (void)train(&four);
    assert_true(tensor_difference(one.output, four.output, "model.safetensors") < 1e-4);
}

static void a_run_and_a_later_evaluation_agree(void **state)
{
    (void)state;
    rf_train_options run = packed_run("packed-agree");
    run.steps = 5;
    rf_train_result result = train(&run);
    rf_evaluate_options options = {.model = run.output,
                                   .data = run.data,
                                   .pack = true,
                                   .document_separator = "|",
                                   .last_bytes = run.valid_bytes,
                                   .batch = 2,
                                   .seed = run.seed,
                                   .threads = 1};
    rf_evaluation later;
    assert_ok(rf_evaluate(&options, &later, error));
    assert_true(later.loss == result.best_validation_loss);
    options.batch = 100;
    assert_ok(rf_evaluate(&options, &later, error));
    assert_true(fabs(later.loss - result.best_validation_loss) < 1e-6);
}

/* ---- examples ---------------------------------------------------------------------------- */

static const char *examples(void)
{
    static const char *path;
    char text[32768];
    size_t size = 0;
    uint32_t random = 3;
    for (int i = 0; i < 150 && path == NULL; i++) {
        random = random * 1664525U + 1013904223U;
        int count = 1 + (int)(random >> 16) % 60;
        size += (size_t)snprintf(text + size, sizeof text - size, "{\"text\": \"");
        for (int k = 0; k < count; k++) {
            text[size++] = (char)('a' + (i + k) % 26);
        }
        size += (size_t)snprintf(text + size, sizeof text - size, "\", \"label\": \"%s\"}\n",
                                 i % 2 == 0 ? "even" : "odd");
    }
    if (path == NULL) {
        path = scratch("examples.jsonl");
        assert_ok(rf_file_write_atomic(path, text, size, error));
    }
    return path;
}

static rf_train_options examples_run(const char *name, bool by_length)
{
    rf_train_options options = small_run(name);
    options.data = examples();
    options.task = "classify";
    options.valid_bytes = 0;
    options.batch = 4;
    options.length = 64;
    options.accumulate = 2;
    options.batch_by_length = by_length;
    return options;
}

/* Share of padding over some epochs; every example comes once in each. */
static double padding_of(bool by_length)
{
    rf_trainer trainer = {0};
    rf_train_options options = examples_run(by_length ? "by-length" : "as-they-come", by_length);
    assert_ok(rf_trainer_open(&trainer, &options, NULL, error));
    rf_source *source = &trainer.source;
    int64_t padding = 0;
    int64_t tokens = 0;
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int seen[256] = {0};
        for (int64_t i = 0; i < source->examples; i++) {
            seen[rf_source_example(source, epoch * source->examples + i)]++;
        }
        for (int64_t i = 0; i < source->examples; i++) {
            assert_int_equal(seen[i], 1);
        }
    }
    for (int64_t first = 0; first < 3 * source->examples; first += options.batch) {
        rf_batch batch = rf_source_read(source, first, options.batch);
        tokens += batch.batch * batch.length;
        for (int64_t i = 0; i < batch.batch * batch.length; i++) {
            padding += batch.mask[i] == 0 ? 1 : 0;
        }
    }
    rf_trainer_clear(&trainer);
    return (double)padding / (double)tokens;
}

static void examples_of_like_length_need_little_padding(void **state)
{
    (void)state;
    double usual = padding_of(false);
    double sorted = padding_of(true);
    assert_true(usual > 0.2);
    assert_true(sorted < 0.3 * usual);
}

static void by_length_runs_resume_to_the_same_bits(void **state)
{
    (void)state;
    rf_train_options whole = examples_run("length-whole", true);
    rf_train_options parts = examples_run("length-parts", true);
    log_book book;
    whole.steps = parts.steps = 30; /* more than an epoch */
    whole.log = log_to(&book);
    (void)train(&whole);
    assert_non_null(strstr(book.text, "padding: "));
    parts.stop_after = 20;
    (void)train(&parts);
    parts.resume = true;
    parts.stop_after = 0;
    (void)train(&parts);
    assert_same_tensors(whole.output, parts.output, "model.safetensors");
    assert_same_metrics(whole.output, parts.output);
}

static void assert_refused(const rf_train_options *options, const char *text)
{
    rf_train_result result;
    rf_error message = {0};
    assert_int_equal(rf_trainer_run(options, NULL, &result, &message), RF_ERR_ARGUMENT);
    if (strstr(message.message, text) == NULL) {
        fail_msg("not about %s: %s", text, message.message);
    }
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    rf_train_options options = examples_run("refused", true);
    options.sequential = true;
    assert_refused(&options, "sequential");
    options.sequential = false;
    options.pack = true;
    assert_refused(&options, "pack is for language models");
    options = packed_run("refused");
    options.task = "masked-lm,next-sentence";
    assert_refused(&options, "whose rows are pairs of spans");
    options = packed_run("refused");
    options.batch_by_length = true;
    assert_refused(&options, "batch_by_length is for examples");
    options.batch_by_length = false;
    options.pack = false;
    assert_refused(&options, "goes with pack");
    options.pack = true;
    options.valid_bytes = 1 << 20;
    assert_refused(&options, "none is left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_stay_in_their_documents),
        cmocka_unit_test(a_masked_model_hides_no_filling),
        cmocka_unit_test(words_end_with_their_documents),
        cmocka_unit_test(packed_runs_resume_to_the_same_bits),
        cmocka_unit_test(accumulation_changes_nothing),
        cmocka_unit_test(a_run_and_a_later_evaluation_agree),
        cmocka_unit_test(examples_of_like_length_need_little_padding),
        cmocka_unit_test(by_length_runs_resume_to_the_same_bits),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
