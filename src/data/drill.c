/* Duplication (Kitaev, Kaiser, Levskaya 2020, section 2.1), reversal, addition with the digits of
 * least weight first, and associative recall. Cost: one Philox block for four symbols. */
#include "data/drill.h"

#include "base/random.h"

#include <string.h>

enum {
    SYMBOLS = 128,     /* of copy, reverse and recall; 0 separates */
    FIRST_VALUE = 64,  /* of recall: keys are 1 ... 63, values 64 ... 127 */
    NOT_SCORED = -100, /* a label */
    /* of addition: a digit k is k + 1, 0 is padding */
    DIGITS = 10,
    PLUS = DIGITS + 1,
    MARK = DIGITS + 2,
    MARKS = 3, /* in a row, and one digit more in the sum than in what is added */
    LEAST_ADDITION = MARKS + 4
};

/* What is drawn for a row, each by a key of its own. */
typedef enum drawn { DRAWS_SYMBOLS, DRAWS_SHAPE, DRAWS_ORDER, DRAWN } drawn;

static rf_random_key key_of(const rf_drill_rows *rows, int64_t number, drawn what)
{
    return (rf_random_key){.seed = rows->seed,
                           .step = (uint64_t)number,
                           .layer = DRAWN * rows->stream + (uint32_t)what,
                           .purpose = RF_PURPOSE_DRILL};
}

int64_t rf_drill_vocabulary(rf_drill drill)
{
    return drill == RF_DRILL_ADDITION ? MARK + 1 : SYMBOLS;
}

/* ids [count]: uniform in first ... first + bound - 1 (32 bits, multiply and shift). */
static void draw(const rf_random_key *key, int32_t first, int32_t bound, int32_t *ids,
                 int64_t count)
{
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t bits[4];
        rf_random_block(key, (uint64_t)i, bits);
        for (int64_t k = i; k < i + 4 && k < count; k++) {
            ids[k] = first + (int32_t)(((uint64_t)bits[k - i] * (uint64_t)bound) >> 32);
        }
    }
}

/* ---- copy and reverse -------------------------------------------------------------------- */

/* 0, a word, 0 and the word again, cut where the row ends. ids, labels [length] */
static void write_copy(const rf_drill_rows *rows, int64_t number, int64_t length, int32_t *ids,
                       int32_t *labels)
{
    int64_t half = rows->distance > 0 ? rows->distance : length / 2;
    int64_t end = 2 * half < length ? 2 * half : length;
    rf_random_key key = key_of(rows, number, DRAWS_SYMBOLS);
    ids[0] = 0;
    draw(&key, 1, SYMBOLS - 1, ids + 1, half - 1);
    ids[half] = 0;
    for (int64_t i = half + 1; i < end; i++) {
        ids[i] = rows->drill == RF_DRILL_REVERSE ? ids[2 * half - i] : ids[i - half];
        labels[i] = ids[i];
    }
}

/* ---- addition ---------------------------------------------------------------------------- */

/* digits [count], the one of least weight first; the last is no 0 unless it is alone */
static void draw_number(const rf_random_key *key, uint64_t first, int32_t *digits, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        bool leads = i == count - 1 && count > 1;
        uint64_t bound = leads ? DIGITS - 1 : DIGITS;
        digits[i] = (int32_t)rf_random_below(key, first + (uint64_t)i, bound) + (leads ? 2 : 1);
    }
}

/* sum [the more of both + 1]: x [x_count] + y [y_count], in ids; how many digits it has */
static int64_t add(const int32_t *x, int64_t x_count, const int32_t *y, int64_t y_count,
                   int32_t *sum)
{
    int64_t count = x_count > y_count ? x_count : y_count;
    int32_t carry = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t digit = carry + (i < x_count ? x[i] - 1 : 0) + (i < y_count ? y[i] - 1 : 0);
        carry = digit / DIGITS;
        sum[i] = digit % DIGITS + 1;
    }
    if (carry > 0) {
        sum[count++] = carry + 1;
    }
    return count;
}

/* S x + y S sum. ids, labels [length] */
static void write_addition(const rf_drill_rows *rows, int64_t number, int64_t length, int32_t *ids,
                           int32_t *labels)
{
    rf_random_key shape = key_of(rows, number, DRAWS_SHAPE);
    rf_random_key symbols = key_of(rows, number, DRAWS_SYMBOLS);
    uint64_t most = (uint64_t)(length - MARKS - 1) / 3;
    int64_t x_count = (int64_t)rf_random_below(&shape, 1, most) + 1;
    int64_t y_count = (int64_t)rf_random_below(&shape, 2, most) + 1;
    int32_t *x = ids + 1;
    int32_t *y = x + x_count + 1;
    int32_t *sum = y + y_count + 1;
    ids[0] = MARK;
    draw_number(&symbols, 0, x, x_count);
    y[-1] = PLUS;
    draw_number(&symbols, (uint64_t)x_count, y, y_count);
    sum[-1] = MARK;
    int64_t count = add(x, x_count, y, y_count, sum);
    memcpy(labels + (sum - ids), sum, (size_t)count * sizeof *sum);
}

/* ---- recall ------------------------------------------------------------------------------ */

/* order [count] = a permutation of first, first + 1, ... first + bound - 1, the first `count` of
 * it; count <= bound < SYMBOLS */
static void draw_order(const rf_random_key *key, uint64_t index, int32_t first, int32_t bound,
                       int32_t *order, int32_t count)
{
    int32_t all[SYMBOLS];
    for (int32_t i = 0; i < bound; i++) {
        all[i] = first + i;
    }
    for (int32_t i = 0; i < count; i++) {
        uint64_t left = (uint64_t)(bound - i);
        int32_t k = i + (int32_t)rf_random_below(key, index + (uint64_t)i, left);
        order[i] = all[k];
        all[k] = all[i];
    }
}

static int64_t recall_pairs(const rf_drill_rows *rows)
{
    return rows->pairs > 0 ? rows->pairs : RF_DRILL_PAIRS;
}

static int64_t recall_distance(const rf_drill_rows *rows)
{
    return rows->distance > 0 ? rows->distance : rows->length - 2 * recall_pairs(rows);
}

/* Values that belong to no key, and among them a list of keys, each followed by its value, and
 * `distance` behind it the same pairs in another order, whose values are to be told. ids, labels
 * [length] */
static void write_recall(const rf_drill_rows *rows, int64_t number, int32_t *ids, int32_t *labels)
{
    rf_random_key shape = key_of(rows, number, DRAWS_SHAPE);
    rf_random_key order = key_of(rows, number, DRAWS_ORDER);
    rf_random_key symbols = key_of(rows, number, DRAWS_SYMBOLS);
    int32_t keys[RF_DRILL_MOST_PAIRS];
    int32_t places[RF_DRILL_MOST_PAIRS];
    const int32_t pairs = (int32_t)recall_pairs(rows);
    int64_t distance = recall_distance(rows);
    uint64_t room = (uint64_t)(rows->length - distance - 2 * pairs) + 1;
    int64_t start = (int64_t)rf_random_below(&shape, 1, room);
    draw(&symbols, FIRST_VALUE, SYMBOLS - FIRST_VALUE, ids, rows->length);
    draw_order(&order, 0, 1, FIRST_VALUE - 1, keys, pairs);
    draw_order(&order, (uint64_t)pairs, 0, pairs, places, pairs);
    for (int64_t i = 0; i < pairs; i++) {
        ids[start + 2 * i] = keys[i];
    }
    for (int64_t i = 0; i < pairs; i++) {
        int64_t query = start + distance + 2 * i;
        int64_t pair = start + 2 * (int64_t)places[i];
        ids[query] = ids[pair];
        ids[query + 1] = ids[pair + 1];
        labels[query + 1] = ids[query + 1];
    }
}

/* ---- rows -------------------------------------------------------------------------------- */

static rf_status check_distance(const rf_drill_rows *rows, rf_error *error)
{
    int64_t least = rows->drill == RF_DRILL_COPY ? 2 : 2 * recall_pairs(rows);
    int64_t most = rows->length - least;
    if (rows->distance == 0) {
        return RF_OK;
    }
    if (rows->drill != RF_DRILL_COPY && rows->drill != RF_DRILL_RECALL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "distance is for copy and recall; rows of %s have none of their own",
                            rf_drill_name(rows->drill));
    }
    if (rows->shortest > 0) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "distance and shortest exclude each other: rows of several lengths "
                            "have several distances");
    }
    return rows->distance >= least && rows->distance <= most
               ? RF_OK
               : rf_error_set(error, RF_ERR_ARGUMENT,
                              "distance is %lld, expected %lld to %lld, for %s in rows of %lld ids",
                              (long long)rows->distance, (long long)least, (long long)most,
                              rf_drill_name(rows->drill), (long long)rows->length);
}

rf_status rf_drill_check(const rf_drill_rows *rows, rf_error *error)
{
    int64_t least = rows->drill == RF_DRILL_ADDITION ? LEAST_ADDITION
                    : rows->drill == RF_DRILL_RECALL ? 4 * recall_pairs(rows)
                                                     : 4;
    int64_t shortest = rows->shortest > 0 ? rows->shortest : rows->length;
    if (rows->pairs != 0 && rows->drill != RF_DRILL_RECALL) {
        return rf_error_set(error, RF_ERR_ARGUMENT, "pairs is for recall; rows of %s have none",
                            rf_drill_name(rows->drill));
    }
    if (rows->pairs < 0 || rows->pairs > RF_DRILL_MOST_PAIRS) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "pairs is %lld, expected 1 to %d, which is as many keys as there are",
                            (long long)rows->pairs, RF_DRILL_MOST_PAIRS);
    }
    if (rows->shortest > 0 && rows->drill == RF_DRILL_RECALL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "shortest is for copy, reverse and addition; all rows of recall are "
                            "full, and the list stands at a random place of them");
    }
    if (shortest < least || shortest > rows->length) {
        return rf_error_set(
            error, RF_ERR_ARGUMENT,
            "the shortest row is of %lld ids and the longest of %lld; %s needs %lld "
            "at least",
            (long long)shortest, (long long)rows->length, rf_drill_name(rows->drill),
            (long long)least);
    }
    return check_distance(rows, error);
}

void rf_drill_write(const rf_drill_rows *rows, int64_t number, int32_t *ids, int32_t *labels)
{
    int64_t length = rows->length;
    if (rows->shortest > 0) {
        rf_random_key key = key_of(rows, number, DRAWS_SHAPE);
        uint64_t lengths = (uint64_t)(rows->length - rows->shortest) + 1;
        length = rows->shortest + (int64_t)rf_random_below(&key, 0, lengths);
    }
    memset(ids, 0, (size_t)rows->length * sizeof *ids);
    for (int64_t i = 0; i < rows->length; i++) {
        labels[i] = NOT_SCORED;
    }
    if (rows->drill == RF_DRILL_ADDITION) {
        write_addition(rows, number, length, ids, labels);
    } else if (rows->drill == RF_DRILL_RECALL) {
        write_recall(rows, number, ids, labels);
    } else {
        write_copy(rows, number, length, ids, labels);
    }
}

uint64_t rf_drill_hash(const rf_drill_rows *rows)
{
    const int64_t parts[] = {(int64_t)rows->drill, rows->length, rows->shortest, rows->distance,
                             rows->pairs};
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a, of whole numbers */
    const size_t count = rows->pairs > 0 ? 5 : 4;   /* as it was before there was a choice */
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (uint64_t)parts[i]) * UINT64_C(1099511628211);
    }
    return hash;
}
