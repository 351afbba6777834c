#include "api/options.h"

#include "base/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bm_options bm_options;

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

/* Decimal digits only, at most 255: what glibc's tunable accepts without surprises. */
static bool parse_byte(const char *text, _Atomic uint8_t *value)
{
    unsigned number = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        number = number * 10 + (unsigned)(*text - '0');
        if (number > 255)
            return false;
    }
    *value = (uint8_t)number;
    return true;
}

static void set_option(const char *text, size_t length)
{
    static const char stats_exit[] = "stats:exit";
    if (length == sizeof stats_exit - 1 && memcmp(text, stats_exit, length) == 0)
        bm_options.stats_at_exit = true;
    else
        refuse("BUDDYMALLOC_CONF", text, length);
}

void bm_options_read(void)
{
    const char *perturb = secure_getenv("MALLOC_PERTURB_");
    if (perturb != NULL && !parse_byte(perturb, &bm_options.perturb))
        refuse("MALLOC_PERTURB_", perturb, strlen(perturb));
    const char *text = secure_getenv("BUDDYMALLOC_CONF");
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        if (length > 0)
            set_option(text, length);
        text += length + (text[length] == ',');
    }
}
