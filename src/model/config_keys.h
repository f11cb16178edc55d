/* Inside configuration reading and writing: the tables of keys that both directions share. */
#ifndef RF_MODEL_CONFIG_KEYS_H
#define RF_MODEL_CONFIG_KEYS_H

#include "model/config.h"

/* Limits of single values, chosen so that no product of them that the library forms leaves int64:
 * parameters stay below 2^60, rotations of one layer below 2^60. */
enum {
    RF_LIMIT_HIDDEN = 1 << 20,
    RF_LIMIT_HEADS = 1 << 16,
    RF_LIMIT_ATTENTION_WIDTH = 1 << 24, /* heads * head_width */
    RF_LIMIT_FEED_FORWARD = 1 << 24,
    RF_LIMIT_CHUNK = 1 << 24,
    RF_LIMIT_CHUNKS = 1 << 20,
    RF_LIMIT_ROUNDS = 1 << 12,
    RF_LIMIT_BUCKET_FACTOR = 1 << 24,
    RF_LIMIT_BUCKETS = 1 << 30,
    RF_LIMIT_POSITIONS = 0x7fffffff,
    RF_LIMIT_TYPES = 1 << 16,
    RF_LEAST_FRACTION_BITS = 16,
    RF_MOST_FRACTION_BITS = 30,
    RF_STANDARD_FRACTION_BITS = 22
};

/* Where a null is read. transformers 5 refuses some nulls that transformers 4 wrote: those we do
 * not write back. */
typedef enum rf_null { RF_NULL_REFUSED, RF_NULL_READ, RF_NULL_WRITTEN } rf_null;

/* An integer key of config.json and the field of rf_config that holds it. */
typedef struct rf_integer_key {
    const char *name;
    size_t offset; /* of an int64_t in rf_config */
    int64_t low, high, standard;
    rf_null null;
    int64_t null_value; /* what the field holds for null */
} rf_integer_key;

/* A number key; a null, where allowed, stands for 0. */
typedef struct rf_number_key {
    const char *name;
    size_t offset; /* of a double in rf_config */
    double low, high, standard;
    bool below_high; /* high itself is refused */
    rf_null null;
} rf_number_key;

extern const rf_integer_key rf_integer_keys[];
extern const size_t rf_integer_keys_count;
extern const rf_number_key rf_number_keys[];
extern const size_t rf_number_keys_count;

/* The field of a key, read and set. */
int64_t rf_integer_key_get(const rf_integer_key *key, const rf_config *config);
void rf_integer_key_set(const rf_integer_key *key, rf_config *config, int64_t value);
double rf_number_key_get(const rf_number_key *key, const rf_config *config);
void rf_number_key_set(const rf_number_key *key, rf_config *config, double value);

/* false: no such name. Several names may mean one activation; rf_activation_name gives the first.
 */
bool rf_activation_parse(const char *name, rf_activation *activation);
const char *rf_activation_name(rf_activation activation);
/* "relu, gelu, ..." into text; returns text. */
const char *rf_activation_list(char *text, size_t size);

/* "[64, 128]", for messages; returns text. */
const char *rf_integers_describe(const int64_t *values, int count, char *text, size_t size);
/* RF_ERR_FORMAT "NAME: KEY is VALUE, expected EXPECTED". */
rf_status rf_config_wrong_value(const char *name, const char *key, const json_t *value,
                                const char *expected, rf_error *error);
/* A list of integers, each from 1 to `high`, at most `capacity` of them. */
RF_MUST_CHECK rf_status rf_config_read_integers(const char *name, const char *key,
                                                const json_t *list, int64_t high, int capacity,
                                                int64_t *values, int *count, rf_error *error);
/* num_buckets: null, an integer or a list; count 0 for null. Factors are checked by
 * rf_config_check_buckets. */
RF_MUST_CHECK rf_status rf_config_read_buckets(const char *name, const json_t *value,
                                               int64_t *factors, int *count, rf_error *error);
/* Even factors with a product within the limit. `what` names them in the message. */
RF_MUST_CHECK rf_status rf_config_check_buckets(const char *name, const char *what,
                                                const int64_t *factors, int count, rf_error *error);

/* axial_pos_shape against axial_pos_embds_dim and hidden_size; the counts are those that the file
 * gives. */
RF_MUST_CHECK rf_status rf_config_check_axes(const char *name, const rf_config *config,
                                             int shape_count, int width_count, rf_error *error);
/* Every other rule that spans more than one key (config_rules.c). Warnings go to the log. */
RF_MUST_CHECK rf_status rf_config_check(const char *name, const rf_config *config,
                                        const rf_log *log, rf_error *error);
/* Of these, the windows of the kinds of layers there are. */
RF_MUST_CHECK rf_status rf_config_check_windows(const char *name, const rf_config *config,
                                                rf_error *error);
/* architectures, num_labels and id2label, problem_type, classifier_dropout, reformer_c.pooling
 * (config_class.c); and back. */
RF_MUST_CHECK rf_status rf_config_read_class(const char *name, const json_t *object,
                                             rf_config_origin origin, const rf_log *log,
                                             rf_config *config, rf_error *error);
RF_MUST_CHECK rf_status rf_config_write_class(const rf_config *config, json_t *object,
                                              rf_error *error);
/* lsh_semantics and its switches, of the object `reformer_c` (config_lsh.c); and back. */
RF_MUST_CHECK rf_status rf_config_read_lsh(const char *name, const json_t *ours, rf_config *config,
                                           rf_error *error);
RF_MUST_CHECK rf_status rf_config_write_lsh(const rf_config *config, json_t *ours, rf_error *error);
/* lsh_hash and its kin of reformer_c (config_hash.c); and back. */
RF_MUST_CHECK rf_status rf_config_read_hash(const char *name, const json_t *ours, rf_config *config,
                                            rf_error *error);
RF_MUST_CHECK rf_status rf_config_write_hash(const rf_config *config, json_t *ours,
                                             rf_error *error);
/* Hyperplanes need factors that are powers of two. */
RF_MUST_CHECK rf_status rf_config_check_planes(const char *name, rf_hash_kind kind,
                                               const int64_t *factors, int count, rf_error *error);
/* Whether transformers would compute the same function. */
bool rf_config_is_huggingface(const rf_config *config);
int64_t rf_config_kind_count(const rf_config *config, rf_layer_kind kind);

#endif
