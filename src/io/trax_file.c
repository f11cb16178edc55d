/* Trax's ReformerLM as a nest of tuples of NumPy arrays, which is walked along fixed paths: w[1]
 * the words, w[3] the positions, w[5] four entries a layer, w[7] the last norm, w[9] the head.
 * Attention is stored a head at a time and all matrices as [in, out]; both are turned round. */
#include "io/trax_file.h"

#include "base/memory.h"
#include "io/compressed.h"
#include "io/pickle.h"
#include "io/tensor_list.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const allowed[] = {"numpy.core.multiarray._reconstruct",
                                      "numpy._core.multiarray._reconstruct",
                                      "numpy.core.multiarray.scalar",
                                      "numpy._core.multiarray.scalar",
                                      "numpy.ndarray",
                                      "numpy.dtype",
                                      "_codecs.encode",
                                      "collections.OrderedDict",
                                      NULL};

typedef struct reader {
    const char *path;
    rf_tensor_list *list;
    rf_error *error;
} reader;

/* An array of the file; little-endian, row-major. */
typedef struct array {
    rf_tensor tensor;
} array;

static rf_status wrong(const reader *r, const char *name, const char *what)
{
    return rf_error_set(r->error, RF_ERR_FORMAT, "%s: %s: %s", r->path, name, what);
}

/* ---- NumPy arrays ------------------------------------------------------------------------ */

/* numpy.dtype("f4", ...) with the state (3, "<", ...). */
static rf_dtype read_dtype(const rf_pickle_value *value)
{
    if (!rf_pickle_is_call(value, "numpy.dtype", 1)) {
        return RF_NONE;
    }
    const rf_pickle_value *name = value->argument->items[0];
    const rf_pickle_value *order = rf_pickle_item(value->state, 1);
    if (!rf_pickle_is_text(order, "<")) {
        return RF_NONE;
    }
    return rf_pickle_is_text(name, "f4")   ? RF_F32
           : rf_pickle_is_text(name, "f8") ? RF_F64
           : rf_pickle_is_text(name, "f2") ? RF_F16
                                           : RF_NONE;
}

/* Text of code points below 256, which older protocols carry bytes in. */
static rf_status decode_latin1(const reader *r, const char *name, const rf_pickle_value *text,
                               size_t size, const uint8_t **bytes)
{
    void *memory = NULL;
    size_t used = 0;
    RF_TRY(rf_tensor_list_take(r->list, size, "an array", &memory, r->error));
    uint8_t *to = memory;
    for (size_t i = 0; i < text->size; used++) {
        uint8_t first = (uint8_t)text->bytes[i];
        uint8_t second = i + 1 < text->size ? (uint8_t)text->bytes[i + 1] : 0;
        bool wide = (first == 0xc2 || first == 0xc3) && (second & 0xc0) == 0x80;
        if (used == size || (first >= 0x80 && !wide)) {
            return wrong(r, name, "its bytes are damaged");
        }
        to[used] = wide ? (uint8_t)(first << 6 | (second & 0x3f)) : first;
        i += wide ? 2 : 1;
    }
    *bytes = to;
    return used == size ? RF_OK : wrong(r, name, "its bytes are too few for its shape");
}

static rf_status read_data(const reader *r, const char *name, const rf_pickle_value *value,
                           array *out)
{
    size_t size = rf_tensor_size(&out->tensor);
    const uint8_t *bytes = NULL;
    if (rf_pickle_is(value, RF_PICKLE_BYTES) && value->size == size) {
        bytes = (const uint8_t *)value->bytes;
    } else if (rf_pickle_is_call(value, "_codecs.encode", 2) &&
               rf_pickle_is(value->argument->items[0], RF_PICKLE_TEXT) &&
               rf_pickle_is_text(value->argument->items[1], "latin1") &&
               size <= value->argument->items[0]->size) {
        RF_TRY(decode_latin1(r, name, value->argument->items[0], size, &bytes));
    } else {
        return wrong(r, name, "its bytes do not fit its shape");
    }
    out->tensor.data = (void *)(uintptr_t)bytes; /* only read */
    return RF_OK;
}

/* _reconstruct(ndarray, ...) with the state (version, shape, dtype, is_fortran, bytes). */
static rf_status read_array(const reader *r, const char *name, const rf_pickle_value *value,
                            int rank, array *out)
{
    bool is_array = rf_pickle_is_call(value, "numpy.core.multiarray._reconstruct", 1) ||
                    rf_pickle_is_call(value, "numpy._core.multiarray._reconstruct", 1);
    const rf_pickle_value *state = is_array ? value->state : NULL;
    const rf_pickle_value *shape = rf_pickle_item(state, 1);
    const rf_pickle_value *fortran = rf_pickle_item(state, 3);
    int64_t count = 1;
    *out = (array){0};
    if (rf_pickle_length(state) != 5 || rf_pickle_length(shape) != rank) {
        char text[96];
        (void)snprintf(text, sizeof text, "expected a NumPy array of %d dimensions", rank);
        return wrong(r, name, text);
    }
    out->tensor.rank = rank;
    out->tensor.dtype = read_dtype(rf_pickle_item(state, 2));
    if (out->tensor.dtype == RF_NONE || !rf_pickle_is(fortran, RF_PICKLE_BOOLEAN) ||
        (fortran->integer != 0 && rank > 1)) {
        return wrong(r, name, "expected little-endian f4, f8 or f2 in rows");
    }
    for (int i = 0; i < rank; i++) {
        const rf_pickle_value *extent = rf_pickle_item(shape, (size_t)i);
        if (!rf_pickle_is(extent, RF_PICKLE_INTEGER) || extent->integer < 1 ||
            extent->integer > ((int64_t)1 << 40) / count) {
            return wrong(r, name, "its shape is not one of an array");
        }
        out->tensor.shape[i] = extent->integer;
        count *= extent->integer;
    }
    return read_data(r, name, rf_pickle_item(state, 4), out);
}

static float number_at(const array *from, int64_t index)
{
    size_t width = rf_dtype_size(from->tensor.dtype);
    const char *at = (const char *)from->tensor.data + (size_t)index * width;
    float narrow = 0.0F;
    double wide = 0.0;
    uint16_t half = 0;
    switch (from->tensor.dtype) {
    case RF_F32:
        memcpy(&narrow, at, width);
        return narrow;
    case RF_F64:
        memcpy(&wide, at, width);
        return (float)wide;
    default:
        memcpy(&half, at, width);
        return rf_f16_to_f32(half);
    }
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* A tensor of the list, F32, not yet filled. */
static rf_status add(const reader *r, const char *name, const rf_tensor *shape, float **values)
{
    rf_safetensors_entry entry = {.stored = "F32", .path = r->path, .tensor = *shape};
    void *memory = NULL;
    entry.tensor.dtype = RF_F32;
    RF_TRY(rf_tensor_list_text(r->list, name, strlen(name), &entry.name, r->error));
    RF_TRY(rf_tensor_list_take(r->list, rf_tensor_size(&entry.tensor), name, &memory, r->error));
    entry.tensor.data = memory;
    *values = memory;
    return rf_tensor_list_add(r->list, &entry, r->error);
}

static rf_status add_plain(const reader *r, const char *name, const rf_pickle_value *value,
                           int rank)
{
    array from;
    float *values = NULL;
    RF_TRY(read_array(r, name, value, rank, &from));
    RF_TRY(add(r, name, &from.tensor, &values));
    for (int64_t i = 0; i < rf_tensor_count(&from.tensor); i++) {
        values[i] = number_at(&from, i);
    }
    return RF_OK;
}

/* [in, out] -> [out, in]. With heads: [H, d, D] -> [H D, d] (into = true), [H, D, d] -> [d, H D].
 */
static rf_status add_turned(const reader *r, const char *name, const rf_pickle_value *value,
                            int rank, bool into)
{
    array from;
    float *values = NULL;
    RF_TRY(read_array(r, name, value, rank, &from));
    const int64_t *shape = from.tensor.shape;
    int64_t heads = rank == 3 ? shape[0] : 1;
    int64_t rows = shape[rank - 2];
    int64_t columns = shape[rank - 1];
    rf_tensor turned = into ? rf_tensor_2(NULL, RF_F32, heads * columns, rows)
                            : rf_tensor_2(NULL, RF_F32, columns, heads * rows);
    RF_TRY(add(r, name, &turned, &values));
    for (int64_t i = 0; i < heads * rows * columns; i++) {
        int64_t head = i / (rows * columns);
        int64_t row = i / columns % rows;
        int64_t column = i % columns;
        int64_t to = into ? (head * columns + column) * rows + row
                          : column * heads * rows + head * rows + row;
        values[to] = number_at(&from, i);
    }
    return RF_OK;
}

static const char *join(char *text, size_t size, const char *prefix, const char *end)
{
    (void)snprintf(text, size, "%s%s", prefix, end);
    return text;
}

/* (gain, bias) or (matrix, bias). */
static rf_status add_pair(const reader *r, const char *prefix, const char *bias,
                          const rf_pickle_value *pair, bool matrix)
{
    char name[128];
    (void)join(name, sizeof name, prefix, ".weight");
    if (matrix) {
        RF_TRY(add_turned(r, name, rf_pickle_item(pair, 0), 2, false));
    } else {
        RF_TRY(add_plain(r, name, rf_pickle_item(pair, 0), 1));
    }
    return add_plain(r, join(name, sizeof name, prefix, bias), rf_pickle_item(pair, 1), 1);
}

/* ---- the model --------------------------------------------------------------------------- */

/* The value reached by these indices. */
static const rf_pickle_value *follow(const rf_pickle_value *value, int count, ...)
{
    va_list indices;
    va_start(indices, count);
    for (int i = 0; i < count; i++) {
        value = rf_pickle_item(value, (size_t)va_arg(indices, int));
    }
    va_end(indices);
    return value;
}

static rf_status add_attention(const reader *r, const char *prefix, const rf_pickle_value *weights)
{
    static const char *const hashed[] = {"query_key", "value"};
    static const char *const plain[] = {"query", "key", "value"};
    char name[160];
    int64_t length = rf_pickle_length(weights);
    size_t projections = length == 4 ? 3 : 2;
    if (length != 3 && length != 4) {
        return wrong(r, prefix, "attention has neither 3 matrices (LSH) nor 4 (local)");
    }
    for (size_t i = 0; i < projections; i++) {
        (void)snprintf(name, sizeof name, "%sattention.self_attention.%s.weight", prefix,
                       length == 4 ? plain[i] : hashed[i]);
        RF_TRY(add_turned(r, name, rf_pickle_item(weights, i), 3, true));
    }
    return add_turned(r, join(name, sizeof name, prefix, "attention.output.dense.weight"),
                      rf_pickle_item(weights, projections), 3, false);
}

static rf_status add_layer(const reader *r, int64_t layer, const rf_pickle_value *layers)
{
    char prefix[64];
    char name[128];
    const rf_pickle_value *attention = rf_pickle_item(layers, (size_t)(4 * layer));
    const rf_pickle_value *inner =
        follow(rf_pickle_item(layers, (size_t)(4 * layer + 2)), 3, 0, 1, 2);
    (void)snprintf(prefix, sizeof prefix, "reformer.encoder.layers.%lld.", (long long)layer);
    RF_TRY(add_pair(r, join(name, sizeof name, prefix, "attention.layer_norm"), ".bias",
                    follow(attention, 2, 0, 0), false));
    RF_TRY(add_attention(r, prefix, follow(attention, 1, 1)));
    if (rf_pickle_length(inner) == 4) { /* cut into chunks: one level deeper */
        inner = rf_pickle_item(inner, 2);
    }
    RF_TRY(add_pair(r, join(name, sizeof name, prefix, "feed_forward.layer_norm"), ".bias",
                    follow(inner, 1, 0), false));
    RF_TRY(add_pair(r, join(name, sizeof name, prefix, "feed_forward.dense.dense"), ".bias",
                    follow(inner, 1, 1), true));
    return add_pair(r, join(name, sizeof name, prefix, "feed_forward.output.dense"), ".bias",
                    follow(inner, 1, 4), true);
}

static rf_status add_positions(const reader *r, const rf_pickle_value *positions)
{
    int64_t axes = rf_pickle_is(positions, RF_PICKLE_TUPLE) ? rf_pickle_length(positions) : 0;
    if (axes < 1 || axes > RF_MAX_RANK - 2) {
        return wrong(r, "w[3]",
                     "expected axial positions, a tuple with a table an axis; other positions are "
                     "not converted");
    }
    for (int64_t i = 0; i < axes; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "reformer.embeddings.position_embeddings.weights.%lld",
                       (long long)i);
        RF_TRY(
            add_plain(r, name, follow(rf_pickle_item(positions, (size_t)i), 1, 0), (int)axes + 1));
    }
    return RF_OK;
}

static rf_status add_model(const reader *r, const rf_pickle_value *top)
{
    const rf_pickle_value *weights = rf_pickle_get(top, "weights");
    const rf_pickle_value *layers = rf_pickle_item(weights, 5);
    int64_t length = rf_pickle_length(layers);
    if (rf_pickle_length(weights) < 10 || length < 4 || length % 4 != 0 || length > 4096) {
        return rf_error_set(r->error, RF_ERR_FORMAT,
                            "%s: expected a dictionary whose \"weights\" are those of a "
                            "ReformerLM: ten entries or more, the "
                            "sixth with four for each layer",
                            r->path);
    }
    RF_TRY(
        add_plain(r, "reformer.embeddings.word_embeddings.weight", rf_pickle_item(weights, 1), 2));
    RF_TRY(add_positions(r, rf_pickle_item(weights, 3)));
    for (int64_t i = 0; i < length / 4; i++) {
        RF_TRY(add_layer(r, i, layers));
    }
    RF_TRY(add_pair(r, "reformer.encoder.layer_norm", ".bias", rf_pickle_item(weights, 7), false));
    RF_TRY(add_turned(r, "lm_head.decoder.weight", follow(weights, 2, 9, 0), 2, false));
    return add_plain(r, "lm_head.bias", follow(weights, 2, 9, 1), 1);
}

rf_status rf_trax_open(const char *path, rf_safetensors **file, rf_error *error)
{
    rf_tensor_list list = {0};
    reader r = {.list = &list, .error = error};
    rf_pickle *pickle = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    size_t used = 0;
    rf_status status = RF_OK;
    *file = NULL;
    RF_TRY_DONE(rf_tensor_list_text(&list, path, strlen(path), &r.path, error));
    RF_TRY_DONE(rf_compressed_read(path, (size_t)1 << 34, &bytes, &size, error));
    RF_TRY_DONE(rf_pickle_read(path, bytes, size, allowed, &pickle, &used, error));
    RF_TRY_DONE(add_model(&r, rf_pickle_top(pickle)));
    status = rf_safetensors_from_list(&list, file, error);
done:
    rf_tensor_list_clear(&list);
    rf_pickle_release(pickle);
    rf_release(bytes);
    return status;
}
