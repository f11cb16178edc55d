/* Small training runs for the tests of this folder: a model of a few thousand weights, a text that
 * it can learn, options that take a second. */
#ifndef TESTS_TRAIN_RUN_H
#define TESTS_TRAIN_RUN_H

#include "support.h"

#include "reformer/train.h"
#include "train/trainer.h"

/* Two layers (local, lsh), hidden 16, 64 positions, vocabulary 258, dropout. `extra` are more lines
 * of JSON, each with a comma before it. */
const char *small_model(const char *extra);
/* A file of `size` bytes of patterned text. */
const char *small_text(const char *name, size_t size);
/* A file of JSON lines: 40 texts of which every fourth is labelled "bad", others "good". */
const char *small_labelled(const char *name);
/* The same of 24 questions with a context and an answer in it. */
const char *small_answers(const char *name);
/* 60 texts with the label 0.5, but rows [first, end) with `label`; and a run that takes two of them
 * a step, in order. */
const char *small_regression(const char *name, int first, int end, const char *label);
rf_train_options regression_run(const char *name, const char *data);
/* FOLDER/name of the test folder; lives until the program ends. */
const char *scratch(const char *name);
/* Small model, small text, 12 steps of 2 x 32 tokens, evaluation every 5 steps, output
 * scratch(name). */
rf_train_options small_run(const char *name);
/* Contents of a file, NUL-terminated; lives until the program ends. */
const char *read_text(const char *folder, const char *name, size_t *size);
/* Every tensor of two safetensors files is bit for bit the same; the names too. */
void assert_same_tensors(const char *folder, const char *other, const char *name);
/* The largest difference between two model files, over the largest number in the first. */
double tensor_difference(const char *folder, const char *other, const char *name);
/* metrics.jsonl of two runs agree in everything but times. */
void assert_same_metrics(const char *folder, const char *other);
/* scratch("RUN/checkpoints/step-N"). */
const char *checkpoint_of(const char *run, int64_t step);
/* Two runs of scratch() have the same checkpoint, model and records. */
void assert_same_runs(const char *a, const char *b, int64_t step);
/* small_run as changed by `set` gives the same bits in one piece, as scratch(name), and in four. */
void assert_resumes(const char *name, void (*set)(rf_train_options *options));
/* Lines of metrics.jsonl whose "kind" is this. */
int count_lines(const char *folder, const char *kind);

/* Collects log lines. */
typedef struct log_book {
    char text[8192];
    size_t size;
} log_book;
rf_log log_to(log_book *book);

#endif
