/* Stop strings, one byte at a time: O(strings x longest string) a byte, which is nothing beside a
 * token. */
#include "generate/stop.h"

#include "base/memory.h"

#include <string.h>

rf_status rf_stop_init(rf_stop *stop, const char *const *strings, size_t count, rf_error *error)
{
    *stop = (rf_stop){.strings = strings, .count = count};
    for (size_t i = 0; i < count; i++) {
        size_t size = strings[i] == NULL ? 0 : strlen(strings[i]);
        if (size == 0) {
            return rf_error_set(error, RF_ERR_ARGUMENT,
                                "stop string %zu is empty, which would end every text before its "
                                "first byte; leave it out",
                                i + 1);
        }
        stop->longest = size > stop->longest ? size : stop->longest;
    }
    void *held = NULL;
    RF_TRY(rf_allocate(stop->longest + 1, "held back bytes", &held, error));
    stop->held = held;
    return RF_OK;
}

void rf_stop_clear(rf_stop *stop)
{
    rf_release(stop->held);
    *stop = (rf_stop){0};
}

/* Do the last `size` held bytes begin the string? */
static bool ends_with_start(const rf_stop *stop, const char *string, size_t size)
{
    return size <= stop->held_size &&
           memcmp(stop->held + stop->held_size - size, string, size) == 0;
}

/* Bytes of the longest stop string that the held bytes end with, 0 for none. */
static size_t longest_match(const rf_stop *stop)
{
    size_t longest = 0;
    for (size_t i = 0; i < stop->count; i++) {
        size_t size = strlen(stop->strings[i]);
        if (size > longest && ends_with_start(stop, stop->strings[i], size)) {
            longest = size;
        }
    }
    return longest;
}

/* Bytes at the end that begin some stop string. */
static size_t longest_beginning(const rf_stop *stop)
{
    for (size_t size = stop->held_size; size > 0; size--) {
        for (size_t i = 0; i < stop->count; i++) {
            if (size < strlen(stop->strings[i]) && ends_with_start(stop, stop->strings[i], size)) {
                return size;
            }
        }
    }
    return 0;
}

/* Hand out all but the last `keep` held bytes. */
static size_t let_go(rf_stop *stop, size_t keep, uint8_t *output)
{
    size_t count = stop->held_size - keep;
    memcpy(output, stop->held, count);
    memmove(stop->held, stop->held + count, keep);
    stop->held_size = keep;
    return count;
}

size_t rf_stop_feed(rf_stop *stop, uint8_t byte, uint8_t *output)
{
    if (stop->is_found) {
        return 0;
    }
    stop->held[stop->held_size++] = byte;
    size_t match = longest_match(stop);
    if (match > 0) {
        size_t count = let_go(stop, match, output);
        stop->held_size = 0;
        stop->is_found = true;
        return count;
    }
    return let_go(stop, longest_beginning(stop), output);
}

size_t rf_stop_finish(rf_stop *stop, uint8_t *output)
{
    return stop->is_found ? 0 : let_go(stop, 0, output);
}
