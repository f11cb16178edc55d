/* Copying a tensor's numbers out of a safetensors file, whose data may be unaligned, into f32 or
 * i64. */
#include "io/safetensors.h"

#include <inttypes.h>
#include <string.h>

static rf_status wrong_kind(const rf_safetensors_entry *entry, const char *expected,
                            rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: tensor %s is stored as %s, expected %s",
                        entry->path, entry->name, entry->stored, expected);
}

static rf_status check_count(const rf_safetensors_entry *entry, int64_t count, rf_error *error)
{
    if (rf_tensor_count(&entry->tensor) == count) {
        return RF_OK;
    }
    char text[256];
    return rf_error_set(error, RF_ERR_FORMAT, "%s: tensor %s is %s, expected %" PRId64 " numbers",
                        entry->path, entry->name,
                        rf_tensor_describe(&entry->tensor, text, sizeof text), count);
}

rf_status rf_safetensors_read_f32(const rf_safetensors_entry *entry, float *values, int64_t count,
                                  rf_error *error)
{
    rf_dtype dtype = entry->tensor.dtype;
    size_t width = rf_dtype_size(dtype);
    const char *from = entry->tensor.data;
    if (dtype != RF_F32 && dtype != RF_F16 && dtype != RF_BF16 && dtype != RF_F64) {
        return wrong_kind(entry, "F32, F16, BF16 or F64", error);
    }
    RF_TRY(check_count(entry, count, error));
    if (dtype == RF_F32 && count > 0) {
        memcpy(values, from, (size_t)count * width);
        return RF_OK;
    }
    for (int64_t i = 0; i < count; i++, from += width) {
        double wide = 0.0;
        uint16_t half = 0;
        memcpy(dtype == RF_F64 ? (void *)&wide : (void *)&half, from, width);
        values[i] = dtype == RF_F64   ? (float)wide
                    : dtype == RF_F16 ? rf_f16_to_f32(half)
                                      : rf_bf16_to_f32(half);
    }
    return RF_OK;
}

static int64_t integer_at(const char *from, rf_dtype dtype, bool is_signed_byte)
{
    int64_t i64 = 0;
    int32_t i32 = 0;
    int16_t i16 = 0;
    switch (dtype) {
    case RF_I64:
        memcpy(&i64, from, sizeof i64);
        return i64;
    case RF_I32:
        memcpy(&i32, from, sizeof i32);
        return i32;
    case RF_I16:
        memcpy(&i16, from, sizeof i16);
        return i16;
    default:
        return is_signed_byte ? (int64_t)(int8_t)*from : (int64_t)(uint8_t)*from;
    }
}

rf_status rf_safetensors_read_i64(const rf_safetensors_entry *entry, int64_t *values, int64_t count,
                                  rf_error *error)
{
    rf_dtype dtype = entry->tensor.dtype;
    size_t width = rf_dtype_size(dtype);
    const char *from = entry->tensor.data;
    if (dtype != RF_I64 && dtype != RF_I32 && dtype != RF_I16 && dtype != RF_U8) {
        return wrong_kind(entry, "an integer type", error);
    }
    RF_TRY(check_count(entry, count, error));
    bool is_signed_byte = strcmp(entry->stored, "I8") == 0;
    for (int64_t i = 0; i < count; i++, from += width) {
        values[i] = integer_at(from, dtype, is_signed_byte);
    }
    return RF_OK;
}
