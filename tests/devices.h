/* Tests that run on the CPU, and again on a GPU where there is one. */
#ifndef TESTS_DEVICES_H
#define TESTS_DEVICES_H

#include "support.h"

/* The device of the moment: "cpu" or "cuda". */
const char *test_device(void);
/* All tests on each device; a device that is not there is said and skipped. How many failed. */
int run_on_devices(const char *name, const struct CMUnitTest *tests, size_t count);

#endif
