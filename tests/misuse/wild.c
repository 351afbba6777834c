/*
 * wild [CALLS]: addresses that are no block's, made at random, given to every function that takes a
 * block. Each call must end in an abort, never in a fault, and never come back.
 *
 * The abort is jumped out of, so one process tries them by the thousand: what reports misuse of an
 * address that it was just given holds no lock.
 */
#include "random.h"

#include <buddymalloc/buddymalloc.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum { block_count = 64, mapping_bytes = 16 << 20 };

static const size_t sizes[] = {0,    1,     16,    48,     100,     1000,
                               5000, 30000, 40000, 300000, 3000000, 9000000};

static char *blocks[block_count]; /* live ones, of many sizes */
static char *mapping;             /* readable */
static char *no_access;           /* mapped, not readable */
static char *unmapped;            /* where a mapping was */
static uint64_t seed;
static const char *function;
static void *address;
static sigjmp_buf before_call;
static int said; /* a file of memory that is standard error */

static void go_on(int number)
{
    (void)number;
    siglongjmp(before_call, 1);
}

static _Noreturn void fail(const char *what)
{
    (void)printf("%s of %p %s (seed %llu)\n", function, address, what, (unsigned long long)seed);
    (void)fflush(stdout);
    _exit(1);
}

static void report_fault(int number)
{
    (void)number;
    fail("faults");
}

/* One line that names the call and its address, and maybe a size class. */
static bool is_report(const char *text)
{
    static const char *const adjectives[] = {"double", "invalid"};
    /* free_sized reports as free does. */
    const char *named = strcmp(function, "free_sized") == 0 ? "free" : function;
    char expected[128];
    for (unsigned i = 0; i < 2; i++) {
        int length = snprintf(expected, sizeof expected, "buddymalloc: %s %s of 0x%llx",
                              adjectives[i], named, (unsigned long long)(uintptr_t)address);
        if (strncmp(text, expected, (size_t)length) != 0)
            continue;
        const char *rest = text + length;
        int end = 0;
        (void)sscanf(rest, " (size class %*[0-9])%n", &end);
        return strcmp(rest + end, "\n") == 0;
    }
    return false;
}

/* Looks at what the call said, and forgets it. */
static void expect_report(void)
{
    char text[256] = "";
    if (pread(said, text, sizeof text - 1, 0) >= 0 && is_report(text) && ftruncate(said, 0) == 0)
        return;
    (void)printf("said: '%s'\n", text);
    fail("aborts without its report");
}

/* ---- addresses ---- */

static char *near_block(struct test_random *random)
{
    char *block = blocks[random_below(random, block_count)];
    uint64_t distance = UINT64_C(1) << random_below(random, 24);
    ptrdiff_t offset = (ptrdiff_t)(1 + random_below(random, distance));
    return random_once_in(random, 2) ? block + offset : block - offset;
}

/* In the header of a chunk that is in use. */
static char *in_header(struct test_random *random)
{
    char *before = blocks[random_below(random, block_count)] - 1;
    return before - (uintptr_t)before % (4 * MIB) + random_below(random, 96 * 1024);
}

static char *make_address(struct test_random *random)
{
    uint64_t bits = random_next(random);
    switch (random_below(random, 12)) {
    case 0:
        return (char *)(uintptr_t)bits; /* most often not canonical */
    case 1:
        return (char *)(uintptr_t)(bits >> 17); /* a user's */
    case 2:
        return (char *)(uintptr_t)(bits | UINT64_C(0xffff) << 48); /* the kernel's */
    case 3:
        return (char *)(uintptr_t)(bits >> random_between(random, 20, 60));
    case 4:
        return mapping + random_below(random, mapping_bytes);
    case 5:
        return no_access + random_below(random, mapping_bytes);
    case 6:
        return unmapped + random_below(random, mapping_bytes);
    case 7:
        return in_header(random);
    case 8: /* reserved, maybe never committed */
        return blocks[random_below(random, block_count)] + random_below(random, 64 * MIB);
    case 9:
        return (char *)__builtin_frame_address(0) - random_below(random, 64);
    default:
        return near_block(random);
    }
}

static bool is_block(const void *wild)
{
    for (unsigned i = 0; i < block_count; i++)
        if (wild == blocks[i])
            return true;
    return wild == NULL;
}

/* ---- calls ---- */

static void call(unsigned number, void *wild)
{
    struct buddymalloc_usage figures;
    static const char *const names[] = {"free",        "realloc",     "malloc_usable_size",
                                        "should_move", "utilization", "free_sized"};
    function = names[number];
    address = wild;
    if (number == 0)
        buddymalloc_free(wild);
    else if (number == 1)
        (void)!buddymalloc_realloc(wild, 1000);
    else if (number == 2)
        (void)buddymalloc_malloc_usable_size(wild);
    else if (number == 3)
        (void)buddymalloc_should_move(wild);
    else if (number == 4)
        (void)buddymalloc_utilization(wild, &figures);
    else
        buddymalloc_free_sized(wild, 64);
}

/* Comes back by the jump out of abort, or not at all. */
static __attribute__((noinline)) void try_address(struct test_random *random)
{
    char *wild = make_address(random);
    if (is_block(wild))
        return;
    if (sigsetjmp(before_call, 1) != 0) {
        expect_report();
        return;
    }
    call((unsigned)random_below(random, 6), wild);
    fail("is not noticed");
}

static void try_addresses(unsigned long count)
{
    struct test_random random = {seed};

    while (count-- > 0)
        try_address(&random);
}

/* ---- */

static char *map(int protection)
{
    char *start = mmap(NULL, mapping_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        exit(77);
    return start;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    (void)sigaction(number, &action, NULL);
}

int main(int argc, char **argv)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    const char *setting = getenv("BUDDYMALLOC_TEST_SEED");
    seed = setting != NULL ? strtoull(setting, NULL, 10)
                           : (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec;
    (void)printf("wild: BUDDYMALLOC_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    for (unsigned i = 0; i < block_count; i++)
        blocks[i] = buddymalloc_malloc(sizes[i % (sizeof sizes / sizeof *sizes)]);
    for (unsigned i = 0; i < block_count; i += 7) { /* some that were freed */
        buddymalloc_free(blocks[i]);
        blocks[i] = NULL;
    }
    for (unsigned i = 0; i < block_count; i += 7)
        blocks[i] = blocks[(i + 1) % block_count];
    mapping = map(PROT_READ | PROT_WRITE);
    memset(mapping, 0xff, mapping_bytes);
    no_access = map(PROT_NONE);
    unmapped = map(PROT_NONE);
    (void)munmap(unmapped, mapping_bytes);
    said = memfd_create("said", MFD_CLOEXEC);
    /* Each line begins where the file ends, which is at its start again. */
    if (said < 0 || fcntl(said, F_SETFL, O_APPEND) != 0 ||
        dup2(said, STDERR_FILENO) != STDERR_FILENO)
        return 77;
    handle(SIGABRT, go_on);
    handle(SIGSEGV, report_fault);
    handle(SIGBUS, report_fault);
    try_addresses(argc > 1 ? strtoul(argv[1], NULL, 10) : 50000);
    return 0;
}
