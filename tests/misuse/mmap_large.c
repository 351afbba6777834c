/* The middle of a large mapping of the program. */
#include <buddymalloc/buddymalloc.h>
#include <sys/mman.h>

int main(void)
{
    size_t size = 64 * 1024 * 1024;
    char *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    buddymalloc_free(mapping + size / 2);
    return 0;
}
