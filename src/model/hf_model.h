/* A Hugging Face model directory: its weights in and out of a parameter block. */
#ifndef RF_MODEL_HF_MODEL_H
#define RF_MODEL_HF_MODEL_H

#include "model/parameters.h"

/* How the LM head's bias is treated (docs/differences.md, D1). */
typedef enum rf_head_bias { RF_HEAD_BIAS_AUTO, RF_HEAD_BIAS_ON, RF_HEAD_BIAS_OFF } rf_head_bias;
RF_MUST_CHECK rf_status rf_head_bias_parse(const char *text, rf_head_bias *value,
                                           rf_error *error); /* NULL = auto */

/* Read the weights of a folder (io/weights.h: safetensors, PyTorch's and Trax's files; f32, f16,
 * bf16) into a host block. Names with or
 * without "reformer."; old buffers (spec 2.2) are ignored; lm_head.decoder.bias wins over
 * lm_head.bias (D2). Missing, surplus, misshapen, wrongly typed and non-finite tensors are
 * RF_ERR_FORMAT, by name (all missing ones in one message as far as it holds).
 * *applies_bias: whether the head adds its bias, by `choice` and, for auto, by who wrote the file;
 * a dropped non-zero bias is said in the log. */
RF_MUST_CHECK rf_status rf_hf_model_load(const char *folder, const rf_config *config,
                                         const rf_parameters *parameters, rf_head_bias choice,
                                         const rf_log *log, float *block, bool *applies_bias,
                                         rf_error *error);
/* The same from a folder that may hold another class: heads that the table does not have are left
 * out, those that the file does not have, or has for other labels, keep what stands in the block
 * (first values). Both are said in the log. */
RF_MUST_CHECK rf_status rf_hf_model_load_other(const char *folder, const rf_config *config,
                                               const rf_parameters *parameters, rf_head_bias choice,
                                               const rf_log *log, float *block, bool *applies_bias,
                                               rf_error *error);
/* How weights are stored. */
typedef struct rf_hf_storage {
    rf_dtype store_as;        /* RF_F32, RF_BF16, RF_F16 */
    uint64_t shard_size;      /* bytes a file; 0: one file */
    bool as_torch;            /* pytorch_model.bin instead of model.safetensors */
    const json_t *generation; /* what generation_config.json holds; NULL: the special tokens' ids */
} rf_hf_storage;
/* The object of a folder's generation_config.json; NULL where there is none. Caller json_decref. */
RF_MUST_CHECK rf_status rf_hf_model_load_generation(const char *folder, json_t **generation,
                                                    rf_error *error);
/* Write config.json, generation_config.json and the weights. A non-zero bias is said in the log
 * (transformers 5 does not add it). RF_ERR_NUMERIC, before anything is written, for a value that is
 * not finite or that the type cannot hold. */
RF_MUST_CHECK rf_status rf_hf_model_save(const char *folder, const rf_config *config,
                                         const rf_parameters *parameters, const float *block,
                                         const rf_hf_storage *storage, const rf_log *log,
                                         rf_error *error);

#endif
