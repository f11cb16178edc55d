/* The door for pickles alone, without a container to get through: any bytes give a status, and what
 * is read can be asked. */
#include "base/memory.h"
#include "io/torch_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rf_pickle *pickle = NULL;
    rf_torch_view *views = NULL;
    rf_torch_storages storages = {0};
    size_t count = 0;
    size_t used = 0;
    rf_error problem = {0};
    rf_status status = rf_pickle_read("in", data, size, rf_torch_allowed, &pickle, &used, &problem);
    if (status == RF_OK) {
        if (used > size) {
            abort();
        }
        status =
            rf_torch_describe("in", rf_pickle_top(pickle), &views, &count, &storages, &problem);
    }
    if (status != RF_OK && problem.message[0] == '\0') {
        abort();
    }
    rf_release(storages.items);
    rf_release(views);
    rf_pickle_release(pickle);
    return 0;
}
