/* Next-sentence prediction: learned where it is easy, alone and beside a masked language model; to
 * the same bits when interrupted and with any number of threads; judged; and what is refused. */
#include "run.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/json.h"

#include <string.h>

/* Blocks of lines of one letter: a line follows another if it has the same letter, nearly always.
 */
static const char *block_text(void)
{
    const char *path = scratch("blocks.txt");
    char text[16384];
    size_t used = 0;
    uint32_t random = 1;
    for (int line = 0; line < 1152; line++) {
        random = random * 1664525U + 1013904223U;
        size_t letters = 6 + (random >> 16) % 6;
        memset(text + used, 'a' + line / 12 % 8, letters);
        memcpy(text + used + letters, ".\n", 2);
        used += letters + 2;
    }
    assert_true(used < sizeof text);
    assert_ok(rf_file_write_atomic(path, text, used, error));
    return path;
}

/* Two layers that see everything, and token types. */
static const char pair_model[] =
    "{\"vocab_size\": 258, \"hidden_size\": 32, \"attn_layers\": [\"local\", \"local\"], "
    "\"num_attention_heads\": 2, \"attention_head_size\": 16, \"feed_forward_size\": 64, "
    "\"axial_pos_embds\": false, \"max_position_embeddings\": 32, "
    "\"local_attn_chunk_length\": 32, \"lsh_attn_chunk_length\": 32, "
    "\"local_num_chunks_before\": 0, \"hidden_dropout_prob\": 0.0, "
    "\"local_attention_probs_dropout_prob\": 0.0, \"is_decoder\": false, "
    "\"reformer_c\": {\"type_vocab_size\": 2, \"pooling\": \"first\"}}";

static rf_train_options pair_run(const char *name, const char *task)
{
    rf_train_options options = small_run(name);
    options.model_config = pair_model;
    options.data = block_text();
    options.task = task;
    options.spans = "line";
    options.batch = 16;
    options.length = 24;
    options.steps = 300;
    options.warmup = 20;
    options.rate = 3e-3;
    options.eval_every = 100;
    options.valid_bytes = 2000;
    return options;
}

static rf_evaluation judge(const char *folder)
{
    rf_evaluation found = {0};
    rf_evaluate_options options = {.model = folder, .data = block_text(), .threads = 1, .batch = 8};
    assert_ok(rf_evaluate(&options, &found, error));
    return found;
}

static void test_learns(void **state)
{
    (void)state;
    rf_train_options options = pair_run("learns", "next-sentence");
    assert_ok(rf_train(&options, NULL, error));
    rf_evaluation found = judge(options.output);
    assert_string_equal(found.task, "next-sentence");
    assert_int_equal(found.pairs, 0);
    assert_true(found.windows > 400 && found.tokens == found.windows);
    if (!(found.accuracy > 0.8 && found.loss < 0.5)) {
        fail_msg("accuracy %g, loss %g", found.accuracy, found.loss);
    }
    const char *config = read_text(options.output, "config.json", NULL);
    assert_non_null(strstr(config, "\"ReformerForSequenceClassification\""));
    assert_non_null(strstr(config, "\"next_sentence\": \"line\""));
    assert_non_null(strstr(config, "\"0\": \"is_next\""));
    assert_non_null(strstr(config, "\"1\": \"not_next\""));
}

static void test_learns_beside_masked_tokens(void **state)
{
    (void)state;
    rf_train_options options = pair_run("both", "masked-lm,next-sentence");
    options.steps = 400;
    options.eval_every = 400;
    options.mask_rate = 0.1;
    assert_ok(rf_train(&options, NULL, error));
    rf_evaluation found = judge(options.output);
    assert_string_equal(found.task, "masked-lm,next-sentence");
    assert_true(found.pairs == found.windows && found.tokens > found.pairs);
    if (!(found.pair_accuracy > 0.7 && found.pair_loss < 0.62 && found.accuracy > 0.5)) {
        fail_msg("pairs %g, %g; tokens %g", found.pair_accuracy, found.pair_loss, found.accuracy);
    }
    const char *metrics = read_text(options.output, "metrics.jsonl", NULL);
    assert_non_null(strstr(metrics, "\"pair_accuracy\": "));
    const char *config = read_text(options.output, "config.json", NULL);
    assert_non_null(strstr(config, "\"ReformerForMaskedLM\""));
    /* its classifier is one of its own when it is loaded as one, and can be trained further */
    rf_train_options alone = pair_run("alone", "next-sentence");
    log_book book;
    alone.model_config = NULL;
    alone.init_from = options.output;
    alone.steps = 1;
    alone.rate = 0.0;
    alone.warmup = 0;
    alone.log = log_to(&book);
    assert_ok(rf_train(&alone, NULL, error));
    assert_non_null(strstr(book.text, "left out, not of a ReformerForSequenceClassification: "
                                      "lm_head.bias, lm_head.decoder.weight"));
    assert_null(strstr(book.text, "starts from first values"));
    assert_true(judge(alone.output).accuracy > 0.7);
}

static void check_resume(const char *task, const char *names[3])
{
    rf_train_options options = pair_run(names[0], task);
    options.steps = 12;
    options.eval_every = 5;
    options.accumulate = 2;
    options.batch = 3;
    options.model_config = small_model(", \"num_buckets\": 4, \"local_num_chunks_after\": 1");
    options.mask_whole_words = strcmp(task, "next-sentence") != 0;
    assert_ok(rf_train(&options, NULL, error));
    rf_train_options part = options;
    part.output = scratch(names[1]);
    part.stop_after = 7;
    assert_ok(rf_train(&part, NULL, error));
    part.stop_after = 0;
    part.resume = true;
    assert_ok(rf_train(&part, NULL, error));
    assert_same_tensors(options.output, part.output, "model.safetensors");
    assert_same_metrics(options.output, part.output);
    rf_train_options threads = options;
    threads.output = scratch(names[2]);
    threads.threads = 2;
    assert_ok(rf_train(&threads, NULL, error));
    assert_same_tensors(options.output, threads.output, "model.safetensors");
}

static void test_resumed_to_the_same_bits(void **state)
{
    (void)state;
    static const char *const tasks[] = {"next-sentence", "masked-lm,next-sentence"};
    const char *names[2][3] = {{"a0", "a1", "a2"}, {"b0", "b1", "b2"}};
    for (int i = 0; i < 2; i++) {
        check_resume(tasks[i], names[i]);
    }
}

/* What a batch looks like: padding behind a mask, types, targets of both heads. */
static void test_batches(void **state)
{
    (void)state;
    rf_trainer trainer = {0};
    rf_train_options options = pair_run("batches", "masked-lm,next-sentence");
    assert_ok(rf_trainer_open(&trainer, &options, NULL, error));
    rf_batch batch = rf_source_read(&trainer.source, 0, 16);
    int64_t told = 0;
    int64_t next = 0;
    assert_true(batch.length <= 24 && batch.pair_labels != NULL && batch.token_types != NULL);
    for (int64_t i = 0; i < 16 * batch.length; i++) {
        assert_true(batch.mask[i] != 0 ||
                    (batch.ids[i] == 0 && batch.labels[i] == -100 && batch.token_types[i] == 0));
        assert_true(i % batch.length == 0 || batch.mask[i] == 0 ||
                    batch.token_types[i] >= batch.token_types[i - 1]);
        told += batch.labels[i] != -100 ? 1 : 0;
    }
    for (int i = 0; i < 16; i++) {
        next += batch.pair_labels[i] == 0 ? 1 : 0;
    }
    assert_int_equal(next, 8);
    assert_true(told >= 16 && told < 100);
    rf_trainer_clear(&trainer);
}

static void refuse(rf_train_options options, const char *words)
{
    rf_error fault = {0};
    assert_int_equal(rf_train(&options, NULL, &fault), RF_ERR_ARGUMENT);
    if (strstr(fault.message, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, fault.message);
    }
}

static void test_refused(void **state)
{
    (void)state;
    refuse(pair_run("no", "masked-lm"), "spans are for next-sentence, but the task is masked-lm");
    refuse(pair_run("no", "next-word"), "expected lm, masked-lm, next-sentence");
    rf_train_options options = pair_run("no", "next-sentence");
    options.spans = "page";
    refuse(options, "expected sentence, line or paragraph");
    options.spans = "paragraph";
    refuse(options, "has 1 paragraphs, but pairs need 4 at least");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_learns_beside_masked_tokens),
        cmocka_unit_test(test_resumed_to_the_same_bits),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
