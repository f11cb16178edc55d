/* Whole files, plain or compressed. The output grows by doubling up to the caller's limit, so a
 * small file that unpacks to more than that (a bomb) costs at most the limit. Several members in
 * one file (cat a.gz b.gz) follow one another. */
#include "io/compressed.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdbool.h>
#include <string.h>

#if RF_WITH_LZMA
#include <lzma.h>
#endif
#if RF_WITH_ZLIB
#define ZLIB_CONST /* input pointers are const */
#include <zlib.h>
#endif
#if RF_WITH_ZSTD
#include <zstd.h>
#endif

/* Where decoders write. */
typedef struct sink {
    const char *path;
    uint8_t *bytes;
    size_t size, capacity, limit;
} sink;

typedef rf_status (*decoder)(const rf_mapping *from, sink *to, rf_error *error);

#if RF_WITH_LZMA || RF_WITH_ZLIB || RF_WITH_ZSTD
/* Make room for at least one more byte; capacity stays one byte above what may be filled, for a NUL
 * at the end. */
static rf_status grow(sink *to, rf_error *error)
{
    if (to->capacity > 0 && to->size < to->capacity - 1) {
        return RF_OK;
    }
    if (to->size > to->limit) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: unpacks to more than the %zu bytes allowed",
                            to->path, to->limit);
    }
    size_t capacity = to->capacity == 0 ? (size_t)1 << 16 : 2 * to->capacity;
    if (capacity > to->limit + 2) {
        capacity = to->limit + 2; /* one byte over the limit tells that there is more */
    }
    void *memory = to->bytes;
    RF_TRY(rf_reallocate(&memory, to->capacity, capacity, to->path, error));
    to->bytes = memory;
    to->capacity = capacity;
    return RF_OK;
}

static rf_status damaged(const char *path, const char *format, const char *reason, rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: damaged %s data: %s", path, format, reason);
}
#endif

#if !RF_WITH_LZMA || !RF_WITH_ZLIB || !RF_WITH_ZSTD
static rf_status lacking(const char *path, const char *library, const char *command,
                         rf_error *error)
{
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: this build was made without %s; unpack it first: %s %s", path, library,
                        command, path);
}
#endif

#if RF_WITH_LZMA
static rf_status run_xz(lzma_stream *stream, sink *to, rf_error *error)
{
    for (;;) {
        RF_TRY(grow(to, error));
        stream->next_out = to->bytes + to->size;
        stream->avail_out = to->capacity - 1 - to->size;
        lzma_ret result = lzma_code(stream, LZMA_FINISH);
        to->size = to->capacity - 1 - stream->avail_out;
        if (result == LZMA_STREAM_END) {
            return RF_OK;
        }
        if (result == LZMA_MEM_ERROR || result == LZMA_MEMLIMIT_ERROR) {
            return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory to unpack it", to->path);
        }
        if (result != LZMA_OK) {
            return damaged(to->path, "xz",
                           result == LZMA_BUF_ERROR ? "it is cut off" : "the stream is not valid",
                           error);
        }
    }
}

static rf_status decode_xz(const rf_mapping *from, sink *to, rf_error *error)
{
    const uint64_t memory_limit = (uint64_t)1 << 30;
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, memory_limit, LZMA_CONCATENATED) != LZMA_OK) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory to unpack it", to->path);
    }
    stream.next_in = from->data;
    stream.avail_in = from->size;
    rf_status status = run_xz(&stream, to, error);
    lzma_end(&stream);
    return status;
}
#else
static rf_status decode_xz(const rf_mapping *from, sink *to, rf_error *error)
{
    (void)from;
    return lacking(to->path, "liblzma", "xz --decompress --keep", error);
}
#endif

#if RF_WITH_ZLIB
/* zlib counts in unsigned int: hand it pieces. */
static uInt piece_of(size_t size)
{
    const size_t largest = (size_t)1 << 30;
    return (uInt)(size < largest ? size : largest);
}

/* One call of inflate; sets *end where a member ended. */
static rf_status inflate_piece(z_stream *stream, const rf_mapping *from, size_t *taken, sink *to,
                               bool *end, rf_error *error)
{
    RF_TRY(grow(to, error));
    uInt offered = piece_of(from->size - *taken);
    uInt room = piece_of(to->capacity - 1 - to->size);
    stream->next_in = from->data + *taken;
    stream->avail_in = offered;
    stream->next_out = to->bytes + to->size;
    stream->avail_out = room;
    int result = inflate(stream, Z_NO_FLUSH);
    *taken += offered - stream->avail_in;
    to->size += room - stream->avail_out;
    *end = result == Z_STREAM_END;
    if (result == Z_MEM_ERROR) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory to unpack it", to->path);
    }
    if (result != Z_OK && result != Z_STREAM_END) {
        const char *reason = stream->msg != NULL ? stream->msg : "it is cut off";
        return damaged(to->path, "gzip", reason, error);
    }
    return RF_OK;
}

static rf_status run_gzip(z_stream *stream, const rf_mapping *from, sink *to, rf_error *error)
{
    size_t taken = 0;
    bool end = false;
    while (!end || taken < from->size) {
        if (end && inflateReset(stream) != Z_OK) {
            return damaged(to->path, "gzip", "it does not go on after a member", error);
        }
        RF_TRY(inflate_piece(stream, from, &taken, to, &end, error));
    }
    return RF_OK;
}

static rf_status decode_gzip(const rf_mapping *from, sink *to, rf_error *error)
{
    enum { WINDOW_BITS = 15, GZIP_HEADER = 16 };
    z_stream stream = {0};
    if (inflateInit2(&stream, WINDOW_BITS + GZIP_HEADER) != Z_OK) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory to unpack it", to->path);
    }
    rf_status status = run_gzip(&stream, from, to, error);
    (void)inflateEnd(&stream);
    return status;
}
#else
static rf_status decode_gzip(const rf_mapping *from, sink *to, rf_error *error)
{
    (void)from;
    return lacking(to->path, "zlib", "gzip --decompress --keep", error);
}
#endif

#if RF_WITH_ZSTD
static rf_status run_zstd(ZSTD_DStream *stream, const rf_mapping *from, sink *to, rf_error *error)
{
    ZSTD_inBuffer input = {.src = from->data, .size = from->size, .pos = 0};
    size_t result = 1;
    while (result != 0 || input.pos < input.size) {
        RF_TRY(grow(to, error));
        size_t taken = input.pos;
        ZSTD_outBuffer output = {.dst = to->bytes, .size = to->capacity - 1, .pos = to->size};
        result = ZSTD_decompressStream(stream, &output, &input);
        if (ZSTD_isError(result)) {
            return damaged(to->path, "zstd", ZSTD_getErrorName(result), error);
        }
        if (result != 0 && taken == input.size && output.pos == to->size) {
            return damaged(to->path, "zstd", "it is cut off", error);
        }
        to->size = output.pos;
    }
    return RF_OK;
}

static rf_status decode_zstd(const rf_mapping *from, sink *to, rf_error *error)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (stream == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory to unpack it", to->path);
    }
    rf_status status = run_zstd(stream, from, to, error);
    (void)ZSTD_freeDStream(stream);
    return status;
}
#else
static rf_status decode_zstd(const rf_mapping *from, sink *to, rf_error *error)
{
    (void)from;
    return lacking(to->path, "libzstd", "zstd --decompress --keep", error);
}
#endif

static rf_status copy_plain(const rf_mapping *from, sink *to, rf_error *error)
{
    if (from->size > to->limit) {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: %zu bytes, expected at most %zu", to->path,
                            from->size, to->limit);
    }
    void *memory = NULL;
    RF_TRY(rf_allocate(from->size + 1, to->path, &memory, error));
    if (from->size > 0) {
        memcpy(memory, from->data, from->size);
    }
    to->bytes = memory;
    to->size = from->size;
    to->capacity = from->size + 1;
    return RF_OK;
}

typedef struct format {
    const char *magic;
    size_t magic_size;
    decoder decode;
} format;

static const format formats[] = {
    {"\xFD"
     "7zXZ\0",
     6, decode_xz},
    {"\x1F\x8B", 2, decode_gzip},
    {"\x28\xB5\x2F\xFD", 4, decode_zstd},
};

static decoder decoder_of(const rf_mapping *from)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (from->size >= formats[i].magic_size &&
            memcmp(from->data, formats[i].magic, formats[i].magic_size) == 0) {
            return formats[i].decode;
        }
    }
    return copy_plain;
}

rf_status rf_compressed_read(const char *path, size_t limit, uint8_t **bytes, size_t *size,
                             rf_error *error)
{
    *bytes = NULL;
    *size = 0;
    rf_mapping mapping;
    RF_TRY(rf_mapping_open(path, &mapping, error));
    sink to = {.path = path, .limit = limit < SIZE_MAX / 4 ? limit : SIZE_MAX / 4};
    rf_status status = decoder_of(&mapping)(&mapping, &to, error);
    rf_mapping_close(&mapping);
    if (status == RF_OK && to.size > to.limit) {
        status = rf_error_set(error, RF_ERR_FORMAT,
                              "%s: unpacks to more than the %zu bytes allowed", path, to.limit);
    }
    if (status != RF_OK) {
        rf_release(to.bytes);
        return status;
    }
    to.bytes[to.size] = '\0';
    *bytes = to.bytes;
    *size = to.size;
    return RF_OK;
}
