/* Decoding by its definitions: lists as ops/bucket_lists.h tells them, windows by sorting all
 * tokens, the softmax with the two roundings that the reference makes, or as the one over the union
 * of all rounds that exact rounding stands for. */
#include "oracle/decode.h"

#include <math.h>
#include <string.h>

enum { MOST_TOKENS = 4096, MOST_ROUNDS = 16 };

/* ---- lists ---- */

static int64_t level_of(int64_t place)
{
    int64_t level = 0;
    while (place >= RF_LISTS_FIRST * ((INT64_C(1) << (level + 1)) - 1)) {
        level++;
    }
    return level;
}

/* Entry i of the tree: the sizes of buckets (i - lowest bit of i) ... i - 1. */
static void sum_tree(const rf_lists_layout *layout, double *words)
{
    words[layout->tree] = 0.0;
    for (int64_t i = 1; i <= layout->buckets; i++) {
        words[layout->tree + i] = 0.0;
        for (int64_t bucket = i - (i & -i); bucket < i; bucket++) {
            words[layout->tree + i] += words[layout->sizes + bucket];
        }
    }
}

static void take_level(const rf_lists_layout *layout, int64_t bucket, int64_t level, double *words)
{
    int64_t places = RF_LISTS_FIRST << level;
    int64_t first = places - RF_LISTS_FIRST;
    words[layout->starts + bucket * layout->levels + level] = words[RF_LISTS_USED] - (double)first;
    words[RF_LISTS_USED] += (double)places;
}

static void put(const rf_lists_layout *layout, int64_t bucket, int64_t place, int64_t token,
                double *words)
{
    double start = words[layout->starts + bucket * layout->levels + level_of(place)];
    words[layout->pool + (int64_t)start + place] = (double)token;
}

void oracle_lists_build(const rf_lists_layout *layout, const double *buckets, int64_t length,
                        double *words)
{
    for (int i = 0; i < RF_LISTS_HEADER; i++) {
        words[i] = 0.0;
    }
    for (int64_t bucket = 0; bucket < layout->buckets; bucket++) {
        int64_t size = 0;
        for (int64_t token = 0; token < length; token++) {
            size += buckets[token] == (double)bucket ? 1 : 0;
        }
        words[layout->sizes + bucket] = (double)size;
        words[RF_LISTS_COUNT] += (double)size;
        for (int64_t level = 0; size > 0 && level <= level_of(size - 1); level++) {
            take_level(layout, bucket, level, words);
        }
        int64_t place = 0;
        for (int64_t token = 0; token < length; token++) {
            if (buckets[token] == (double)bucket) {
                put(layout, bucket, place++, token, words);
            }
        }
    }
    sum_tree(layout, words);
}

void oracle_lists_append(const rf_lists_layout *layout, int64_t bucket, int64_t token,
                         double *words)
{
    int64_t place = (int64_t)words[layout->sizes + bucket];
    int64_t level = level_of(place);
    if (place == (RF_LISTS_FIRST << level) - RF_LISTS_FIRST) {
        take_level(layout, bucket, level, words);
    }
    put(layout, bucket, place, token, words);
    words[layout->sizes + bucket] += 1.0;
    words[RF_LISTS_COUNT] += 1.0;
    words[RF_LISTS_LAST_BUCKET] = (double)bucket;
    words[RF_LISTS_LAST_SLOT] = (double)place;
    for (int64_t before = 0; before < bucket; before++) {
        words[RF_LISTS_LAST_SLOT] += words[layout->sizes + before];
    }
    sum_tree(layout, words);
}

/* ---- attention ---- */

void oracle_normalise_key(int64_t width, const double *x, double *y)
{
    double mean = 0.0;
    for (int64_t i = 0; i < width; i++) {
        mean += x[i] * x[i] / (double)width;
    }
    for (int64_t i = 0; i < width; i++) {
        y[i] = x[i] / sqrt(mean + 1e-6) / sqrt((double)width);
    }
}

/* Sort by (bucket, token), find the new token, read the window off. */
static int64_t listed_window(const oracle_step *step, int64_t round, int64_t *tokens)
{
    const rf_layer_cache *cache = step->cache;
    const double *buckets = step->buckets + round * (step->token + 1);
    int64_t order[MOST_TOKENS];
    int64_t count = 0;
    int64_t slot = 0;
    for (int64_t bucket = 0; bucket < cache->bucket_count; bucket++) {
        for (int64_t token = 0; token <= step->token; token++) {
            if (buckets[token] == (double)bucket) {
                slot = token == step->token ? count : slot;
                order[count++] = token;
            }
        }
    }
    const bool is_whole = cache->whole_buckets;
    int64_t start = is_whole ? 0 : (slot / cache->chunk - cache->before) * cache->chunk;
    int64_t length = is_whole ? count : cache->chunk * (cache->before + 1 + cache->after);
    int64_t found = 0;
    for (int64_t i = start; i < start + length; i++) {
        const int64_t token = order[(i % count + count) % count];
        const bool is_there = !cache->is_clipped || (i >= 0 && i < count);
        const bool is_of_it = !cache->same_bucket || buckets[token] == buckets[step->token];
        if (is_there && is_of_it) {
            tokens[found++] = token;
        }
    }
    return found;
}

int64_t oracle_step_window(const oracle_step *step, int64_t round, int64_t *tokens)
{
    const rf_layer_cache *cache = step->cache;
    if (step->listed && step->buckets != NULL) {
        return listed_window(step, round, tokens);
    }
    int64_t first = cache->is_lsh ? 0 : (step->token / cache->chunk - cache->before) * cache->chunk;
    int64_t count = 0;
    for (int64_t token = first > 0 ? first : 0; token <= step->token; token++) {
        if (step->kept[token] != 0.0) {
            tokens[count++] = token;
        }
    }
    return count;
}

static bool has_rounds(const oracle_step *step)
{
    return step->listed && step->buckets != NULL;
}

/* How often each token stands in the windows of all rounds. copies [token + 1] */
static void count_copies(const oracle_step *step, double *copies)
{
    int64_t tokens[MOST_TOKENS];
    memset(copies, 0, (size_t)(step->token + 1) * sizeof *copies);
    for (int64_t round = 0; round < (has_rounds(step) ? step->cache->rounds : 1); round++) {
        int64_t count = oracle_step_window(step, round, tokens);
        for (int64_t i = 0; i < count; i++) {
            copies[tokens[i]] += 1.0;
        }
    }
}

static double product_of(const oracle_step *step, int64_t token)
{
    const int64_t *shape = step->cache->rows.shape;
    const double *key = step->rows + token % shape[2] * 2 * shape[4];
    double product = 0.0;
    for (int64_t i = 0; i < shape[4]; i++) {
        product += step->query[i] * key[i];
    }
    return step->cache->is_lsh && token == step->token ? -1e5 : product * step->scale;
}

/* Exact rounding: one softmax over all that any round shows, as often as it counts. */
static void attend_union(const oracle_step *step, double *output)
{
    const int64_t *shape = step->cache->rows.shape;
    const bool is_once = step->cache->duplicates == RF_DUPLICATES_CORRECTED;
    double copies[MOST_TOKENS];
    double highest = -HUGE_VAL;
    double sum = 0.0;
    count_copies(step, copies);
    for (int64_t j = 0; j < shape[4]; j++) {
        output[j] = 0.0;
    }
    for (int64_t token = 0; token <= step->token; token++) {
        highest = copies[token] > 0.0 ? fmax(highest, product_of(step, token)) : highest;
    }
    for (int64_t token = 0; token <= step->token; token++) {
        const double *value = step->rows + (token % shape[2] * 2 + 1) * shape[4];
        const double times = is_once && copies[token] > 0.0 ? 1.0 : copies[token];
        const double weight = times > 0.0 ? times * exp(product_of(step, token) - highest) : 0.0;
        sum += weight;
        for (int64_t j = 0; j < shape[4] && times > 0.0; j++) {
            output[j] += weight * value[j];
        }
    }
    for (int64_t j = 0; j < shape[4]; j++) {
        output[j] /= sum;
    }
}

static double score_of(const oracle_step *step, const double *copies, int64_t token)
{
    const bool is_corrected =
        has_rounds(step) && step->cache->duplicates == RF_DUPLICATES_CORRECTED;
    const bool is_self = step->cache->is_lsh && token == step->token;
    return product_of(step, token) - (is_corrected && !is_self ? log(copies[token]) : 0.0);
}

/* output [width] of one round; gives its rounded log-normaliser. */
static double attend_round(const oracle_step *step, int64_t round, double *output)
{
    const int64_t *shape = step->cache->rows.shape;
    int64_t tokens[MOST_TOKENS];
    double copies[MOST_TOKENS];
    int64_t count = oracle_step_window(step, round, tokens);
    double highest = -HUGE_VAL;
    double sum = 0.0;
    count_copies(step, copies);
    for (int64_t i = 0; i < count; i++) {
        highest = fmax(highest, score_of(step, copies, tokens[i]));
    }
    for (int64_t i = 0; i < count; i++) {
        sum += exp(score_of(step, copies, tokens[i]) - highest);
    }
    double log_norm = (double)(float)(highest + log(sum));
    for (int64_t j = 0; j < shape[4]; j++) {
        output[j] = 0.0;
        for (int64_t i = 0; i < count; i++) {
            const double *value = step->rows + (tokens[i] % shape[2] * 2 + 1) * shape[4];
            output[j] += exp(score_of(step, copies, tokens[i]) - log_norm) * value[j];
        }
    }
    return log_norm;
}

void oracle_step_attend(const oracle_step *step, double *output)
{
    int64_t width = step->cache->rows.shape[4];
    double outputs[MOST_ROUNDS * 256];
    double log_norms[MOST_ROUNDS];
    int64_t rounds = has_rounds(step) ? step->cache->rounds : 1;
    double highest = -HUGE_VAL;
    double sum = 0.0;
    if (step->cache->rounding == RF_ROUNDING_EXACT) {
        attend_union(step, output);
        return;
    }
    for (int64_t round = 0; round < rounds; round++) {
        log_norms[round] = attend_round(step, round, outputs + round * width);
        highest = fmax(highest, log_norms[round]);
    }
    for (int64_t round = 0; round < rounds; round++) {
        sum += exp(log_norms[round] - highest);
    }
    double norm = (double)(float)(highest + log(sum));
    for (int64_t j = 0; j < width; j++) {
        output[j] = 0.0;
        for (int64_t round = 0; round < rounds; round++) {
            double weight = rounds == 1 ? 1.0 : exp(log_norms[round] - norm);
            output[j] += weight * outputs[round * width + j];
        }
    }
}
