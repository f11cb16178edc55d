/* The page of `illustrate`: one HTML document that needs neither a network nor a script. Pictures
 * stand in it as SVG; what moves does so by the style sheet, once, and again when a box is ticked;
 * the numbers of a picture are folded under it. Everything can be reached by the keyboard. */
#include "base/memory.h"
#include "tools/scene.h"

#include <string.h>

enum { MOST_NUMBERS = 40000 }; /* bytes of numbers under a picture; more are in --json only */

static const char page_style[] =
    "<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 17px/1.55 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: "
    "1rem; "
    "background: #ffffff; color: #222222; }\n"
    "h1 { line-height: 1.2; } h2 { margin: 3rem 0 0.5rem; line-height: 1.2; }\n"
    "a { color: #005f96; }\n"
    "nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0; "
    "}\n"
    "nav a { display: inline-block; padding: 0.35rem 0; }\n"
    "figure { margin: 1rem 0; overflow-x: auto; }\n"
    "figure svg { display: block; width: 100%; height: auto; min-width: 20rem; }\n"
    "pre { overflow: auto; max-height: 24rem; font-size: 13px; line-height: 1.4; padding: 0.5rem; "
    "background: #f3f3f3; }\n"
    "pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }\n"
    "summary, label { cursor: pointer; padding: 0.35rem 0; }\n"
    ".again { width: 1.1rem; height: 1.1rem; vertical-align: middle; }\n"
    ":focus-visible { outline: 3px solid #d55e00; outline-offset: 2px; }\n"
    ".skip { position: absolute; left: -999rem; } .skip:focus { position: static; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "body { background: #161616; color: #eeeeee; } a { color: #6cc4f5; } pre { background: "
    "#242424; }\n"
    "}\n"
    "@media (max-width: 34rem) { figure { margin: 1rem -1rem; } }\n"
    "@media print { .again, label, nav { display: none; } }\n"
    "</style>\n";

static rf_status put_head(const rf_scene_context *context, rf_text *html, rf_error *error)
{
    RF_TRY(rf_text_format(html, error,
                          "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width, "
                          "initial-scale=1\">\n<title>A Reformer, illustrated</title>\n"));
    RF_TRY(rf_text_append(html, page_style, sizeof page_style - 1, error));
    RF_TRY(rf_drawing_style(html, error));
    RF_TRY(rf_text_format(html, error,
                          "</head>\n<body>\n<a class=\"skip\" href=\"#pictures\">To the "
                          "pictures</a>\n<h1>A Reformer, illustrated</h1>\n<p>Every picture is "
                          "drawn from what the program computed, "));
    if (context->is_random) {
        RF_TRY(rf_text_format(html, error,
                              "with a small model whose weights are random (seed %llu), ",
                              (unsigned long long)context->options->seed));
    } else {
        char clean[RF_DRAWING_CLEAN_BYTES];
        rf_xml_clean(context->options->model, sizeof clean, clean);
        RF_TRY(rf_text_format(html, error, "with the model <b>"));
        RF_TRY(rf_xml_escaped(html, clean, error));
        RF_TRY(rf_text_format(html, error, "</b>, "));
    }
    return rf_text_format(html, error,
                          "where a model is needed over %lld tokens of a text. The numbers are "
                          "folded under each.</p>\n",
                          (long long)context->tokens.count);
}

static rf_status put_command(const char *command, rf_text *html, rf_error *error)
{
    if (command == NULL) {
        return RF_OK;
    }
    RF_TRY(rf_text_format(html, error, "<p>Made by</p>\n<pre class=\"command\">"));
    for (const char *from = command; *from != '\0';) { /* cleaned in pieces that end at blanks */
        char piece[RF_DRAWING_CLEAN_BYTES / 2];
        char clean[RF_DRAWING_CLEAN_BYTES];
        const char *blank = strchr(from, ' ');
        size_t size = blank != NULL ? (size_t)(blank - from) + 1 : strlen(from);
        size = size < sizeof piece ? size : sizeof piece - 1;
        memcpy(piece, from, size);
        piece[size] = '\0';
        rf_xml_clean(piece, sizeof clean, clean);
        RF_TRY(rf_xml_escaped(html, clean, error));
        from += size;
    }
    return rf_text_format(html, error, "</pre>\n");
}

static rf_status put_contents(const rf_scene *const *scenes, size_t count, rf_text *html,
                              rf_error *error)
{
    RF_TRY(rf_text_format(html, error, "<nav aria-label=\"pictures\">\n<ul>\n"));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(rf_text_format(html, error, "<li><a href=\"#%s\">%s</a></li>\n", scenes[i]->name,
                              scenes[i]->title));
    }
    return rf_text_format(html, error, "</ul>\n</nav>\n<main id=\"pictures\">\n");
}

static rf_status put_numbers(const json_t *numbers, rf_text *html, rf_error *error)
{
    char *text = NULL;
    RF_TRY(rf_json_text(numbers, true, &text, error));
    rf_status status = RF_OK;
    RF_TRY_DONE(rf_text_format(html, error, "<details>\n<summary>The numbers</summary>\n"));
    if (strlen(text) <= MOST_NUMBERS) {
        RF_TRY_DONE(rf_text_format(html, error, "<pre tabindex=\"0\">"));
        RF_TRY_DONE(rf_xml_escaped(html, text, error));
        RF_TRY_DONE(rf_text_format(html, error, "</pre>\n"));
    } else {
        RF_TRY_DONE(rf_text_format(html, error,
                                   "<p>They are too many to be shown here; <code>reformer "
                                   "illustrate --json</code> gives them.</p>\n"));
    }
    RF_TRY_DONE(rf_text_format(html, error, "</details>\n"));
done:
    rf_release(text);
    return status;
}

static rf_status put_scene(const rf_scene *scene, const rf_drawing *drawing, const json_t *numbers,
                           rf_text *html, rf_error *error)
{
    const char *name = scene->name;
    bool moves = strstr(drawing->body.bytes, "--step") != NULL;
    RF_TRY(rf_text_format(html, error,
                          "<section id=\"%s\" aria-label=\"%s\">\n<h2>%s</h2>\n<p>%s</p>\n", name,
                          scene->title, scene->title, scene->summary));
    if (moves) {
        RF_TRY(rf_text_format(html, error,
                              "<input class=\"again\" type=\"checkbox\" id=\"%s-again\">\n"
                              "<label for=\"%s-again\">Play it again</label>\n",
                              name, name));
    }
    RF_TRY(
        rf_text_format(html, error, "<figure tabindex=\"0\" aria-label=\"%s\">\n", scene->title));
    RF_TRY(rf_drawing_finish(drawing, false, html, error));
    RF_TRY(rf_text_format(html, error, "</figure>\n"));
    RF_TRY(put_numbers(numbers, html, error));
    return rf_text_format(html, error, "</section>\n");
}

rf_status rf_scene_page(const rf_scene_context *context, const rf_scene *const *scenes,
                        const rf_drawing *drawings, json_t *const *numbers, size_t count,
                        rf_text *html, rf_error *error)
{
    RF_TRY(put_head(context, html, error));
    RF_TRY(put_command(context->options->command, html, error));
    RF_TRY(put_contents(scenes, count, html, error));
    for (size_t i = 0; i < count; i++) {
        RF_TRY(put_scene(scenes[i], &drawings[i], numbers[i], html, error));
    }
    return rf_text_format(html, error, "</main>\n</body>\n</html>\n");
}
