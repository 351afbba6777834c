/* malloc_info, malloc_stats and mallinfo2 under these names show one heap, and what the program has
 * in it. The threads and sizes are tried in tests/conformance. */
#include "check.h"
#include "malloc_family.h"

#include <stdlib.h>
#include <string.h>

enum { count = 300, block_bytes = 1000, huge_bytes = 9 * 1024 * 1024 };

static int ends[2]; /* of a pipe, which holds all that is printed, and takes no memory of ours */
static FILE *stream;
static char text[8192];
static void *blocks[count];

static void read_text(void)
{
    ssize_t length = read(ends[0], text, sizeof text - 1);
    check(length > 0);
    text[length] = '\0';
}

static size_t number_behind(const char *what)
{
    const char *found = strstr(text, what);
    check(found != NULL && strstr(found + 1, what) == NULL);
    return strtoul(found + strlen(what), NULL, 10);
}

static void check_info(struct mallinfo2 figures)
{
    size_t slots;
    size_t runs;
    size_t huge;
    size_t huge_sum;
    check(malloc_info(0, stream) == 0 && fflush(stream) == 0);
    read_text();
    check(sscanf(strstr(text, "<total"),
                 "<total type=\"fast\" count=\"%zu\" size=\"%*u\"/>\n"
                 "<total type=\"rest\" count=\"%zu\"",
                 &slots, &runs) == 2);
    check(slots + runs == figures.ordblks);
    check(sscanf(strstr(text, "<total type=\"mmap"),
                 "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>", &huge, &huge_sum) == 2);
    check(huge == figures.hblks && huge_sum == figures.hblkhd);
    check(number_behind("<system type=\"current\" size=\"") == figures.arena);
    check(number_behind("<in-use size=\"") == figures.uordblks);
    check(number_behind("<arenas count=\"") == 1);
}

/* The figures of the one arena there is, and then of all. */
static void check_stats(struct mallinfo2 figures)
{
    size_t held;
    size_t used;
    size_t held_in_all;
    size_t used_in_all;
    malloc_stats();
    read_text();
    check(sscanf(text,
                 "Arena 0: system bytes = %zu in use bytes = %zu Total (incl. huge blocks): "
                 "system bytes = %zu in use bytes = %zu",
                 &held, &used, &held_in_all, &used_in_all) == 4);
    check(held == figures.arena && held_in_all == held + figures.hblkhd);
    check(used == figures.uordblks && used_in_all == used + figures.hblkhd);
    check(number_behind("huge blocks      = ") == figures.hblks);
    check(number_behind("huge bytes       = ") == figures.hblkhd);
    check(number_behind("purgeable bytes  = ") == figures.keepcost);
}

static struct mallinfo2 check_all(void)
{
    struct mallinfo2 before = mallinfo2();
    check_info(before);
    check_stats(before);
    struct mallinfo2 after = mallinfo2();
    check(memcmp(&before, &after, sizeof before) == 0);
    return before;
}

int main(void)
{
    check(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    stream = fdopen(ends[1], "w");
    check(stream != NULL);
    /* Whole, for one read to find all of it. */
    static char buffer[sizeof text];
    check(setvbuf(stream, buffer, _IOFBF, sizeof buffer) == 0);
    free(malloc(1));
    struct mallinfo2 start = check_all();

    for (unsigned i = 0; i < count; i++)
        check((blocks[i] = malloc(block_bytes)) != NULL);
    void *volatile huge = malloc(huge_bytes);
    check(huge != NULL);
    struct mallinfo2 full = check_all();
    check(full.uordblks - start.uordblks >= (size_t)count * block_bytes);
    check(full.uordblks - start.uordblks <= (size_t)count * block_bytes * 5 / 4);
    check(full.hblks == start.hblks + 1 && full.hblkhd >= start.hblkhd + huge_bytes);

    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
    free(huge);
    struct mallinfo2 end = check_all();
    check(end.uordblks == start.uordblks);
    check(end.hblks == start.hblks && end.hblkhd == start.hblkhd);
    check(end.keepcost > start.keepcost);
    return 0;
}
