/* The functions that print, on streams that allocate while they are written to. */
#include "bundle.h"
#include "check.h"
#include "malloc_family.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { thread_count = 2 };

static atomic_bool is_over;

static void *churn(void *unused)
{
    while (!atomic_load(&is_over))
        bundle_try();
    return unused;
}

/* A stream that allocates and frees in its write function. */
static ssize_t write_with_malloc(void *total, const char *text, size_t size)
{
    (void)text;
    bundle_try();
    *(size_t *)total += size;
    return (ssize_t)size;
}

static void check_streams(void)
{
    char *text = NULL;
    size_t length = 0;
    size_t total = 0;

    FILE *stream = open_memstream(&text, &length);
    check(stream != NULL);
    check(malloc_info(0, stream) == 0);
    check(fclose(stream) == 0);
    check(length > 0 && strncmp(text, "<malloc", strlen("<malloc")) == 0);
    free(text);

    stream = fopencookie(&total, "w", (cookie_io_functions_t){.write = write_with_malloc});
    check(stream != NULL);
    check(setvbuf(stream, NULL, _IONBF, 0) == 0);
    check(malloc_info(0, stream) == 0);
    check(total > 0);
    errno = 0;
    check(malloc_info(1, stream) == -1 && errno == EINVAL);
    check(fclose(stream) == 0);

    /* Unbuffered: else it would be fclose that finds out. */
    stream = fopen("/dev/full", "w");
    check(stream != NULL);
    check(setvbuf(stream, NULL, _IONBF, 0) == 0);
    check(malloc_info(0, stream) == -1);
    check(fclose(stream) == 0);
}

#if SIZE_MAX > UINT32_MAX
/* What mallinfo gives. <malloc.h> calls that deprecated, or has none of it. */
struct ints {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

__attribute__((weak)) struct ints ints(void) __asm__("mallinfo");

/* What does not fit into an int is cut, in the one field that it is in. No other thread runs. */
static void check_cut_figures(void)
{
    char *volatile block = malloc((size_t)3 << 30); /* untouched: addresses are all it takes */
    char *volatile small = malloc(100);
    check(block != NULL && small != NULL);
    struct mallinfo2 whole = mallinfo2();
    struct ints cut = ints();
    check(whole.hblkhd >= (size_t)3 << 30 && cut.hblkhd == INT_MAX);
    check(cut.arena > 0 && (size_t)cut.arena == whole.arena);
    check((size_t)cut.ordblks == whole.ordblks && (size_t)cut.smblks == whole.smblks);
    check(cut.hblks > 0 && (size_t)cut.hblks == whole.hblks);
    check((size_t)cut.usmblks == whole.usmblks && (size_t)cut.fsmblks == whole.fsmblks);
    check(cut.uordblks > 0 && (size_t)cut.uordblks == whole.uordblks);
    check((size_t)cut.fordblks == whole.fordblks && (size_t)cut.keepcost == whole.keepcost);
    free(small);
    free(block);
}
#else
static void check_cut_figures(void)
{
}
#endif

static void check_figures(void)
{
    struct mallinfo2 before = mallinfo2();
    check(before.uordblks <= before.arena);
    check(before.arena == before.uordblks + before.fordblks);
    malloc_stats();
}

int main(void)
{
    pthread_t threads[thread_count];

    (void)alarm(60);
    check(freopen("/dev/null", "w", stderr) != NULL);
    bundle_try();
    check_cut_figures();
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (unsigned round = 0; round < 200; round++) {
        check_streams();
        check_figures();
        (void)malloc_trim(0);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < thread_count; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}
