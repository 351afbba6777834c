/* Every function of the malloc family that a program can name is buddymalloc's, so that no
 * second heap wakes up beside it. */
#include "check.h"
#include "malloc_family.h"

#include <dlfcn.h>
#include <string.h>

static const char *const names[] = {
    "malloc",         "free",        "calloc",        "realloc",     "reallocarray",
    "aligned_alloc",  "memalign",    "posix_memalign", "valloc",     "pvalloc",
    "malloc_trim",    "mallopt",     "mallinfo",      "mallinfo2",   "malloc_usable_size",
    "malloc_stats",   "malloc_info", "free_sized",    "free_aligned_sized",
};

static int is_ours(const void *address)
{
    Dl_info info;

    return dladdr(address, &info) != 0 && strstr(info.dli_fname, "buddymalloc") != NULL;
}

int main(void)
{
    int failures = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const void *address = dlsym(RTLD_DEFAULT, names[i]);
        if (address == NULL || !is_ours(address)) {
            (void)fprintf(stderr, "%s is not buddymalloc's\n", names[i]);
            failures++;
        }
    }
    /* What the linker bound, versioned, is the same as what dlsym finds. */
    check((void *)malloc == dlsym(RTLD_DEFAULT, "malloc"));
    check((void *)malloc_usable_size == dlsym(RTLD_DEFAULT, "malloc_usable_size"));

    /* The C library's own allocations come from here too. */
    char *copy = strdup("text");
    check(copy != NULL);
    size_t before = mallinfo2().uordblks;
    size_t usable = malloc_usable_size(copy);
    void (*free_function)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
    free_function(copy);
    check(before - mallinfo2().uordblks == usable);
    return failures;
}
