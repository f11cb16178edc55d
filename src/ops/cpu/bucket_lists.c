/* Append-only bucket lists with prefix counts; see ops/bucket_lists.h. The tree is Fenwick, "A new
 * data structure for cumulative frequency tables", 1994. Levels double, so that a window is copied
 * in a handful of pieces. */
#include "ops/cpu/bucket_lists.h"

#include "base/status.h"

#include <string.h>

rf_cpu_lists rf_cpu_lists_of(const rf_lists_layout *layout, int32_t *words)
{
    return (rf_cpu_lists){.buckets = layout->buckets,
                          .levels = layout->levels,
                          .header = words,
                          .tree = words + layout->tree,
                          .sizes = words + layout->sizes,
                          .starts = words + layout->starts,
                          .pool = words + layout->pool};
}

/* The level that a place is on, and the first place behind that level. */
static int64_t level_of(int64_t place, int64_t *end)
{
    int64_t level = 0;
    *end = RF_LISTS_FIRST;
    while (place >= *end) {
        level++;
        *end = 2 * *end + RF_LISTS_FIRST;
    }
    return level;
}

/* Tokens in buckets before `bucket`. */
static int64_t tokens_before(const rf_cpu_lists *lists, int64_t bucket)
{
    int64_t sum = 0;
    for (int64_t i = bucket; i > 0; i -= i & -i) {
        sum += lists->tree[i];
    }
    return sum;
}

/* The bucket that holds a slot of the sorted order, slot < count; *place is that in the bucket. */
static int64_t bucket_of_slot(const rf_cpu_lists *lists, int64_t slot, int64_t *place)
{
    int64_t step = 1;
    while (2 * step <= lists->buckets) {
        step *= 2;
    }
    int64_t bucket = 0;
    for (; step > 0; step /= 2) {
        if (bucket + step <= lists->buckets && lists->tree[bucket + step] <= slot) {
            bucket += step;
            slot -= lists->tree[bucket];
        }
    }
    *place = slot;
    return bucket;
}

void rf_cpu_lists_append(const rf_cpu_lists *lists, int64_t bucket, int32_t token)
{
    RF_ASSERT(bucket >= 0 && bucket < lists->buckets);
    int32_t *header = lists->header;
    int64_t place = lists->sizes[bucket];
    int64_t end = 0;
    int64_t level = level_of(place, &end);
    int64_t level_places = (end + RF_LISTS_FIRST) / 2; /* of this level */
    int32_t *start = &lists->starts[bucket * lists->levels + level];
    if (place == end - level_places) {
        *start = (int32_t)(header[RF_LISTS_USED] - place);
        header[RF_LISTS_USED] += (int32_t)level_places;
    }
    lists->pool[*start + place] = token;
    lists->sizes[bucket]++;
    for (int64_t i = bucket + 1; i <= lists->buckets; i += i & -i) {
        lists->tree[i]++;
    }
    header[RF_LISTS_COUNT]++;
    header[RF_LISTS_LAST_BUCKET] = (int32_t)bucket;
    header[RF_LISTS_LAST_SLOT] = (int32_t)(tokens_before(lists, bucket) + place);
}

/* Levels for all tokens of a bucket, one behind the other, so that they start at the same word. */
static void take_levels(const rf_cpu_lists *lists, int64_t bucket)
{
    int64_t end = 0;
    if (lists->sizes[bucket] == 0) {
        return;
    }
    int64_t last = level_of(lists->sizes[bucket] - 1, &end);
    for (int64_t level = 0; level <= last; level++) {
        lists->starts[bucket * lists->levels + level] = lists->header[RF_LISTS_USED];
    }
    lists->header[RF_LISTS_USED] += (int32_t)end;
}

void rf_cpu_lists_build(const rf_cpu_lists *lists, const int32_t *buckets, const int32_t *order,
                        int64_t length)
{
    memset(lists->header, 0, RF_LISTS_HEADER * sizeof *lists->header);
    memset(lists->sizes, 0, (size_t)lists->buckets * sizeof *lists->sizes);
    lists->tree[0] = 0;
    for (int64_t token = 0; token < length; token++) {
        if (buckets[token] < lists->buckets) {
            lists->sizes[buckets[token]]++;
            lists->header[RF_LISTS_COUNT]++;
        }
    }
    int64_t slot = 0;
    for (int64_t bucket = 0; bucket < lists->buckets; bucket++) {
        take_levels(lists, bucket);
        for (int64_t place = 0; place < lists->sizes[bucket]; place++) {
            lists->pool[lists->starts[bucket * lists->levels] + place] = order[slot + place];
        }
        slot += lists->sizes[bucket];
        int64_t node = bucket + 1; /* the sum of buckets node - lowest bit ... node - 1 */
        lists->tree[node] = lists->sizes[bucket];
        for (int64_t child = 1; child < (node & -node); child *= 2) {
            lists->tree[node] += lists->tree[node - child];
        }
    }
}

/* Places place ... place + count - 1 of a bucket. */
static void copy_places(const rf_cpu_lists *lists, int64_t bucket, int64_t place, int64_t count,
                        int32_t *tokens)
{
    while (count > 0) {
        int64_t end = 0;
        int64_t level = level_of(place, &end);
        int64_t run = count < end - place ? count : end - place;
        const int32_t *from = lists->pool + lists->starts[bucket * lists->levels + level] + place;
        memcpy(tokens, from, (size_t)run * sizeof *tokens);
        tokens += run;
        place += run;
        count -= run;
    }
}

int64_t rf_cpu_longest_window(rf_chunk_window window, int64_t capacity)
{
    const int64_t chunks = window.chunk * (window.before + 1 + window.after);
    return window.whole_buckets ? capacity : chunks;
}

/* The slots of a window: `length` of them from `first` on, going round at `count`. */
typedef struct slot_range {
    int64_t first, length, count;
} slot_range;

static slot_range slots_of(const rf_cpu_lists *lists, rf_chunk_window window)
{
    const int64_t count = lists->header[RF_LISTS_COUNT];
    const int64_t slot = lists->header[RF_LISTS_LAST_SLOT];
    if (window.whole_buckets) { /* the new token is the last of its bucket */
        const int64_t size = lists->sizes[lists->header[RF_LISTS_LAST_BUCKET]];
        return (slot_range){slot + 1 - size, size, count};
    }
    const int64_t first = (slot / window.chunk - window.before) * window.chunk;
    const int64_t length = window.chunk * (window.before + 1 + window.after);
    if (window.is_clipped) {
        const int64_t begin = first > 0 ? first : 0;
        const int64_t end = first + length < count ? first + length : count;
        return (slot_range){begin, end - begin, count};
    }
    return (slot_range){(first % count + count) % count, length, count};
}

int64_t rf_cpu_lists_window(const rf_cpu_lists *lists, rf_chunk_window window, int32_t *tokens)
{
    const slot_range slots = slots_of(lists, window);
    int64_t slot = slots.first;
    int64_t written = 0;
    for (int64_t i = 0; i < slots.length;) {
        int64_t place = 0;
        int64_t bucket = bucket_of_slot(lists, slot, &place);
        int64_t run = lists->sizes[bucket] - place;
        run = run < slots.length - i ? run : slots.length - i;
        if (!window.same_bucket || bucket == lists->header[RF_LISTS_LAST_BUCKET]) {
            copy_places(lists, bucket, place, run, tokens + written);
            written += run;
        }
        i += run;
        slot = (slot + run) % slots.count;
    }
    return written;
}

/* bucket x 2^32 + token of the token in a slot */
static int64_t key_of_slot(const rf_cpu_lists *lists, int64_t slot)
{
    int64_t place = 0;
    int32_t token = 0;
    const int64_t bucket = bucket_of_slot(lists, slot, &place);
    copy_places(lists, bucket, place, 1, &token);
    return (bucket << 32) + token;
}

rf_window_test rf_cpu_lists_test(const rf_cpu_lists *lists, rf_chunk_window window)
{
    const slot_range slots = slots_of(lists, window);
    const int64_t copies = window.is_clipped ? 0 : slots.length / slots.count;
    const int64_t rest = slots.length - copies * slots.count;
    return (rf_window_test){
        .only = window.same_bucket ? lists->header[RF_LISTS_LAST_BUCKET] : -1,
        .copies = (int32_t)copies,
        .has_rest = rest > 0,
        .first = key_of_slot(lists, slots.first),
        .last = key_of_slot(lists, (slots.first + (rest > 0 ? rest - 1 : 0)) % slots.count)};
}
