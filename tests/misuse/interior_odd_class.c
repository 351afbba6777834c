/* A multiple of another class inside a slot of 112 bytes. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(112);

    buddymalloc_free(block + 64);
    return 0;
}
