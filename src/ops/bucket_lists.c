/* The layout of bucket lists; see the header. */
#include "ops/bucket_lists.h"

bool rf_lists_layout_of(int64_t buckets, int64_t capacity, rf_lists_layout *layout)
{
    if (buckets < 1 || capacity < 1 || buckets > INT32_MAX || capacity > INT32_MAX) {
        return false;
    }
    int64_t levels = 1;
    while (RF_LISTS_FIRST * ((INT64_C(1) << levels) - 1) < capacity) {
        levels++;
    }
    int64_t filled = buckets < capacity ? buckets : capacity; /* buckets that can hold a token */
    *layout = (rf_lists_layout){.buckets = buckets, .levels = levels, .tree = RF_LISTS_HEADER};
    layout->sizes = layout->tree + buckets + 1;
    layout->starts = layout->sizes + buckets;
    layout->pool = layout->starts + buckets * levels;
    int64_t words = layout->pool + 2 * capacity + (RF_LISTS_FIRST - 2) * filled;
    layout->words = (words + RF_LISTS_ALIGN - 1) / RF_LISTS_ALIGN * RF_LISTS_ALIGN;
    return layout->words <= INT32_MAX;
}
