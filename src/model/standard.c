/* The ordinary residual stack, x += f(norm(x)), of the same half residuals that the reversible one
 * has (Vaswani et al. 2017, with the norm inside the branch: Xiong et al. 2020). A half residual
 * adds to the stream while it still reads it, a group of heads or a slice of rows at a time, so
 * that it reads a copy: the one that is stored for the backward. Inside a half residual everything
 * is computed again from that copy, as in a reversible stack. Memory: a stream a half residual. */
#include "model/reversible.h"

/* What a half residual reads, [rows of the batch, hidden]: where no backward follows all share one
 * place. */
static rf_tensor context_of(const rf_reversible *stack, int64_t half)
{
    const rf_tensor *stream = &stack->streams[0];
    const bool keeps = stack->stored.shape[0] > 1;
    rf_tensor place = rf_tensor_rows(&stack->stored, keeps ? half : 0, 1);
    return rf_tensor_2(place.data, stream->dtype, stream->shape[0], stream->shape[1]);
}

static rf_status copy(rf_pass *pass, const rf_tensor *to, const rf_tensor *from, rf_error *error)
{
    return rf_device_copy(pass->context.device, to->data, from->data, rf_tensor_size(from), error);
}

rf_status rf_standard_forward(rf_pass *pass, const rf_reversible *stack, rf_error *error)
{
    const rf_tensor *stream = &stack->streams[0];
    for (int64_t half = 0; half < 2 * pass->config->layers; half++) {
        if (rf_stack_is_told(pass, half / 2)) {
            continue;
        }
        if (half % 2 == 0) {
            RF_TRY(rf_stack_show(pass, stack, half / 2, error));
        }
        const rf_tensor context = context_of(stack, half);
        RF_TRY(copy(pass, &context, stream, error));
        RF_TRY(rf_halves[half % 2]->forward(pass, half / 2, stream, &context, error));
    }
    return rf_stack_show(pass, stack, pass->config->layers, error);
}

/* The gradient of x + f(norm(x)) is what comes in and what the branch adds to it. The branch reads
 * what comes in until its end, so that it adds to a copy; the two change places. */
rf_status rf_standard_backward(rf_pass *pass, const rf_reversible *stack, rf_error *error)
{
    for (int64_t half = 2 * pass->config->layers - 1; half >= 0; half--) {
        if (rf_stack_is_told(pass, half / 2)) {
            continue;
        }
        const rf_tensor *incoming = &stack->gradients[(half + 1) % 2];
        const rf_tensor *outgoing = &stack->gradients[half % 2];
        const rf_tensor context = context_of(stack, half);
        RF_TRY(copy(pass, outgoing, incoming, error));
        RF_TRY(rf_halves[half % 2]->backward(pass, half / 2, NULL, &context, incoming, outgoing,
                                             error));
    }
    return RF_OK;
}
