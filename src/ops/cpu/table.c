/* The CPU's table of operations. */
#include "ops/cpu/cpu.h"

const rf_op_entry rf_ops_cpu[RF_OP_COUNT] = {
    [RF_OP_GEMM] = {rf_cpu_gemm, rf_cpu_gemm_scratch_size},
    [RF_OP_CAST] = {rf_cpu_cast, NULL},
    [RF_OP_ACTIVATE] = {rf_cpu_activate, NULL},
    [RF_OP_ACTIVATE_BACKWARD] = {rf_cpu_activate_backward, NULL},
    [RF_OP_ADD] = {rf_cpu_add, NULL},
    [RF_OP_DROPOUT] = {rf_cpu_dropout, NULL},
    [RF_OP_RESIDUAL] = {rf_cpu_residual, NULL},
    [RF_OP_EMBEDDING] = {rf_cpu_embedding, NULL},
    [RF_OP_EMBEDDING_BACKWARD] = {rf_cpu_embedding_backward, NULL},
    [RF_OP_POSITION] = {rf_cpu_position, NULL},
    [RF_OP_POSITION_BACKWARD] = {rf_cpu_position_backward, NULL},
    [RF_OP_LAYER_NORM] = {rf_cpu_layer_norm, NULL},
    [RF_OP_LAYER_NORM_BACKWARD] = {rf_cpu_layer_norm_backward,
                                   rf_cpu_layer_norm_backward_scratch_size},
    [RF_OP_BUCKET_HASH] = {rf_cpu_bucket_hash, rf_cpu_bucket_hash_scratch_size},
    [RF_OP_BUCKET_SORT] = {rf_cpu_bucket_sort, rf_cpu_bucket_sort_scratch_size},
    [RF_OP_BLOCK_ATTENTION] = {rf_cpu_block_attention, rf_cpu_block_attention_scratch_size},
    [RF_OP_BLOCK_ATTENTION_BACKWARD] = {rf_cpu_block_attention_backward,
                                        rf_cpu_block_attention_backward_scratch_size},
    [RF_OP_COMBINE_ROUNDS] = {rf_cpu_combine_rounds, NULL},
    [RF_OP_CROSS_ENTROPY] = {rf_cpu_cross_entropy, NULL},
    [RF_OP_REDUCE] = {rf_cpu_reduce, rf_cpu_reduce_scratch_size},
    [RF_OP_ADAMW] = {rf_cpu_adamw, NULL},
    [RF_OP_ADAFACTOR] = {rf_cpu_adafactor, rf_cpu_adafactor_scratch_size},
};
