/* Contract: arithmetic. The only place, with tensor/device.h, where the model meets a back end.
 * Here are the rules for all operations, their table and how they are called; their arguments are
 * in layers.h, attention.h, training.h and decode.h.
 *
 * An operation is an argument struct, a shape rule (checked once, in ops.c, for every back end),
 * and a forward; where it is differentiable, a second operation NAME_backward. A back end fills one
 * constant table of RF_OP_COUNT entries; an entry without `run` is unsupported there, which the
 * caller learns as a status.
 *
 *     RF_TRY(rf_op_add(context, &(rf_add){.a = a, .b = b, .y = y, .factor = 1.0F}, error));
 *
 * Rules for all: tensors are contiguous, outermost dimension first; outputs may not overlap inputs
 * unless said; gradients named X_gradient are ADDED to what is there where the comment says
 * "accumulates", else written; the same bits on every run, whatever the number of threads; NULL
 * data only on a dry device. "real" is f32 or bf16: arithmetic is f32 all the same, and a bf16
 * result is its rounding to nearest even, made once. Rows are [rows, width]; "rows" of a batch run
 * over batch x length. Scratch is taken from the context's workspace by the wrapper, so model code
 * never sees it.
 *
 * Same-bits rule for CPU code: work is cut by a function of the shape only, and sums run in a fixed
 * order. */
#ifndef RF_OPS_OPS_H
#define RF_OPS_OPS_H

#include "ops/attention.h"
#include "ops/decode.h"
#include "ops/layers.h"
#include "ops/training.h"
#include "tensor/workspace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rf_op_times rf_op_times; /* at the end: what was called */

/* What every call works in. */
typedef struct rf_context {
    rf_device *device;
    rf_workspace *workspace;
    rf_op_times *times; /* NULL: nobody asks, and nothing is waited for */
} rf_context;

/* ---- the table --------------------------------------------------------------------------- */

#define RF_OPERATIONS(X)                                                                           \
    X(GEMM, gemm)                                                                                  \
    X(CAST, cast)                                                                                  \
    X(ACTIVATE, activate)                                                                          \
    X(ACTIVATE_BACKWARD, activate_backward)                                                        \
    X(ADD, add)                                                                                    \
    X(DROPOUT, dropout)                                                                            \
    X(RESIDUAL, residual)                                                                          \
    X(EMBEDDING, embedding)                                                                        \
    X(EMBEDDING_BACKWARD, embedding_backward)                                                      \
    X(POSITION, position)                                                                          \
    X(POSITION_BACKWARD, position_backward)                                                        \
    X(LAYER_NORM, layer_norm)                                                                      \
    X(LAYER_NORM_BACKWARD, layer_norm_backward)                                                    \
    X(BUCKET_HASH, bucket_hash)                                                                    \
    X(BUCKET_SORT, bucket_sort)                                                                    \
    X(BLOCK_ATTENTION, block_attention)                                                            \
    X(BLOCK_ATTENTION_BACKWARD, block_attention_backward)                                          \
    X(COMBINE_ROUNDS, combine_rounds)                                                              \
    X(CROSS_ENTROPY, cross_entropy)                                                                \
    X(REDUCE, reduce)                                                                              \
    X(ADAMW, adamw)                                                                                \
    X(ADAFACTOR, adafactor)                                                                        \
    X(STEP_BEGIN, step_begin)                                                                      \
    X(STEP_PROJECT, step_project)                                                                  \
    X(CACHE_FILL, cache_fill)                                                                      \
    X(LISTS_FILL, lists_fill)                                                                      \
    X(CACHE_APPEND, cache_append)                                                                  \
    X(CACHE_ATTEND, cache_attend)                                                                  \
    X(SAMPLE, sample)                                                                              \
    X(VALUE_LOSS, value_loss)                                                                      \
    X(PROJECT, project)

typedef enum rf_op {
#define RF_OP_ENUMERATOR(NAME, name) RF_OP_##NAME,
    RF_OPERATIONS(RF_OP_ENUMERATOR)
#undef RF_OP_ENUMERATOR
        RF_OP_COUNT
} rf_op;

/* A back end's entry: tensor/device.h has it, because a device points at its table. */
typedef struct rf_op_entry rf_op_entry;

extern const rf_op_entry rf_ops_cpu[RF_OP_COUNT];
extern const rf_op_entry rf_ops_cuda[RF_OP_COUNT]; /* all NULL in a build without CUDA */

/* Check shapes, take scratch, run (not on a dry device). RF_ERR_ARGUMENT: shapes disagree, the
 * message names both; RF_ERR_UNSUPPORTED: not on this device. Use the typed calls below. */
RF_MUST_CHECK rf_status rf_op_run(rf_context *context, rf_op op, const void *arguments,
                                  rf_error *error);
/* The same with scratch that is taken for this call and given back. */
RF_MUST_CHECK rf_status rf_op_run_alone(rf_device *device, rf_op op, const void *arguments,
                                        rf_error *error);
const char *rf_op_name(rf_op op);
/* Calls of each operation, their seconds, and their work as rf_op_flops and rf_op_bytes count it.
 * The device is waited for around every call; on a dry device nothing takes time. */
struct rf_op_times {
    int64_t calls[RF_OP_COUNT];
    double seconds[RF_OP_COUNT], flops[RF_OP_COUNT], bytes[RF_OP_COUNT];
};
/* Floating-point operations of the products of a call, which has been checked. */
double rf_op_flops(rf_op op, const void *arguments);
/* Bytes of its operands, each once. */
double rf_op_bytes(rf_op op, const void *arguments);

#define RF_OP_CALL(NAME, name)                                                                     \
    RF_MUST_CHECK static inline rf_status rf_op_##name(                                            \
        rf_context *context, const rf_##name *arguments, rf_error *error)                          \
    {                                                                                              \
        return rf_op_run(context, RF_OP_##NAME, arguments, error);                                 \
    }
RF_OPERATIONS(RF_OP_CALL)
#undef RF_OP_CALL

#ifdef __cplusplus
}
#endif
#endif
