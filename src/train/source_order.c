/* Which example stands where. Each epoch has an order of its own, a function of the seed, the epoch
 * and, where lengths are to be alike, the rows of a step: then the order is cut into pools of 64
 * steps, each pool is sorted by length and cut into steps, and these are shuffled, so that what is
 * padded away is little and the order of steps is still random. Every example comes once an epoch
 * in any case. */
#include "base/memory.h"
#include "train/source.h"

#include <stdlib.h>

enum { POOL_STEPS = 64, ORDER_OF_EXAMPLES = 1, ORDER_OF_STEPS = 4 }; /* layers of the key */

typedef struct rf_length_place {
    int64_t length, place, example;
} rf_length_place;

rf_status rf_source_take_order(rf_source *source, rf_error *error)
{
    void *memory = NULL;
    size_t count = (size_t)source->examples;
    RF_TRY(rf_allocate_zeroed(count * sizeof *source->order, "order of examples", &memory, error));
    source->order = memory;
    source->epoch = -1;
    if (source->step_rows > 0) {
        RF_TRY(rf_allocate(count * sizeof *source->pool, "order of examples", &memory, error));
        source->pool = memory;
    }
    return RF_OK;
}

static rf_random_key key_of(const rf_source *source, int64_t epoch, uint32_t what)
{
    return (rf_random_key){.seed = source->windows.seed,
                           .step = (uint64_t)epoch,
                           .layer = what,
                           .purpose = RF_PURPOSE_DATA_ORDER};
}

/* A permutation (Fisher, Yates). */
static void shuffle(rf_source *source, int64_t epoch)
{
    rf_random_key key = key_of(source, epoch, ORDER_OF_EXAMPLES);
    for (int64_t i = 0; i < source->examples; i++) {
        int64_t j = (int64_t)rf_random_below(&key, (uint64_t)i, (uint64_t)i + 1);
        source->order[i] = source->order[j];
        source->order[j] = i;
    }
}

/* Of one length: as they stood. */
static int by_length(const void *a, const void *b)
{
    const rf_length_place *x = a;
    const rf_length_place *y = b;
    if (x->length != y->length) {
        return x->length < y->length ? -1 : 1;
    }
    return x->place < y->place ? -1 : 1;
}

/* Places [first, first + count) of the order, which begin with a step: sorted by length, and whole
 * steps shuffled. */
static void arrange_pool(rf_source *source, int64_t epoch, int64_t first, int64_t count)
{
    rf_length_place *pool = source->pool;
    rf_random_key key = key_of(source, epoch, ORDER_OF_STEPS);
    for (int64_t i = 0; i < count; i++) {
        int64_t example = source->order[first + i];
        pool[i] =
            (rf_length_place){source->starts[example + 1] - source->starts[example], i, example};
    }
    qsort(pool, (size_t)count, sizeof *pool, by_length);
    for (int64_t i = 0; i < count; i++) {
        source->order[first + i] = pool[i].example;
    }
    int64_t rows = source->step_rows;
    for (int64_t step = count / rows - 1; step > 0; step--) {
        int64_t other =
            (int64_t)rf_random_below(&key, (uint64_t)(first + step), (uint64_t)step + 1);
        for (int64_t i = 0; i < rows; i++) {
            int64_t *one = &source->order[first + step * rows + i];
            int64_t *two = &source->order[first + other * rows + i];
            int64_t moved = *one;
            *one = *two;
            *two = moved;
        }
    }
}

/* Steps begin at multiples of their rows, counted over all epochs: an epoch may begin in the middle
 * of one. */
static void arrange(rf_source *source, int64_t epoch)
{
    int64_t rows = source->step_rows;
    int64_t at = (rows - epoch % rows * (source->examples % rows) % rows) % rows;
    while (at < source->examples) {
        int64_t left = source->examples - at;
        int64_t count = left < POOL_STEPS * rows ? left : POOL_STEPS * rows;
        arrange_pool(source, epoch, at, count);
        at += count;
    }
}

int64_t rf_source_example(rf_source *source, int64_t number)
{
    int64_t epoch = number / source->examples;
    int64_t place = number % source->examples;
    if (source->judged != NULL) {
        return source->judged[place];
    }
    if (source->windows.sequential) {
        return place;
    }
    if (source->epoch != epoch) {
        shuffle(source, epoch);
        if (source->step_rows > 0) {
            arrange(source, epoch);
        }
        source->epoch = epoch;
    }
    return source->order[place];
}
