/* How well an answer agrees with a known one: exact match and F1 of SQuAD v1.1's official
 * evaluation. */
#ifndef RF_TRAIN_ANSWER_SCORE_H
#define RF_TRAIN_ANSWER_SCORE_H

#include "base/status.h"

#include <stddef.h>

typedef struct rf_answer_score { /* each 0 to 1 */
    double exact, f1;
} rf_answer_score;

/* The words that are compared, one space between: lower case, without ASCII punctuation, then
 * without the words a, an and the. *words: NUL-terminated UTF-8, released with rf_release. */
RF_MUST_CHECK rf_status rf_answer_normalise(const char *text, size_t size, char **words,
                                            rf_error *error);
/* Two answers in normalised words. */
RF_MUST_CHECK rf_status rf_answer_compare(const char *words, const char *known,
                                          rf_answer_score *score, rf_error *error);

#endif
