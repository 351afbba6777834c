#include "api/options.h"

#include "base/message.h"
#include "core/decay.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bm_options bm_options = {.purge_delay_ms = BM_PURGE_DELAY_MS};

static void refuse(const char *name, const char *value, size_t length)
{
    struct bm_message message;
    char text[128];
    if (length > sizeof text - 1)
        length = sizeof text - 1;
    memcpy(text, value, length);
    text[length] = '\0';
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: ");
    bm_message_text(&message, name);
    bm_message_text(&message, ": ignoring '");
    bm_message_text(&message, text);
    bm_message_text(&message, "'\n");
    bm_message_write(&message, STDERR_FILENO);
}

/* Decimal digits only, at least one: -1 for anything else, and for more than `most`. */
static int parse_number(const char *text, size_t length, int most)
{
    int64_t number = 0;
    if (length == 0)
        return -1;
    for (size_t index = 0; index < length; index++) {
        if (text[index] < '0' || text[index] > '9')
            return -1;
        number = number * 10 + (text[index] - '0');
        if (number > most)
            return -1;
    }
    return (int)number;
}

static void read_perturb(const char *text)
{
    int number = parse_number(text, strlen(text), UINT8_MAX);
    if (number >= 0)
        bm_options.perturb = (uint8_t)number;
    else
        refuse("MALLOC_PERTURB_", text, strlen(text));
}

/* Whether `text` is stats:exit or stats:exit=PID, which then holds. */
static bool set_stats(const char *text, size_t length)
{
    static const char stats_exit[] = "stats:exit";
    size_t name_length = sizeof stats_exit - 1;
    int process = 0;
    if (length < name_length || memcmp(text, stats_exit, name_length) != 0)
        return false;
    if (length > name_length) {
        process = parse_number(text + name_length + 1, length - name_length - 1, INT_MAX);
        if (text[name_length] != '=' || process <= 0)
            return false;
    }
    bm_options.stats_at_exit = true;
    bm_options.stats_process = process;
    return true;
}

static bool is_text(const char *text, size_t length, const char *expected)
{
    return length == strlen(expected) && memcmp(text, expected, length) == 0;
}

static bool set_huge_pages(const char *text, size_t length)
{
    bool is_on = is_text(text, length, "huge_pages:on");
    if (!is_on && !is_text(text, length, "huge_pages:off"))
        return false;
    bm_options.huge_pages = is_on;
    return true;
}

static void set_option(const char *text, size_t length)
{
    if (!set_stats(text, length) && !set_huge_pages(text, length))
        refuse("BUDDYMALLOC_CONF", text, length);
}

void bm_options_read(void)
{
    const char *perturb = secure_getenv("MALLOC_PERTURB_");
    if (perturb != NULL)
        read_perturb(perturb);
    const char *text = secure_getenv("BUDDYMALLOC_CONF");
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        if (length > 0)
            set_option(text, length);
        text += length + (text[length] == ',');
    }
}
