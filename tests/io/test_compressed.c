/* Plain and compressed files, made by the libraries themselves; several members, limits, damage,
 * and builds without a library. */
#include "no_memory.h"
#include "support.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/compressed.h"

#include <stdbool.h>
#include <string.h>

#if RF_WITH_LZMA
#include <lzma.h>
#endif
#if RF_WITH_ZLIB
#include <zlib.h>
#endif
#if RF_WITH_ZSTD
#include <zstd.h>
#endif

enum { PACKED_BYTES = 400000, TEXT_BYTES = 300000 };

static uint8_t text[TEXT_BYTES];
static uint8_t packed[2 * PACKED_BYTES];

typedef size_t (*packer)(const uint8_t *from, size_t size, uint8_t *to, size_t room);

#if RF_WITH_LZMA
static size_t pack_xz(const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
    size_t used = 0;
    assert_int_equal(
        lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, from, size, to, &used, room), LZMA_OK);
    return used;
}
#else
static const packer pack_xz = NULL;
#endif

#if RF_WITH_ZLIB
static size_t pack_gzip(const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)from,
                       .avail_in = (uInt)size,
                       .next_out = to,
                       .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t used = room - stream.avail_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return used;
}
#else
static const packer pack_gzip = NULL;
#endif

#if RF_WITH_ZSTD
static size_t pack_zstd(const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
    size_t used = ZSTD_compress(to, room, from, size, 1);
    assert_false(ZSTD_isError(used));
    return used;
}
#else
static const packer pack_zstd = NULL;
#endif

typedef struct format {
    const char *name, *magic, *library, *command;
    size_t magic_size;
    packer pack; /* NULL: not in this build */
} format;

/* Not constant, because the packers of a lean build are variables. */
static size_t list_formats(format formats[3])
{
    formats[0] = (format){"xz",
                          "\xFD"
                          "7zXZ\0",
                          "liblzma",
                          "xz --decompress",
                          6,
                          pack_xz};
    formats[1] = (format){"gzip", "\x1F\x8B", "zlib", "gzip --decompress", 2, pack_gzip};
    formats[2] = (format){"zstd", "\x28\xB5\x2F\xFD", "libzstd", "zstd --decompress", 4, pack_zstd};
    return 3;
}

static int set_up(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < TEXT_BYTES; i++) {
        text[i] = (uint8_t)(i * i >> 7);
    }
    return 0;
}

static rf_status put_and_read(const void *data, size_t size, size_t limit, uint8_t **bytes,
                              size_t *read, rf_error *error)
{
    char *path = NULL;
    size_t before = rf_memory_in_use();
    RF_TRY(rf_path_join(test_folder(), "file", &path, error));
    rf_status status = rf_file_write_atomic(path, data, size, error);
    if (status == RF_OK) {
        status = rf_compressed_read(path, limit, bytes, read, error);
    }
    rf_release(path);
    if (status != RF_OK) {
        assert_int_equal(rf_memory_in_use(), before);
    }
    return status;
}

static void check_reads(const void *data, size_t size, size_t limit, size_t expected)
{
    uint8_t *bytes = NULL;
    size_t read = 0;
    assert_ok(put_and_read(data, size, limit, &bytes, &read, error));
    assert_int_equal(read, expected);
    assert_memory_equal(bytes, text, expected < TEXT_BYTES ? expected : TEXT_BYTES);
    rf_release(bytes);
}

static void check_refused(const void *data, size_t size, size_t limit, const char *message)
{
    uint8_t *bytes = NULL;
    size_t read = 0;
    rf_error problem = {0};
    assert_int_equal(put_and_read(data, size, limit, &bytes, &read, &problem), RF_ERR_FORMAT);
    assert_null(bytes);
    if (strstr(problem.message, message) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", problem.message, message);
    }
}

static void test_plain(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t read = 0;
    check_reads(text, 1000, 1000, 1000);
    check_reads(text, 0, 0, 0);
    check_refused(text, 1000, 999, "1000 bytes, expected at most 999");
    rf_error problem = {0};
    assert_int_equal(rf_compressed_read("/no/such/file", 10, &bytes, &read, &problem), RF_ERR_FILE);
}

static void check_format(const format *kind)
{
    size_t size = kind->pack(text, TEXT_BYTES, packed, PACKED_BYTES);
    assert_memory_equal(packed, kind->magic, kind->magic_size);
    check_reads(packed, size, TEXT_BYTES, TEXT_BYTES);
    check_reads(packed, size, (size_t)1 << 30, TEXT_BYTES);
    check_refused(packed, size, TEXT_BYTES - 1, "unpacks to more than the 299999 bytes allowed");
    check_refused(packed, size, 10, "unpacks to more than the 10 bytes allowed");
    check_refused(packed, size - 1, TEXT_BYTES, "cut off");
    check_refused(packed, size / 2, TEXT_BYTES, "cut off");
    check_refused(packed, kind->magic_size, TEXT_BYTES, "damaged");
    size_t second = kind->pack(text + 1000, TEXT_BYTES - 1000, packed + PACKED_BYTES, PACKED_BYTES);
    size_t first = kind->pack(text, 1000, packed, PACKED_BYTES); /* two members give the whole */
    memmove(packed + first, packed + PACKED_BYTES, second);
    check_reads(packed, first + second, TEXT_BYTES, TEXT_BYTES);
    size = kind->pack(text, 0, packed, PACKED_BYTES);
    check_reads(packed, size, 0, 0);
    size = kind->pack(text, TEXT_BYTES, packed, PACKED_BYTES);
    for (size_t i = kind->magic_size; i < size; i++) {
        packed[i] ^= 0xFFU;
    }
    check_refused(packed, size, TEXT_BYTES, kind->name);
}

static void check_lacking(const format *kind)
{
    uint8_t *bytes = NULL;
    size_t read = 0;
    rf_error problem = {0};
    assert_int_equal(put_and_read(kind->magic, kind->magic_size, 10, &bytes, &read, &problem),
                     RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, kind->library));
    assert_non_null(strstr(problem.message, kind->command));
}

static void test_formats(void **state)
{
    (void)state;
    format formats[3];
    size_t count = list_formats(formats);
    for (size_t i = 0; i < count; i++) {
        if (formats[i].pack != NULL) {
            check_format(&formats[i]);
        } else {
            check_lacking(&formats[i]);
        }
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    format formats[3];
    size_t count = list_formats(formats);
    char *path = NULL;
    assert_ok(rf_path_join(test_folder(), "memory", &path, error));
    for (size_t i = 0; i < count && formats[i].pack != NULL; i++) {
        size_t size = formats[i].pack(text, TEXT_BYTES, packed, PACKED_BYTES);
        assert_ok(rf_file_write_atomic(path, packed, size, error));
        rf_status status = RF_ERR_MEMORY;
        int attempts = 0;
        for (; status == RF_ERR_MEMORY && attempts < 50; attempts++) {
            int left = attempts;
            uint8_t *bytes = NULL;
            rf_memory_set_hook(fail_after, &left);
            status = rf_compressed_read(path, TEXT_BYTES, &bytes, &size, NULL);
            rf_memory_set_hook(NULL, NULL);
            rf_release(bytes);
        }
        assert_int_equal(status, RF_OK);
        assert_true(attempts > 3);
    }
    rf_release(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
