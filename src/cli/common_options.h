/* Options that several commands have: what is the same of each wherever it stands. A row of a table
 * begins with one and says the rest, its heading above all:
 *
 *     {RF_COMMON_STREAM, .group = "model"},
 *
 * They are macros because a row is a constant. What comes without a row, --device and the like, is
 * in command.h. */
#ifndef RF_CLI_COMMON_OPTIONS_H
#define RF_CLI_COMMON_OPTIONS_H

#include "options.h"

/* What is read. */
#define RF_COMMON_MODEL                                                                            \
    .name = "model", .letter = 'm', .kind = RF_OPTION_STRING, .argument = "DIR", .key = "model"
#define RF_COMMON_TEXT .name = "text", .letter = 'p', .kind = RF_OPTION_STRING, .argument = "TEXT"
#define RF_COMMON_DATA                                                                             \
    .name = "data", .letter = 'd', .kind = RF_OPTION_STRING, .key = "data", .group = "main options"
#define RF_COMMON_LINES                                                                            \
    .name = "lines", .kind = RF_OPTION_FLAG, .key = "lines", .group = "main options",              \
    .help = "treat every line as a separate text"
#define RF_COMMON_LAST_BYTES                                                                       \
    .name = "last-bytes", .kind = RF_OPTION_SIZE, .argument = "SIZE", .preset = "0",               \
    .key = "last_bytes", .group = "main options",                                                  \
    .help = "use only the last bytes of the data; 0: all"
#define RF_COMMON_PACK                                                                             \
    .name = "pack", .kind = RF_OPTION_FLAG, .preset = "no", .key = "pack", .group = "main options"
#define RF_COMMON_DOCUMENT_SEPARATOR                                                               \
    .name = "document-separator", .kind = RF_OPTION_STRING, .argument = "TEXT",                    \
    .key = "document_separator", .group = "main options",                                          \
    .help = "with --pack: text that separates documents in a file, such as '\\n\\n'; default: "    \
            "one per file"
#define RF_COMMON_TEXT_FIELD                                                                       \
    .name = "text-field", .kind = RF_OPTION_STRING, .argument = "NAME", .key = "text_field",       \
    .group = "main options"
#define RF_COMMON_PAIR_FIELD                                                                       \
    .name = "pair-field", .kind = RF_OPTION_STRING, .argument = "NAME", .key = "pair_field",       \
    .group = "main options"
#define RF_COMMON_LABEL_FIELD                                                                      \
    .name = "label-field", .kind = RF_OPTION_STRING, .argument = "NAME", .preset = "label",        \
    .key = "label_field", .group = "main options"
#define RF_COMMON_DISTANCE                                                                         \
    .name = "distance", .kind = RF_OPTION_INTEGER, .argument = "N", .preset = "0",                 \
    .high = 2147483647, .key = "distance", .group = "main options"
#define RF_COMMON_SHORTEST                                                                         \
    .name = "shortest", .kind = RF_OPTION_INTEGER, .argument = "N", .preset = "0",                 \
    .high = 2147483647, .key = "shortest", .group = "main options",                                \
    .help = "copy, reverse, addition: rows of N to --length tokens; 0: all of --length"
#define RF_COMMON_PAIRS                                                                            \
    .name = "pairs", .kind = RF_OPTION_INTEGER, .argument = "N", .preset = "0", .high = 63,        \
    .key = "pairs", .group = "main options",                                                       \
    .help = "recall: number of key-value pairs in a row's list; 0: 16"

/* How a model is used. */
#define RF_COMMON_NUM_HASHES                                                                       \
    .name = "num-hashes", .kind = RF_OPTION_INTEGER, .argument = "N", .preset = "0",               \
    .key = "num_hashes", .help = "rounds of LSH attention; 0: as in the model"
#define RF_COMMON_NUM_BUCKETS                                                                      \
    .name = "num-buckets", .kind = RF_OPTION_STRING, .argument = "N[,M]", .key = "num_buckets",    \
    .group = "model"
#define RF_COMMON_ATTENTION                                                                        \
    .name = "attention", .kind = RF_OPTION_CHOICE, .argument = "KIND", .preset = "as-is",          \
    .choices = "as-is|full|lsh", .key = "attention",                                               \
    .help = "what lsh and full_shared layers compute with their weights; as-is: as in the model"
#define RF_COMMON_EXTEND_POSITIONS                                                                 \
    .name = "extend-positions", .kind = RF_OPTION_INTEGER, .argument = "N", .preset = "0",         \
    .high = 2147483647, .key = "extend_positions",                                                 \
    .help = "extend to at least N positions by repeating the position tables; 0: do not extend"
#define RF_COMMON_DIRECTION                                                                        \
    .name = "direction", .kind = RF_OPTION_CHOICE, .argument = "WHICH", .preset = "as-is",         \
    .choices = "as-is|causal|bidirectional", .key = "direction",                                   \
    .help = "what a token sees: earlier tokens or both sides; as-is: as the task or the model "    \
            "requires"
#define RF_COMMON_STREAM                                                                           \
    .name = "stream", .kind = RF_OPTION_CHOICE, .argument = "KIND", .choices = "fixed32|float32",  \
    .key = "stream",                                                                               \
    .help = "number type of the residual streams; default: as in the model, else fixed32"
#define RF_COMMON_LM_HEAD_BIAS                                                                     \
    .name = "lm-head-bias", .kind = RF_OPTION_CHOICE, .argument = "WHEN", .preset = "auto",        \
    .choices = "auto|on|off", .key = "lm_head_bias"

/* A pass, and a training step. */
#define RF_COMMON_BATCH                                                                            \
    .name = "batch", .letter = 'b', .kind = RF_OPTION_INTEGER, .argument = "N", .low = 1,          \
    .high = 1 << 20, .key = "batch"
#define RF_COMMON_LENGTH                                                                           \
    .name = "length", .letter = 'l', .kind = RF_OPTION_INTEGER, .argument = "N",                   \
    .high = 2147483647, .key = "length"
#define RF_COMMON_SEED                                                                             \
    .name = "seed", .letter = 's', .kind = RF_OPTION_INTEGER, .argument = "N", .key = "seed"
#define RF_COMMON_GRADIENT_STREAM                                                                  \
    .name = "gradient-stream", .kind = RF_OPTION_CHOICE, .argument = "KIND", .preset = "f32",      \
    .choices = "f32|bf16", .key = "gradient_stream",                                               \
    .help = "number type of the streams' gradients; bf16 takes half the memory"
#define RF_COMMON_OPTIMIZER                                                                        \
    .name = "optimizer", .kind = RF_OPTION_CHOICE, .argument = "NAME", .preset = "adamw",          \
    .choices = "adamw|adafactor", .key = "optimizer"
#define RF_COMMON_ADAFACTOR_BETA1                                                                  \
    .name = "adafactor-beta1", .kind = RF_OPTION_NUMBER, .argument = "X", .preset = "0",           \
    .high = 1, .key = "adafactor_beta1",                                                           \
    .help = "decay of Adafactor's mean update; 0: none is kept"
#define RF_COMMON_MEMORY_LIMIT                                                                     \
    .name = "memory-limit", .kind = RF_OPTION_SIZE, .argument = "SIZE", .preset = "0",             \
    .key = "memory_limit"

#endif
