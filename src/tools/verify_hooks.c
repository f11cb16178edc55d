/* What verification sees on the way: hidden states are compared as they pass; our buckets are
 * compared with the file's and then replaced by them, since one rounding tie in a first layer would
 * otherwise change everything after it. */
#include "tools/verify.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double flip_share_limit = 1e-4; /* buckets that may differ, of a layer */
/* With queries in bf16: the share alone is judged. */
static const double bf16_flip_share_limit = 0.05;
static const double near_tie =
    1e-3; /* the two best products of a bucket that differs, relative to the best */

int64_t rf_verify_lsh_index(const rf_config *config, int64_t layer)
{
    int64_t index = 0;
    for (int64_t i = 0; i < layer; i++) {
        index += config->kinds[i] == RF_LAYER_LSH ? 1 : 0;
    }
    return index;
}

static rf_status hidden(void *user, int64_t layer, const rf_tensor *stream, rf_error *error)
{
    rf_verify_state *state = user;
    char name[64];
    (void)snprintf(name, sizeof name, "hidden_states.%lld", (long long)layer);
    const rf_safetensors_entry *entry = rf_safetensors_find(state->file, name);
    if (entry == NULL) {
        return RF_OK;
    }
    int64_t width = state->model->config.hidden;
    if (entry->tensor.rank != 3 || entry->tensor.shape[0] != state->batch ||
        entry->tensor.shape[1] < state->length || entry->tensor.shape[2] != width) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %s should be [%lld, at least %lld, %lld]",
                            entry->path, name, (long long)state->batch, (long long)state->length,
                            (long long)width);
    }
    float *ours = state->row_buffer;
    RF_TRY(rf_device_download(state->model->device, ours, stream->data, rf_tensor_size(stream),
                              error));
    if (stream->dtype == RF_FIXED32) {
        const double scale = ldexp(1.0, -state->model->config.fraction_bits);
        for (int64_t i = 0; i < rf_tensor_count(stream); i++) {
            int32_t word;
            memcpy(&word, &ours[i], sizeof word);
            ours[i] = (float)((double)word * scale);
        }
    }
    int64_t count = rf_tensor_count(&entry->tensor);
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof(float), name, &memory, error));
    float *reference = memory;
    rf_status status = rf_safetensors_read_f32(entry, reference, count, error);
    for (int64_t b = 1; b < state->batch && status == RF_OK; b++) { /* drop the padded positions */
        memmove(reference + b * state->length * width,
                reference + b * entry->tensor.shape[1] * width,
                (size_t)(state->length * width) * sizeof(float));
    }
    if (status == RF_OK) {
        status = rf_verify_compare(state, name, RF_VERIFY_VALUES, ours, reference,
                                   state->batch * state->length * width, error);
    }
    rf_release(memory);
    return status;
}

/* The file's buckets of a layer into state->given, round offsets taken off. *present: the file has
 * them. */
static rf_status read_given(rf_verify_state *state, int64_t layer, bool *present, rf_error *error)
{
    const rf_config *config = &state->model->config;
    char name[64];
    (void)snprintf(name, sizeof name, "buckets.%lld",
                   (long long)rf_verify_lsh_index(config, layer));
    const rf_safetensors_entry *entry = rf_safetensors_find(state->file, name);
    *present = entry != NULL;
    if (entry == NULL) {
        return RF_OK;
    }
    const rf_tensor *t = &entry->tensor;
    if (t->rank != 4 || t->shape[0] != state->batch || t->shape[1] != config->heads ||
        t->shape[2] != state->rounds || t->shape[3] < state->length) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: %s should be [%lld, %lld, %lld, at least %lld]", entry->path, name,
                            (long long)state->batch, (long long)config->heads,
                            (long long)state->rounds, (long long)state->length);
    }
    void *memory = NULL;
    int64_t count = rf_tensor_count(t);
    RF_TRY(rf_allocate((size_t)count * sizeof(int64_t), name, &memory, error));
    int64_t *all = memory;
    rf_status status = rf_safetensors_read_i64(entry, all, count, error);
    int64_t stride = rf_config_bucket_count(config) + state->padding;
    for (int64_t row = 0; row < count / t->shape[3] && status == RF_OK; row++) {
        int64_t offset = (row % state->rounds) * stride;
        for (int64_t i = 0; i < state->length; i++) {
            state->given[row * state->length + i] = all[row * t->shape[3] + i] - offset;
        }
    }
    rf_release(memory);
    return status;
}

static int64_t given_at(const rf_verify_state *state, int64_t batch, int64_t head, int64_t round,
                        int64_t token)
{
    int64_t heads = state->model->config.heads;
    return state->given[((batch * heads + head) * state->rounds + round) * state->length + token];
}

static rf_status buckets(void *user, int64_t layer, int64_t first_head, const rf_tensor *tensor,
                         rf_error *error)
{
    rf_verify_state *state = user;
    bool present = false;
    RF_TRY(read_given(state, layer, &present, error));
    if (!present) {
        return RF_OK;
    }
    int64_t heads = tensor->shape[1];
    int64_t count = rf_tensor_count(tensor);
    int64_t limit = rf_config_bucket_count(&state->model->config) + state->padding;
    RF_TRY(rf_device_download(state->model->device, state->own, tensor->data,
                              rf_tensor_size(tensor), error));
    bool *seen = &state->seen[layer * state->model->config.heads + first_head];
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)count * sizeof(int32_t), "buckets", &memory, error));
    int32_t *replacement = memory;
    rf_status status = RF_OK;
    for (int64_t i = 0; i < count && status == RF_OK; i++) {
        int64_t row = i / state->length;
        int64_t head = row / state->rounds % heads;
        int64_t given = given_at(state, row / state->rounds / heads, first_head + head,
                                 row % state->rounds, i % state->length);
        if (given < 0 || given >= limit) {
            status = rf_error_set(error, RF_ERR_FORMAT,
                                  "buckets of layer %lld: %lld is outside 0 ... %lld",
                                  (long long)layer, (long long)given, (long long)(limit - 1));
        }
        replacement[i] = (int32_t)given;
        state->flips[layer] += !*seen && given != state->own[i] ? 1 : 0;
    }
    if (status == RF_OK && !state->options->own_buckets) {
        status = rf_device_upload(state->model->device, tensor->data, replacement,
                                  rf_tensor_size(tensor), error);
    }
    rf_release(memory);
    return status;
}

/* Of hyperplanes: over the bits that differ, the cosine of the query and the plane's direction. */
static double plane_margin(const rf_verify_state *state, const float *query, const float *rotations,
                           int64_t given)
{
    const rf_config *config = &state->model->config;
    const int64_t columns = rf_config_rotation_columns(config);
    double worst = 0.0;
    for (int64_t c = 0; c < columns; c++) {
        double product = 0.0;
        double lengths[2] = {0.0, 0.0};
        for (int64_t i = 0; i < config->head_width; i++) {
            const double x = (double)query[i];
            const double y = (double)rotations[i * state->rounds * columns + c];
            product += x * y;
            lengths[0] += x * x;
            lengths[1] += y * y;
        }
        const bool differs = (product < 0.0) != ((given >> c & 1) != 0);
        const double length = sqrt(lengths[0] * lengths[1]);
        const double cosine = length > 0.0 ? fabs(product) / length : 0.0;
        worst = differs && cosine > worst ? cosine : worst;
    }
    return worst;
}

/* How far from a tie a differing bucket is: over the factors, (best product - product of the file's
 * choice) / best. */
static double margin(const rf_verify_state *state, const float *query, const float *rotations,
                     int64_t given)
{
    const rf_config *config = &state->model->config;
    int64_t columns = rf_config_rotation_columns(config);
    double worst = 0.0;
    int64_t first = 0;
    for (int f = 0; f < config->bucket_factors; f++) {
        int64_t n = config->buckets[f];
        int64_t choice = given % n;
        double best = 0.0;
        double chosen = 0.0;
        given /= n;
        for (int64_t c = 0; c < n / 2; c++) {
            double product = 0.0;
            for (int64_t i = 0; i < config->head_width; i++) {
                product +=
                    (double)query[i] * (double)rotations[i * state->rounds * columns + first + c];
            }
            best = fabs(product) > best ? fabs(product) : best;
            chosen = choice == c ? product : choice == c + n / 2 ? -product : chosen;
        }
        double relative = (best - chosen) / (best > 0.0 ? best : 1.0);
        worst = relative > worst ? relative : worst;
        first += n / 2;
    }
    return worst;
}

/* [count] numbers of the device, f32 or bf16. */
static rf_status download_floats(const rf_verify_state *state, const void *from, rf_dtype dtype,
                                 int64_t count, float *to, rf_error *error)
{
    RF_TRY(rf_device_download(state->model->device, to, from, (size_t)count * rf_dtype_size(dtype),
                              error));
    for (int64_t i = count - 1; i >= 0 && dtype == RF_BF16; i--) { /* in place, from the end */
        uint16_t bits;
        memcpy(&bits, (const char *)to + (size_t)i * sizeof bits, sizeof bits);
        to[i] = rf_bf16_to_f32(bits);
    }
    return RF_OK;
}

static rf_status attention(void *user, int64_t layer, int64_t first_head, const rf_tensor *query,
                           const rf_tensor *key, const rf_tensor *value, const rf_tensor *hashed,
                           rf_error *error)
{
    (void)key;
    (void)value;
    rf_verify_state *state = user;
    bool *seen = &state->seen[layer * state->model->config.heads + first_head];
    if (rf_tensor_is_absent(hashed) || *seen || state->rotations == NULL) {
        return RF_OK;
    }
    *seen = true;
    const rf_config *config = &state->model->config;
    int64_t width = config->head_width;
    int64_t columns = rf_config_rotation_columns(config);
    int64_t heads = query->shape[2];
    float vector[1024];
    if (width > 1024) {
        return RF_OK;
    }
    for (int64_t i = 0; i < rf_tensor_count(hashed); i++) {
        int64_t row = i / state->length;
        int64_t round = row % state->rounds;
        int64_t head = row / state->rounds % heads;
        int64_t batch = row / state->rounds / heads;
        int64_t given = given_at(state, batch, first_head + head, round, i % state->length);
        if (given == state->own[i] || given >= rf_config_bucket_count(config)) {
            continue;
        }
        const char *at =
            (const char *)query->data +
            (size_t)(((batch * state->length + i % state->length) * heads + head) * width) *
                rf_dtype_size(query->dtype);
        RF_TRY(download_floats(state, at, query->dtype, width, vector, error));
        int64_t lsh = rf_verify_lsh_index(config, layer);
        const float *rotations =
            state->rotations +
            ((lsh * config->heads + first_head + head) * width * state->rounds + round) * columns;
        double m = config->hash_kind == RF_HASH_HYPERPLANE
                       ? plane_margin(state, vector, rotations, given)
                       : margin(state, vector, rotations, given);
        state->margins[layer] = m > state->margins[layer] ? m : state->margins[layer];
    }
    return RF_OK;
}

static rf_status logits(void *user, int64_t first_row, const rf_tensor *tensor, rf_error *error)
{
    rf_verify_state *state = user;
    if (state->logits == NULL) {
        return RF_OK;
    }
    float *to = state->logits + first_row * tensor->shape[1];
    return rf_device_download(state->model->device, to, tensor->data, rf_tensor_size(tensor),
                              error);
}

static rf_tensor rotations(void *user, int64_t layer)
{
    rf_verify_state *state = user;
    const rf_config *config = &state->model->config;
    void *data = state->device_rotations[layer];
    if (data == NULL) {
        return (rf_tensor){0};
    }
    return rf_tensor_4(data, RF_F32, config->heads, config->head_width, state->rounds,
                       rf_config_rotation_columns(config));
}

rf_hooks rf_verify_hooks(rf_verify_state *state)
{
    return (rf_hooks){.user = state,
                      .hidden = hidden,
                      .buckets = buckets,
                      .attention = attention,
                      .logits = logits,
                      .rotations = rotations};
}

rf_status rf_verify_add_buckets(rf_verify_state *state, rf_error *error)
{
    const rf_config *config = &state->model->config;
    for (int64_t layer = 0; layer < config->layers; layer++) {
        char name[64];
        (void)snprintf(name, sizeof name, "buckets.%lld",
                       (long long)rf_verify_lsh_index(config, layer));
        if (!rf_safetensors_find(state->file, name) ||
            !rf_plan_hashes(config, layer, state->length)) {
            continue;
        }
        int64_t count = state->batch * config->heads * state->rounds * state->length;
        double share = (double)state->flips[layer] / (double)count;
        char note[96] = "";
        if (state->flips[layer] > 0) {
            (void)snprintf(note, sizeof note, "%lld differ, at most %.1e from a tie",
                           (long long)state->flips[layer], state->margins[layer]);
        }
        bool bf16 = state->model->compute == RF_BF16;
        double limit = bf16 ? bf16_flip_share_limit : flip_share_limit;
        rf_verify_row row = {.name = name,
                             .kind = RF_VERIFY_BUCKETS,
                             .count = count,
                             .max_error = share,
                             .rms_error = state->margins[layer],
                             .limit = limit,
                             .passed =
                                 share <= limit && (bf16 || state->margins[layer] <= near_tie),
                             .note = note};
        RF_TRY(rf_verify_add(state, &row, error));
    }
    return RF_OK;
}
