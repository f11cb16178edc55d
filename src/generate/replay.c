/* See the header. One launch in place of some hundred; what changes from run to run, the work reads
 * from device memory. */
#include "generate/replay.h"

static rf_status record(rf_replay *replay, rf_device *device, rf_work work, void *user,
                        rf_error *error)
{
    void *recording = NULL;
    RF_TRY(rf_device_record_begin(device, error));
    rf_status status = work(user, error);
    rf_status ended = rf_device_record_end(device, &recording, status == RF_OK ? error : NULL);
    if (status != RF_OK || ended != RF_OK) {
        rf_device_release_recording(device, recording);
        return status != RF_OK ? status : ended;
    }
    replay->recording = recording;
    return RF_OK;
}

rf_status rf_replay_run(rf_replay *replay, rf_device *device, rf_work work, void *user,
                        rf_error *error)
{
    if (!rf_device_can_record(device) || !replay->has_run) {
        RF_TRY(work(user, error));
        replay->has_run = true;
        return RF_OK;
    }
    if (replay->recording == NULL) {
        RF_TRY(record(replay, device, work, user, error));
    }
    return rf_device_replay(device, replay->recording, error);
}

void rf_replay_clear(rf_replay *replay, rf_device *device)
{
    rf_device_release_recording(device, replay->recording);
    *replay = (rf_replay){0};
}
