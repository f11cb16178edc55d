/* Drawings: what a shape is written as, what is escaped, and what is used up. */
#include "support.h"

#include "base/memory.h"
#include "io/drawing.h"

#include <string.h>

static void check(const rf_drawing *drawing, const char *expected)
{
    if (drawing->body.bytes == NULL || strcmp(drawing->body.bytes, expected) != 0) {
        fail_msg("drawn: %s\nexpected: %s", drawing->body.bytes, expected);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    rf_drawing d = {.name = "d", .title = "t", .description = "d"};
    const rf_look plain = {0};
    const rf_look late = {.classes = "dot s1", .opacity = 0.25, .step = 1.5};
    const rf_look mover = {.step = 2.0, .from_x = -3.0, .from_y = 4.5};
    assert_ok(rf_drawing_box(&d, &plain, 1.0, -2.5, 3.25, 4.0, error));
    assert_ok(rf_drawing_line(&d, &late, 0.0, 0.0, 1.0, 1.0, error));
    assert_ok(rf_drawing_open_group(&d, &mover, error));
    assert_ok(rf_drawing_circle(&d, &plain, 5.0, 6.0, 0.004, error));
    assert_ok(rf_drawing_close_group(&d, error));
    assert_ok(rf_drawing_path(&d, &plain, "M0 0h1", error));
    check(&d, "<rect x=\"1\" y=\"-2.50\" width=\"3.25\" height=\"4\"/>\n"
              "<line x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" class=\"dot s1 step\" opacity=\"0.25\" "
              "style=\"--step: 1.50\"/>\n"
              "<g class=\"move\" style=\"--step: 2; --x: -3px; --y: 4.50px\">\n"
              "<circle cx=\"5\" cy=\"6\" r=\"0\"/>\n"
              "</g>\n"
              "<path d=\"M0 0h1\"/>\n");
    rf_drawing_clear(&d);
    assert_null(d.body.bytes);
}

/* Numbers and notes are of one shape only. */
static void test_told(void **state)
{
    (void)state;
    rf_drawing d = {.name = "d", .title = "t", .description = "d"};
    const rf_look words = {.size = 9.0, .anchor = RF_ANCHOR_END, .classes = "muted"};
    assert_ok(rf_drawing_data(&d, "bucket", 3.0, error));
    assert_ok(rf_drawing_data(&d, "weight", 1.0 / 3.0, error));
    assert_ok(rf_drawing_note(&d, error, "%s", "<a> & \x01"));
    assert_ok(rf_drawing_box(&d, &(rf_look){0}, 0.0, 0.0, 1.0, 1.0, error));
    assert_ok(rf_drawing_note(&d, error, "once"));
    assert_ok(rf_drawing_words(&d, &words, 1.0, 2.0, "\"\xFF\"", error));
    assert_ok(rf_drawing_print(&d, &words, 1.0, 2.0, error, "%d", 7));
    check(&d, "<rect x=\"0\" y=\"0\" width=\"1\" height=\"1\" data-bucket=\"3\" "
              "data-weight=\"0.333333333\"><title>&lt;a&gt; &amp;  </title></rect>\n"
              "<text x=\"1\" y=\"2\" font-size=\"9\" text-anchor=\"end\" "
              "class=\"muted\"><title>once</title>&quot;?&quot;</text>\n"
              "<text x=\"1\" y=\"2\" font-size=\"9\" text-anchor=\"end\" "
              "class=\"muted\">7</text>\n");
    rf_drawing_clear(&d);
}

static void test_whole(void **state)
{
    (void)state;
    rf_drawing d = {
        .name = "d", .title = "a < b", .description = "it & that", .width = 20.0, .height = 10.0};
    rf_text page = {0};
    rf_text alone = {0};
    assert_ok(rf_drawing_circle(&d, &(rf_look){0}, 1.0, 1.0, 1.0, error));
    assert_ok(rf_drawing_finish(&d, false, &page, error));
    assert_ok(rf_drawing_finish(&d, true, &alone, error));
    assert_non_null(strstr(page.bytes, "<title id=\"d-title\">a &lt; b</title>\n"));
    assert_non_null(strstr(page.bytes, "<desc id=\"d-desc\">it &amp; that</desc>\n"));
    assert_non_null(strstr(page.bytes, "viewBox=\"0 0 20 10\""));
    assert_null(strstr(page.bytes, "<style>"));
    static const char *const rules[] = {"prefers-color-scheme: dark", "prefers-reduced-motion",
                                        "@media print", ".dot.s5 { fill: #56b4e9; }"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        assert_non_null(strstr(alone.bytes, rules[i]));
    }
    rf_release(page.bytes);
    rf_release(alone.bytes);
    rf_drawing_clear(&d);
}

/* What UTF-8 and XML do not allow: overlong, surrogates, beyond, U+FFFE, cut. */
static void test_clean(void **state)
{
    (void)state;
    char clean[RF_DRAWING_CLEAN_BYTES];
    rf_xml_clean("\xC0\x80 \xED\xA0\x80 \xF4\x90\x80\x80 \xEF\xBF\xBE \xE2\x82 \xE2\x82\xAC", 100,
                 clean);
    assert_string_equal(clean, "?? ??? ???? ??? ?? \xE2\x82\xAC");
    rf_xml_clean("abcdef", 3, clean);
    assert_string_equal(clean, "abc");
    rf_xml_clean(NULL, 3, clean);
    assert_string_equal(clean, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
