/* A reader of the XML that we write. */
#include "xml.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 64, MOST_ATTRIBUTES = 32, MOST_NAME = 64 };

typedef struct reader {
    const char *text;
    size_t size, at;
    const char *why;
    char open[MOST_DEPTH][MOST_NAME];
    size_t depth;
} reader;

static bool object(reader *r, const char *why)
{
    r->why = r->why != NULL ? r->why : why;
    return false;
}

static char now(const reader *r)
{
    return r->at < r->size ? r->text[r->at] : '\0';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == ':';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool read_name(reader *r, char name[MOST_NAME])
{
    size_t used = 0;
    while (is_name(now(r)) && used + 1 < MOST_NAME) {
        name[used++] = r->text[r->at++];
    }
    name[used] = '\0';
    return used > 0 && !(name[0] >= '0' && name[0] <= '9') && name[0] != '-'
               ? true
               : object(r, "a name is missing");
}

static bool read_entity(reader *r)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t length = strlen(known[i]);
        if (r->size - r->at >= length && memcmp(r->text + r->at, known[i], length) == 0) {
            r->at += length;
            return true;
        }
    }
    return object(r, "& begins no entity that is known");
}

/* One character that may stand in text: of UTF-8, and no control character. */
static bool read_character(reader *r)
{
    unsigned char c = (unsigned char)now(r);
    size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : (c & 0xF0) == 0xE0 ? 2 : 3;
    if (c < 0x20 && !is_blank((char)c)) {
        return object(r, "a control character");
    }
    if (c >= 0x80 && (c < 0xC2 || c > 0xF4)) {
        return object(r, "no UTF-8");
    }
    r->at++;
    for (; more > 0; more--, r->at++) {
        if (((unsigned char)now(r) & 0xC0) != 0x80) {
            return object(r, "a character is cut");
        }
    }
    return true;
}

static bool read_value(reader *r)
{
    if (now(r) != '"') {
        return object(r, "an attribute without quotes");
    }
    r->at++;
    while (r->at < r->size && now(r) != '"') {
        if (now(r) == '<') {
            return object(r, "< in an attribute");
        }
        if (now(r) == '&' ? !read_entity(r) : !read_character(r)) {
            return false;
        }
    }
    r->at++;
    return r->at <= r->size ? true : object(r, "an attribute has no end");
}

static bool read_attributes(reader *r)
{
    char names[MOST_ATTRIBUTES][MOST_NAME];
    for (size_t count = 0; count < MOST_ATTRIBUTES; count++) {
        bool parted = is_blank(now(r));
        while (is_blank(now(r))) {
            r->at++;
        }
        if (now(r) == '>' || now(r) == '/') {
            return true;
        }
        if (!parted || !read_name(r, names[count]) || now(r) != '=') {
            return object(r, "an attribute is malformed");
        }
        r->at++;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(names[i], names[count]) == 0) {
                return object(r, "an attribute stands twice");
            }
        }
        if (!read_value(r)) {
            return false;
        }
    }
    return object(r, "too many attributes");
}

/* At "<". */
static bool read_tag(reader *r)
{
    char name[MOST_NAME];
    r->at++;
    bool closes = now(r) == '/';
    r->at += closes ? 1 : 0;
    if (!read_name(r, name) || (!closes && !read_attributes(r))) {
        return false;
    }
    bool is_empty = now(r) == '/';
    r->at += is_empty ? 1 : 0;
    if (now(r) != '>') {
        return object(r, "a tag has no end");
    }
    r->at++;
    if (closes) {
        return r->depth > 0 && strcmp(r->open[--r->depth], name) == 0
                   ? true
                   : object(r, "an end tag that nothing opened");
    }
    if (!is_empty && r->depth == MOST_DEPTH) {
        return object(r, "too deep");
    }
    if (!is_empty) {
        memcpy(r->open[r->depth++], name, sizeof name);
    }
    return true;
}

bool xml_is_well_formed(const char *text, size_t size, const char **why, size_t *at)
{
    reader r = {.text = text, .size = size};
    bool good = now(&r) == '<' ? read_tag(&r) : object(&r, "it does not begin with a tag");
    while (good && r.depth > 0) {
        good = r.at >= r.size   ? object(&r, "an element has no end")
               : now(&r) == '<' ? read_tag(&r)
               : now(&r) == '&' ? read_entity(&r)
                                : read_character(&r);
    }
    while (good && r.at < r.size) {
        good = is_blank(now(&r)) ? true : object(&r, "something stands behind the last element");
        r.at++;
    }
    *why = r.why;
    *at = r.at;
    return good;
}

void assert_xml(const char *text, size_t size)
{
    const char *why = NULL;
    size_t at = 0;
    if (!xml_is_well_formed(text, size, &why, &at)) {
        size_t from = at > 60 ? at - 60 : 0;
        fail_msg("%s at byte %zu: %.*s", why, at, (int)(at - from), text + from);
    }
}

double xml_number(const char *text, const char *name, size_t n)
{
    char pattern[MOST_NAME];
    (void)snprintf(pattern, sizeof pattern, " %s=\"", name);
    const char *found = strstr(text, pattern);
    for (size_t i = 0; i < n && found != NULL; i++) {
        found = strstr(found + 1, pattern);
    }
    if (found == NULL) {
        fail_msg("there is no %s number %zu", name, n);
        return 0.0;
    }
    return strtod(found + strlen(pattern), NULL);
}

size_t xml_count(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}
