/* Runs on data that are made: resumed to the same bits, cut into micro-batches, judged on rows that
 * were not learned; learned at last; and what does not go with them. */
#include "run.h"

#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static rf_train_options made_run(const char *name)
{
    rf_train_options options = small_run(name);
    options.data = "copy";
    options.valid_bytes = 0;
    return options;
}

static rf_train_result train(const rf_train_options *options)
{
    rf_train_result result;
    assert_ok(rf_trainer_run(options, NULL, &result, error));
    return result;
}

static void vary(rf_train_options *options)
{
    options->data = "addition";
    options->shortest = 12;
    options->valid_bytes = 0;
}

static void made_runs_resume_to_the_same_bits(void **state)
{
    (void)state;
    assert_resumes("made-resumed", vary);
}

static void micro_batches_change_nothing(void **state)
{
    (void)state;
    rf_train_options one = made_run("made-one");
    rf_train_options cut = made_run("made-cut");
    one.batch = 4;
    cut.batch = 1;
    cut.accumulate = 4;
    train(&one);
    train(&cut);
    assert_true(tensor_difference(one.output, cut.output, "model.safetensors") < 1e-3);
}

/* The model has the drill's ids, and says so; judging it later gives what its run gave. */
static void the_model_says_what_it_learned(void **state)
{
    (void)state;
    rf_train_options run = made_run("made-judged");
    rf_config config = {0};
    rf_evaluation again;
    run.seed = 6;
    run.steps = 5;
    run.eval_tokens = 640;
    rf_train_result result = train(&run);
    assert_ok(rf_config_load(run.output, NULL, &config, error));
    assert_int_equal(config.vocabulary, 128);
    assert_int_equal(config.drill, RF_DRILL_COPY);
    rf_config_clear(&config);
    rf_evaluate_options options = {
        .model = run.output, .data = "copy", .seed = 6, .sequences = 20, .batch = 3, .threads = 1};
    assert_ok(rf_evaluate(&options, &again, error));
    assert_int_equal(again.windows, 20);
    assert_int_equal(again.tokens, 20 * 15);
    assert_true(fabs(again.loss - result.best_validation_loss) < 1e-6);
    assert_string_equal(again.figures.items[again.figures.count - 1].name, "sequence_accuracy");
}

/* One symbol follows from the one before it; what is told right, symbols and rows, is counted. */
static void a_short_copy_is_learned(void **state)
{
    (void)state;
    rf_train_options run = made_run("made-learned");
    rf_evaluation result;
    run.model_config = "{\"attention_head_size\": 16, \"attn_layers\": [\"full_shared\"], "
                       "\"axial_pos_embds\": false, \"feed_forward_size\": 32, "
                       "\"hidden_size\": 32, \"max_position_embeddings\": 16, "
                       "\"num_attention_heads\": 2, \"vocab_size\": 20, \"is_decoder\": true, "
                       "\"hidden_dropout_prob\": 0.0}";
    run.length = 8;
    run.batch = 32;
    run.steps = 600;
    run.rate = 0.01;
    run.warmup = 20;
    run.schedule = "cosine";
    run.eval_every = 0;
    run.eval_tokens = 1024;
    train(&run);
    rf_evaluate_options options = {
        .model = run.output, .data = "copy", .seed = 9, .sequences = 200, .batch = 50};
    options.threads = 1;
    assert_ok(rf_evaluate(&options, &result, error));
    assert_int_equal(result.tokens, 200 * 3);
    double whole = result.figures.items[result.figures.count - 1].value;
    if (result.accuracy < 0.95) {
        fail_msg("%.3f of the symbols are right", result.accuracy);
    }
    assert_true(whole <= result.accuracy && whole >= 1.0 - 3.0 * (1.0 - result.accuracy) - 1e-9);
}

/* Bands of positions add up to the whole. */
static void bands_of_positions_add_up(void **state)
{
    (void)state;
    static const int64_t ends[] = {9, 17, 24};
    rf_train_options run = made_run("made-bands");
    rf_evaluation result;
    run.steps = 2;
    train(&run);
    rf_evaluate_options options = {.model = run.output,
                                   .data = "copy",
                                   .sequences = 7,
                                   .batch = 2,
                                   .threads = 1,
                                   .position_ends = ends,
                                   .position_count = 3};
    assert_ok(rf_evaluate(&options, &result, error));
    assert_int_equal(result.band_count, 4);
    double sum = 0.0;
    int64_t tokens = 0;
    for (int64_t i = 1; i < 4; i++) {
        const rf_position_band *band = &result.bands[i];
        assert_int_equal(band->first, ends[i - 1]);
        assert_int_equal(band->end, i < 3 ? ends[i] : 32);
        if (band->tokens > 0) {
            sum += band->loss * (double)band->tokens;
            tokens += band->tokens;
        }
    }
    assert_int_equal(result.bands[0].tokens, 0); /* nothing of the first half is scored, */
    assert_int_equal(result.bands[1].tokens, 0); /* the second separator neither */
    assert_int_equal(result.bands[2].tokens, 7 * 7);
    assert_int_equal(tokens, result.tokens);
    assert_true(fabs(sum / (double)tokens - result.loss) < 1e-6);
}

static void assert_refused(const rf_train_options *options, const char *says)
{
    rf_train_result result;
    rf_error error = {0};
    assert_int_not_equal(rf_trainer_run(options, NULL, &result, &error), RF_OK);
    if (strstr(error.message, says) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", error.message, says);
    }
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    rf_train_options options = made_run("made-refused");
    options.valid = "other";
    assert_refused(&options, "valid is for texts");
    options = made_run("made-refused");
    options.pack = true;
    assert_refused(&options, "pack is for texts");
    options = made_run("made-refused");
    options.sample_every = 3;
    assert_refused(&options, "sample_every is for texts");
    options = made_run("made-refused");
    options.task = "masked-lm";
    assert_refused(&options, "the task is masked-lm");
    options = made_run("made-refused");
    options.distance = 32;
    assert_refused(&options, "expected 2 to 30");
    options = small_run("made-refused");
    options.distance = 5;
    assert_refused(&options, "for data that are made");
    options = small_run("made-text");
    train(&options);
    options.init_from = options.output;
    options.output = scratch("made-from-text");
    options.model_config = NULL;
    options.data = "copy";
    options.valid_bytes = 0;
    assert_refused(&options, "but copy has 128 ids");
}

static void evaluations_refuse_the_same(void **state)
{
    (void)state;
    static const int64_t ends[] = {8, 8};
    rf_train_options run = small_run("made-other");
    rf_evaluation result;
    rf_error error = {0};
    train(&run);
    rf_evaluate_options options = {.model = run.output, .data = "copy", .threads = 1};
    assert_int_equal(rf_evaluate(&options, &result, &error), RF_ERR_CONFIG);
    assert_non_null(strstr(error.message, "of 128 ids"));
    options.data = run.data;
    options.sequences = 4;
    assert_int_equal(rf_evaluate(&options, &result, &error), RF_ERR_ARGUMENT);
    options.sequences = 0;
    options.position_ends = ends;
    options.position_count = 2;
    assert_int_equal(rf_evaluate(&options, &result, &error), RF_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "each above the one before"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_runs_resume_to_the_same_bits),
        cmocka_unit_test(micro_batches_change_nothing),
        cmocka_unit_test(the_model_says_what_it_learned),
        cmocka_unit_test(a_short_copy_is_learned),
        cmocka_unit_test(bands_of_positions_add_up),
        cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(evaluations_refuse_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
