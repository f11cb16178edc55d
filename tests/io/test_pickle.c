/* Pickles as data: values of every kind, names that are refused, and streams that are damaged or
 * lie about sizes. */
#include "support.h"

#include "io/pickle.h"

#include <string.h>

static const char *const allowed[] = {"collections.OrderedDict", "torch.FloatStorage", NULL};

/* Reads a literal of which the last byte is no NUL. */
#define READ(text, pickle, used, error)                                                            \
    rf_pickle_read("file", (const uint8_t *)(text), sizeof(text) - 1, allowed, pickle, used, error)

static void test_values_of_every_kind(void **state)
{
    (void)state;
    rf_pickle *pickle = NULL;
    size_t used = 0;
    assert_ok(READ("\x80\x02("
                   "NK\x07M\x01\x02J\xfe\xff\xff\xff\x8a\x02\x00\x80\x8a\x09\x00\x00\x00\x00\x00"
                   "\x00\x00\x00\x01"
                   "G\x3f\xf8\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00"
                   "hi\x88\x89](K\x01K\x02"
                   "e)t.rest",
                   &pickle, &used, error));
    const rf_pickle_value *top = rf_pickle_top(pickle);
    assert_int_equal(rf_pickle_length(top), 12);
    assert_true(rf_pickle_is(rf_pickle_item(top, 0), RF_PICKLE_NONE));
    assert_int_equal(rf_pickle_item(top, 1)->integer, 7);
    assert_int_equal(rf_pickle_item(top, 2)->integer, 513);
    assert_int_equal(rf_pickle_item(top, 3)->integer, -2);
    assert_int_equal(rf_pickle_item(top, 4)->integer, -32768);
    assert_true(rf_pickle_is(rf_pickle_item(top, 5), RF_PICKLE_BIG_INTEGER));
    assert_true(rf_pickle_item(top, 6)->real == 1.5);
    assert_true(rf_pickle_is_text(rf_pickle_item(top, 7), "hi"));
    assert_false(rf_pickle_is_text(rf_pickle_item(top, 7), "hi "));
    assert_int_equal(rf_pickle_item(top, 8)->integer, 1);
    assert_int_equal(rf_pickle_item(top, 9)->integer, 0);
    assert_int_equal(rf_pickle_length(rf_pickle_item(top, 10)), 2);
    assert_int_equal(rf_pickle_length(rf_pickle_item(top, 11)), 0);
    assert_null(rf_pickle_item(top, 12));
    assert_null(rf_pickle_item(NULL, 0));
    rf_pickle_release(pickle);
}

static void test_calls_are_noted_not_made(void **state)
{
    (void)state;
    rf_pickle *pickle = NULL;
    size_t used = 0;
    assert_ok(READ("\x80\x02"
                   "ccollections\nOrderedDict\n)Rq\x00X\x01\x00\x00\x00"
                   "aK\x05sh\x00.",
                   &pickle, &used, error));
    const rf_pickle_value *top = rf_pickle_top(pickle);
    assert_true(rf_pickle_is_call(top, "collections.OrderedDict", 0));
    assert_false(rf_pickle_is_call(top, "collections.OrderedDict", 1));
    assert_true(rf_pickle_is_dictionary(top));
    assert_int_equal(rf_pickle_get(top, "a")->integer, 5);
    assert_null(rf_pickle_get(top, "b"));
    rf_pickle_release(pickle);
}

static void test_names_that_are_not_allowed(void **state)
{
    (void)state;
    rf_pickle *pickle = NULL;
    size_t used = 0;
    rf_error problem = {0};
    assert_int_equal(READ("\x80\x02"
                          "cposix\nsystem\nX\x04\x00\x00\x00trueq\x85R.",
                          &pickle, &used, &problem),
                     RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "posix.system"));
    assert_null(pickle);
    assert_int_equal(READ("\x80\x04\x8c\x08"
                          "builtins\x8c\x04"
                          "eval\x93.",
                          &pickle, &used, &problem),
                     RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "builtins.eval"));
    assert_int_equal(READ("\x80\x02(iposix\nsystem\n.", &pickle, &used, &problem),
                     RF_ERR_UNSUPPORTED);
    assert_non_null(strstr(problem.message, "0x69"));
}

static void refuse(const char *bytes, size_t size)
{
    rf_pickle *pickle = NULL;
    size_t used = 0;
    rf_error problem = {0};
    rf_status status =
        rf_pickle_read("file", (const uint8_t *)bytes, size, allowed, &pickle, &used, &problem);
    if (status != RF_ERR_FORMAT && status != RF_ERR_UNSUPPORTED) {
        fail_msg("a damaged pickle that begins with 0x%02x of %zu bytes gives %d",
                 (unsigned)bytes[size > 2 ? 2 : 0] & 255U, size, status);
    }
    assert_null(pickle);
    assert_memory_equal(problem.message, "file: ", 6);
}

#define REFUSE(text) refuse(text, sizeof(text) - 1)

static void test_damage(void **state)
{
    (void)state;
    REFUSE("");
    REFUSE("N.");             /* no protocol */
    REFUSE("\x80\x01N.");     /* one that is too old */
    REFUSE("\x80\x02.");      /* nothing to give */
    REFUSE("\x80\x02N");      /* no end */
    REFUSE("\x80\x02(.");     /* a mark is no value */
    REFUSE("\x80\x02u.");     /* no mark */
    REFUSE("\x80\x02}(Nu.");  /* a key without a value */
    REFUSE("\x80\x02N(NNu."); /* items for nothing */
    REFUSE("\x80\x02K\x01K\x02"
           "a.");                           /* an item for a number */
    REFUSE("\x80\x02X\xff\xff\xff\xffhi."); /* longer than the file */
    REFUSE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi.");
    REFUSE("\x80\x02h\x00.");              /* never remembered */
    REFUSE("\x80\x02Nr\xff\xff\xff\xff."); /* at the end of the world */
    REFUSE("\x80\x02q\x00.");              /* nothing to remember */
    REFUSE("\x80\x02NNR.");                /* a call of nothing */
    REFUSE("\x80\x02NNb.");                /* a state for nothing */
    REFUSE("\x80\x02"
           "cno newline");
    REFUSE("\x80\x02\x8b\xff\xff\xff\x7f.");
    REFUSE("\x80\x02\x87.");
    REFUSE("\x80\x02"
           "ca b\nc\n.");
}

static void test_too_many_values(void **state)
{
    (void)state;
    static char many[3 << 20];
    many[0] = (char)0x80;
    many[1] = 2;
    memset(many + 2, 'N', sizeof many - 2);
    refuse(many, sizeof many);
    memset(many + 2, '(', sizeof many - 2);
    refuse(many, sizeof many);
    memcpy(many + 2, "]q", 3); /* a list that is given itself again and again */
    for (size_t i = 5; i + 3 <= sizeof many; i += 3) {
        memcpy(many + i, "h\0a", 3);
    }
    rf_pickle *pickle = NULL;
    size_t used = 0;
    assert_int_not_equal(
        rf_pickle_read("file", (const uint8_t *)many, sizeof many, allowed, &pickle, &used, NULL),
        RF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_every_kind),
        cmocka_unit_test(test_calls_are_noted_not_made),
        cmocka_unit_test(test_names_that_are_not_allowed),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_too_many_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
