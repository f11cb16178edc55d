/* Checksums and clocks against published values. */
#include "support.h"

#include "base/clock.h"
#include "base/hash.h"

#include <string.h>
#include <time.h>

/* RFC 3720, B.4, and the check value of the catalogue of CRCs. */
static void test_crc32c(void **state)
{
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(rf_crc32c("123456789", 9), 0xE3069283U);
    assert_int_equal(rf_crc32c("", 0), 0U);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(rf_crc32c(bytes, sizeof bytes), 0x8A9136AAU);
    memset(bytes, 0xFF, sizeof bytes);
    assert_int_equal(rf_crc32c(bytes, sizeof bytes), 0x62A8AB43U);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(rf_crc32c(bytes, sizeof bytes), 0x46DD794EU);
}

static void test_hash(void **state)
{
    (void)state;
    assert_true(rf_hash_bytes("", 0, 0) == 0xCBF29CE484222325U);
    assert_true(rf_hash_bytes("a", 1, 0) == 0xAF63DC4C8601EC8CU);
    assert_true(rf_hash_bytes("foobar", 6, 0) == 0x85944171F73967E8U);
    assert_true(rf_hash_bytes("bar", 3, rf_hash_bytes("foo", 3, 0)) == 0x85944171F73967E8U);
}

static void test_clocks(void **state)
{
    (void)state;
    double start = rf_clock_seconds();
    struct timespec pause = {.tv_nsec = 2000000};
    (void)nanosleep(&pause, NULL);
    double passed = rf_clock_seconds() - start;
    assert_true(passed >= 0.002 && passed < 60.0);
    assert_true(rf_clock_wall_seconds() - (double)time(NULL) < 2.0);
    assert_true(rf_clock_wall_seconds() - (double)time(NULL) > -2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
