#include "xml.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { depth_limit = 32, attribute_limit = 32 };

/* A piece of the text. */
struct name {
    const char *start;
    size_t length;
};

static bool names_equal(struct name left, struct name right)
{
    return left.length == right.length && memcmp(left.start, right.start, left.length) == 0;
}

static const char *skip_space(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* The name at `at`; its length is 0 where there is none. */
static struct name read_name(const char *at)
{
    struct name name = {at, 0};

    if (!isalpha((unsigned char)*at) && *at != '_')
        return name;
    while (isalnum((unsigned char)at[name.length]) ||
           (at[name.length] != '\0' && strchr("_-.:", at[name.length]) != NULL))
        name.length++;
    return name;
}

/* Past ` name="value"` …; NULL when one is malformed or named twice. */
static const char *skip_attributes(const char *at)
{
    struct name seen[attribute_limit];

    for (size_t count = 0;; count++) {
        const char *start = skip_space(at);
        struct name name = read_name(start);
        if (name.length == 0)
            return start;
        if (start == at || count == attribute_limit)
            return NULL;
        for (size_t i = 0; i < count; i++)
            if (names_equal(seen[i], name))
                return NULL;
        seen[count] = name;
        at = start + name.length;
        if (at[0] != '=' || (at[1] != '"' && at[1] != '\''))
            return NULL;
        const char *end = strchr(at + 2, at[1]);
        if (end == NULL || strcspn(at + 2, "<&") < (size_t)(end - at - 2))
            return NULL;
        at = end + 1;
    }
}

static const char *skip_declaration(const char *text)
{
    const char *end = strncmp(text, "<?xml ", 6) == 0 ? strstr(text, "?>") : NULL;

    return skip_space(end != NULL ? end + 2 : text);
}

bool xml_root_is(const char *text, const char *name)
{
    const char *at = skip_declaration(text);

    return *at == '<' && names_equal(read_name(at + 1), (struct name){name, strlen(name)});
}

bool xml_is_well_formed(const char *text)
{
    struct name open[depth_limit];
    size_t depth = 0;
    const char *at = skip_declaration(text);

    do {
        if (*at != '<')
            return false;
        bool is_closing = at[1] == '/';
        struct name name = read_name(at + (is_closing ? 2 : 1));
        if (name.length == 0)
            return false;
        at = skip_attributes(name.start + name.length);
        if (at == NULL)
            return false;
        if (is_closing) {
            if (depth == 0 || !names_equal(open[--depth], name))
                return false;
        } else if (*at == '/') {
            at++;
        } else if (depth < depth_limit) {
            open[depth++] = name;
        } else {
            return false;
        }
        if (*at++ != '>')
            return false;
        at += strcspn(at, "<>&");
    } while (depth > 0);
    return *skip_space(at) == '\0';
}
