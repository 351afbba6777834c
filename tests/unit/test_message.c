/* message: lines on standard error, and the checks that end in one. */
#include "base/message.h"

#include "dying.h"
#include "expect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool holds(const struct bm_message *message, const char *text)
{
    return message->length == strlen(text) && memcmp(message->text, text, message->length) == 0;
}

Test(message, puts_text_and_numbers_together)
{
    struct bm_message message;
    bm_message_init(&message);
    bm_message_text(&message, "a");
    bm_message_text(&message, "");
    bm_message_decimal(&message, 0);
    bm_message_text(&message, " b ");
    bm_message_decimal(&message, UINT64_MAX);
    bm_message_text(&message, " ");
    bm_message_address(&message, NULL);
    bm_message_text(&message, " ");
    bm_message_address(&message, (void *)UINTPTR_MAX);
    expect(holds(&message, "a0 b 18446744073709551615 0x0 0xffffffffffffffff"));
}

Test(message, writes_every_decimal)
{
    char expected[32];
    for (unsigned shift = 0; shift < 64; shift++)
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << shift) + (uint64_t)delta;
            struct bm_message message;
            bm_message_init(&message);
            bm_message_decimal(&message, value);
            snprintf(expected, sizeof expected, "%" PRIu64, value);
            expect(holds(&message, expected));
        }
}

Test(message, cuts_what_does_not_fit)
{
    struct bm_message message;
    bm_message_init(&message);
    for (unsigned count = 0; count < 200; count++)
        bm_message_text(&message, "abcdefg");
    bm_message_decimal(&message, 123);
    expect(message.length == sizeof message.text);
    for (size_t index = 0; index < message.length; index++)
        expect(message.text[index] == "abcdefg"[index % 7]);
}

Test(message, is_written_whole_and_keeps_errno)
{
    struct bm_message message;
    char text[sizeof message.text];
    int ends[2];
    expect(pipe(ends) == 0);
    bm_message_init(&message);
    bm_message_text(&message, "one line\n");
    errno = 4711;
    bm_message_write(&message, ends[1]);
    expect(errno == 4711);
    expect(read(ends[0], text, sizeof text) == 9 && memcmp(text, "one line\n", 9) == 0);
    bm_message_write(&message, -1);
    expect(errno == 4711);
}

static void *write_when_cancelled(void *end)
{
    struct bm_message message;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    (void)pthread_cancel(pthread_self());
    (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    bm_message_init(&message);
    bm_message_text(&message, "report");
    bm_message_write(&message, *(int *)end);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return end;
}

/* A thread that is to be cancelled still reports, and keeps what it holds. */
Test(message, writing_is_no_cancellation_point)
{
    int ends[2];
    char text[8];
    pthread_t thread;
    void *result = NULL;
    expect(pipe(ends) == 0);
    expect(pthread_create(&thread, NULL, write_when_cancelled, &ends[1]) == 0);
    expect(pthread_join(thread, &result) == 0);
    expect(result == &ends[1]);
    expect(read(ends[0], text, sizeof text) == 6 && memcmp(text, "report", 6) == 0);
}

static void misuse_with_class(void *context)
{
    bm_misuse("double free", context, 64);
}

static void misuse_without_class(void *context)
{
    bm_misuse("invalid free", context, 0);
}

static void broken_invariant(void *context)
{
    (void)context;
    bm_assertion_failed("a == b", "some/file.c", 42);
}

Test(message, misuse_prints_one_line_and_aborts)
{
    char text[256];
    expect(dies_by_abort(misuse_with_class, (void *)0x123456789ab0, text, sizeof text));
    expect_at(strcmp(text, "buddymalloc: double free of 0x123456789ab0 (size class 64)\n") == 0,
              "%s", text);
    expect(dies_by_abort(misuse_without_class, NULL, text, sizeof text));
    expect_at(strcmp(text, "buddymalloc: invalid free of 0x0\n") == 0, "%s", text);
}

Test(message, broken_invariant_prints_where_and_aborts)
{
    char text[256];
    expect(dies_by_abort(broken_invariant, NULL, text, sizeof text));
    expect_at(strcmp(text, "buddymalloc: broken invariant a == b at some/file.c:42\n") == 0, "%s",
              text);
}
