/* Randomness as a pure function of a key: (seed, step, layer, purpose, index) -> bits, equal on
 * every device.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): the seed is the 64-bit key; step, layer, purpose
 * and index / 4 make the 128-bit counter. Uniforms have 24 bits. Normals invert the normal
 * distribution (Wichura 1988, algorithm AS 241, PPND7) with a logarithm of our own built from + - x
 * / sqrt and explicit fma only, so that every device gives the same bits; the .c file is compiled
 * with -ffp-contract=off like all others. */
#ifndef RF_BASE_RANDOM_H
#define RF_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a random number is for: the same index under another purpose is independent. Values are part
 * of the file format of checkpoints (a resumed run must draw the same), so they never change. */
typedef enum rf_purpose {
    RF_PURPOSE_INITIALISE = 1,
    RF_PURPOSE_DATA_ORDER = 2,
    RF_PURPOSE_ROTATION = 3,
    RF_PURPOSE_EMBEDDING_DROPOUT = 4,
    RF_PURPOSE_POSITION_DROPOUT = 5,
    RF_PURPOSE_ATTENTION_DROPOUT = 6, /* probabilities */
    RF_PURPOSE_ATTENTION_OUTPUT_DROPOUT = 7,
    RF_PURPOSE_FEED_FORWARD_INNER_DROPOUT = 8,
    RF_PURPOSE_FEED_FORWARD_OUTPUT_DROPOUT = 9,
    RF_PURPOSE_FINAL_DROPOUT = 10,
    RF_PURPOSE_SAMPLE = 11,
    RF_PURPOSE_TEST = 12,
    RF_PURPOSE_CLASSIFIER_DROPOUT = 13, /* before the dense layer, and behind it */
    RF_PURPOSE_CORRUPTION = 14,         /* of a masked language model's input */
    RF_PURPOSE_DRILL = 15,              /* what a drill is made of */
    RF_PURPOSE_HASH_DROPOUT = 16,       /* of queries, before they are hashed */
    RF_PURPOSE_PROBE = 17               /* which queries are looked at */
} rf_purpose;

typedef struct rf_random_key {
    uint64_t seed;
    uint64_t step;    /* optimizer step; 48 bits are used */
    uint32_t layer;   /* 24 bits are used */
    uint32_t purpose; /* rf_purpose; 8 bits are used */
} rf_random_key;

/* 32 random bits at `index` (50 bits are used). */
uint32_t rf_random_bits(const rf_random_key *key, uint64_t index);
/* Four consecutive ones, index a multiple of 4: one Philox block. */
void rf_random_block(const rf_random_key *key, uint64_t index, uint32_t bits[4]);
/* Uniform in [0, 1) with 24 bits. */
float rf_random_uniform(const rf_random_key *key, uint64_t index);
/* Standard normal. */
float rf_random_normal(const rf_random_key *key, uint64_t index);
void rf_random_normals(const rf_random_key *key, uint64_t first_index, float *values, size_t count);
/* The normal quantile of 32 random bits, which both back ends share: (bits + 1/2) / 2^32 -> x. */
float rf_normal_from_bits(uint32_t bits);
/* Uniform integer in [0, bound), bound > 0, without bias worth naming (64 bits, multiply and
 * shift). Uses the bits of 2 index and 2 index + 1. */
uint64_t rf_random_below(const rf_random_key *key, uint64_t index, uint64_t bound);

/* PyTorch's CPU generator (MT19937), for hash_seed: uniforms equal bit for bit, normals within 4
 * ulp. */
typedef struct rf_torch_generator {
    uint32_t state[624];
    int next;
    double cached_normal; /* second value of a small request, see the source */
    int has_cached_normal;
} rf_torch_generator;
void rf_torch_seed(rf_torch_generator *generator, uint64_t seed);
uint32_t rf_torch_bits(rf_torch_generator *generator);
void rf_torch_uniforms(rf_torch_generator *generator, float *values, size_t count);
/* torch.randn(count) */
void rf_torch_normals(rf_torch_generator *generator, float *values, size_t count);

#ifdef __cplusplus
}
#endif
#endif
