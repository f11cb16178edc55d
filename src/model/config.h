/* A model's configuration: every key of a Hugging Face Reformer config.json, checked, with unknown
 * keys kept and written back. What only we have stands under "reformer_c": stream,
 * residual, lsh_semantics and its switches, stream_fraction_bits, position_kind, pooling,
 * training_length, mask_token, mask_whole_words, type_vocab_size, next_sentence, drill,
 * num_buckets_origin, lsh_hash, lsh_hash_dropout, lsh_rotations, lsh_rotations_seed. */
#ifndef RF_MODEL_CONFIG_H
#define RF_MODEL_CONFIG_H

#include "io/json.h"
#include "ops/ops.h"

/* What a layer attends to. The full ones, every earlier token (or every one), are ours. */
typedef enum rf_layer_kind {
    RF_LAYER_LOCAL,
    RF_LAYER_LSH,
    RF_LAYER_FULL,       /* "full": queries and keys of their own, as local layers have */
    RF_LAYER_FULL_SHARED /* "full_shared": the weights and the self rule of LSH layers */
} rf_layer_kind;

enum { RF_MAX_AXES = RF_MAX_RANK - 1, RF_MAX_LAYERS = 4096 };

typedef struct rf_window_config { /* of all layers of one kind */
    int64_t chunk_length; /* 0: null in the file, legal only where no layer is of that kind */
    int64_t chunks_before, chunks_after;
    double dropout; /* of attention probabilities */
} rf_window_config;

typedef enum rf_position_choice {
    RF_POSITIONS_AXIAL,
    RF_POSITIONS_LEARNED,   /* one table [max_positions, hidden] */
    RF_POSITIONS_SINUSOIDAL /* reformer_c only; model_type is then "reformer_c" */
} rf_position_choice;

/* Which of Hugging Face's classes: what stands on top of the two streams. */
typedef enum rf_model_class {
    RF_CLASS_CAUSAL_LM,  /* ReformerModelWithLMHead */
    RF_CLASS_MASKED_LM,  /* ReformerForMaskedLM */
    RF_CLASS_CLASSIFIER, /* ReformerForSequenceClassification */
    RF_CLASS_ANSWERER,   /* ReformerForQuestionAnswering */
    RF_CLASS_BARE,       /* ReformerModel */
    RF_CLASS_COUNT
} rf_model_class;

/* What a classifier's labels are (problem_type), and so its loss. */
typedef enum rf_problem {
    RF_PROBLEM_OPEN,       /* null: a regression with one label, else one label of many */
    RF_PROBLEM_REGRESSION, /* mean squared error */
    RF_PROBLEM_SINGLE,     /* cross entropy */
    RF_PROBLEM_MULTIPLE    /* binary cross entropy of each label */
} rf_problem;

/* Which position speaks for a sequence; only FIRST is Hugging Face's. */
typedef enum rf_pooling { RF_POOLING_FIRST, RF_POOLING_MEAN, RF_POOLING_LAST } rf_pooling;

/* What a text is cut into for next-sentence prediction. */
typedef enum rf_unit {
    RF_UNIT_NONE, /* a model that was not trained for it */
    RF_UNIT_SENTENCE,
    RF_UNIT_LINE,
    RF_UNIT_PARAGRAPH
} rf_unit;

/* Data that are made, not read: what a model was trained on instead of a text (data/drill.h). */
typedef enum rf_drill {
    RF_DRILL_NONE,
    RF_DRILL_COPY,
    RF_DRILL_REVERSE,
    RF_DRILL_ADDITION,
    RF_DRILL_RECALL
} rf_drill;

/* How LSH layers attend. Of Hugging Face only across_rounds is true; the paper's are `paper`,
 * same_bucket and corrected. */
typedef struct rf_lsh_options {
    bool paper;         /* lsh_semantics "paper": rows are divided by their sum, exactly */
    bool same_bucket;   /* pairs of two buckets do not exist */
    bool corrected;     /* a pair that several rounds have counts once */
    bool across_rounds; /* the first chunk of a round looks at the last of the one before */
    bool whole_buckets; /* no chunks: all pairs of a bucket */
} rf_lsh_options;

typedef struct rf_config {
    rf_model_class model_class;
    int64_t labels;            /* num_labels, or as many as id2label has */
    rf_problem problem;        /* classifiers */
    double classifier_dropout; /* -1: null, hidden_dropout */
    rf_pooling pooling;        /* classifiers, reformer_c */
    int64_t hidden, heads, head_width, feed_forward, vocabulary, max_positions;
    int64_t layers;
    rf_layer_kind *kinds; /* [layers], owned: what is computed, see rf_config_use_attention */
    rf_layer_kind *written_kinds; /* [layers], in the same block: what config.json says */
    rf_position_choice positions;
    int axes;                          /* axial only */
    int64_t axial_shape[RF_MAX_AXES];  /* rows of each table */
    int64_t axial_widths[RF_MAX_AXES]; /* their sum is hidden */
    bool repeats_positions; /* weights with fewer rows in the first table are read, and repeated */
    double axial_norm_std, initializer_range, layer_norm_epsilon;
    double hidden_dropout;
    bool causal; /* is_decoder */
    rf_window_config local, lsh;
    rf_lsh_options lsh_options;
    rf_activation activation;
    int64_t feed_forward_rows,
        head_rows; /* chunk_size_feed_forward, chunk_size_lm_head; 0 = the planner chooses */
    bool has_hash_seed;
    int64_t hash_seed;
    int64_t rounds;         /* num_hashes */
    rf_hash_kind hash_kind; /* lsh_hash, reformer_c, as the next */
    double hash_dropout;    /* lsh_hash_dropout: of queries, before they are hashed; in training */
    bool fixed_rotations;   /* lsh_rotations: those of rotations_seed, everywhere and always */
    int64_t rotations_seed; /* lsh_rotations_seed */
    int bucket_factors;     /* 0: null, to be resolved from a length (rf_config_resolve_buckets) */
    int64_t buckets[RF_MAX_BUCKET_FACTORS];
    bool buckets_automatic;       /* chosen by the automatic rule, not given */
    int64_t pad_token, eos_token; /* -1: null */
    bool fixed_stream;            /* fixed32 (default) or float32 streams */
    bool standard_residual;       /* one stream, stored before each half residual, instead of two
                                     that are reversed */
    int fraction_bits;            /* default 22 */
    int64_t training_length;      /* 0: not recorded */
    int64_t mask_token;           /* of a masked language model; -1: not recorded */
    int64_t type_vocabulary;      /* rows of the table of token types; 0: there is none */
    rf_unit next_sentence; /* not NONE: a classifier that tells whether one part of a text follows
                              another, or a masked language model that has such a head beside its
                              own */
    bool mask_whole_words; /* so it was trained, and so it is evaluated */
    rf_drill drill;        /* of a model of made data; its ids are the drill's */
    bool written_by_transformers_5; /* transformers_version is 5 or later: D1 auto leaves the head's
                                       bias out */
    json_t *json;                   /* the whole object as read, unknown keys included; owned */
} rf_config;

/* Where a configuration comes from decides how a key that nothing reads is treated. */
typedef enum rf_config_origin {
    RF_CONFIG_OURS, /* a recipe: lsh_chunk_length, local_chunk_length, max_embedding_size are errors
                       that name the right key */
    RF_CONFIG_FOREIGN /* a model directory: a warning in the log */
} rf_config_origin;

/* Read and check. `name` stands in messages for where it came from. On failure *config is cleared.
 * Release with rf_config_clear. */
RF_MUST_CHECK rf_status rf_config_parse(const char *name, const json_t *object,
                                        rf_config_origin origin, const rf_log *log,
                                        rf_config *config, rf_error *error);
/* FOLDER/config.json, as FOREIGN. */
RF_MUST_CHECK rf_status rf_config_load(const char *folder, const rf_log *log, rf_config *config,
                                       rf_error *error);
/* What a token sees: what is before it, or both sides. */
typedef enum rf_direction {
    RF_DIRECTION_AS_IS,
    RF_DIRECTION_CAUSAL,
    RF_DIRECTION_BIDIRECTIONAL
} rf_direction;
/* What to make of a configuration instead of what it says it is. */
typedef struct rf_class_choice {
    rf_model_class model_class;
    bool keeps_class; /* as written, whatever model_class is */
    rf_direction direction;
    int64_t labels;           /* classifiers; 0: as written */
    const char *const *names; /* [labels]; NULL: LABEL_0, ... */
    bool next_sentence;       /* classifiers and masked language models */
} rf_class_choice;
/* The same two for another class; choice NULL: as written. */
RF_MUST_CHECK rf_status rf_config_parse_as(const char *name, const json_t *object,
                                           rf_config_origin origin, const rf_class_choice *choice,
                                           const rf_log *log, rf_config *config, rf_error *error);
RF_MUST_CHECK rf_status rf_config_load_as(const char *folder, const rf_class_choice *choice,
                                          const rf_log *log, rf_config *config, rf_error *error);
void rf_config_clear(rf_config *config);
RF_MUST_CHECK rf_status rf_config_copy(const rf_config *from, rf_config *to, rf_error *error);

/* config.json as we write it: what was read, with every key of ours set from the struct,
 * `architectures`, and model_type "reformer" if transformers computes the same function, else
 * "reformer_c". A fresh reference. */
RF_MUST_CHECK rf_status rf_config_to_json(const rf_config *config, json_t **object,
                                          rf_error *error);

/* num_buckets null -> the automatic rule (Hugging Face's, spec 1.2) for this padded length; sets
 * buckets and says so in the log. Does nothing where buckets are known or no layer is LSH or no
 * layer would hash at this length. */
RF_MUST_CHECK rf_status rf_config_resolve_buckets(rf_config *config, int64_t length,
                                                  const rf_log *log, rf_error *error);
/* "auto" (forget what is set), "64" or "64,128". */
RF_MUST_CHECK rf_status rf_config_set_buckets(rf_config *config, const char *text, rf_error *error);

int64_t rf_config_bucket_count(const rf_config *config);     /* product of the factors */
int64_t rf_config_rotation_columns(const rf_config *config); /* of one round */
/* "angular" (NULL too), "hyperplane". */
RF_MUST_CHECK rf_status rf_hash_kind_parse(const char *name, rf_hash_kind *kind, rf_error *error);
const char *rf_hash_kind_name(rf_hash_kind kind);
/* The kind and the factors of a hash. */
void rf_config_fill_hash(const rf_config *config, rf_bucket_hash *hash);
/* The key of a layer's rotations: `key`, or that of fixed ones. */
rf_random_key rf_config_rotation_key(const rf_config *config, rf_random_key key, int64_t layer);
/* The length that Hugging Face would have padded to (spec 3.1): slots of every attention plan. */
int64_t rf_config_padded_length(const rf_config *config, int64_t length);
/* What decides where chunks lie: texts that agree in it may stand in one batch, padded to the
 * longest behind a mask, and each is computed as it would be alone. */
int64_t rf_config_layout(const rf_config *config, int64_t length);
/* Positions there are: the product of the axes, or max_positions for learned ones, or 2^31 - 1 for
 * sinusoids; never more than that. */
int64_t rf_config_max_length(const rf_config *config);
/* At least so many positions: an axial model's first table, or the learned one, gets more rows. 0:
 * as they are. Weights that are read later fill the new rows with the old ones, over and over
 * (Beltagy et al. 2020, section 5), so that what there was is as it was. */
RF_MUST_CHECK rf_status rf_config_extend_positions(rf_config *config, int64_t positions,
                                                   rf_error *error);
/* RF_ERR_CONFIG naming the key to change, if a sequence of `length` cannot be run. */
RF_MUST_CHECK rf_status rf_config_check_length(const rf_config *config, int64_t length,
                                               rf_error *error);
/* "local", "lsh", "full", "full_shared". */
const char *rf_layer_kind_name(rf_layer_kind kind);
bool rf_layer_kind_parse(const char *name, rf_layer_kind *kind);
int64_t rf_config_lsh_layers(const rf_config *config);
/* Are they Hugging Face's? */
bool rf_lsh_options_are_plain(const rf_lsh_options *options);
/* What layers that share queries and keys compute, with the same weights: "full" (full_shared),
 * "lsh", or "as-is" (NULL too): as written. What is saved stays as it was. RF_ERR_ARGUMENT: no such
 * word, or no such layer; RF_ERR_CONFIG: the keys of lsh layers do not fit the model, which is then
 * as written. */
RF_MUST_CHECK rf_status rf_config_use_attention(rf_config *config, const char *attention,
                                                rf_error *error);
/* The width of what the head reads: both streams side by side, or the only one. */
int64_t rf_config_output_width(const rf_config *config);
/* Whether a layer makes its keys from its queries. */
bool rf_config_shares_query_key(const rf_config *config, int64_t layer);

/* ---- classes ----------------------------------------------------------------------------- */

/* "ReformerModel", ...; and a task's word: "lm", "masked-lm", "classify", "answer", "embed". */
const char *rf_class_name(rf_model_class model_class);
const char *rf_class_task(rf_model_class model_class);
RF_MUST_CHECK rf_status rf_class_of_task(const char *task, rf_model_class *model_class,
                                         rf_error *error);
/* A model's task, as rf_class_choose reads it. */
const char *rf_config_task(const rf_config *config);
/* Whether it has the head of a classifier: classifiers, and those with two heads. */
bool rf_config_classifies(const rf_config *config);
/* "sentence", "line", "paragraph"; NULL for none. */
const char *rf_unit_name(rf_unit unit);
RF_MUST_CHECK rf_status rf_unit_parse(const char *name, rf_unit *unit, rf_error *error);
/* "copy", "reverse", "addition", "recall"; NULL for none. */
const char *rf_drill_name(rf_drill drill);
/* RF_DRILL_NONE where no drill has this name (NULL: neither). */
rf_drill rf_drill_named(const char *name);
bool rf_class_has_lm_head(rf_model_class model_class);
/* The problem that a classifier solves, OPEN resolved by the number of labels. */
rf_problem rf_config_problem(const rf_config *config);
/* The name of a label, as long as the configuration lives; classifiers have one for each. */
const char *rf_config_label(const rf_config *config, int64_t label);
/* Another set of names: id2label and label2id. RF_ERR_CONFIG if two are equal. */
RF_MUST_CHECK rf_status rf_config_set_labels(rf_config *config, int64_t labels,
                                             const char *const *names, rf_error *error);
/* The class and the direction that a task and a direction (either may be NULL) ask for; *choice is
 * pointed at `space`, whose other members stay, or NULL where neither does. Tasks are those of
 * rf_class_of_task, and "next-sentence" and "masked-lm,next-sentence". */
RF_MUST_CHECK rf_status rf_class_choose(const char *task, const char *direction,
                                        rf_class_choice *space, const rf_class_choice **choice,
                                        rf_error *error);
/* Of a classifier or a masked language model: the labels are is_next and not_next from now on. */
RF_MUST_CHECK rf_status rf_config_set_next_sentence(rf_config *config, rf_unit unit,
                                                    rf_error *error);
/* Make it another class, no longer one of next_sentence, with what the class demands: a masked
 * language model is bidirectional, a causal one looks at nothing after it, others are what
 * `direction` says. A model that was causal looks at as many chunks after a token as before it.
 * What changed is said in the log. RF_ERR_ARGUMENT for a direction that the class cannot have. */
RF_MUST_CHECK rf_status rf_config_set_class(rf_config *config, rf_model_class model_class,
                                            rf_direction direction, const rf_log *log,
                                            rf_error *error);

#endif
