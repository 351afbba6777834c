/* xml: whether a text is well-formed, as far as malloc_info needs it. */
#ifndef BUDDYMALLOC_TESTS_CONFORMANCE_XML_H
#define BUDDYMALLOC_TESTS_CONFORMANCE_XML_H

#include <stdbool.h>

/* One root element, every element closed in order, attributes quoted and named once, no
 * stray '<', '>' or '&'. Knows elements, attributes and text; no declarations, comments or
 * entities other than an `<?xml …?>` in front. */
bool xml_is_well_formed(const char *text);

/* Whether the root element has this name. */
bool xml_root_is(const char *text, const char *name);

#endif
