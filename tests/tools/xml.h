/* A reader of the XML that we write: whether it is well-formed, and what stands in attributes. */
#ifndef TESTS_TOOLS_XML_H
#define TESTS_TOOLS_XML_H

#include <stdbool.h>
#include <stddef.h>

/* One element with all that is in it, between tags that match: names, quotes, entities, UTF-8,
 * attributes once each. Without declarations, comments and CDATA, which we do not write. *why says
 * what is wrong, *at where. */
bool xml_is_well_formed(const char *text, size_t size, const char **why, size_t *at);
/* Fails the test where it is not. */
void assert_xml(const char *text, size_t size);
/* The n-th (from 0) attribute ` name="..."` as a number; fails the test where there are fewer. */
double xml_number(const char *text, const char *name, size_t n);
size_t xml_count(const char *text, const char *word);

#endif
