/* The stream of documents and its windows. Memory: two numbers a document and one a window; time: a
 * new order once an epoch, else a binary search a window. */
#include "data/packing.h"

#include "base/memory.h"
#include "base/random.h"

#include <string.h>

enum { ORDER_OF_DOCUMENTS = 2, ORDER_OF_WINDOWS = 3 }; /* layers of the key of randomness */

static int64_t stride_of(const rf_packing *packing)
{
    return packing->length - (packing->overlaps ? 1 : 0);
}

rf_status rf_packing_open(rf_packing *packing, rf_error *error)
{
    const rf_tokens *tokens = packing->tokens;
    void *memory = NULL;
    if (tokens->count < 2) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "%lld documents have %lld tokens; 2 are needed for one to be predicted",
                            (long long)tokens->documents, (long long)tokens->count);
    }
    int64_t behind = tokens->count > packing->length ? tokens->count - packing->length : 0;
    packing->windows = 1 + (behind + stride_of(packing) - 1) / stride_of(packing);
    packing->epoch = -1;
    size_t documents = (size_t)tokens->documents;
    RF_TRY(rf_allocate(documents * sizeof(int64_t), "order of documents", &memory, error));
    packing->order = memory;
    RF_TRY(rf_allocate(documents * sizeof(int64_t), "ends of documents", &memory, error));
    packing->ends = memory;
    RF_TRY(rf_allocate((size_t)packing->windows * sizeof(int64_t), "order of windows", &memory,
                       error));
    packing->places = memory;
    return RF_OK;
}

void rf_packing_clear(rf_packing *packing)
{
    rf_release(packing->order);
    rf_release(packing->ends);
    rf_release(packing->places);
    *packing = (rf_packing){0};
}

/* order [count]: a permutation by key (Fisher, Yates), or as they are. */
static void fill_order(const rf_packing *packing, uint32_t what, int64_t epoch, int64_t count,
                       int64_t *order)
{
    rf_random_key key = {.seed = packing->seed,
                         .step = (uint64_t)epoch,
                         .layer = what,
                         .purpose = RF_PURPOSE_DATA_ORDER};
    for (int64_t i = 0; i < count; i++) {
        int64_t j =
            packing->sequential ? i : (int64_t)rf_random_below(&key, (uint64_t)i, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

static void prepare(rf_packing *packing, int64_t epoch)
{
    const rf_tokens *tokens = packing->tokens;
    if (packing->epoch == epoch || (packing->sequential && packing->epoch >= 0)) {
        return;
    }
    fill_order(packing, ORDER_OF_DOCUMENTS, epoch, tokens->documents, packing->order);
    fill_order(packing, ORDER_OF_WINDOWS, epoch, packing->windows, packing->places);
    int64_t end = 0;
    for (int64_t i = 0; i < tokens->documents; i++) {
        int64_t document = packing->order[i];
        end += tokens->starts[document + 1] - tokens->starts[document];
        packing->ends[i] = end;
    }
    packing->epoch = epoch;
}

/* The place in the order of the document that holds token `at` of the stream: the first that ends
 * behind it. */
static int64_t find_document(const rf_packing *packing, int64_t at)
{
    int64_t low = 0;
    int64_t high = packing->tokens->documents - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (packing->ends[middle] > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

int64_t rf_packing_read(rf_packing *packing, int64_t number, int32_t *ids, int32_t *segments)
{
    const rf_tokens *tokens = packing->tokens;
    prepare(packing, number / packing->windows);
    int64_t start = packing->places[number % packing->windows] * stride_of(packing);
    int64_t left = tokens->count - start;
    int64_t count = left < packing->length ? left : packing->length;
    int64_t place = find_document(packing, start);
    int32_t segment = 0;
    for (int64_t done = 0; done < count; place++) {
        int64_t at = start + done;
        int64_t rest = packing->ends[place] - at;
        int64_t take = rest < count - done ? rest : count - done;
        if (take == 0) { /* a document without tokens */
            continue;
        }
        rf_tokens_read(tokens, tokens->starts[packing->order[place] + 1] - rest, take, ids + done);
        for (int64_t i = 0; i < take; i++) {
            segments[done + i] = segment;
        }
        segment++;
        done += take;
    }
    for (int64_t i = count; i < packing->length; i++) {
        ids[i] = 0;
        segments[i] = segment;
    }
    return count;
}
