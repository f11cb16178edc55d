/* The best spans of a question answerer's scores: what use and evaluation share. */
#ifndef RF_MODEL_SPANS_H
#define RF_MODEL_SPANS_H

#include "reformer/tasks.h"

enum { RF_LONGEST_ANSWER = 30 }; /* tokens, where nothing is said */

typedef struct rf_span_search {
    const float *starts, *ends; /* [first + count] or more, of one row */
    int64_t first, count;       /* where answers may lie */
    int64_t longest;            /* tokens; 0: RF_LONGEST_ANSWER */
    int64_t top;
} rf_span_search;
/* spans [top], best first; start and end are -1 where there are fewer. */
RF_MUST_CHECK rf_status rf_spans_find(const rf_span_search *search, rf_span *spans,
                                      rf_error *error);

/* x [count] becomes its softmax. */
void rf_softmax(double *x, int64_t count);

#endif
