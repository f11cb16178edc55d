/* What the two kernels of the backward of full attention share: the call, and the tiles that they
 * meet (full_backward.cu says which does what). */
#ifndef RF_OPS_CUDA_BLOCK_ATTENTION_FULL_BACKWARD_CUH
#define RF_OPS_CUDA_BLOCK_ATTENTION_FULL_BACKWARD_CUH

#include "ops/cuda/block_attention/full.cuh"

struct rf_full_backward_call {
    rf_attention_cut cut;
    bool shared;                                                /* keys are made from queries */
    const __nv_bfloat16 *query, *key, *value, *output_gradient; /* [batch, length, heads, width] */
    const rf_walk_numbers *numbers;                             /* [batch, heads, length] */
    __nv_bfloat16 *query_gradient, *key_gradient, *value_gradient;
    float *through_key;        /* [batch, length, heads, width], where shared */
    const rf_full_mark *marks; /* [batch, tiles of 64]; unused where plain */
};

/* Two tensors of the tiles that are met, and the numbers of their tokens. */
template <int Width, rf_full_rules Rules> struct rf_full_backward_memory : rf_full_notes<Rules> {
    typedef __nv_bfloat16 rows[rf_full_tile][Width + 8];
    rows first[2], second[2];
    rf_walk_numbers numbers[2][rf_full_tile];
    int32_t tokens[2][rf_full_tile], own_tokens[rf_full_tile];
};

/* Begin to copy tile `first` of two tensors. */
template <int Width, rf_full_rules Rules>
static __device__ __forceinline__ void
rf_full_copy_tile(const rf_full_backward_call &call, const rf_full_head &head,
                  const __nv_bfloat16 *from, const __nv_bfloat16 *second, int32_t first, int slot,
                  rf_full_backward_memory<Width, Rules> &memory)
{
    rf_full_copy_rows<Width>(call.cut, head, first, from, memory.first[slot]);
    rf_full_copy_rows<Width>(call.cut, head, first, second, memory.second[slot]);
    if (threadIdx.x < rf_full_tile) {
        const int32_t token = first + static_cast<int32_t>(threadIdx.x);
        const bool is_there = token < call.cut.length;
        memory.tokens[slot][threadIdx.x] = is_there ? token : rf_attention_empty;
        rf_copy_16(&memory.numbers[slot][threadIdx.x],
                   call.numbers + head.number + (is_there ? token : 0), is_there);
        rf_full_note(call.cut, head, token, slot, static_cast<int>(threadIdx.x), memory);
    }
}

/* Gradients of keys and values (full_keys.cu). */
rf_status rf_full_differentiate_keys(rf_device *device, const rf_full_backward_call *call,
                                     rf_full_rules rules, rf_error *error);

#endif
