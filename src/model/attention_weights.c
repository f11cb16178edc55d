/* What a head attends to, on the host: rows of weights are worked out in double, when they are
 * asked for, of what was copied while a pass went by (attention_capture.c). The arithmetic is that
 * of block attention and of the merge of rounds (docs/design.md, "The attention plan"): both
 * normalisers rounded to float, so that a row that sees itself alone sums to what the model's own
 * does. Memory of a row O(rounds x window). */
#include "model/attention_weights.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

void rf_attention_destroy(rf_attention *a)
{
    if (a == NULL) {
        return;
    }
    rf_release(a->query);
    rf_release(a->key);
    rf_release(a->value);
    rf_release(a->mask);
    rf_release(a->order);
    rf_release(a->slots);
    rf_release(a->buckets);
    rf_release(a);
}

/* ---- what there is ----------------------------------------------------------------------- */

rf_attention_info rf_attention_describe(const rf_attention *a)
{
    static const char *const wraps[] = {
        [RF_WRAP_NONE] = "none", [RF_WRAP_PART] = "round", [RF_WRAP_ALL_PARTS] = "rounds"};
    return (rf_attention_info){.place = a->place,
                               .kind = rf_layer_kind_name(a->kind),
                               .length = a->plan.length,
                               .width = a->width,
                               .rounds = a->plan.parts,
                               .buckets = a->bucket_count,
                               .slots = a->plan.slots,
                               .chunk = a->plan.block,
                               .before = a->plan.before,
                               .after = a->plan.after,
                               .wrap = wraps[a->plan.wrap],
                               .causal = a->plan.causal,
                               .same_bucket = a->plan.same_bucket,
                               .whole_buckets = a->plan.whole_buckets};
}

static const int32_t *of_round(const rf_attention *a, const int32_t *all, int64_t round,
                               int64_t count)
{
    return all != NULL && round >= 0 && round < a->plan.parts ? all + round * count : NULL;
}

const int32_t *rf_attention_buckets(const rf_attention *a, int64_t round)
{
    return of_round(a, a->buckets, round, a->plan.length);
}

const int32_t *rf_attention_order(const rf_attention *a, int64_t round)
{
    return of_round(a, a->order, round, a->plan.slots);
}

const float *rf_attention_queries(const rf_attention *a)
{
    return a->query;
}

const float *rf_attention_keys(const rf_attention *a)
{
    return a->key;
}

const float *rf_attention_values(const rf_attention *a)
{
    return a->value;
}

/* ---- a row ------------------------------------------------------------------------------- */

enum { EMPTY = -1 };

/* A column of a query's window. */
typedef struct column {
    int64_t token; /* EMPTY: a slot that holds none */
    int64_t round;
    bool allowed, is_last_resort;
    double value; /* its score, then its weight */
} column;

/* The part and the block that a query block sees at a distance; false: there is none. */
static bool neighbour(const rf_attention_plan *plan, int64_t shift, int64_t *part, int64_t *block)
{
    int64_t blocks = plan->slots / plan->block;
    int64_t all = plan->wrap == RF_WRAP_ALL_PARTS ? blocks * plan->parts : blocks;
    int64_t number = *block + (plan->wrap == RF_WRAP_ALL_PARTS ? *part * blocks : 0);
    if (plan->wrap == RF_WRAP_NONE) {
        *block += shift;
        return *block >= 0 && *block < blocks;
    }
    if (shift < all && -shift < all) { /* a longer one is no shift */
        number = (number + shift + all) % all;
    }
    *block = number % blocks;
    *part = plan->wrap == RF_WRAP_ALL_PARTS ? number / blocks : *part;
    return true;
}

static int64_t token_at(const rf_attention *a, int64_t part, int64_t slot)
{
    if (a->order != NULL) {
        return a->order[part * a->plan.slots + slot];
    }
    return slot < a->plan.length ? slot : EMPTY;
}

static double product(const rf_attention *a, int64_t query, int64_t token)
{
    bool normalises = a->plan.normalise_keys;
    const float *q = a->query + query * a->width;
    const float *k = (normalises ? a->query : a->key) + token * a->width;
    double sum = 0.0;
    double squares = 0.0;
    for (int64_t i = 0; i < a->width; i++) {
        sum += (double)q[i] * (double)k[i];
        squares += (double)k[i] * (double)k[i];
    }
    double width = (double)a->width;
    double scale = normalises ? 1.0 / sqrt((squares / width + 1e-6) * width) : 1.0;
    return sum * scale * (double)a->plan.scale;
}

/* Both tokens are in one bucket of the query's round, where the plan asks for that. */
static bool may_meet(const rf_attention *a, int64_t query, int64_t token, int64_t round)
{
    if (!a->plan.same_bucket) {
        return true;
    }
    const int32_t *buckets = a->buckets + round * a->plan.length;
    return token != EMPTY && buckets[query] == buckets[token];
}

/* Appends the column of a slot, unless the pair does not exist. Gives how many there are then. */
static int64_t add_column(const rf_attention *a, int64_t query, int64_t token, int64_t round,
                          column *columns, int64_t count)
{
    const double forbidden = -1e9;
    const double last_resort = -1e5;
    column c = {.token = token, .round = round, .value = forbidden};
    bool itself = token == query && a->plan.self == RF_SELF_LAST_RESORT;
    c.allowed = itself || (token != EMPTY && !(a->plan.causal && token > query) &&
                           (a->mask == NULL || a->mask[token] != 0));
    if (!may_meet(a, query, token, round) ||
        (!c.allowed && a->plan.empty_row == RF_EMPTY_ROW_ZERO)) {
        return count;
    }
    if (c.allowed) {
        c.is_last_resort = itself;
        c.value = itself ? last_resort : product(a, query, token);
    }
    columns[count] = c;
    return count + 1;
}

/* Slots of whole buckets stand bucket by bucket: those of the query's are around its own. */
static int64_t whole_bucket(const rf_attention *a, int64_t query, int64_t round, int64_t slot,
                            column *columns)
{
    int64_t first = slot;
    int64_t count = 0;
    while (first > 0 && may_meet(a, query, token_at(a, round, first - 1), round)) {
        first--;
    }
    for (int64_t i = first; i < a->plan.slots; i++) {
        int64_t token = token_at(a, round, i);
        if (!may_meet(a, query, token, round)) {
            break;
        }
        count = add_column(a, query, token, round, columns, count);
    }
    return count;
}

/* The columns of one round, in the order of the window; gives how many. */
static int64_t window(const rf_attention *a, int64_t query, int64_t round, column *columns)
{
    const rf_attention_plan *plan = &a->plan;
    int64_t slot = a->slots != NULL ? a->slots[round * plan->length + query] : query;
    int64_t count = 0;
    if (plan->whole_buckets) {
        return whole_bucket(a, query, round, slot, columns);
    }
    for (int64_t shift = -plan->before; shift <= plan->after; shift++) {
        int64_t part = round;
        int64_t block = slot / plan->block;
        if (!neighbour(plan, shift, &part, &block)) {
            continue;
        }
        for (int64_t i = 0; i < plan->block; i++) {
            int64_t token = token_at(a, part, block * plan->block + i);
            count = add_column(a, query, token, round, columns, count);
        }
    }
    return count;
}

static int by_token(const void *left, const void *right)
{
    const column *a = left;
    const column *b = right;
    if (a->token != b->token) {
        return a->token < b->token ? -1 : 1;
    }
    return a->round < b->round ? -1 : a->round > b->round;
}

static int by_round(const void *left, const void *right)
{
    const column *a = left;
    const column *b = right;
    return a->round != b->round   ? (a->round < b->round ? -1 : 1)
           : a->token != b->token ? (a->token < b->token ? -1 : 1)
                                  : 0;
}

/* A pair that is met N times scores lower by log N, so that it counts once. */
static void correct_duplicates(column *columns, int64_t count)
{
    qsort(columns, (size_t)count, sizeof *columns, by_token);
    for (int64_t first = 0, last = 0; first < count; first = last) {
        while (last < count && columns[last].token == columns[first].token) {
            last++;
        }
        for (int64_t i = first; i < last; i++) {
            bool counts = columns[i].allowed && !columns[i].is_last_resort;
            columns[i].value -= counts ? log((double)(last - first)) : 0.0;
        }
    }
    qsort(columns, (size_t)count, sizeof *columns, by_round);
}

static double log_sum(const column *columns, int64_t count)
{
    double most = -HUGE_VAL;
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        most = columns[i].value > most ? columns[i].value : most;
    }
    for (int64_t i = 0; i < count && most > -HUGE_VAL; i++) {
        sum += exp(columns[i].value - most);
    }
    return most > -HUGE_VAL ? most + log(sum) : most;
}

/* Scores become weights over all rounds. Each round's normaliser is rounded, then that of all, as
 * the model's are; or, where the plan is exact, the rounds have what they have in theory. norms
 * [2 parts]: rounded, then not. */
static float weigh(const rf_attention *a, column *columns, int64_t count, column *norms)
{
    int64_t parts = a->plan.parts;
    for (int64_t r = 0; r < 2 * parts; r++) {
        norms[r].value = -HUGE_VAL;
    }
    for (int64_t first = 0, last = 0; first < count; first = last) {
        int64_t round = columns[first].round;
        while (last < count && columns[last].round == round) {
            last++;
        }
        norms[parts + round].value = log_sum(columns + first, last - first);
        norms[round].value = (double)(float)norms[parts + round].value;
    }
    double all = log_sum(norms, parts);
    double norm = parts == 1 ? norms[0].value : (double)(float)all;
    for (int64_t i = 0; i < count; i++) {
        const column *own = &norms[columns[i].round];
        double value = columns[i].value;
        columns[i].value = a->plan.rounding == RF_ROUNDING_EXACT
                               ? exp(value - own[parts].value) * exp(own->value - all)
                               : exp(value - norm);
    }
    return (float)norm;
}

static bool is_listed(const column *c)
{
    return c->token != EMPTY && (c->allowed || c->value > 0.0);
}

/* How many different tokens are listed among the sorted columns. */
static int64_t count_tokens(const column *columns, int64_t count)
{
    int64_t tokens = 0;
    int64_t last = EMPTY;
    for (int64_t i = 0; i < count; i++) {
        if (is_listed(&columns[i]) && columns[i].token != last) {
            last = columns[i].token;
            tokens++;
        }
    }
    return tokens;
}

static rf_status take_row(int64_t count, int64_t rounds, rf_attention_row *row, rf_error *error)
{
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof *row->positions, "positions", &memory, error));
    row->positions = memory;
    RF_TRY(rf_allocate_zeroed((size_t)(count * (1 + rounds) + rounds) * sizeof(double), "weights",
                              &memory, error));
    row->weights = memory;
    row->parts = row->weights + count;
    row->shares = row->parts + count * rounds;
    row->rounds = rounds;
    return RF_OK;
}

/* From columns sorted by token into the row. */
static void gather(const column *columns, int64_t count, rf_attention_row *row)
{
    for (int64_t i = 0; i < count; i++) {
        const column *c = &columns[i];
        row->shares[c->round] += c->value;
        if (c->token == EMPTY) {
            row->lost += c->value;
        }
        if (!is_listed(c)) {
            continue;
        }
        if (row->count == 0 || row->positions[row->count - 1] != c->token) {
            row->positions[row->count++] = c->token;
        }
        row->weights[row->count - 1] += c->value;
        row->parts[(row->count - 1) * row->rounds + c->round] += c->value;
    }
}

rf_status rf_attention_weights(const rf_attention *a, int64_t query, rf_attention_row *row,
                               rf_error *error)
{
    const rf_attention_plan *plan = &a->plan;
    int64_t most = plan->parts * (plan->before + 1 + plan->after) * plan->block;
    int64_t count = 0;
    void *memory = NULL;
    rf_status status = RF_OK;
    *row = (rf_attention_row){0};
    if (query < 0 || query >= plan->length) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "position %lld is outside the %lld tokens",
                            (long long)query, (long long)plan->length);
    }
    RF_TRY(
        rf_allocate((size_t)(most + 2 * plan->parts) * sizeof(column), "window", &memory, error));
    column *columns = memory;
    for (int64_t round = 0; round < plan->parts; round++) {
        count += window(a, query, round, columns + count);
    }
    if (plan->duplicates == RF_DUPLICATES_CORRECTED) {
        correct_duplicates(columns, count);
    }
    float norm = weigh(a, columns, count, columns + most);
    qsort(columns, (size_t)count, sizeof *columns, by_token);
    RF_TRY_DONE(take_row(count_tokens(columns, count), plan->parts, row, error));
    gather(columns, count, row);
    row->log_norm = norm;
done:
    rf_release(memory);
    if (status != RF_OK) {
        rf_attention_row_clear(row);
    }
    return status;
}

void rf_attention_row_clear(rf_attention_row *row)
{
    rf_release(row->positions);
    rf_release(row->weights);
    *row = (rf_attention_row){0};
}
