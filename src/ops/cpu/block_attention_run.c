/* Runs of query blocks: geometry and gathering (see the header). */
#include "ops/cpu/block_attention_run.h"

#include <math.h>

/* Query slots of a run, about, and keys that a walk over whole buckets takes at once: enough to
 * share the gathering, few enough for the cache. */
enum { RUN_SLOTS = 256 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What the paper's options need, beside the blocks. */
static void cut_options(const rf_attention_plan *plan, rf_attention_cut *cut)
{
    const bool corrects = plan->duplicates == RF_DUPLICATES_CORRECTED;
    cut->is_plain = !corrects && !plan->same_bucket && plan->empty_row == RF_EMPTY_ROW_UNIFORM &&
                    plan->rounding == RF_ROUNDING_REFERENCE;
    if (plan->same_bucket) {
        cut->all_buckets = corrects ? plan->parts : 1;
    }
    cut->all_blocks = corrects && !plan->whole_buckets ? plan->parts : 0;
    if (plan->whole_buckets) {
        cut->run_keys = RUN_SLOTS;
        cut->columns = RUN_SLOTS;
        cut->tile_rows = RF_ATTENTION_ROWS;
    }
}

rf_attention_cut rf_cpu_attention_cut(const rf_attention_plan *plan, int64_t width)
{
    rf_attention_cut cut = {.plan = plan, .width = width};
    cut.part_blocks = plan->slots / plan->block;
    if (plan->wrap != RF_WRAP_NONE) {
        cut.wrap_blocks = cut.part_blocks * (plan->wrap == RF_WRAP_ALL_PARTS ? plan->parts : 1);
    }
    cut.window = plan->before + 1 + plan->after;
    cut.columns = cut.window * plan->block;
    cut.pairs = cut.columns;
    const int64_t reach = plan->before > plan->after ? plan->before : plan->after;
    /* A shift of all blocks or more acts as none: then neighbours do not see neighbouring blocks,
     * and nothing can be shared. */
    const bool is_shared = cut.wrap_blocks == 0 || reach < cut.wrap_blocks;
    cut.run_blocks = is_shared && plan->block < RUN_SLOTS ? RUN_SLOTS / plan->block : 1;
    cut.run_blocks = cut.part_blocks > 0 ? least(cut.run_blocks, cut.part_blocks) : 1;
    cut.runs = rf_cpu_blocks(cut.part_blocks, cut.run_blocks);
    cut.run_keys = (cut.run_blocks + cut.window - 1) * plan->block;
    cut.tile_rows = least(plan->block, RF_ATTENTION_ROWS);
    cut_options(plan, &cut);
    return cut;
}

static const float *widen(const rf_tensor *tensor, float **memory)
{
    if (tensor->dtype != RF_BF16 || *memory == NULL) {
        return tensor->data;
    }
    const int64_t count = rf_tensor_count(tensor);
    const uint16_t *from = tensor->data;
    float *to = *memory;
    for (int64_t i = 0; i < count; i++) {
        to[i] = rf_bf16_to_f32(from[i]);
    }
    *memory += count;
    return to;
}

rf_attention_source rf_cpu_attention_source(const rf_tensor *query, const rf_tensor *key,
                                            const rf_tensor *value, void *memory)
{
    float *left = memory;
    rf_attention_source source = {0};
    source.query = widen(query, &left);
    source.value = widen(value, &left);
    source.key = rf_tensor_is_absent(key) ? NULL : widen(key, &left);
    return source;
}

size_t rf_cpu_attention_widened_size(const rf_tensor *query, const rf_tensor *key)
{
    const size_t size = (size_t)rf_tensor_count(query) * sizeof(float);
    const size_t copies = rf_tensor_is_absent(key) ? 2 : 3;
    return query->dtype == RF_BF16 ? (size * copies + 63) / 64 * 64 : 0;
}

/* Hand out memory: `count` values of 4 bytes from *used on, which moves on by whole cache lines;
 * NULL while only counting. */
static void *take(char *memory, size_t *used, int64_t count)
{
    char *start = memory != NULL ? memory + *used : NULL;
    *used += ((size_t)count * sizeof(float) + 63) / 64 * 64;
    return start;
}

static size_t lay_out(const rf_attention_cut *cut, bool backward, char *memory,
                      rf_attention_space *space)
{
    size_t used = 0;
    const int64_t keys = cut->run_keys;
    space->tokens = take(memory, &used, keys);
    space->positions = take(memory, &used, keys);
    if (!rf_tensor_is_absent(&cut->plan->segments)) {
        space->segments = take(memory, &used, keys);
    }
    if (!cut->is_plain) {
        space->buckets = take(memory, &used, cut->all_buckets * keys);
        space->blocks = take(memory, &used, cut->all_blocks * keys);
        space->met = take(memory, &used, cut->columns);
        space->logs = take(memory, &used, cut->plan->parts * cut->window + 1);
        space->biases = take(memory, &used, cut->columns);
    }
    space->keys = take(memory, &used, keys * cut->width);
    space->values = take(memory, &used, keys * cut->width);
    space->factors = take(memory, &used, keys);
    space->queries = take(memory, &used, cut->tile_rows * cut->width);
    space->scores = take(memory, &used, cut->tile_rows * cut->columns);
    space->keep = take(memory, &used, cut->columns);
    space->result = take(memory, &used, cut->tile_rows * cut->width);
    if (backward) {
        space->key_gradients = take(memory, &used, keys * cut->width);
        space->value_gradients = take(memory, &used, keys * cut->width);
        space->output_gradients = take(memory, &used, cut->tile_rows * cut->width);
        space->score_gradients = take(memory, &used, cut->tile_rows * cut->columns);
    }
    return used;
}

size_t rf_cpu_attention_space_size(const rf_attention_cut *cut, bool backward)
{
    rf_attention_space space = {0};
    return lay_out(cut, backward, NULL, &space);
}

rf_attention_space rf_cpu_attention_space(const rf_attention_cut *cut, bool backward, void *memory,
                                          int64_t index)
{
    rf_attention_space space = {0};
    const size_t size = rf_cpu_attention_space_size(cut, backward);
    (void)lay_out(cut, backward, (char *)memory + (size_t)index * size, &space);
    return space;
}

rf_attention_run rf_cpu_attention_run(const rf_attention_cut *cut, int64_t batch, int64_t head,
                                      int64_t part, int64_t index)
{
    rf_attention_run run = {.batch = batch, .head = head, .part = part};
    run.first_block = index * cut->run_blocks;
    run.blocks = rf_cpu_block_length(cut->part_blocks, cut->run_blocks, index);
    run.present = run.blocks + cut->window - 1;
    if (cut->wrap_blocks == 0) {
        const int64_t start = run.first_block - cut->plan->before;
        const int64_t end = least(start + run.present, cut->part_blocks);
        run.first_present = start < 0 ? -start : 0;
        run.present = end - start - run.first_present;
    }
    return run;
}

bool rf_cpu_attention_run_wraps(const rf_attention_cut *cut, const rf_attention_run *run)
{
    const int64_t last = run->first_block + run->blocks - 1;
    const bool leaves =
        run->first_block - cut->plan->before < 0 || last + cut->plan->after >= cut->part_blocks;
    return cut->wrap_blocks > 0 && leaves;
}

int64_t rf_cpu_attention_neighbour(const rf_attention_cut *cut, int64_t part, int64_t block,
                                   int64_t shift)
{
    const int64_t first_of_part = part * cut->part_blocks;
    if (cut->wrap_blocks == 0) {
        const bool is_there = block + shift >= 0 && block + shift < cut->part_blocks;
        return is_there ? first_of_part + block + shift : -1;
    }
    const int64_t base = cut->plan->wrap == RF_WRAP_PART ? first_of_part : 0;
    const int64_t own = first_of_part - base + block;
    if (shift >= cut->wrap_blocks || -shift >= cut->wrap_blocks) {
        return base + own;
    }
    return base + ((own + shift) % cut->wrap_blocks + cut->wrap_blocks) % cut->wrap_blocks;
}

/* The block, counted over all parts, that gathered block `index` of the run is. */
static int64_t block_of(const rf_attention_cut *cut, const rf_attention_run *run, int64_t index)
{
    const int64_t shift = index - cut->plan->before;
    const int64_t own = run->part * cut->part_blocks + run->first_block;
    if (cut->wrap_blocks == 0) {
        return own + shift;
    }
    if (cut->run_blocks == 1) {
        return rf_cpu_attention_neighbour(cut, run->part, run->first_block, shift);
    }
    const int64_t base = cut->plan->wrap == RF_WRAP_PART ? run->part * cut->part_blocks : 0;
    return base + ((own - base + shift) % cut->wrap_blocks + cut->wrap_blocks) % cut->wrap_blocks;
}

/* Tokens and positions [count] of slots of a part. */
static void gather_tokens(const rf_attention_cut *cut, const rf_attention_run *run, int64_t part,
                          int64_t slot, int64_t count, int32_t *tokens, int32_t *positions)
{
    const rf_attention_plan *plan = cut->plan;
    const uint8_t *mask = rf_tensor_is_absent(&plan->key_mask) ? NULL : plan->key_mask.data;
    const int32_t *order = NULL;
    if (!rf_tensor_is_absent(&plan->order)) {
        const int64_t row = (run->batch * plan->heads + run->head) * plan->parts + part;
        order = (const int32_t *)plan->order.data + row * plan->slots;
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t as_written = slot + i < plan->length ? slot + i : -1;
        const int32_t token = order != NULL ? order[slot + i] : (int32_t)as_written;
        const bool is_seen =
            token >= 0 && (mask == NULL || mask[run->batch * plan->length + token] != 0);
        tokens[i] = token;
        positions[i] = is_seen ? token : INT32_MAX;
    }
}

/* Buckets and blocks of gathered tokens, in the parts that the plan asks for. */
static void gather_places(const rf_attention_cut *cut, const rf_attention_run *run,
                          const rf_attention_space *space, int64_t at, int64_t count)
{
    const rf_attention_plan *plan = cut->plan;
    const int64_t row = (run->batch * plan->heads + run->head) * plan->parts * plan->length;
    const int32_t *bucket = plan->bucket.data;
    const int32_t *tokens = space->tokens;
    for (int64_t i = 0; i < cut->all_buckets; i++) {
        const int64_t part = cut->all_buckets > 1 ? i : run->part;
        for (int64_t j = at; j < at + count; j++) {
            space->buckets[i * cut->run_keys + j] =
                tokens[j] >= 0 ? bucket[row + part * plan->length + tokens[j]] : -1;
        }
    }
    for (int64_t part = 0; part < cut->all_blocks; part++) {
        for (int64_t j = at; j < at + count; j++) {
            space->blocks[part * cut->run_keys + j] =
                tokens[j] >= 0 ? (int32_t)rf_cpu_attention_own_block(cut, run, part, tokens[j])
                               : -1;
        }
    }
}

int64_t rf_cpu_attention_own_block(const rf_attention_cut *cut, const rf_attention_run *run,
                                   int64_t part, int32_t token)
{
    const rf_attention_plan *plan = cut->plan;
    const int32_t *inverse = rf_tensor_is_absent(&plan->order) ? NULL : plan->inverse.data;
    const int64_t row = (run->batch * plan->heads + run->head) * plan->parts + part;
    const int64_t slot = inverse != NULL ? inverse[row * plan->length + token] : token;
    return part * cut->part_blocks + slot / plan->block;
}

void rf_cpu_attention_gather_slots(const rf_attention_cut *cut, const rf_attention_run *run,
                                   const rf_attention_space *space, int64_t part, int64_t slot,
                                   int64_t count, int64_t at)
{
    gather_tokens(cut, run, part, slot, count, space->tokens + at, space->positions + at);
    for (int64_t i = at; i < at + count && space->segments != NULL; i++) {
        const int32_t token = space->tokens[i];
        space->segments[i] =
            token >= 0 ? rf_cpu_attention_segment(cut->plan, run->batch, token) : -1;
    }
    if (!cut->is_plain) {
        gather_places(cut, run, space, at, count);
    }
}

/* key [width] = query / root mean square / sqrt(width); gives the factor. Hugging Face's epsilon.
 */
RF_VECTOR_CLONES static float normalise_key(const float *query, int64_t width, float *key)
{
    float lanes[RF_LANES] = {0};
    int64_t j = 0;
    for (; j + RF_LANES <= width; j += RF_LANES) {
        for (int i = 0; i < RF_LANES; i++) {
            lanes[i] += query[j + i] * query[j + i];
        }
    }
    for (int i = 0; j < width; i++, j++) {
        lanes[i] += query[j] * query[j];
    }
    const float mean = rf_cpu_sum_lanes(lanes) / (float)width;
    const float factor = 1.0F / sqrtf(mean + 1e-6F) / sqrtf((float)width);
    for (j = 0; j < width; j++) {
        key[j] = query[j] * factor;
    }
    return factor;
}

static void gather_slot(const rf_attention_cut *cut, const rf_attention_run *run,
                        const rf_attention_source *source, const rf_attention_space *space,
                        int64_t slot)
{
    const size_t row_size = (size_t)cut->width * sizeof(float);
    float *key = space->keys + slot * cut->width;
    float *value = space->values + slot * cut->width;
    if (space->tokens[slot] < 0) {
        memset(key, 0, row_size);
        memset(value, 0, row_size);
        space->factors[slot] = 0.0F;
        return;
    }
    const int64_t row = rf_cpu_attention_row(cut, run, space->tokens[slot]);
    memcpy(value, source->value + row, row_size);
    if (source->key != NULL) {
        memcpy(key, source->key + row, row_size);
    } else {
        space->factors[slot] = normalise_key(source->query + row, cut->width, key);
    }
}

void rf_cpu_attention_gather_keys(const rf_attention_cut *cut, const rf_attention_run *run,
                                  const rf_attention_source *source,
                                  const rf_attention_space *space, int64_t first, int64_t end)
{
    const float *key = source->key != NULL ? source->key : source->query;
    for (int64_t slot = first; slot < end; slot++) {
        const int64_t later = least(slot + RF_ATTENTION_AHEAD, end - 1);
        rf_cpu_attention_prefetch(cut, run, space->tokens[later], source->value);
        rf_cpu_attention_prefetch(cut, run, space->tokens[later], key);
        gather_slot(cut, run, source, space, slot);
    }
}

void rf_cpu_attention_gather(const rf_attention_cut *cut, const rf_attention_run *run,
                             const rf_attention_source *source, const rf_attention_space *space)
{
    const int64_t block = cut->plan->block;
    for (int64_t index = run->first_present; index < run->first_present + run->present; index++) {
        const int64_t number = block_of(cut, run, index);
        rf_cpu_attention_gather_slots(cut, run, space, number / cut->part_blocks,
                                      number % cut->part_blocks * block, block, index * block);
    }
    rf_cpu_attention_gather_keys(cut, run, source, space, run->first_present * block,
                                 (run->first_present + run->present) * block);
}

/* Where a token stands in the order of bucket_sort. */
typedef struct standing {
    int64_t segment, bucket;
} standing;

static standing standing_of(const rf_attention_cut *cut, const rf_attention_run *run, int64_t slot)
{
    const rf_attention_plan *plan = cut->plan;
    const int64_t row = (run->batch * plan->heads + run->head) * plan->parts + run->part;
    const int32_t token = ((const int32_t *)plan->order.data)[row * plan->slots + slot];
    if (token < 0) {
        return (standing){INT64_MAX, 0};
    }
    return (standing){rf_cpu_attention_segment(plan, run->batch, token),
                      ((const int32_t *)plan->bucket.data)[row * plan->length + token]};
}

static bool is_before(standing a, standing b)
{
    return a.segment < b.segment || (a.segment == b.segment && a.bucket < b.bucket);
}

bool rf_cpu_attention_bucket_range(const rf_attention_cut *cut, const rf_attention_run *run,
                                   int64_t slot, int64_t rows, int64_t *first, int64_t *last,
                                   int64_t *end)
{
    const standing lowest = standing_of(cut, run, slot);
    *last = slot + rows - 1;
    while (*last >= slot && standing_of(cut, run, *last).segment == INT64_MAX) {
        (*last)--;
    }
    if (*last < slot) {
        return false;
    }
    const standing highest = standing_of(cut, run, *last);
    int64_t high = slot; /* the first slot that does not stand before the lowest */
    *first = 0;
    while (*first < high) {
        const int64_t middle = *first + (high - *first) / 2;
        const bool is_lower = is_before(standing_of(cut, run, middle), lowest);
        *first = is_lower ? middle + 1 : *first;
        high = is_lower ? high : middle;
    }
    *end = *last + 1; /* the first slot that stands behind the highest */
    high = cut->plan->slots;
    while (*end < high) {
        const int64_t middle = *end + (high - *end) / 2;
        const bool is_higher = is_before(highest, standing_of(cut, run, middle));
        *end = is_higher ? *end : middle + 1;
        high = is_higher ? middle : high;
    }
    return true;
}

bool rf_cpu_attention_is_hidden(const rf_attention_cut *cut, const rf_attention_space *space,
                                int64_t count)
{
    const rf_attention_plan *plan = cut->plan;
    bool is_hidden = plan->self == RF_SELF_LAST_RESORT || plan->empty_row == RF_EMPTY_ROW_ZERO;
    for (int64_t i = 0; i < count && is_hidden; i++) {
        is_hidden = space->positions[i] == INT32_MAX;
    }
    return is_hidden;
}

/* Leave out slots at both ends that causality hides from every query of the tile, where slots hold
 * tokens as written and none is masked: every query sees itself, so the others' probabilities are
 * exactly 0. `last` is the last query's token. */
static void trim_future(const rf_attention_cut *cut, const int32_t *tokens, int32_t last,
                        int64_t *first, int64_t *end)
{
    const int64_t block = cut->plan->block;
    while (tokens[*first] > last || tokens[*first] < 0) {
        *first += block;
    }
    while (tokens[*end - block] > last || tokens[*end - block] < 0) {
        *end -= block;
    }
    const int64_t count = (int64_t)last - tokens[*end - block] + 1;
    *end += count < block ? count - block : 0;
}

bool rf_cpu_attention_tile(const rf_attention_cut *cut, const rf_attention_run *run,
                           const rf_attention_space *space, int64_t block, int64_t row,
                           rf_attention_tile *tile)
{
    const rf_attention_plan *plan = cut->plan;
    tile->rows = least(cut->tile_rows, plan->block - row);
    tile->tokens = space->tokens + (block + plan->before) * plan->block + row;
    int32_t last = -1;
    for (int64_t i = 0; i < tile->rows; i++) {
        last = tile->tokens[i] > last ? tile->tokens[i] : last;
    }
    if (last < 0) {
        return false;
    }
    int64_t end = least(block + cut->window, run->first_present + run->present) * plan->block;
    tile->first = (block > run->first_present ? block : run->first_present) * plan->block;
    if (plan->causal && rf_tensor_is_absent(&plan->order) && rf_tensor_is_absent(&plan->key_mask)) {
        trim_future(cut, space->tokens, last, &tile->first, &end);
    }
    tile->count = end - tile->first;
    tile->first_column = tile->first - block * plan->block;
    return true;
}

void rf_cpu_attention_gather_rows(const rf_attention_cut *cut, const rf_attention_run *run,
                                  const rf_attention_tile *tile, const float *from, float *rows)
{
    const size_t row_size = (size_t)cut->width * sizeof(float);
    for (int64_t i = 0; i < tile->rows; i++) {
        const int64_t later = least(i + RF_ATTENTION_AHEAD, tile->rows - 1);
        rf_cpu_attention_prefetch(cut, run, tile->tokens[later], from);
        if (tile->tokens[i] < 0) {
            memset(rows + i * cut->width, 0, row_size);
        } else {
            memcpy(rows + i * cut->width, from + rf_cpu_attention_row(cut, run, tile->tokens[i]),
                   row_size);
        }
    }
}
