/* TensorBoard event files: each record is the length (u64), the masked CRC-32C of those 8 bytes, a
 * protobuf Event, and its masked CRC-32C. Scalars are stored as f32 (the format's simple_value),
 * texts as string tensors of the "text" plug-in. */
#include "io/tensorboard.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

#if RF_WITH_PROTOBUF_C

#include "io/tensorboard.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct rf_tensorboard {
    char *path;
    FILE *stream;
};

enum { TYPE_STRING = 7, CLASS_TENSOR = 2 };

static rf_status fail(const rf_tensorboard *board, const char *action, rf_error *error)
{
    int number = errno;
    char reason[128] = "unknown reason";
    (void)strerror_r(number, reason, sizeof reason);
    return rf_error_set(error, number == ENOSPC ? RF_ERR_NO_SPACE : RF_ERR_FILE,
                        "%s: cannot %s: %s", board->path, action, reason);
}

/* Little-endian; the mask keeps a checksum of data that holds checksums from being trivial. */
static void put_masked_checksum(uint8_t to[4], const void *data, size_t size)
{
    uint32_t crc = rf_crc32c(data, size);
    uint32_t masked = (crc >> 15 | crc << 17) + 0xA282EAD8U;
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(masked >> 8 * i);
    }
}

enum { HEADER_BYTES = 12, FOOTER_BYTES = 4 };

static rf_status write_event(rf_tensorboard *board, TensorboardEvent__Event *event, rf_error *error)
{
    event->wall_time = rf_clock_wall_seconds();
    uint64_t length = tensorboard_event__event__get_packed_size(event);
    void *memory = NULL;
    RF_TRY(rf_allocate((size_t)length + HEADER_BYTES + FOOTER_BYTES, "an event", &memory, error));
    uint8_t *record = memory;
    for (int i = 0; i < 8; i++) {
        record[i] = (uint8_t)(length >> 8 * i);
    }
    put_masked_checksum(record + 8, record, 8);
    (void)tensorboard_event__event__pack(event, record + HEADER_BYTES);
    put_masked_checksum(record + HEADER_BYTES + length, record + HEADER_BYTES, (size_t)length);
    size_t size = (size_t)length + HEADER_BYTES + FOOTER_BYTES;
    size_t written = fwrite(record, 1, size, board->stream);
    rf_release(memory);
    return written == size ? RF_OK : fail(board, "write", error);
}

static rf_status write_value(rf_tensorboard *board, int64_t step,
                             TensorboardEvent__SummaryValue *value, rf_error *error)
{
    TensorboardEvent__Summary summary = TENSORBOARD_EVENT__SUMMARY__INIT;
    TensorboardEvent__Event event = TENSORBOARD_EVENT__EVENT__INIT;
    summary.n_value = 1;
    summary.value = &value;
    event.step = step;
    event.what_case = TENSORBOARD_EVENT__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(board, &event, error);
}

/* protobuf-c's structs hold char pointers that are not const, though packing only reads. */
static char *borrowed(const char *text)
{
    return (char *)(uintptr_t)text;
}

static rf_status begin(rf_tensorboard *board, const char *folder, rf_error *error)
{
    RF_TRY(rf_folder_create(folder, error));
    RF_TRY(rf_string_format(&board->path, error, "%s/events.out.tfevents.%010" PRId64 ".reformer",
                            folder, (int64_t)rf_clock_wall_seconds()));
    board->stream = fopen(board->path, "ab");
    if (board->stream == NULL) {
        return fail(board, "create", error);
    }
    TensorboardEvent__Event event = TENSORBOARD_EVENT__EVENT__INIT;
    event.what_case = TENSORBOARD_EVENT__EVENT__WHAT_FILE_VERSION;
    event.file_version = borrowed("brain.Event:2");
    RF_TRY(write_event(board, &event, error));
    return rf_tensorboard_flush(board, error);
}

rf_status rf_tensorboard_create(const char *folder, rf_tensorboard **board, rf_error *error)
{
    *board = NULL;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(sizeof(rf_tensorboard), "an event file", &memory, error));
    rf_tensorboard *created = memory;
    rf_status status = begin(created, folder, error);
    if (status != RF_OK) {
        rf_tensorboard_close(created);
        return status;
    }
    *board = created;
    return RF_OK;
}

rf_status rf_tensorboard_scalar(rf_tensorboard *board, const char *tag, int64_t step, double value,
                                rf_error *error)
{
    TensorboardEvent__SummaryValue scalar = TENSORBOARD_EVENT__SUMMARY_VALUE__INIT;
    scalar.tag = borrowed(tag);
    scalar.value_case = TENSORBOARD_EVENT__SUMMARY_VALUE__VALUE_SIMPLE_VALUE;
    scalar.simple_value = (float)value;
    return write_value(board, step, &scalar, error);
}

rf_status rf_tensorboard_flush(rf_tensorboard *board, rf_error *error)
{
    return fflush(board->stream) == 0 ? RF_OK : fail(board, "write", error);
}

void rf_tensorboard_close(rf_tensorboard *board)
{
    if (board == NULL) {
        return;
    }
    if (board->stream != NULL) {
        (void)fclose(board->stream);
    }
    rf_release(board->path);
    rf_release(board);
}

#else

static rf_status lacking(rf_error *error)
{
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "this build was made without protobuf-c, which event files for TensorBoard "
                        "need; build it with libprotobuf-c and protoc-c installed");
}

rf_status rf_tensorboard_create(const char *folder, rf_tensorboard **board, rf_error *error)
{
    (void)folder;
    *board = NULL;
    return lacking(error);
}

rf_status rf_tensorboard_scalar(rf_tensorboard *board, const char *tag, int64_t step, double value,
                                rf_error *error)
{
    (void)board;
    (void)tag;
    (void)step;
    (void)value;
    return lacking(error);
}

rf_status rf_tensorboard_flush(rf_tensorboard *board, rf_error *error)
{
    (void)board;
    return lacking(error);
}

void rf_tensorboard_close(rf_tensorboard *board)
{
    (void)board;
}

#endif
