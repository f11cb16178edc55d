/* Labelled texts and questions with answers, from files: JSON lines, tab-separated values with a
 * header line, or the JSON of SQuAD. Any compressed or several files will do, as for texts. */
#ifndef RF_DATA_EXAMPLES_H
#define RF_DATA_EXAMPLES_H

#include "data/text.h"
#include "model/config.h"

#include <jansson.h>

typedef struct rf_example_fields { /* names in the file; NULL: "text", "text_pair", "label" */
    const char *text, *pair, *label;
    bool numbers; /* integers as labels are numbers, as for a regression */
} rf_example_fields;

typedef struct rf_examples {
    char *name;   /* of the file or pattern, owned */
    json_t *rows; /* [count] objects {text, pair?, label} or {question, context, answer, start,
                     answers: all that are known}; owned */
    rf_problem problem; /* of labels: one of many (names or integers), several (lists), numbers */
    json_t *names;      /* sorted names of the labels, owned; empty for numbers */
    size_t bytes;
    uint64_t hash;
} rf_examples;

/* For a classifier: every row has a text and a label, all of one kind. */
RF_MUST_CHECK rf_status rf_examples_load_labelled(const char *pattern,
                                                  const rf_example_fields *fields,
                                                  rf_examples *examples, rf_error *error);
/* For question answering: {"question", "context", "answer", "answer_start"} (the start in
 * characters, as in SQuAD; left out: the first place where the answer stands), the same with
 * "answers": {"text": [...], "answer_start": [...]}, or a SQuAD file, whose unanswerable questions
 * get an empty answer. `start` of a row is then in bytes, -1 for none.
 */
RF_MUST_CHECK rf_status rf_examples_load_answers(const char *pattern, rf_examples *examples,
                                                 rf_error *error);
/* Rows of JSON lines, or of tab-separated values under a header line, as objects; added to an
 * array. */
RF_MUST_CHECK rf_status rf_examples_read_lines(const rf_corpus *corpus, json_t *rows,
                                               rf_error *error);
/* The same of a text in memory. */
RF_MUST_CHECK rf_status rf_examples_parse_labelled(const rf_corpus *corpus,
                                                   const rf_example_fields *fields,
                                                   rf_examples *examples, rf_error *error);
RF_MUST_CHECK rf_status rf_examples_parse_answers(const rf_corpus *corpus, rf_examples *examples,
                                                  rf_error *error);
void rf_examples_clear(rf_examples *examples);
int64_t rf_examples_count(const rf_examples *examples);
/* Take rows from the end away, into *rest (which is filled anew). */
RF_MUST_CHECK rf_status rf_examples_split(rf_examples *examples, int64_t count, rf_examples *rest,
                                          rf_error *error);

#endif
