/* Norm, products, activation and residual of a few rows: the operations of these names, one after
 * the other. */
#include "ops/cpu/layer_cache.h"

/* What the parts are given: z, the result that goes to a stream, and scratch of their own. */
typedef struct places {
    rf_tensor z, result;
    char *scratch;
    size_t size; /* bytes of all */
} places;

static int64_t input_width(const rf_step_project *project)
{
    return project->projections[0].weight.shape[1];
}

static rf_gemm product_of(const rf_step_project *project, int index, const rf_tensor *z,
                          const rf_tensor *y)
{
    const rf_projection *one = &project->projections[index];
    return (rf_gemm){.a = rf_matrix_of(z),
                     .b = rf_matrix_of(&one->weight),
                     .c = rf_matrix_of(y),
                     .transpose_b = true,
                     .bias = one->bias};
}

static bool has_norm(const rf_step_project *project)
{
    return !rf_tensor_is_absent(&project->norm.gain);
}

static bool has_stream(const rf_step_project *project)
{
    return !rf_tensor_is_absent(&project->residual.stream);
}

/* Where y of product `index` goes. */
static rf_tensor result_of(const rf_step_project *project, int index, const places *at)
{
    return has_stream(project) ? at->result : project->projections[index].y;
}

/* Lay them out in scratch, or only count the bytes. */
static places places_of(const rf_device *device, const rf_step_project *project, char *scratch)
{
    int64_t rows = project->norm.x.shape[0];
    int64_t n = project->projections[0].weight.shape[0];
    rf_dtype dtype = project->projections[0].weight.dtype;
    places at = {.z = project->norm.x};
    size_t most = 0;
    if (has_norm(project) || dtype != RF_F32) {
        at.z = rf_tensor_2(scratch, dtype, rows, input_width(project));
        at.size = rf_cpu_aligned(rf_tensor_size(&at.z));
    }
    if (has_stream(project)) {
        at.result = rf_tensor_2(scratch == NULL ? NULL : scratch + at.size, RF_F32, rows, n);
        at.size += rf_cpu_aligned(rf_tensor_size(&at.result));
    }
    at.scratch = scratch == NULL ? NULL : scratch + at.size;
    for (int i = 0; i < project->count; i++) {
        rf_tensor y = result_of(project, i, &at);
        rf_gemm gemm = product_of(project, i, &at.z, &y);
        size_t size = rf_cpu_gemm_scratch_size(device, &gemm);
        most = size > most ? size : most;
    }
    at.size += most;
    return at;
}

size_t rf_cpu_step_project_scratch_size(const rf_device *device, const void *arguments)
{
    return places_of(device, arguments, NULL).size;
}

rf_status rf_cpu_step_project(rf_device *device, const void *arguments, void *scratch,
                              rf_error *error)
{
    const rf_step_project *project = arguments;
    places at = places_of(device, project, scratch);
    if (has_norm(project)) {
        rf_layer_norm norm = project->norm;
        norm.y = at.z;
        RF_TRY(rf_cpu_layer_norm(device, &norm, NULL, error));
    } else if (at.z.dtype != RF_F32) {
        RF_TRY(rf_cpu_cast(device, &(rf_cast){.x = project->norm.x, .y = at.z}, NULL, error));
    }
    for (int i = 0; i < project->count; i++) {
        rf_tensor y = result_of(project, i, &at);
        rf_gemm gemm = product_of(project, i, &at.z, &y);
        RF_TRY(rf_cpu_gemm(device, &gemm, at.scratch, error));
        if (project->activation != RF_ACTIVATION_LINEAR) {
            rf_activate activate = {.x = y, .y = y, .kind = project->activation};
            RF_TRY(rf_cpu_activate(device, &activate, NULL, error));
        }
    }
    if (has_stream(project)) {
        rf_residual residual = project->residual;
        residual.value = at.result;
        RF_TRY(rf_cpu_residual(device, &residual, NULL, error));
    }
    return RF_OK;
}
