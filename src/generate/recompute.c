/* Each text anew for each token; see the header. Time: a forward pass of the text a token and row.
 * Memory: 4 bytes a token and row beside that pass's. */
#include "generate/recompute.h"

bool rf_recompute_is_needed(const rf_config *config)
{
    return rf_config_lsh_layers(config) > 0 && !rf_lsh_options_are_plain(&config->lsh_options);
}

/* Of a row, from a token on: where its ids lie on the device. */
static int32_t *text_at(const rf_session *session, int64_t row, int64_t token)
{
    return (int32_t *)session->texts.data + row * session->capacity + token;
}

rf_status rf_recompute_begin(rf_session *session, const rf_prompt *prompt, rf_error *error)
{
    const size_t size = (size_t)prompt->count * sizeof(int32_t);
    for (int64_t row = 0; row < prompt->rows; row++) {
        const int32_t *ids = prompt->ids + (prompt->shared ? 0 : row * prompt->count);
        RF_TRY(rf_device_upload(session->model->device,
                                text_at(session, prompt->first_row + row, 0), ids, size, error));
    }
    return RF_OK;
}

/* One row, whose next token is `id`. */
static rf_status run_row(rf_session *session, int64_t row, int32_t id, rf_error *error)
{
    rf_device *device = session->model->device;
    const int64_t length = session->rows[row].length;
    const int32_t position = (int32_t)length;
    int32_t *state = (int32_t *)session->state.data + row * RF_STEP_WORDS + RF_STEP_POSITION;
    uint8_t *kept = session->host_kept + row * session->capacity;
    bool is_masked = false;
    for (int64_t token = 0; token < length; token++) {
        is_masked = is_masked || kept[token] == 0;
    }
    kept[length] = 1;
    RF_TRY(rf_device_upload(device, text_at(session, row, length), &id, sizeof id, error));
    RF_TRY(rf_device_download(device, session->host_text, text_at(session, row, 0),
                              (size_t)(length + 1) * sizeof id, error));
    RF_TRY(rf_session_run_text(session,
                               &(rf_prompt){.ids = session->host_text,
                                            .mask = is_masked ? kept : NULL,
                                            .count = length + 1,
                                            .first_row = row,
                                            .rows = 1},
                               error));
    return rf_device_upload(device, state, &position, sizeof position, error);
}

rf_status rf_recompute_step(rf_session *session, bool draws, rf_error *error)
{
    int32_t *ids = session->host_report + 1;
    RF_TRY(rf_device_download(session->model->device, ids, session->ids.data,
                              rf_tensor_size(&session->ids), error));
    for (int64_t row = 0; row < session->batch; row++) {
        RF_TRY(run_row(session, row, ids[row], error));
    }
    return draws ? rf_op_sample(&session->context, &session->sample, error) : RF_OK;
}
