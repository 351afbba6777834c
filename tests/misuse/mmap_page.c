/* A page that the program mapped itself. */
#include <buddymalloc/buddymalloc.h>
#include <sys/mman.h>

int main(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    buddymalloc_free(page);
    return 0;
}
