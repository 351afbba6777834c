/*
 * A program that holds many small objects for long, as a database or cache does, and gives memory
 * back after it has deleted most of them.
 *
 * What is left of the objects lies scattered: nearly every slab and page still holds one. So the
 * program asks of each whether it had better lie elsewhere, and moves it: it knows all pointers to
 * it, which the allocator doesn't. It goes round until nothing is left to move, which takes a dozen
 * rounds; most is moved in the first. malloc_trim at the end gives the memory of the slabs that
 * became free back to the system; for a fair comparison it is called before as well.
 *
 *     meson setup build -Dtests=enabled && ninja -C build && build/tests/examples/defragment
 */
#include <buddymalloc/buddymalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    OBJECTS = 400000,
    KEPT_PERCENT = 15,
    VALUE_BYTES_MAX = 500,
    ROUNDS_MAX = 50,
};

/* One key and its value, as long as it is. */
struct object {
    unsigned key;
    unsigned bytes;
    unsigned char value[];
};

static struct object *table[OBJECTS]; /* by key; NULL: deleted */

static unsigned random_below(unsigned limit)
{
    static unsigned long long state = 1;

    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state >> 33) % limit;
}

static void fill(void)
{
    for (unsigned key = 0; key < OBJECTS; key++) {
        unsigned bytes = 1 + random_below(VALUE_BYTES_MAX);
        struct object *object = buddymalloc_malloc(sizeof *object + bytes);
        if (object == NULL)
            abort();
        object->key = key;
        object->bytes = bytes;
        memset(object->value, (int)(key % 251), bytes);
        table[key] = object;
    }
}

static void delete_most(void)
{
    for (unsigned key = 0; key < OBJECTS; key++)
        if (random_below(100) >= KEPT_PERCENT) {
            buddymalloc_free(table[key]);
            table[key] = NULL;
        }
}

/* By its usable size, so that the copy is of the same class. */
static struct object *move(struct object *object)
{
    size_t bytes = buddymalloc_malloc_usable_size(object);
    struct object *moved = buddymalloc_malloc(bytes);

    if (moved == NULL)
        return object;
    memcpy(moved, object, bytes);
    buddymalloc_free(object);
    return moved;
}

/* One round over all objects; how many were moved. */
static unsigned long move_what_helps(void)
{
    unsigned long moved = 0;

    for (unsigned key = 0; key < OBJECTS; key++)
        if (buddymalloc_should_move(table[key]) != 0) {
            table[key] = move(table[key]);
            moved++;
        }
    return moved;
}

/* A round of questions alone. */
static void print_cost(void)
{
    struct timespec start;
    struct timespec end;
    unsigned long asked = 0;
    int answers = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned key = 0; key < OBJECTS; key++)
        if (table[key] != NULL) {
            answers += buddymalloc_should_move(table[key]);
            asked++;
        }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
    (void)printf("%lu objects, %d of them should move; a question: %.0f ns\n", asked, answers,
                 ns / (double)asked);
}

static void check_all(void)
{
    for (unsigned key = 0; key < OBJECTS; key++) {
        const struct object *object = table[key];
        if (object == NULL)
            continue;
        if (object->key != key || object->value[0] != key % 251 ||
            object->value[object->bytes - 1] != key % 251)
            abort();
    }
}

static void print_resident(const char *when)
{
    unsigned long total;
    unsigned long pages;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (statm == NULL || fscanf(statm, "%lu %lu", &total, &pages) != 2)
        abort();
    (void)fclose(statm);
    (void)printf("%s: %lu KiB\n", when, pages * ((unsigned long)sysconf(_SC_PAGESIZE) / 1024));
}

int main(void)
{
    unsigned long moved = 1;
    unsigned rounds = 0;

    fill();
    print_resident("filled");
    delete_most();
    (void)buddymalloc_malloc_trim(0);
    print_resident("before");
    print_cost();
    while (moved != 0 && rounds < ROUNDS_MAX) {
        moved = move_what_helps();
        (void)printf("round %u: moved %lu\n", ++rounds, moved);
    }
    (void)buddymalloc_malloc_trim(0);
    print_resident("after");
    check_all();
    return moved == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
