/* From the tokens of one text to the caller's bytes: stop strings, UTF-8, pieces of a size. */
#ifndef RF_GENERATE_WRITER_H
#define RF_GENERATE_WRITER_H

#include "generate/request.h"
#include "generate/stop.h"
#include "generate/utf8.h"

enum { RF_WRITER_CHUNK = 256 };

/* Clear after any outcome of rf_writer_init. */
typedef struct rf_writer {
    const rf_request *request; /* borrowed */
    int64_t sample;            /* number of the text; -1: nothing is handed out */
    rf_stop stop;
    rf_utf8_filter filter;
    uint8_t *stop_text;             /* [longest stop string + 1], owned: what a byte lets go */
    uint8_t chunk[RF_WRITER_CHUNK]; /* bytes on their way to the caller */
    size_t chunk_size;
    bool at_start; /* of the text: the blank that its first token may begin with is not of the text
                    */
} rf_writer;

/* at_start: nothing stands before the text. RF_ERR_ARGUMENT for a stop string that is none. */
RF_MUST_CHECK rf_status rf_writer_init(rf_writer *writer, const rf_request *request, int64_t sample,
                                       bool at_start, rf_error *error);
/* Release what init took. */
void rf_writer_clear(rf_writer *writer);
/* One more token; *is_stopped: it has completed a stop string. RF_ERR_CANCELLED if the caller
 * refused the bytes. */
RF_MUST_CHECK rf_status rf_writer_put(rf_writer *writer, int32_t token, bool *is_stopped,
                                      rf_error *error);
/* The end of the text: what was held back goes out. */
RF_MUST_CHECK rf_status rf_writer_finish(rf_writer *writer, rf_error *error);

#endif
