/* rf_project from norm, gemm, dropout and residual. Scratch: z where it is not kept, the product of
 * a residual, then what one of the parts needs at most. */
#include "ops/project.h"

/* What the parts are given. */
typedef struct places {
    rf_tensor z, result; /* result: of a product that goes to a stream */
    char *scratch;       /* of one part at a time */
    size_t size;         /* bytes of all */
} places;

static bool has_norm(const rf_project *project)
{
    return !rf_tensor_is_absent(&project->norm.gain);
}

static bool has_stream(const rf_project *project)
{
    return !rf_tensor_is_absent(&project->residual.stream);
}

static rf_layer_norm norm_of(const rf_project *project, const places *at)
{
    rf_layer_norm norm = project->norm;
    norm.y = at->z;
    return norm;
}

/* Where y of product `index` goes. */
static rf_tensor result_of(const rf_project *project, int index, const places *at)
{
    return has_stream(project) ? at->result : project->products[index].y;
}

static rf_gemm product_of(const rf_project *project, int index, const places *at)
{
    const rf_product *product = &project->products[index];
    const rf_tensor y = result_of(project, index, at);
    return (rf_gemm){.a = rf_matrix_of(&at->z),
                     .b = product->weight,
                     .c = rf_matrix_of(&y),
                     .transpose_b = true,
                     .bias = product->bias,
                     .relu = project->relu};
}

static rf_dropout dropout_of(const rf_project *project, const rf_tensor *y)
{
    return (rf_dropout){.x = *y,
                        .y = *y,
                        .probability = project->probability,
                        .key = project->key,
                        .first_row = project->first_row};
}

static rf_residual residual_of(const rf_project *project, const places *at)
{
    rf_residual residual = project->residual;
    residual.value = at->result;
    return residual;
}

/* Room for a tensor behind what there is; its data is NULL while bytes are only counted. */
static rf_tensor room(places *at, char *scratch, rf_dtype dtype, int64_t rows, int64_t columns)
{
    const size_t alignment = 256;
    rf_tensor tensor =
        rf_tensor_2(scratch == NULL ? NULL : scratch + at->size, dtype, rows, columns);
    at->size += (rf_tensor_size(&tensor) + alignment - 1) / alignment * alignment;
    return tensor;
}

static void part_scratch(const rf_device *device, rf_op op, const void *arguments, size_t *most)
{
    const rf_op_entry *entry = &device->ops[op];
    const size_t size = entry->scratch_size != NULL ? entry->scratch_size(device, arguments) : 0;
    *most = size > *most ? size : *most;
}

static size_t parts_scratch(const rf_device *device, const rf_project *project, const places *at)
{
    size_t most = 0;
    if (has_norm(project)) {
        const rf_layer_norm norm = norm_of(project, at);
        part_scratch(device, RF_OP_LAYER_NORM, &norm, &most);
    }
    for (int i = 0; i < project->count; i++) {
        const rf_gemm gemm = product_of(project, i, at);
        part_scratch(device, RF_OP_GEMM, &gemm, &most);
    }
    return most;
}

/* Lay out scratch, or only count its bytes where it is NULL. */
static places places_of(const rf_device *device, const rf_project *project, char *scratch)
{
    const rf_matrix *weight = &project->products[0].weight;
    const rf_tensor *input = has_norm(project) ? &project->norm.x : &project->x;
    const int64_t rows = input->shape[0];
    places at = {.z = has_norm(project) ? project->norm.y : project->x};
    if (rf_tensor_is_absent(&at.z)) {
        at.z = room(&at, scratch, weight->dtype, rows, weight->columns);
    }
    if (has_stream(project)) {
        at.result = room(&at, scratch, weight->dtype, rows, weight->rows);
    }
    at.scratch = scratch == NULL ? NULL : scratch + at.size;
    at.size += parts_scratch(device, project, &at);
    return at;
}

size_t rf_project_in_parts_scratch_size(const rf_device *device, const void *arguments)
{
    return places_of(device, arguments, NULL).size;
}

rf_status rf_project_in_parts(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_project *project = arguments;
    const rf_op_entry *ops = device->ops;
    const places at = places_of(device, project, scratch);
    if (has_norm(project)) {
        const rf_layer_norm norm = norm_of(project, &at);
        RF_TRY(ops[RF_OP_LAYER_NORM].run(device, &norm, at.scratch, error));
    }
    for (int i = 0; i < project->count; i++) {
        const rf_gemm gemm = product_of(project, i, &at);
        RF_TRY(ops[RF_OP_GEMM].run(device, &gemm, at.scratch, error));
        if (project->probability > 0.0F) {
            const rf_tensor y = result_of(project, i, &at);
            const rf_dropout dropout = dropout_of(project, &y);
            RF_TRY(ops[RF_OP_DROPOUT].run(device, &dropout, at.scratch, error));
        }
    }
    if (has_stream(project)) {
        const rf_residual residual = residual_of(project, &at);
        RF_TRY(ops[RF_OP_RESIDUAL].run(device, &residual, at.scratch, error));
    }
    return RF_OK;
}
