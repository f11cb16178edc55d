/* Helpers that every test program links. */
#include "support.h"

#include "base/file.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[4096];

static void remove_folder(void)
{
    if (rf_folder_remove(folder, NULL) != RF_OK) {
        (void)fprintf(stderr, "could not remove %s\n", folder);
    }
}

const char *test_folder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(folder, sizeof folder, "%s/reformer-test-XXXXXX",
                       base != NULL ? base : "/tmp");
        if (mkdtemp(folder) == NULL || atexit(remove_folder) != 0) {
            abort();
        }
    }
    return folder;
}

const char *test_fixtures(void)
{
    const char *path = getenv("REFORMER_FIXTURES");
    if (path == NULL || path[0] == '\0') {
        print_message("skipped: REFORMER_FIXTURES does not name the folder of reference vectors\n");
        return NULL;
    }
    return path;
}

void fill_ids(int32_t *ids, int64_t count, int64_t vocabulary, uint64_t seed)
{
    const rf_random_key key = {.seed = seed, .purpose = RF_PURPOSE_TEST};
    for (int64_t i = 0; i < count; i++) {
        ids[i] = (int32_t)rf_random_below(&key, (uint64_t)i, (uint64_t)vocabulary);
    }
}
