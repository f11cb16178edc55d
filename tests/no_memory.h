/* Memory that runs out in a test: which allocation fails is counted down. */
#ifndef TESTS_NO_MEMORY_H
#define TESTS_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* For rf_memory_set_hook with an int: so many allocations succeed, then one fails, and those after
 * it succeed. */
static inline bool fail_after(void *user, size_t size)
{
    int *left = user;
    (void)size;
    return (*left)-- != 0;
}

#endif
