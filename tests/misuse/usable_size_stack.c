/* The usable size of an array on the stack. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};

    return buddymalloc_malloc_usable_size(array) == 0;
}
