/* The beginning of a step: each token's position is counted, and its embedding is made by the
 * operations of a whole sequence. */
#include "ops/cpu/cpu.h"

/* ids [batch] without negative ones, and the embedding of a position [1, width]. */
size_t rf_cpu_step_begin_scratch_size(const rf_device *device, const void *arguments)
{
    (void)device;
    const rf_step_begin *begin = arguments;
    return (size_t)begin->table.shape[1] * sizeof(float) +
           (size_t)begin->ids.shape[0] * sizeof(int32_t);
}

static void count_token(const rf_step_begin *begin)
{
    uint8_t *kept = begin->kept.data;
    for (int64_t row = 0; row < begin->kept.shape[0]; row++) {
        int32_t *state = (int32_t *)begin->state.data + row * RF_STEP_WORDS;
        state[RF_STEP_POSITION]++;
        state[RF_STEP_LISTED] = state[RF_STEP_LISTED_NEXT];
        if (state[RF_STEP_POSITION] + 1 >= begin->listed_from) {
            state[RF_STEP_LISTED_NEXT] = 1;
        }
        kept[row * begin->kept.shape[1] + state[RF_STEP_POSITION]] = 1;
    }
}

/* y [width] += the embedding of a row's position, which is worked out in place [width]. */
static rf_status add_position(rf_device *device, const rf_step_begin *begin, int64_t row,
                              float *place, rf_error *error)
{
    int64_t width = begin->table.shape[1];
    float *y = (float *)begin->y.data + row * width;
    rf_position position = {
        .kind = begin->position.kind,
        .axes = begin->position.axes,
        .length = 1,
        .offset = ((const int32_t *)begin->state.data)[row * RF_STEP_WORDS + RF_STEP_POSITION],
        .y = rf_tensor_2(place, RF_F32, 1, width)};
    memcpy(position.tables, begin->position.tables, sizeof position.tables);
    RF_TRY(rf_cpu_position(device, &position, NULL, error));
    for (int64_t i = 0; i < width; i++) {
        y[i] += place[i];
    }
    return RF_OK;
}

rf_status rf_cpu_step_begin(rf_device *device, const void *arguments, void *scratch,
                            rf_error *error)
{
    const rf_step_begin *begin = arguments;
    const int32_t *from = begin->ids.data;
    int64_t batch = begin->ids.shape[0];
    int64_t width = begin->table.shape[1];
    float *place = scratch;
    int32_t *ids = (int32_t *)(void *)(place + width);
    count_token(begin);
    for (int64_t row = 0; row < batch; row++) {
        ids[row] = from[row] < 0 ? 0 : from[row];
    }
    rf_embedding embedding = {
        .ids = rf_tensor_1(ids, RF_I32, batch), .table = begin->table, .y = begin->y};
    RF_TRY(rf_cpu_embedding(device, &embedding, NULL, error));
    for (int64_t row = 0; row < batch; row++) {
        RF_TRY(add_position(device, begin, row, place, error));
    }
    return RF_OK;
}
