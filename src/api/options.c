#include "api/options.h"

#include "base/message.h"
#include "core/decay.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bm_options bm_options = {
    .purge_delay_ms = BM_PURGE_DELAY_MS,
    .limit_bytes = SIZE_MAX,
    .check_at_exit = BM_HARDENED,
    .guard_empty = true,
};

static void refuse(const char *name, const char *value, size_t length, const char *reason)
{
    struct bm_message message;
    char text[128];
    bool is_cut = length > sizeof text - 1;
    if (is_cut)
        length = sizeof text - 1;
    memcpy(text, value, length);
    text[length] = '\0';
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: ");
    bm_message_text(&message, name);
    bm_message_text(&message, ": ignoring '");
    bm_message_text(&message, text);
    bm_message_text(&message, is_cut ? "...', " : "', ");
    bm_message_text(&message, reason);
    bm_message_text(&message, "\n");
    bm_message_write(&message, STDERR_FILENO);
}

/* Decimal digits only, at least one: -1 for anything else, and for more than `most`. */
static int64_t parse_number(const char *text, size_t length, int64_t most)
{
    int64_t number = 0;
    if (length == 0)
        return -1;
    for (size_t index = 0; index < length; index++) {
        if (text[index] < '0' || text[index] > '9')
            return -1;
        int digit = text[index] - '0';
        if (number > (most - digit) / 10)
            return -1;
        number = number * 10 + digit;
    }
    return number;
}

static void read_perturb(const char *text)
{
    int64_t number = parse_number(text, strlen(text), UINT8_MAX);
    if (number >= 0)
        bm_options.perturb = (uint8_t)number;
    else
        refuse("MALLOC_PERTURB_", text, strlen(text), "expected 0 to 255");
}

/* ---- BUDDYMALLOC_CONF: a name, a colon and a value; each setter says whether it took it ---- */

static bool is_text(const char *text, size_t length, const char *expected)
{
    return length == strlen(expected) && memcmp(text, expected, length) == 0;
}

static bool set_switch(bool *is_on, const char *text, size_t length)
{
    if (!is_text(text, length, "on") && !is_text(text, length, "off"))
        return false;
    *is_on = is_text(text, length, "on");
    return true;
}

static bool set_background_purge(const char *text, size_t length)
{
    return set_switch(&bm_options.background_purge, text, length);
}

static bool set_check(const char *text, size_t length)
{
    bool is_exit = is_text(text, length, "exit");
    if (!BM_HARDENED || (!is_exit && !is_text(text, length, "off")))
        return false;
    bm_options.check_at_exit = is_exit;
    return true;
}

static bool set_guard_empty(const char *text, size_t length)
{
    return set_switch(&bm_options.guard_empty, text, length);
}

static bool set_huge_pages(const char *text, size_t length)
{
    return set_switch(&bm_options.huge_pages, text, length);
}

/* Bytes; K, M, G and T stand for powers of 1024. */
static bool set_limit(const char *text, size_t length)
{
    static const char units[] = "KMGT";
    const char *unit = length == 0 ? NULL : memchr(units, text[length - 1], sizeof units - 1);
    unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    int64_t number = parse_number(text, unit == NULL ? length : length - 1, INT64_MAX);
    if (number <= 0 || (uint64_t)number > (uint64_t)SIZE_MAX >> shift)
        return false;
    bm_options.limit_bytes = (size_t)number << shift;
    return true;
}

static bool set_purge_delay(const char *text, size_t length)
{
    int64_t number = parse_number(text, length, INT_MAX);
    if (is_text(text, length, "-1"))
        number = BM_PURGE_NEVER;
    else if (number < 0)
        return false;
    bm_options.purge_delay_ms = (int)number;
    return true;
}

/* exit, or exit=PID. */
static bool set_stats(const char *text, size_t length)
{
    static const char when[] = "exit";
    size_t when_length = sizeof when - 1;
    int64_t process = 0;
    if (length < when_length || memcmp(text, when, when_length) != 0)
        return false;
    if (length > when_length) {
        process = parse_number(text + when_length + 1, length - when_length - 1, INT_MAX);
        if (text[when_length] != '=' || process <= 0)
            return false;
    }
    bm_options.stats_at_exit = true;
    bm_options.stats_process = (pid_t)process;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(const char *text, size_t length);
    const char *reason; /* why what it doesn't take is ignored */
} settings[] = {
    {"background_purge", set_background_purge, "expected on or off"},
    {"check", set_check,
     BM_HARDENED ? "expected exit or off" : "which only the hardened library has"},
    {"guard_empty", set_guard_empty, "expected on or off"},
    {"huge_pages", set_huge_pages, "expected on or off"},
    {"limit", set_limit, "expected bytes above 0, also with a unit K, M, G or T"},
    {"purge_delay", set_purge_delay, "expected milliseconds, or -1"},
    {"stats", set_stats, "expected exit or exit=PID"},
};

/* One option, a name with or without a value. */
static void read_option(const char *text, size_t length)
{
    const char *colon = memchr(text, ':', length);
    size_t name_length = colon == NULL ? length : (size_t)(colon - text);
    for (size_t index = 0; index < sizeof settings / sizeof *settings; index++) {
        if (!is_text(text, name_length, settings[index].name))
            continue;
        if (colon == NULL || !settings[index].set(colon + 1, length - name_length - 1))
            refuse("BUDDYMALLOC_CONF", text, length, settings[index].reason);
        return;
    }
    refuse("BUDDYMALLOC_CONF", text, length, "which is no option");
}

void bm_options_read(void)
{
    const char *perturb = secure_getenv("MALLOC_PERTURB_");
    if (perturb != NULL && !BM_HARDENED)
        read_perturb(perturb);
    const char *text = secure_getenv("BUDDYMALLOC_CONF");
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        if (length > 0)
            read_option(text, length);
        text += length + (text[length] == ',');
    }
}
