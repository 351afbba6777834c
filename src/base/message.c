#include "base/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void bm_message_init(struct bm_message *message)
{
    message->length = 0;
}

static void append(struct bm_message *message, const char *text, size_t length)
{
    size_t room = sizeof message->text - message->length;
    if (length > room)
        length = room;
    memcpy(message->text + message->length, text, length);
    message->length += length;
}

void bm_message_text(struct bm_message *message, const char *text)
{
    append(message, text, strlen(text));
}

static void append_number(struct bm_message *message, uint64_t value, unsigned base)
{
    char digits[20];
    size_t position = sizeof digits;
    do {
        digits[--position] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    append(message, digits + position, sizeof digits - position);
}

void bm_message_decimal(struct bm_message *message, uint64_t value)
{
    append_number(message, value, 10);
}

void bm_message_address(struct bm_message *message, const void *address)
{
    bm_message_text(message, "0x");
    append_number(message, (uintptr_t)address, 16);
}

void bm_message_write(const struct bm_message *message, int descriptor)
{
    int saved_errno = errno;
    size_t written = 0;
    while (written < message->length) {
        /* Not write(2), at which a thread may be cancelled: it would leave a misuse unreported, and
         * go away with the locks that it holds. */
        long result =
            syscall(SYS_write, descriptor, message->text + written, message->length - written);
        if (result < 0 && errno == EINTR)
            continue;
        if (result <= 0)
            break;
        written += (size_t)result;
    }
    errno = saved_errno;
}

void bm_misuse(const char *what, const void *address, size_t slot_bytes)
{
    struct bm_message message;
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: ");
    bm_message_text(&message, what);
    bm_message_text(&message, " of ");
    bm_message_address(&message, address);
    if (slot_bytes != 0) {
        bm_message_text(&message, " (size class ");
        bm_message_decimal(&message, slot_bytes);
        bm_message_text(&message, ")");
    }
    bm_message_text(&message, "\n");
    bm_message_write(&message, STDERR_FILENO);
    abort();
}

void bm_assertion_failed(const char *condition, const char *file, int line)
{
    struct bm_message message;
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: broken invariant ");
    bm_message_text(&message, condition);
    bm_message_text(&message, " at ");
    bm_message_text(&message, file);
    bm_message_text(&message, ":");
    bm_message_decimal(&message, (uint64_t)line);
    bm_message_text(&message, "\n");
    bm_message_write(&message, STDERR_FILENO);
    abort();
}
