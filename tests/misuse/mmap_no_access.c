/* A mapping that can't be read. */
#include <buddymalloc/buddymalloc.h>
#include <sys/mman.h>

int main(void)
{
    size_t size = 64 * 1024 * 1024;
    void *mapping = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    buddymalloc_free(mapping);
    return 0;
}
