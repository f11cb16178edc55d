/* The table of parameters: walked once to count, then again to fill, so that names and shapes stand
 * in one place. Within a block those with weight decay come first and frozen ones last, each at a
 * multiple of 64 floats. Names and order: Hugging Face's state dictionary. */
#include "model/parameters.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* floats */
static const char token_types[] = "embeddings.token_type_embeddings.weight";

/* ---- the table --------------------------------------------------------------------------- */

typedef struct builder {
    rf_parameters *parameters;
    bool counting; /* first pass: only items_count moves */
    bool bare;     /* names without the prefix */
    rf_error *error;
    rf_status status; /* the first failure; later calls do nothing */
} builder;

static const char *without_prefix(const char *name)
{
    static const char prefix[] = "reformer.";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
}

static void add_shaped(builder *out, rf_parameter *item, const char *prefix, const char *name)
{
    rf_parameters *parameters = out->parameters;
    int64_t index = parameters->items_count;
    if (out->status != RF_OK) {
        return;
    }
    parameters->items_count++;
    if (out->counting) {
        return;
    }
    item->count = 1;
    for (int i = 0; i < item->rank; i++) {
        item->count *= item->shape[i];
    }
    out->status = rf_string_format(&item->name, out->error, "%s%s",
                                   out->bare ? without_prefix(prefix) : prefix, name);
    parameters->items[index] = *item;
    parameters->total += item->count;
}

/* A vector (columns 0) or a matrix. Matrices decay unless they are positions; vectors (gains,
 * biases) do not. */
static void add(builder *out, rf_parameter_role role, int64_t layer, const char *prefix,
                const char *name, int64_t rows, int64_t columns)
{
    rf_parameter item = {
        .role = role, .layer = layer, .rank = columns > 0 ? 2 : 1, .shape = {rows, columns}};
    item.decays = columns > 0 && role != RF_PARAMETER_POSITION;
    add_shaped(out, &item, prefix, name);
}

static void add_positions(builder *out, const rf_config *config)
{
    if (config->positions == RF_POSITIONS_LEARNED) {
        add(out, RF_PARAMETER_POSITION, -1, "reformer.embeddings.position_embeddings.",
            "embedding.weight", config->max_positions, config->hidden);
    }
    for (int axis = 0; config->positions == RF_POSITIONS_AXIAL && axis < config->axes; axis++) {
        rf_parameter item = {
            .role = RF_PARAMETER_POSITION, .layer = -1, .axis = axis, .rank = config->axes + 1};
        char name[32];
        for (int i = 0; i < config->axes; i++) {
            item.shape[i] = i == axis ? config->axial_shape[axis] : 1;
        }
        item.shape[config->axes] = config->axial_widths[axis];
        (void)snprintf(name, sizeof name, "weights.%d", axis);
        add_shaped(out, &item, "reformer.embeddings.position_embeddings.", name);
    }
}

static void add_attention(builder *out, const rf_config *config, int64_t layer, const char *prefix)
{
    int64_t hidden = config->hidden;
    int64_t width = config->heads * config->head_width;
    bool shared = rf_config_shares_query_key(config, layer);
    add(out, RF_PARAMETER_ATTENTION_NORM_GAIN, layer, prefix, "attention.layer_norm.weight", hidden,
        0);
    add(out, RF_PARAMETER_ATTENTION_NORM_BIAS, layer, prefix, "attention.layer_norm.bias", hidden,
        0);
    add(out, RF_PARAMETER_QUERY, layer, prefix,
        shared ? "attention.self_attention.query_key.weight"
               : "attention.self_attention.query.weight",
        width, hidden);
    if (!shared) {
        add(out, RF_PARAMETER_KEY, layer, prefix, "attention.self_attention.key.weight", width,
            hidden);
    }
    add(out, RF_PARAMETER_VALUE, layer, prefix, "attention.self_attention.value.weight", width,
        hidden);
    add(out, RF_PARAMETER_ATTENTION_OUTPUT, layer, prefix, "attention.output.dense.weight", hidden,
        width);
}

static void add_feed_forward(builder *out, const rf_config *config, int64_t layer,
                             const char *prefix)
{
    int64_t hidden = config->hidden;
    int64_t inner = config->feed_forward;
    add(out, RF_PARAMETER_FEED_FORWARD_NORM_GAIN, layer, prefix, "feed_forward.layer_norm.weight",
        hidden, 0);
    add(out, RF_PARAMETER_FEED_FORWARD_NORM_BIAS, layer, prefix, "feed_forward.layer_norm.bias",
        hidden, 0);
    add(out, RF_PARAMETER_INNER_WEIGHT, layer, prefix, "feed_forward.dense.dense.weight", inner,
        hidden);
    add(out, RF_PARAMETER_INNER_BIAS, layer, prefix, "feed_forward.dense.dense.bias", inner, 0);
    add(out, RF_PARAMETER_OUTER_WEIGHT, layer, prefix, "feed_forward.output.dense.weight", hidden,
        inner);
    add(out, RF_PARAMETER_OUTER_BIAS, layer, prefix, "feed_forward.output.dense.bias", hidden, 0);
}

static const struct head_words {
    const char *prefix, *name;
} head_words[] = {
    [RF_PARAMETER_HEAD_WEIGHT] = {"lm_head.", "decoder.weight"},
    [RF_PARAMETER_HEAD_BIAS] = {"lm_head.", "bias"},
    [RF_PARAMETER_CLASSIFIER_WEIGHT] = {"classifier.", "dense.weight"},
    [RF_PARAMETER_CLASSIFIER_BIAS] = {"classifier.", "dense.bias"},
    [RF_PARAMETER_LABEL_WEIGHT] = {"classifier.", "out_proj.weight"},
    [RF_PARAMETER_LABEL_BIAS] = {"classifier.", "out_proj.bias"},
    [RF_PARAMETER_SPAN_WEIGHT] = {"qa_outputs.", "weight"},
    [RF_PARAMETER_SPAN_BIAS] = {"qa_outputs.", "bias"},
};

bool rf_parameter_optional_role(const char *name, rf_parameter_role *role)
{
    if (strcmp(without_prefix(name), token_types) == 0) {
        *role = RF_PARAMETER_TOKEN_TYPE;
        return true;
    }
    for (int i = RF_PARAMETER_HEAD_WEIGHT; i <= RF_PARAMETER_SPAN_BIAS; i++) {
        size_t length = strlen(head_words[i].prefix);
        if (strncmp(name, head_words[i].prefix, length) == 0 &&
            strcmp(name + length, head_words[i].name) == 0) {
            *role = (rf_parameter_role)i;
            return true;
        }
    }
    return false;
}

static void add_of_head(builder *out, rf_parameter_role role, int64_t rows, int64_t columns)
{
    add(out, role, -1, head_words[role].prefix, head_words[role].name, rows, columns);
}

static void add_head(builder *out, const rf_config *config)
{
    int64_t joined = rf_config_output_width(config);
    if (rf_class_has_lm_head(config->model_class)) {
        add_of_head(out, RF_PARAMETER_HEAD_BIAS, config->vocabulary, 0);
        add_of_head(out, RF_PARAMETER_HEAD_WEIGHT, config->vocabulary, joined);
    }
    if (rf_config_classifies(config)) {
        add_of_head(out, RF_PARAMETER_CLASSIFIER_BIAS, config->hidden, 0);
        add_of_head(out, RF_PARAMETER_CLASSIFIER_WEIGHT, config->hidden, joined);
        add_of_head(out, RF_PARAMETER_LABEL_BIAS, config->labels, 0);
        add_of_head(out, RF_PARAMETER_LABEL_WEIGHT, config->labels, config->hidden);
    }
    if (config->model_class == RF_CLASS_ANSWERER) {
        add_of_head(out, RF_PARAMETER_SPAN_BIAS, 2, 0);
        add_of_head(out, RF_PARAMETER_SPAN_WEIGHT, 2, joined);
    }
}

static rf_status walk(builder *out, const rf_config *config)
{
    int64_t hidden = config->hidden;
    int64_t vocabulary = config->vocabulary;
    out->parameters->items_count = 0;
    add(out, RF_PARAMETER_WORD, -1, "reformer.embeddings.", "word_embeddings.weight", vocabulary,
        hidden);
    add_positions(out, config);
    if (config->type_vocabulary > 0) {
        add(out, RF_PARAMETER_TOKEN_TYPE, -1, "reformer.embeddings.",
            token_types + sizeof "embeddings." - 1, config->type_vocabulary, hidden);
    }
    for (int64_t layer = 0; layer < config->layers; layer++) {
        char prefix[64];
        (void)snprintf(prefix, sizeof prefix, "reformer.encoder.layers.%lld.", (long long)layer);
        add_attention(out, config, layer, prefix);
        add_feed_forward(out, config, layer, prefix);
    }
    add(out, RF_PARAMETER_FINAL_NORM_GAIN, -1, "reformer.encoder.", "layer_norm.weight",
        rf_config_output_width(config), 0);
    add(out, RF_PARAMETER_FINAL_NORM_BIAS, -1, "reformer.encoder.", "layer_norm.bias",
        rf_config_output_width(config), 0);
    add_head(out, config);
    return out->status;
}

/* Those that decay, or do not, behind what is placed already; or all that are frozen. */
static void place(rf_parameters *parameters, bool decays, bool frozen)
{
    for (int64_t i = 0; i < parameters->items_count; i++) {
        rf_parameter *item = &parameters->items[i];
        if (item->frozen == frozen && (frozen || item->decays == decays)) {
            item->offset = parameters->block_count;
            parameters->block_count += (item->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
}

void rf_parameters_lay_out(rf_parameters *parameters)
{
    parameters->block_count = 0;
    place(parameters, true, false);
    parameters->decay_count = parameters->block_count;
    place(parameters, false, false);
    int64_t trained = parameters->block_count;
    place(parameters, true, true);
    parameters->frozen_count = parameters->block_count - trained;
}

rf_status rf_parameters_create(const rf_config *config, rf_parameters *parameters, rf_error *error)
{
    builder out = {.parameters = parameters,
                   .counting = true,
                   .bare = config->model_class == RF_CLASS_BARE,
                   .error = error};
    void *memory = NULL;
    *parameters = (rf_parameters){0};
    RF_TRY(walk(&out, config));
    RF_TRY(rf_allocate_zeroed((size_t)parameters->items_count * sizeof *parameters->items,
                              "table of parameters", &memory, error));
    parameters->items = memory;
    out.counting = false;
    rf_status status = walk(&out, config);
    if (status != RF_OK) {
        rf_parameters_clear(parameters);
        return status;
    }
    rf_parameters_lay_out(parameters);
    return RF_OK;
}

void rf_parameters_clear(rf_parameters *parameters)
{
    for (int64_t i = 0; parameters->items != NULL && i < parameters->items_count; i++) {
        rf_release(parameters->items[i].name);
    }
    rf_release(parameters->items);
    *parameters = (rf_parameters){0};
}

const rf_parameter *rf_parameters_find(const rf_parameters *parameters, rf_parameter_role role,
                                       int64_t layer, int axis)
{
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *item = &parameters->items[i];
        if (item->role == role && item->layer == layer && item->axis == axis) {
            return item;
        }
    }
    return NULL;
}

const rf_parameter *rf_parameters_named(const rf_parameters *parameters, const char *name)
{
    for (int64_t i = 0; i < parameters->items_count; i++) {
        if (strcmp(without_prefix(parameters->items[i].name), without_prefix(name)) == 0) {
            return &parameters->items[i];
        }
    }
    return NULL;
}

rf_tensor rf_parameter_tensor_as(const rf_parameter *parameter, void *block, rf_dtype dtype)
{
    rf_tensor tensor = {.dtype = dtype, .rank = parameter->rank};
    size_t offset = (size_t)parameter->offset * rf_dtype_size(dtype);
    tensor.data = block != NULL ? (char *)block + offset : NULL;
    memcpy(tensor.shape, parameter->shape, sizeof tensor.shape);
    return tensor;
}

rf_tensor rf_parameter_tensor(const rf_parameter *parameter, float *block)
{
    return rf_parameter_tensor_as(parameter, block, RF_F32);
}

/* ---- first values ------------------------------------------------------------------------ */

/* Hugging Face's: normal with initializer_range, axial tables with axial_norm_std. */
static double standard_deviation_huggingface(const rf_parameter *parameter, const rf_config *config)
{
    bool axial =
        parameter->role == RF_PARAMETER_POSITION && config->positions == RF_POSITIONS_AXIAL;
    return axial ? config->axial_norm_std : config->initializer_range;
}

/* Ours (docs/numerics.md, "Initialisation"): each product keeps the variance of its input; what is
 * added to a stream is scaled down so that all half residuals together add about as much as one.
 * Positions are not drawn: see fill_sinusoids. */
static double standard_deviation_reformer(const rf_parameter *parameter, const rf_config *config)
{
    double residuals = sqrt(2.0 * (double)config->layers);
    switch (parameter->role) {
    case RF_PARAMETER_WORD:
        return 0.1;
    case RF_PARAMETER_TOKEN_TYPE:
    case RF_PARAMETER_HEAD_WEIGHT:
    case RF_PARAMETER_LABEL_WEIGHT:
    case RF_PARAMETER_SPAN_WEIGHT:
        return 0.02;
    case RF_PARAMETER_ATTENTION_OUTPUT:
    case RF_PARAMETER_OUTER_WEIGHT:
        return 1.0 / sqrt((double)parameter->shape[1]) / residuals;
    default: /* projections and the inner weight: 1 / sqrt(inputs) */
        return 1.0 / sqrt((double)parameter->shape[1]);
    }
}

/* A position table starts as sinusoids of its own index, sine and cosine in turn, with frequencies
 * from 1 to 1 / rows and a root mean square of 0.3, so that the product of two positions falls with
 * their distance from the first step on (the idea of Vaswani et al. 2017, section 3.5). */
static void fill_sinusoids(const rf_parameter *item, float *values)
{
    const double amplitude = 0.3 * sqrt(2.0);
    int64_t width = item->shape[item->rank - 1];
    int64_t rows = item->count / width;
    int64_t pairs = width / 2 > 1 ? width / 2 - 1 : 1;
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t column = 0; column < width; column++) {
            double frequency = pow((double)rows, -(double)(column / 2) / (double)pairs);
            double angle = (double)row * frequency;
            double wave = column % 2 == 0 ? sin(angle) : cos(angle);
            values[row * width + column] = (float)(amplitude * wave);
        }
    }
}

/* What is not drawn in our scheme. Keys of a local layer start as its queries, so that a token
 * looks first at what is like it, near it: with the sinusoids, at its neighbours. */
static void fill_structured(const rf_parameters *parameters, const rf_parameter *item, float *block)
{
    if (item->role == RF_PARAMETER_POSITION) {
        fill_sinusoids(item, block + item->offset);
    } else if (item->role == RF_PARAMETER_KEY) {
        const rf_parameter *query =
            rf_parameters_find(parameters, RF_PARAMETER_QUERY, item->layer, 0);
        if (query != NULL) {
            memcpy(block + item->offset, block + query->offset,
                   (size_t)item->count * sizeof *block);
        }
    }
}

typedef double (*deviation_rule)(const rf_parameter *parameter, const rf_config *config);

static void fill_normal(float *values, int64_t count, float deviation, const rf_random_key *key)
{
    rf_random_normals(key, 0, values, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        values[i] *= deviation;
    }
}

static bool is_gain(rf_parameter_role role)
{
    return role == RF_PARAMETER_ATTENTION_NORM_GAIN ||
           role == RF_PARAMETER_FEED_FORWARD_NORM_GAIN || role == RF_PARAMETER_FINAL_NORM_GAIN;
}

rf_status rf_parameters_initialise(const rf_parameters *parameters, const rf_config *config,
                                   const char *scheme, uint64_t seed, float *block, rf_error *error)
{
    bool ours = strcmp(scheme, "reformer") == 0;
    deviation_rule rule = ours                                 ? standard_deviation_reformer
                          : strcmp(scheme, "huggingface") == 0 ? standard_deviation_huggingface
                                                               : NULL;
    if (rule == NULL) {
        return rf_error_set(error, RF_ERR_ARGUMENT,
                            "initialisation is \"%.60s\", expected \"reformer\" or \"huggingface\"",
                            scheme);
    }
    memset(block, 0, (size_t)parameters->block_count * sizeof *block);
    for (int64_t i = 0; i < parameters->items_count; i++) {
        const rf_parameter *item = &parameters->items[i];
        float *values = block + item->offset;
        if (item->rank > 1) {
            rf_random_key key = {
                .seed = seed, .layer = (uint32_t)i, .purpose = RF_PURPOSE_INITIALISE};
            fill_normal(values, item->count, (float)rule(item, config), &key);
        }
        if (ours) {
            fill_structured(parameters, item, block);
        }
        for (int64_t j = 0; is_gain(item->role) && j < item->count; j++) {
            values[j] = 1.0F;
        }
    }
    return RF_OK;
}
