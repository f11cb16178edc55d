/* Bytes that grow, and showing bytes of any kind. Memory is taken where the JSON values take
 * theirs, so that one hook sees all of it. */
#include "text.h"

#include "options.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static void *take(size_t size)
{
    json_malloc_t take_memory = NULL;
    json_free_t free_memory = NULL;
    json_get_alloc_funcs(&take_memory, &free_memory);
    return take_memory(size);
}

static void give_back(void *memory)
{
    json_malloc_t take_memory = NULL;
    json_free_t free_memory = NULL;
    json_get_alloc_funcs(&take_memory, &free_memory);
    free_memory(memory);
}

/* Room for `more` bytes and a NUL; capacity doubles. */
static rf_status reserve(rf_bytes *bytes, size_t more, rf_error *error)
{
    if (more >= SIZE_MAX / 4 - bytes->size) {
        return rf_cli_fail(error, RF_ERR_MEMORY, "a text of %zu bytes is too large", more);
    }
    size_t needed = bytes->size + more + 1;
    if (bytes->data != NULL && needed <= bytes->capacity) {
        return RF_OK;
    }
    size_t capacity = bytes->capacity * 2 > needed ? bytes->capacity * 2 : needed + 64;
    char *data = take(capacity);
    if (data == NULL) {
        return rf_cli_fail(error, RF_ERR_MEMORY, "out of memory: %zu bytes for a text", capacity);
    }
    if (bytes->data != NULL) {
        memcpy(data, bytes->data, bytes->size);
        give_back(bytes->data);
    }
    bytes->data = data;
    bytes->capacity = capacity;
    return RF_OK;
}

rf_status rf_bytes_append(rf_bytes *bytes, const char *data, size_t size, rf_error *error)
{
    rf_status status = reserve(bytes, size, error);
    if (status == RF_OK && bytes->data != NULL) {
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
        bytes->data[bytes->size] = '\0';
    }
    return status;
}

/* The fewest digits that give every number back: 15 for what people type, else 17. */
static size_t digits_of(const json_t *value)
{
    rf_bytes text = {0};
    size_t size = json_dumpb(value, NULL, 0, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    bool same = false;
    if (size > 0 && reserve(&text, size, NULL) == RF_OK) {
        json_dumpb(value, text.data, size, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        json_t *read = json_loadb(text.data, size, JSON_DECODE_ANY, NULL);
        same = read != NULL && json_equal(read, value) == 1;
        json_decref(read);
    }
    rf_bytes_clear(&text);
    return same ? 15 : 17;
}

rf_status rf_bytes_append_json(rf_bytes *bytes, const json_t *value, bool indent, rf_error *error)
{
    size_t flags =
        JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits_of(value)) | (indent ? JSON_INDENT(2) : 0);
    size_t size = json_dumpb(value, NULL, 0, flags);
    if (size == 0) {
        return rf_cli_fail(error, RF_ERR_MEMORY, "a JSON value cannot be written as text");
    }
    rf_status status = reserve(bytes, size, error);
    if (status == RF_OK) {
        json_dumpb(value, bytes->data + bytes->size, size, flags);
        bytes->size += size;
        bytes->data[bytes->size] = '\0';
    }
    return status;
}

rf_status rf_bytes_read_file(rf_bytes *bytes, const char *path, size_t limit, rf_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (file == NULL) {
        return rf_cli_fail(error, RF_ERR_FILE, "%s cannot be opened: %s", path, strerror(errno));
    }
    char part[4096];
    size_t size = 0;
    rf_status status = rf_bytes_append(bytes, "", 0, error);
    while (status == RF_OK && (size = fread(part, 1, sizeof part, file)) > 0) {
        status = size > limit - bytes->size
                     ? rf_cli_fail(error, RF_ERR_FILE, "%s is longer than %zu bytes", name, limit)
                     : rf_bytes_append(bytes, part, size, error);
    }
    if (status == RF_OK && ferror(file) != 0) {
        status = rf_cli_fail(error, RF_ERR_FILE, "%s cannot be read: %s", name, strerror(errno));
    }
    if (!standard) {
        fclose(file);
    }
    return status;
}

void rf_bytes_clear(rf_bytes *bytes)
{
    if (bytes->data != NULL) {
        give_back(bytes->data);
    }
    *bytes = (rf_bytes){0};
}

rf_bytes *rf_bytes_array(size_t count)
{
    rf_bytes *array = count < SIZE_MAX / sizeof *array ? take(count * sizeof *array) : NULL;
    for (size_t i = 0; array != NULL && i < count; i++) {
        array[i] = (rf_bytes){0};
    }
    return array;
}

void rf_bytes_array_clear(rf_bytes *array, size_t count)
{
    for (size_t i = 0; array != NULL && i < count; i++) {
        rf_bytes_clear(&array[i]);
    }
    give_back(array);
}

size_t rf_cli_utf8_length(const char *bytes, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (size == 0) {
        return 0;
    }
    unsigned char first = (unsigned char)bytes[0];
    size_t length =
        first < 0x80 ? 1
                     : (first >> 5 == 6 ? 2 : (first >> 4 == 14 ? 3 : (first >> 3 == 30 ? 4 : 0)));
    if (length == 0 || length > size) {
        return 0;
    }
    uint32_t code = length == 1 ? first : first & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char next = (unsigned char)bytes[i];
        if ((next & 0xC0U) != 0x80U) {
            return 0;
        }
        code = code << 6 | (next & 0x3FU);
    }
    bool surrogate = code >= 0xD800 && code < 0xE000;
    return code < least[length] || surrogate || code > 0x10FFFF ? 0 : length;
}

void rf_cli_print_visible(FILE *file, const char *bytes, size_t size, const char *indent)
{
    size_t at = 0;
    while (at < size) {
        unsigned char byte = (unsigned char)bytes[at];
        size_t length = rf_cli_utf8_length(bytes + at, size - at);
        /* U+0080 to U+009F are control characters too. */
        bool second_controls = length == 2 && byte == 0xC2 && (unsigned char)bytes[at + 1] < 0xA0;
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
        if (length == 0 || control || second_controls) {
            fprintf(file, "\\x%02x", byte);
            at += 1;
            continue;
        }
        fwrite(bytes + at, 1, length, file);
        if (byte == '\n') {
            fputs(indent, file);
        }
        at += length;
    }
}

json_t *rf_cli_json_text(const char *bytes, size_t size)
{
    rf_bytes clean = {0};
    rf_status status = rf_bytes_append(&clean, "", 0, NULL);
    for (size_t at = 0; status == RF_OK && at < size;) {
        size_t length = rf_cli_utf8_length(bytes + at, size - at);
        status = length > 0 ? rf_bytes_append(&clean, bytes + at, length, NULL)
                            : rf_bytes_append(&clean, "\xEF\xBF\xBD", 3, NULL);
        at += length > 0 ? length : 1;
    }
    json_t *text = status == RF_OK ? json_stringn(clean.data, clean.size) : NULL;
    rf_bytes_clear(&clean);
    return text;
}
