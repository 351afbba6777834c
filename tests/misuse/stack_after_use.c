/* An array on the stack, in a program that has blocks. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] __attribute__((aligned(16))) = {0};
    void *blocks[100];

    for (int i = 0; i < 100; i++)
        blocks[i] = buddymalloc_malloc(64);
    buddymalloc_free(array);
    return blocks[1] == array;
}
