/* What rf_generate says in its callbacks, kept for the tests. */
#ifndef TESTS_GENERATE_COLLECTOR_H
#define TESTS_GENERATE_COLLECTOR_H

#include "small_model.h"

#include "reformer/generate.h"

enum { COLLECTED_TEXTS = 24, COLLECTED_TOKENS = 600, COLLECTED_LIKELIEST = 4 };

typedef struct collected_text {
    uint8_t bytes[COLLECTED_TOKENS];
    size_t size;
    int32_t ids[COLLECTED_TOKENS];
    double log_probabilities[COLLECTED_TOKENS];
    rf_likely_token likeliest[COLLECTED_TOKENS][COLLECTED_LIKELIEST];
    int64_t count;
    int64_t ended; /* how often it was said to be over */
    rf_generated_text end;
} collected_text;

typedef struct collector {
    collected_text texts[COLLECTED_TEXTS];
} collector;

/* Options that draw from seed 4 and tell everything to a collector, which is emptied. */
rf_generate_options collecting(collector *to, const char *prompt, int64_t tokens);
/* The same text was written: tokens, bytes, end, log-probabilities within 1e-4. */
void assert_same_text(const collected_text *one, const collected_text *other);
/* A model of bytes with float streams and `layers`; the caller destroys. */
rf_model *create_byte_model(const char *layers);

#endif
