/* Softmax attention of one query over a list of places in a cache, with the arithmetic of
 * block_attention. */
#ifndef RF_GENERATE_ATTEND_H
#define RF_GENERATE_ATTEND_H

#include <stdint.h>

enum { RF_NO_PLACE = -2 };

typedef struct rf_window_attention {
    const float *query;    /* [width] */
    const float *rows;     /* [places, 2, width]: the key and the value of each place */
    const int32_t *places; /* [count], count > 0; a place that comes twice counts twice */
    int64_t count, width;
    int32_t self;    /* the place that scores exactly -1e5, or RF_NO_PLACE */
    float scale;     /* of all other scores */
    float *scores;   /* [count], scratch */
    float *output;   /* [width], written */
    float *log_norm; /* [1], written */
} rf_window_attention;

/* Rounded as Hugging Face's: log_norm = (float)(m + log l), output = (sum of exp(s - m) v) * exp(m
 * - log_norm). */
void rf_attend_window(const rf_window_attention *attention);
/* key = query * rsqrt(mean(query^2) + 1e-6) / sqrt(width): the key of a shared query and key.
 * query, key [width]. */
void rf_normalise_key(const float *query, int64_t width, float *key);

#endif
