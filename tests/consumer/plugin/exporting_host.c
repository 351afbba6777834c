/* A program that has the library in it, exports what it has, and calls little of it. */
#include "buddymalloc/buddymalloc.h"

#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *block = buddymalloc_malloc(100);
    void *plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    void (*use)(void *block) = plugin == NULL ? NULL : dlsym(plugin, "use");
    if (block == NULL || use == NULL) {
        (void)fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "expected a plugin");
        return 1;
    }
    use(block);
    return 0;
}
