/* Replays a fuzz target's corpus without libFuzzer: every argument is a file, or a folder whose
 * files are fed one after the other. Fails when it was given nothing to feed, so an empty corpus
 * cannot pass for a good one. */
#include "base/file.h"
#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>

/* The target, as libFuzzer calls it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT_BYTES = 64 << 20 };

static rf_status feed(const char *path, rf_error *error)
{
    char *text = NULL;
    size_t size = 0;
    RF_TRY(rf_file_read(path, LIMIT_BYTES, &text, &size, error));
    (void)LLVMFuzzerTestOneInput((const uint8_t *)text, size);
    rf_release(text);
    return RF_OK;
}

static rf_status feed_all(const char *path, size_t *fed, rf_error *error)
{
    char **names = NULL;
    size_t count = 0;
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_file_find(path, &names, &count, error));
    for (size_t i = 0; i < count; i++) {
        RF_TRY_DONE(feed(names[i], error));
        *fed += 1;
    }
done:
    rf_names_release(names, count);
    return status;
}

int main(int count, char **arguments)
{
    rf_error error = {0};
    size_t fed = 0;
    for (int i = 1; i < count; i++) {
        if (feed_all(arguments[i], &fed, &error) != RF_OK) {
            (void)fprintf(stderr, "%s: %s\n", arguments[i], error.message);
            return 1;
        }
    }
    (void)printf("%zu inputs replayed\n", fed);
    return fed > 0 ? 0 : 1;
}
