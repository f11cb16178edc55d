/* A tensor is a pointer, a type and a shape: contiguous, outermost dimension first, no strides. It
 * never owns its data. */
#ifndef RF_TENSOR_TENSOR_H
#define RF_TENSOR_TENSOR_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rf_dtype {
    RF_NONE = 0, /* an absent optional tensor */
    RF_F32,
    RF_BF16,
    RF_F16,
    RF_F64,
    RF_I64,
    RF_I32,
    RF_I16,
    RF_U8,
    RF_FIXED32, /* int32 with a number of fraction bits that travels beside it */
    RF_DTYPE_COUNT
} rf_dtype;

enum { RF_MAX_RANK = 16 };

typedef struct rf_tensor {
    void *data; /* NULL while a plan is measured, and when absent */
    rf_dtype dtype;
    int rank;
    int64_t shape[RF_MAX_RANK];
} rf_tensor;

size_t rf_dtype_size(rf_dtype dtype);      /* bytes an element; 0 for RF_NONE */
const char *rf_dtype_name(rf_dtype dtype); /* "f32", "bf16", ... */

/* Number of elements; RF_ASSERTs that it does not overflow (shapes from outside are checked where
 * they are read). */
int64_t rf_tensor_count(const rf_tensor *tensor);
size_t rf_tensor_size(const rf_tensor *tensor); /* bytes */
static inline bool rf_tensor_is_absent(const rf_tensor *tensor)
{
    return tensor->dtype == RF_NONE;
}
rf_tensor rf_tensor_1(void *data, rf_dtype dtype, int64_t a);
rf_tensor rf_tensor_2(void *data, rf_dtype dtype, int64_t a, int64_t b);
rf_tensor rf_tensor_3(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c);
rf_tensor rf_tensor_4(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d);
rf_tensor rf_tensor_5(void *data, rf_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d,
                      int64_t e);
/* Rows [first, first + count) of the outermost dimension: a view. */
rf_tensor rf_tensor_rows(const rf_tensor *tensor, int64_t first, int64_t count);
/* The same data as another shape of as many elements. */
rf_tensor rf_tensor_reshape_2(const rf_tensor *tensor, int64_t a, int64_t b);
/* "[2, 128, 64] f32", for messages; writes at most `size` bytes and returns text. */
const char *rf_tensor_describe(const rf_tensor *tensor, char *text, size_t size);
bool rf_tensor_same_shape(const rf_tensor *a, const rf_tensor *b);

/* Scalar conversions, round to nearest even. */
float rf_bf16_to_f32(uint16_t value);
uint16_t rf_f32_to_bf16(float value);
float rf_f16_to_f32(uint16_t value);
uint16_t rf_f32_to_f16(float value);

#ifdef __cplusplus
}
#endif
#endif
