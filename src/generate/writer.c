/* Bytes of a text as its tokens come; see the header. */
#include "generate/writer.h"

#include "base/memory.h"

enum { TOKEN_BYTES = 1024, BYTES_PER_BYTE = 6 /* out of the UTF-8 filter, at most */ };

rf_status rf_writer_init(rf_writer *writer, const rf_request *request, int64_t sample,
                         bool at_start, rf_error *error)
{
    const rf_generate_options *options = request->options;
    void *memory = NULL;
    *writer = (rf_writer){.request = request, .sample = sample, .at_start = at_start};
    RF_TRY(rf_stop_init(&writer->stop, options->stop, options->stop_count, error));
    RF_TRY(rf_allocate(writer->stop.longest + 1, "stop strings", &memory, error));
    writer->stop_text = memory;
    return RF_OK;
}

void rf_writer_clear(rf_writer *writer)
{
    rf_stop_clear(&writer->stop);
    rf_release(writer->stop_text);
    *writer = (rf_writer){0};
}

static rf_status hand_over(rf_writer *writer, rf_error *error)
{
    const rf_generate_options *options = writer->request->options;
    size_t size = writer->chunk_size;
    writer->chunk_size = 0;
    if (size == 0 || options->write == NULL || writer->sample < 0) {
        return RF_OK;
    }
    return options->write(options->user, writer->sample, writer->chunk, size) != 0
               ? rf_error_set(error, RF_ERR_CANCELLED, "generation was stopped on request")
               : RF_OK;
}

static rf_status make_room(rf_writer *writer, rf_error *error)
{
    return writer->chunk_size + BYTES_PER_BYTE > RF_WRITER_CHUNK ? hand_over(writer, error) : RF_OK;
}

static rf_status put_bytes(rf_writer *writer, const uint8_t *bytes, size_t size, rf_error *error)
{
    for (size_t i = 0; i < size; i++) {
        RF_TRY(make_room(writer, error));
        uint8_t *to = writer->chunk + writer->chunk_size;
        if (writer->request->options->whole_characters) {
            writer->chunk_size += rf_utf8_feed(&writer->filter, bytes[i], to);
        } else {
            *to = bytes[i];
            writer->chunk_size++;
        }
    }
    return RF_OK;
}

rf_status rf_writer_put(rf_writer *writer, int32_t token, bool *is_stopped, rf_error *error)
{
    uint8_t bytes[TOKEN_BYTES];
    size_t size = rf_tokenizer_decode(writer->request->tokenizer, token, bytes, sizeof bytes);
    size_t first = writer->at_start && size > 0 && bytes[0] == ' ' ? 1 : 0;
    writer->at_start = writer->at_start && size == 0;
    for (size_t i = first; i < size && !writer->stop.is_found; i++) {
        size_t count = rf_stop_feed(&writer->stop, bytes[i], writer->stop_text);
        RF_TRY(put_bytes(writer, writer->stop_text, count, error));
    }
    *is_stopped = writer->stop.is_found;
    return hand_over(writer, error);
}

rf_status rf_writer_finish(rf_writer *writer, rf_error *error)
{
    size_t count = rf_stop_finish(&writer->stop, writer->stop_text);
    RF_TRY(put_bytes(writer, writer->stop_text, count, error));
    if (writer->request->options->whole_characters) {
        RF_TRY(make_room(writer, error));
        writer->chunk_size += rf_utf8_finish(&writer->filter, writer->chunk + writer->chunk_size);
    }
    return hand_over(writer, error);
}
