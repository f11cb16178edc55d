/* The order of training windows. Cost: one Philox block a window. */
#include "data/sampler.h"

#include "base/random.h"

int64_t rf_windows_start(const rf_windows *windows, int64_t number)
{
    RF_ASSERT(windows->length > 0 && windows->tokens >= windows->length && number >= 0);
    if (windows->sequential) {
        return number % (windows->tokens / windows->length) * windows->length;
    }
    rf_random_key key = {
        .seed = windows->seed,
        .step = (uint64_t)number,
        .purpose = RF_PURPOSE_DATA_ORDER,
    };
    uint64_t starts = (uint64_t)(windows->tokens - windows->length) + 1;
    return (int64_t)rf_random_below(&key, 0, starts);
}
