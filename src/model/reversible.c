/* accumulator += f(context), then the streams change roles: attention adds to the first from the
 * second, feed-forward to the second from the first. The backward runs the list in reverse, each
 * half residual taking back what it added, so that two streams are all that is kept at any depth
 * (Gomez et al. 2017; Kitaev et al. 2020, section 3). With fixed32 streams the inverse is exact:
 * integer addition, and f recomputed from the same bits by the same operations. */
#include "model/reversible.h"

const rf_half_residual *const rf_halves[2] = {&rf_half_attention, &rf_half_feed_forward};

static rf_status checksum(rf_pass *pass, const rf_reversible *stack, int64_t row, int64_t half,
                          const rf_tensor *stream, rf_error *error)
{
    if (rf_tensor_is_absent(&stack->checksums)) {
        return RF_OK;
    }
    int64_t count = stack->checksums.shape[1];
    rf_tensor flat = rf_tensor_reshape_2(&stack->checksums, 2 * count, 1);
    rf_tensor one = rf_tensor_rows(&flat, row * count + half, 1);
    one.rank = 1;
    return rf_op_reduce(&pass->context,
                        &(rf_reduce){.kind = RF_REDUCE_CHECKSUM, .x = *stream, .y = one}, error);
}

static rf_status store(rf_pass *pass, const rf_reversible *stack, int64_t half,
                       const rf_tensor *stream, bool restore, rf_error *error)
{
    if (rf_tensor_is_absent(&stack->stored)) {
        return RF_OK;
    }
    rf_tensor place = rf_tensor_rows(&stack->stored, half, 1);
    void *to = restore ? stream->data : place.data;
    const void *from = restore ? place.data : stream->data;
    return rf_device_copy(pass->context.device, to, from, rf_tensor_size(stream), error);
}

rf_status rf_stack_show(rf_pass *pass, const rf_reversible *stack, int64_t layer, rf_error *error)
{
    if (pass->context.device->dry) {
        return RF_OK;
    }
    if (pass->hooks->streams != NULL) {
        RF_TRY(pass->hooks->streams(pass->hooks->user, layer, stack->streams, error));
    }
    if (pass->hooks->hidden == NULL) {
        return RF_OK;
    }
    return pass->hooks->hidden(pass->hooks->user, layer, &stack->streams[1], error);
}

bool rf_stack_is_told(const rf_pass *pass, int64_t layer)
{
    const rf_config *config = pass->config;
    for (int64_t earlier = 0; rf_pass_is_sample(pass) && earlier < layer; earlier++) {
        if (config->kinds[earlier] == config->kinds[layer]) {
            return true;
        }
    }
    return false;
}

rf_status rf_reversible_forward(rf_pass *pass, const rf_reversible *stack, rf_error *error)
{
    int64_t count = 2 * pass->config->layers;
    for (int64_t half = 0; half < count; half++) {
        if (rf_stack_is_told(pass, half / 2)) {
            continue;
        }
        const rf_tensor *accumulator = &stack->streams[half % 2];
        const rf_tensor *context = &stack->streams[(half + 1) % 2];
        if (half % 2 == 0) {
            RF_TRY(rf_stack_show(pass, stack, half / 2, error));
        }
        RF_TRY(checksum(pass, stack, 0, half, accumulator, error));
        RF_TRY(store(pass, stack, half, accumulator, false, error));
        RF_TRY(rf_halves[half % 2]->forward(pass, half / 2, accumulator, context, error));
    }
    return rf_stack_show(pass, stack, pass->config->layers, error);
}

rf_status rf_reversible_backward(rf_pass *pass, const rf_reversible *stack, rf_error *error)
{
    for (int64_t half = 2 * pass->config->layers - 1; half >= 0; half--) {
        if (rf_stack_is_told(pass, half / 2)) {
            continue;
        }
        int64_t a = half % 2;
        int64_t c = (half + 1) % 2;
        RF_TRY(rf_halves[a]->backward(pass, half / 2, &stack->streams[a], &stack->streams[c],
                                      &stack->gradients[a], &stack->gradients[c], error));
        RF_TRY(checksum(pass, stack, 1, half, &stack->streams[a], error));
        RF_TRY(store(pass, stack, half, &stack->streams[a], true, error));
    }
    return RF_OK;
}
