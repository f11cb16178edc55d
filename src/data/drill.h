/* Synthetic data, generated and not read: tasks whose answer is known, to see what a model can
 * learn and over what distance. Every row is a pure function of the seed and the row's number, so
 * that a resumed run goes on as if nothing had happened and rows do not depend on how a step is
 * cut. docs/training.md, "Synthetic data". */
#ifndef RF_DATA_DRILL_H
#define RF_DATA_DRILL_H

#include "model/config.h"

enum { RF_DRILL_PAIRS = 16, RF_DRILL_MOST_PAIRS = 63 }; /* of recall, in a list; its keys */

typedef struct rf_drill_rows {
    rf_drill drill;
    uint64_t seed;
    uint32_t stream;  /* 0: to learn from, 1: to judge by; independent of each other */
    int64_t length;   /* ids of a row */
    int64_t shortest; /* rows are of shortest to length ids, what is left is padding; 0: all are of
                         `length` */
    int64_t distance; /* copy: from one separator to the other; recall: from the list to the
                         queries; 0: half the row, and as far as fits */
    int64_t pairs;    /* recall: keys with values, at most RF_DRILL_MOST_PAIRS; 0: 16 */
} rf_drill_rows;

/* Ids that a model of it needs. */
int64_t rf_drill_vocabulary(rf_drill drill);
/* Whether a row of that kind can be made: RF_ERR_ARGUMENT with what would do. */
RF_MUST_CHECK rf_status rf_drill_check(const rf_drill_rows *rows, rf_error *error);
/* Row `number`. labels: the id where it is part of the answer, else -100. ids, labels [length] */
void rf_drill_write(const rf_drill_rows *rows, int64_t number, int32_t *ids, int32_t *labels);
/* A number for what the rows are made by, the seed apart. */
uint64_t rf_drill_hash(const rf_drill_rows *rows);

#endif
