/* The door for questions: SQuAD's JSON or JSON lines of any bytes give a status or rows, whose
 * answers then stand in their contexts where they are said to; and answers are compared, whatever
 * their words. */
#include "base/memory.h"
#include "data/examples.h"
#include "support.h"
#include "train/answer_score.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* An answer agrees with itself, and scores are shares. */
static void compare(const char *answer, size_t size, const char *known)
{
    char *words = NULL;
    char *other = NULL;
    rf_answer_score score;
    require(rf_answer_normalise(answer, size, &words, NULL) == RF_OK);
    require(rf_answer_normalise(known, strlen(known), &other, NULL) == RF_OK);
    require(rf_answer_compare(words, other, &score, NULL) == RF_OK);
    require(score.f1 >= 0.0 && score.f1 <= 1.0 &&
            (score.exact == 0.0 || words[0] == '\0' || score.f1 == 1.0));
    require(rf_answer_compare(words, words, &score, NULL) == RF_OK);
    require(score.exact == 1.0);
    rf_release(words);
    rf_release(other);
}

static void check_row(const json_t *row)
{
    const char *context = json_string_value(json_object_get(row, "context"));
    const char *answer = json_string_value(json_object_get(row, "answer"));
    const json_t *known = json_object_get(row, "answers");
    json_int_t start = json_integer_value(json_object_get(row, "start"));
    size_t i;
    const json_t *other;
    require(json_is_string(json_object_get(row, "question")));
    if (start < 0) {
        require(answer[0] == '\0');
        return;
    }
    require((size_t)start + strlen(answer) <= strlen(context));
    require(memcmp(context + start, answer, strlen(answer)) == 0);
    require(json_array_size(known) > 0);
    json_array_foreach(known, i, other)
    {
        compare(answer, strlen(answer), json_string_value(other));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rf_corpus corpus = {0};
    rf_examples examples;
    rf_error problem = {0};
    void *memory = NULL;
    size_t i;
    const json_t *row;
    require(rf_allocate(size + 1, "a file", &memory, NULL) == RF_OK);
    if (size > 0) {
        memcpy(memory, data, size);
    }
    corpus.bytes = memory;
    corpus.size = size;
    require(rf_string_copy("in", &corpus.name, NULL) == RF_OK);
    if (rf_examples_parse_answers(&corpus, &examples, &problem) == RF_OK) {
        json_array_foreach(examples.rows, i, row)
        {
            check_row(row);
        }
        rf_examples_clear(&examples);
    } else {
        require(problem.message[0] != '\0' && examples.rows == NULL);
    }
    compare(memory, size, "the Σ. a");
    rf_corpus_clear(&corpus);
    return 0;
}
