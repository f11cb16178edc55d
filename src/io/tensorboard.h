/* TensorBoard event files: records of (length, masked CRC-32C, protobuf Event, masked CRC-32C);
 * scalars and texts. The messages are written with protobuf-c where it was found at build time;
 * without it rf_tensorboard_create says RF_ERR_UNSUPPORTED. */
#ifndef RF_IO_TENSORBOARD_H
#define RF_IO_TENSORBOARD_H

#include "base/status.h"

#include <stdint.h>

typedef struct rf_tensorboard rf_tensorboard;
/* Creates events.out.tfevents.SECONDS.reformer in the folder. */
RF_MUST_CHECK rf_status rf_tensorboard_create(const char *folder, rf_tensorboard **board,
                                              rf_error *error);
RF_MUST_CHECK rf_status rf_tensorboard_scalar(rf_tensorboard *board, const char *tag, int64_t step,
                                              double value, rf_error *error);
RF_MUST_CHECK rf_status rf_tensorboard_text(rf_tensorboard *board, const char *tag, int64_t step,
                                            const char *text, rf_error *error);
RF_MUST_CHECK rf_status rf_tensorboard_flush(rf_tensorboard *board, rf_error *error);
void rf_tensorboard_close(rf_tensorboard *board); /* NULL allowed */

#endif
