/* What a token must attend to, worked out from the definition: sort everything again, read the
 * window off. */
#ifndef TESTS_GENERATE_ATTENDED_H
#define TESTS_GENERATE_ATTENDED_H

#include "generate/session.h"

/* Fail the test unless the tokens that the last appended token attends to are, in every row, layer,
 * head and round, those of the definition, in order and as often. Buckets are computed here, in
 * double precision, from the cached keys, which point where the queries do. prompt: tokens of the
 * first append. */
void check_attended(const rf_session *session, int64_t prompt);

#endif
