/* What tests share: cmocka in the order it needs, a scratch folder, the optional reference vectors.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

/* Fails the test, printing the error's message, unless the call gives RF_OK. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        rf_error assert_ok_error = {0};                                                            \
        rf_error *error = &assert_ok_error;                                                        \
        (void)error;                                                                               \
        if ((call) != RF_OK) {                                                                     \
            fail_msg("%s: %s", #call, assert_ok_error.message);                                    \
        }                                                                                          \
    } while (0)

/* A fresh empty folder, removed when the program ends. The string lives until then. */
const char *test_folder(void);
/* The folder of the full set of reference vectors, from REFORMER_FIXTURES; NULL (and a line that
 * says so) when it is not set. */
const char *test_fixtures(void);
/* ids [count] below the vocabulary that look random, the same every time. */
void fill_ids(int32_t *ids, int64_t count, int64_t vocabulary, uint64_t seed);

#endif
