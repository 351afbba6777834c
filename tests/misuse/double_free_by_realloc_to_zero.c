/* A block freed twice by realloc to size 0. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    (void)!buddymalloc_realloc(block, 0);
    (void)!buddymalloc_realloc(block, 0);
    return 0;
}
