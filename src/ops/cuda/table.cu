/* The CUDA back end's table of operations, in the order of RF_OPERATIONS (CUDA C++ has no
 * designated initialisers for arrays). */
#include "ops/cuda/cuda.cuh"

extern "C" const rf_op_entry rf_ops_cuda[RF_OP_COUNT] = {
    /* gemm */ {rf_cuda_gemm, rf_cuda_gemm_scratch_size},
    /* cast */ {rf_cuda_cast, nullptr},
    /* activate */ {rf_cuda_activate, nullptr},
    /* activate_backward */ {rf_cuda_activate_backward, rf_cuda_activate_backward_scratch_size},
    /* add */ {rf_cuda_add, nullptr},
    /* dropout */ {rf_cuda_dropout, rf_cuda_dropout_scratch_size},
    /* residual */ {rf_cuda_residual, nullptr},
    /* embedding */ {rf_cuda_embedding, nullptr},
    /* embedding_backward */ {rf_cuda_embedding_backward, rf_cuda_embedding_backward_scratch_size},
    /* position */ {rf_cuda_position, nullptr},
    /* position_backward */ {rf_cuda_position_backward, nullptr},
    /* layer_norm */ {rf_cuda_layer_norm, nullptr},
    /* layer_norm_backward */
    {rf_cuda_layer_norm_backward, rf_cuda_layer_norm_backward_scratch_size},
    /* bucket_hash */ {rf_cuda_bucket_hash, rf_cuda_bucket_hash_scratch_size},
    /* bucket_sort */ {rf_cuda_bucket_sort, rf_cuda_bucket_sort_scratch_size},
    /* block_attention */ {rf_cuda_block_attention, rf_cuda_block_attention_scratch_size},
    /* block_attention_backward */
    {rf_cuda_block_attention_backward, rf_cuda_block_attention_backward_scratch_size},
    /* combine_rounds */ {rf_cuda_combine_rounds, nullptr},
    /* cross_entropy */ {rf_cuda_cross_entropy, nullptr},
    /* reduce */ {rf_cuda_reduce, rf_cuda_reduce_scratch_size},
    /* adamw */ {rf_cuda_adamw, nullptr},
    /* adafactor */ {rf_cuda_adafactor, rf_cuda_adafactor_scratch_size},
    /* step_begin */ {rf_cuda_step_begin, nullptr},
    /* step_project */ {rf_cuda_step_project, rf_cuda_step_project_scratch_size},
    /* cache_fill */ {rf_cuda_cache_fill, nullptr},
    /* lists_fill */ {rf_cuda_lists_fill, nullptr},
    /* cache_append */ {rf_cuda_cache_append, nullptr},
    /* cache_attend */ {rf_cuda_cache_attend, rf_cuda_cache_attend_scratch_size},
    /* sample */ {rf_cuda_sample, rf_cuda_sample_scratch_size},
    /* value_loss */ {rf_cuda_value_loss, nullptr},
    /* project */ {rf_cuda_project, rf_cuda_project_scratch_size},
};

/* A reordered or lengthened list must not go unseen. */
static_assert(RF_OP_GEMM == 0 && RF_OP_POSITION == 9 && RF_OP_BUCKET_HASH == 13 &&
                  RF_OP_COMBINE_ROUNDS == 17 && RF_OP_ADAMW == 20 && RF_OP_ADAFACTOR == 21 &&
                  RF_OP_CACHE_APPEND == 26 && RF_OP_VALUE_LOSS == 29 && RF_OP_PROJECT == 30 &&
                  RF_OP_COUNT == 31,
              "the table above follows RF_OPERATIONS");
