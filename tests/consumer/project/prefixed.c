/* Depends on the prefixed API alone: the program keeps its own malloc. */
#include <buddymalloc/buddymalloc.h>

#include <stdlib.h>

int main(void)
{
    void *(*volatile theirs)(size_t) = malloc;
    void *block = buddymalloc_malloc(100);
    if (block == NULL || theirs == buddymalloc_malloc)
        return 1;
    buddymalloc_free(block);
    free(theirs(100));
    return 0;
}
