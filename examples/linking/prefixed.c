/* Takes its memory from buddymalloc by name; the C library's malloc is there beside it. */
#include <buddymalloc/buddymalloc.h>

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char *ours = buddymalloc_malloc(100);
    char *theirs = malloc(100);
    if (ours == NULL || theirs == NULL)
        return 1;
    (void)printf("a block of %zu bytes\n", buddymalloc_malloc_usable_size(ours));
    buddymalloc_free(ours);
    free(theirs);
    return 0;
}
