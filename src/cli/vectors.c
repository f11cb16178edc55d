/* NumPy's format (version 1.0: a magic word, a header of Python literals padded to 64 bytes, the
 * numbers) and safetensors (the length of a JSON header, the header, the numbers), both little
 * endian as every machine that this runs on. */
#include "vectors.h"

#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 256, NPY_ALIGNMENT = 64, NPY_PREFIX = 10 };

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool rf_vectors_knows(const char *path)
{
    return ends_with(path, ".npy") || ends_with(path, ".safetensors");
}

/* Returns the bytes that are used. */
static size_t npy_header(const rf_vectors *vectors, char header[HEADER_BYTES])
{
    static const char magic[8] = "\x93NUMPY\x01";
    char text[HEADER_BYTES];
    int length =
        snprintf(text, sizeof text,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId64 "), }",
                 vectors->count, vectors->width);
    size_t used = NPY_PREFIX + (size_t)length + 1; /* with the newline */
    size_t whole = (used + NPY_ALIGNMENT - 1) / NPY_ALIGNMENT * NPY_ALIGNMENT;
    memset(header, ' ', whole);
    memcpy(header, magic, 8);
    header[8] = (char)((whole - NPY_PREFIX) & 0xff);
    header[9] = (char)((whole - NPY_PREFIX) >> 8);
    memcpy(header + NPY_PREFIX, text, (size_t)length);
    header[whole - 1] = '\n';
    return whole;
}

static size_t safetensors_header(const rf_vectors *vectors, char header[HEADER_BYTES])
{
    uint64_t bytes = (uint64_t)(vectors->count * vectors->width) * sizeof(float);
    int length = snprintf(header + 8, HEADER_BYTES - 8,
                          "{\"embeddings\":{\"dtype\":\"F32\",\"shape\":[%" PRId64 ",%" PRId64
                          "],\"data_offsets\":[0,%" PRIu64 "]}}",
                          vectors->count, vectors->width, bytes);
    size_t whole = ((size_t)length + 7) / 8 * 8;
    memset(header + 8 + length, ' ', whole - (size_t)length);
    for (int i = 0; i < 8; i++) {
        header[i] = (char)((whole >> (8 * i)) & 0xff);
    }
    return 8 + whole;
}

static bool put(FILE *file, const void *data, size_t size)
{
    return size == 0 || fwrite(data, 1, size, file) == size;
}

rf_status rf_vectors_write(const char *path, const rf_vectors *vectors, rf_error *error)
{
    char header[HEADER_BYTES];
    char fresh[4096];
    bool npy = ends_with(path, ".npy");
    if (!rf_vectors_knows(path)) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT,
                           "--output %.200s: expected a name that ends in .npy, .safetensors or "
                           ".jsonl",
                           path);
    }
    int length = snprintf(fresh, sizeof fresh, "%s.part", path);
    if (length < 0 || (size_t)length >= sizeof fresh) {
        return rf_cli_fail(error, RF_ERR_ARGUMENT, "--output is too long a path");
    }
    size_t used = npy ? npy_header(vectors, header) : safetensors_header(vectors, header);
    FILE *file = fopen(fresh, "wb");
    bool written =
        file != NULL && put(file, header, used) &&
        put(file, vectors->values, (size_t)(vectors->count * vectors->width) * sizeof(float));
    bool closed = file != NULL && fclose(file) == 0;
    if (!written || !closed || rename(fresh, path) != 0) {
        rf_status status =
            rf_cli_fail(error, RF_ERR_FILE, "cannot write %.200s: %s", path, strerror(errno));
        (void)remove(fresh);
        return status;
    }
    return RF_OK;
}
